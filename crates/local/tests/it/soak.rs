//! No reader misses a record: writers, pollers and subscribers during splits and merges, over real
//! sockets and in real time. `DISTRIBUTARY_SOAK_SECS` sets the seconds of writing (default 3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distributary_local::server::{ServerOptions, serve};
use distributary_local::{Env, Local, RealEnv};
use distributary_wire::codec::Format;
use distributary_wire::eventstream::SubscribeEvent;
use distributary_wire::hot::GetRecordsAnswer;
use distributary_wire::types::*;

use crate::client::{Client, arn, entry};
use crate::http::Http;

const WRITERS: u64 = 8;
const READERS: usize = 4;
/// Time for readers to read the rest after the end of writing.
const CATCH_UP: Duration = Duration::from_secs(60);

/// A summary of the records of a shard. Equal summaries mean equal records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Records {
    count: u64,
    /// The sum of the records' hashes.
    sum: u64,
    /// The last sequence number. Sequence numbers must grow.
    last: String,
}

fn hash(number: &str, text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(number.as_bytes());
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Records {
    fn see(&mut self, number: &str, text: &[u8]) {
        assert!(*self.last < *number, "{number} after {}", self.last);
        number.clone_into(&mut self.last);
        self.count += 1;
        self.sum = self
            .sum
            .wrapping_add(hash(number, std::str::from_utf8(text).unwrap()));
    }
}

struct Soak {
    local: Local,
    env: Arc<RealEnv>,
    over: Client,
    /// True when writers and resharding are to end.
    stop: AtomicBool,
    /// True when all writers have ended and `written` is final. Readers may be ahead of `written`
    /// before.
    complete: AtomicBool,
    acknowledged: Mutex<BTreeMap<String, Records>>,
    /// By reader and shard.
    read: Mutex<BTreeMap<(String, String), Records>>,
    written: AtomicU64,
    /// Records seen by all readers together.
    seen: AtomicU64,
}

impl Soak {
    async fn write(&self, writer: u64) {
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let texts: Vec<String> = (0..20).map(|i| format!("{writer}-{}", n + i)).collect();
            n += 20;
            let request = PutRecordsRequest {
                stream_name: Some("s".into()),
                records: Some(texts.iter().map(|t| entry(t, t.as_bytes())).collect()),
                ..Default::default()
            };
            let client = if writer.is_multiple_of(2) {
                self.over.clone()
            } else {
                Client::new(&self.local).json()
            };
            let answer = client.call(request).await.unwrap();
            assert_eq!(answer.failed_record_count, Some(0));
            self.acknowledge(answer, &texts);
            self.written.fetch_add(20, Ordering::Relaxed);
            self.env.sleep(Duration::from_millis(2)).await;
        }
    }

    fn acknowledge(&self, answer: PutRecordsResponse, texts: &[String]) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        for (record, text) in answer.records.into_iter().zip(texts) {
            let shard = acknowledged.entry(record.shard_id.unwrap()).or_default();
            shard.count += 1;
            shard.sum = shard
                .sum
                .wrapping_add(hash(&record.sequence_number.unwrap(), text));
        }
    }

    /// Splits the widest open shard and merges two neighbours, in turns.
    async fn reshard(&self) {
        let client = Client::new(&self.local);
        for turn in 0.. {
            self.env.sleep(Duration::from_millis(300)).await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let mut open: Vec<_> = client
                .shards("s")
                .await
                .into_iter()
                .filter(|s| {
                    s.sequence_number_range
                        .as_ref()
                        .unwrap()
                        .ending_sequence_number
                        .is_none()
                })
                .map(|s| {
                    let range = s.hash_key_range.as_ref().unwrap();
                    (
                        distributary_wire::hashkey::HashRange::from_wire(range).unwrap(),
                        s.shard_id,
                    )
                })
                .collect();
            open.sort_unstable();
            if turn % 2 == 0 {
                let (range, id) = open.iter().max_by_key(|(r, _)| r.end - r.start).unwrap();
                let request = SplitShardRequest {
                    stream_name: Some("s".into()),
                    shard_to_split: Some(id.clone()),
                    new_starting_hash_key: Some(
                        (range.start + (range.end - range.start) / 2).to_string(),
                    ),
                    ..Default::default()
                };
                client.call(request).await.unwrap();
            } else {
                let request = MergeShardsRequest {
                    stream_name: Some("s".into()),
                    shard_to_merge: Some(open[1].1.clone()),
                    adjacent_shard_to_merge: Some(open[2].1.clone()),
                    ..Default::default()
                };
                client.call(request).await.unwrap();
            }
        }
    }

    /// Reads a whole shard by polling. Returns the children.
    async fn poll(&self, client: &Client, shard: &str, seen: &mut Records) -> Vec<String> {
        let mut at = client
            .iterator("s", shard, ShardIteratorType::TrimHorizon)
            .await;
        loop {
            let page = client.get(&at).await.unwrap();
            self.seen
                .fetch_add(page.records.len() as u64, Ordering::Relaxed);
            let none = page.records.is_empty();
            for record in page.records {
                seen.see(&record.sequence_number, &record.data.0);
            }
            match page.next_shard_iterator {
                None => {
                    return page
                        .child_shards
                        .unwrap_or_default()
                        .into_iter()
                        .map(|c| c.shard_id)
                        .collect();
                }
                Some(next) => at = next,
            }
            if none {
                if self.is_over() {
                    return Vec::new();
                }
                self.env.sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Reads a whole shard by subscriptions. Returns the children.
    async fn subscribe(
        &self,
        client: &Client,
        consumer: &str,
        shard: &str,
        seen: &mut Records,
    ) -> Vec<String> {
        let request = SubscribeToShardRequest {
            consumer_arn: Some(consumer.to_owned()),
            shard_id: Some(shard.to_owned()),
            starting_position: Some(StartingPosition {
                kind: Some(ShardIteratorType::TrimHorizon),
                ..Default::default()
            }),
            ..Default::default()
        };

        let mut events = client.subscribe(request).await.unwrap();
        loop {
            let next = events.next();
            let event = tokio::select! {
                event = next => event,
                () = self.over_now() => return Vec::new(),
            };
            let Some(Ok(SubscribeEvent::Event { format, payload })) = event else {
                panic!("{event:?} on {shard}");
            };
            let event = GetRecordsAnswer::parse(format, payload).unwrap();
            self.seen
                .fetch_add(event.records.len() as u64, Ordering::Relaxed);
            for record in &event.records {
                let data = event.data(record).decode().unwrap();
                seen.see(record.sequence.text(&event.body), &data);
            }
            if event.continuation_sequence_number.is_none() {
                return event.child_shards.into_iter().map(|c| c.shard_id).collect();
            }
        }
    }

    /// True when writing has ended and every reader has seen every record.
    fn is_over(&self) -> bool {
        if !self.complete.load(Ordering::Acquire) {
            return false;
        }
        let due = self.written.load(Ordering::Relaxed) * 2 * READERS as u64;
        self.seen.load(Ordering::Relaxed) >= due
    }

    async fn over_now(&self) {
        while !self.is_over() {
            self.env.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads the whole stream: the first shards, then their children.
    async fn read(self: Arc<Self>, reader: usize, consumer: Option<String>) {
        let client = match reader % 3 {
            0 => self.over.clone(),
            1 => Client::new(&self.local),
            _ => Client::new(&self.local).json(),
        };

        let name = format!(
            "{}{reader}",
            if consumer.is_some() {
                "subscriber "
            } else {
                "poller "
            }
        );

        let mut running = tokio::task::JoinSet::new();
        let mut started = BTreeSet::new();
        let mut due: Vec<String> = (0..4).map(crate::client::shard_id).collect();
        loop {
            for shard in due
                .drain(..)
                .filter(|s| started.insert(s.clone()))
                .collect::<Vec<_>>()
            {
                let (soak, client, consumer) =
                    (Arc::clone(&self), client.clone(), consumer.clone());
                running.spawn(async move {
                    let mut seen = Records::default();
                    let children = match &consumer {
                        None => soak.poll(&client, &shard, &mut seen).await,
                        Some(consumer) => {
                            soak.subscribe(&client, consumer, &shard, &mut seen).await
                        }
                    };
                    (shard, seen, children)
                });
            }
            let Some(done) = running.join_next().await else {
                break;
            };
            let (shard, seen, children) = done.unwrap();
            due = children;
            self.read
                .lock()
                .unwrap()
                .insert((name.clone(), shard), seen);
        }
    }

    /// Checks that each reader has seen all acknowledged records and no others.
    fn compare(&self) {
        let (acknowledged, read) = (self.acknowledged.lock().unwrap(), self.read.lock().unwrap());
        let readers: BTreeSet<_> = read.keys().map(|(reader, _)| reader.clone()).collect();
        assert_eq!(readers.len(), 2 * READERS);
        for reader in readers {
            for (shard, due) in acknowledged.iter() {
                let seen = read
                    .get(&(reader.clone(), shard.clone()))
                    .cloned()
                    .unwrap_or_default();
                assert_eq!(
                    (seen.count, seen.sum),
                    (due.count, due.sum),
                    "{reader}, {shard}"
                );
            }
            let of_mine = read.iter().filter(|((r, _), _)| *r == reader);
            let total: u64 = of_mine.map(|(_, seen)| seen.count).sum();
            assert_eq!(total, self.written.load(Ordering::Relaxed), "{reader}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_misses_a_record() {
    let seconds: u64 = std::env::var("DISTRIBUTARY_SOAK_SECS")
        .ok()
        .map_or(3, |text| text.parse().expect("a number of seconds"));
    let env = Arc::new(RealEnv::new());
    let local = Local::builder()
        .env(Arc::clone(&env) as Arc<dyn Env>)
        .build();
    local.create_stream("s", 4).unwrap();
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        ..ServerOptions::default()
    };
    let handle = serve(local.clone(), options).await.unwrap();
    let http = Http {
        addr: handle.local_addr(),
        http2: false,
        pem: None,
    };

    let over = Client {
        transport: Arc::new(http),
        format: Format::Cbor,
        region: "us-east-1",
    };

    let soak = Arc::new(Soak {
        local,
        env,
        over,
        stop: AtomicBool::new(false),
        complete: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        read: Mutex::default(),
        written: AtomicU64::new(0),
        seen: AtomicU64::new(0),
    });

    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        readers.spawn(Arc::clone(&soak).read(reader, None));
        let consumer = Client::new(&soak.local)
            .consumer(&arn("s"), &format!("c{reader}"))
            .await;
        readers.spawn(Arc::clone(&soak).read(reader, Some(consumer)));
    }

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let soak = Arc::clone(&soak);
        writers.spawn(async move { soak.write(writer).await });
    }
    let resharding = tokio::spawn({
        let soak = Arc::clone(&soak);
        async move { soak.reshard().await }
    });
    soak.env.sleep(Duration::from_secs(seconds)).await;
    soak.stop.store(true, Ordering::Relaxed);
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    soak.complete.store(true, Ordering::Release);
    resharding.await.unwrap();
    let all = async {
        while let Some(done) = readers.join_next().await {
            done.unwrap();
        }
    };

    let late = soak.env.sleep(CATCH_UP);
    tokio::select! {
        () = all => {}
        () = late => panic!(
            "{} of {} records seen after {CATCH_UP:?}",
            soak.seen.load(Ordering::Relaxed),
            soak.written.load(Ordering::Relaxed) * 2 * READERS as u64
        ),
    }

    soak.compare();
    let (records, shards) = (
        soak.written.load(Ordering::Relaxed),
        soak.acknowledged.lock().unwrap().len(),
    );
    println!(
        "{records} records in {shards} shards, each seen by {} readers",
        2 * READERS
    );
    assert!(records > 1000 && shards > 4);
    handle.shutdown().await;
}

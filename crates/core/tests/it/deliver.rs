//! A delivery without a reader: order by mode, the deadline, refused records, isolation.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::{Clock, ClockSource, Instant, Millis};
use distributary_core::engine::deliver::{
    Context, Memory, OnRefused, Patience, Recipient, deliver,
};
use distributary_core::output::{
    Chunk, EncodingKey, Order, Outcome, Output, Picks, Profile, RequestLimits, TroubleKind,
};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::testing::{
    FakeService, Fate, Mood, OutputFaults, Rng, ServiceSettings, TestClock,
};

const S: Duration = Duration::from_secs(1);

/// A batch of `count` records with sequence numbers from 1 on, of `keys` keys.
fn batch(count: u32, keys: u32) -> Batch {
    let mut buffer = Vec::new();
    let mut put = |text: String| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(text.as_bytes());
        let len = u32::try_from(text.len()).unwrap();
        Span { start, len }
    };
    let records = (0..count)
        .map(|i| RecordIndex {
            sequence: put((i + 1).to_string()),
            key: Some(put(format!("key-{}", i % keys))),
            data: put(format!("record {i}")),
            arrival: Millis(0),
        })
        .collect();
    let origin = Arc::new(Origin {
        source: "arn:aws:kinesis:eu-west-1:1:stream/input".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    });
    Batch::new(origin, buffer.into(), DataForm::Raw, records).unwrap()
}

fn context(clock: &TestClock, limit: Duration) -> Context {
    Context {
        clock: clock.clock(),
        deadline: clock.now().plus(limit),
        patience: Patience {
            request_deadline: 2 * S,
            backoff_base: S / 10,
            backoff_cap: S,
            slow_backoff_cap: 2 * S,
        },
        memory: Some(Memory::new(1 << 20)),
    }
}

fn service(name: &str, clock: &TestClock) -> FakeService {
    let settings = ServiceSettings {
        name: name.to_owned(),
        shards: 2,
        rate: None,
    };
    FakeService::new(settings, clock, Rng::new(7).fork(name), Arc::new(()))
}

const LIMITS: RequestLimits = RequestLimits {
    entries: 20,
    bytes: 1 << 20,
};

fn recipient(service: &FakeService, order: Order) -> Recipient {
    Recipient {
        output: Arc::new(service.output("plain", LIMITS)),
        order,
        on_refused: OnRefused::Stop,
    }
}

/// The last occurrence of each record, by place, must be in the order of its key.
fn assert_in_key_order(service: &FakeService, count: usize) {
    let mut last: BTreeMap<u128, usize> = BTreeMap::new();
    let log = service.log();
    for (place, written) in log.iter().enumerate() {
        last.insert(written.entry.sequence, place);
    }
    assert_eq!(last.len(), count, "records are missing");

    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    for place in last.values() {
        let key = log[*place].entry.key.as_deref().unwrap();
        let before = by_key.insert(key, *place);
        assert!(before.is_none_or(|before| before < *place), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_output_gets_all_records_in_the_order_of_its_mode() {
    let clock = TestClock::new(1);
    let faults = OutputFaults {
        latency: (1, 20),
        rejected: 100,
        partial: 300,
        answer_lost: 100,
        holds: 100,
        ..OutputFaults::default()
    };
    let services = [
        service("strict", &clock),
        service("resend", &clock),
        service("unordered", &clock),
    ];
    services
        .iter()
        .for_each(|service| service.set_faults(faults));
    let recipients = [
        recipient(&services[0], Order::Strict),
        recipient(&services[1], Order::Resend),
        recipient(&services[2], Order::Unordered),
    ];

    let delivered = deliver(&batch(200, 7), &recipients, &context(&clock, 3600 * S)).await;

    for (delivered, service) in delivered.iter().zip(&services) {
        assert_eq!(delivered.through, 200, "{delivered:?}");
        assert!(delivered.refused.is_empty() && delivered.trouble.is_none());
        assert_eq!(service.live_bytes(), 0);
    }
    assert_in_key_order(&services[0], 200);
    assert_in_key_order(&services[1], 200);
}

#[tokio::test(start_paused = true)]
async fn a_call_returns_at_its_deadline_while_one_output_hangs() {
    let clock = TestClock::new(1);
    let (well, hung) = (service("well", &clock), service("hung", &clock));
    hung.set_mood(Mood::Held);
    let recipients = [
        recipient(&hung, Order::Resend),
        recipient(&well, Order::Resend),
    ];

    let delivered = deliver(&batch(50, 5), &recipients, &context(&clock, 7 * S)).await;

    assert_eq!(clock.now(), Instant(7 * S));
    assert_eq!(delivered[0].through, 0);
    let trouble = delivered[0].trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Unavailable);
    assert_eq!(delivered[1].through, 50);
    assert!(well.log().iter().all(|written| written.at < Instant(S)));
}

#[tokio::test(start_paused = true)]
async fn progress_before_the_deadline_is_reported() {
    let clock = TestClock::new(1);
    let slow = service("slow", &clock);
    slow.script([Fate::Well, Fate::Well, Fate::Held, Fate::Held, Fate::Held]);

    let delivered = deliver(
        &batch(60, 5),
        &[recipient(&slow, Order::Resend)],
        &context(&clock, 3 * S),
    )
    .await;

    assert_eq!(delivered[0].through, 40);
    assert!(delivered[0].trouble.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_is_a_value() {
    let clock = TestClock::new(1);
    let (stops, passes) = (service("stops", &clock), service("passes", &clock));
    for service in [&stops, &passes] {
        service.refuse(11, true);
        service.refuse(31, true);
    }
    let recipients = [
        recipient(&stops, Order::Resend),
        Recipient {
            on_refused: OnRefused::PassOver,
            ..recipient(&passes, Order::Strict)
        },
    ];

    let delivered = deliver(&batch(50, 50), &recipients, &context(&clock, 60 * S)).await;

    let refused =
        |i: usize| -> Vec<usize> { delivered[i].refused.iter().map(|r| r.record).collect() };
    assert_eq!((delivered[0].through, refused(0)), (10, vec![10]));
    assert_eq!((delivered[1].through, refused(1)), (50, vec![10, 30]));
    assert_eq!(delivered[1].refused[0].refusal.code, "Unwelcome");
    let sequences: Vec<u128> = passes.log().iter().map(|w| w.entry.sequence).collect();
    assert!((1..=50).all(|n| sequences.contains(&n) != [11, 31].contains(&n)));
}

/// An output whose first encodings are out of date, and that notes how many requests overlap.
#[derive(Default)]
struct Probe {
    stale_left: AtomicU32,
    clock: Option<Clock>,
    asked: AtomicU32,
    written: AtomicU32,
    flying: AtomicU32,
    most_flying: AtomicU32,
    in_flight: Option<NonZeroUsize>,
}

#[async_trait]
impl Output for Probe {
    fn profile(&self) -> Profile {
        Profile {
            in_flight: self.in_flight.unwrap_or(NonZeroUsize::MIN),
            ..Profile::new(RequestLimits {
                entries: 5,
                bytes: 1 << 20,
            })
        }
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("probe", self.stale_left.load(Ordering::Relaxed).to_string())
    }

    fn encoded_bound(&self, _: usize, bytes: usize) -> usize {
        bytes
    }

    fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
        Chunk {
            picks,
            payload: Box::new(self.encoding()),
            allocation: 0,
        }
    }

    fn room(&self, _: &Batch, _: &Picks) -> distributary_core::output::Room {
        self.asked.fetch_add(1, Ordering::Relaxed);
        distributary_core::output::Room::All
    }

    async fn write(&self, _: &Batch, chunk: &Chunk, _: Duration) -> Outcome {
        let key = (*chunk.payload).as_any().downcast_ref::<EncodingKey>();
        assert_eq!(
            key,
            Some(&self.encoding()),
            "encoded under the key in force"
        );
        if self.stale_left.load(Ordering::Relaxed) > 0 {
            self.stale_left.fetch_sub(1, Ordering::Relaxed);
            return Outcome::Stale;
        }
        let flying = self.flying.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_flying.fetch_max(flying, Ordering::Relaxed);
        if let Some(clock) = &self.clock {
            clock.sleep(S / 10).await;
        }
        self.flying.fetch_sub(1, Ordering::Relaxed);
        let count = u32::try_from(chunk.picks.len()).unwrap();
        self.written.fetch_add(count, Ordering::Relaxed);
        Outcome::Durable
    }
}

fn probe_recipient(probe: &Arc<Probe>) -> Recipient {
    Recipient {
        output: probe.clone(),
        order: Order::Resend,
        on_refused: OnRefused::Stop,
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_a_stale_encoding_are_sent_again_at_once() {
    let clock = TestClock::new(1);
    let probe = Arc::new(Probe {
        stale_left: 3.into(),
        clock: Some(clock.clock()),
        ..Probe::default()
    });

    let delivered = deliver(
        &batch(5, 5),
        &[probe_recipient(&probe)],
        &context(&clock, 60 * S),
    )
    .await;

    assert_eq!(delivered[0].through, 5);
    assert_eq!(clock.now(), Instant(S / 10), "no wait between the tries");
    assert_eq!(probe.asked.load(Ordering::Relaxed), 4, "once a request");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_calls_every_encoding_stale_is_in_trouble() {
    let clock = TestClock::new(1);
    let probe = Arc::new(Probe {
        stale_left: 1_000_000.into(),
        ..Probe::default()
    });

    let delivered = deliver(
        &batch(5, 5),
        &[probe_recipient(&probe)],
        &context(&clock, 60 * S),
    )
    .await;

    let trouble = delivered[0].trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Unintelligible);
    let tries = 1_000_000 - probe.stale_left.load(Ordering::Relaxed);
    assert!(tries < 1000, "{tries}: waits between the tries");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_as_many_as_the_output_takes() {
    for (most, seconds) in [(1, 4.0), (4, 1.0)] {
        let clock = TestClock::new(1);
        let probe = Arc::new(Probe {
            in_flight: NonZeroUsize::new(most),
            clock: Some(clock.clock()),
            ..Probe::default()
        });

        let delivered = deliver(
            &batch(200, 200),
            &[probe_recipient(&probe)],
            &context(&clock, 60 * S),
        )
        .await;

        assert_eq!(delivered[0].through, 200);
        assert_eq!(probe.written.load(Ordering::Relaxed), 200);
        assert_eq!(probe.most_flying.load(Ordering::Relaxed) as usize, most);
        assert_eq!(clock.now(), Instant(Duration::from_secs_f64(seconds)));
    }
}

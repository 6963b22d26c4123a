//! Streams and records on disk.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use distributary_local::{Delays, Local, StoreError};
use distributary_wire::types::*;

use crate::client::{Client, Clock, TestEnv, arn, entry, shard_id};

fn open(dir: &Path, clock: &Arc<Clock>) -> Result<Local, StoreError> {
    let delays = Delays {
        update: Duration::from_secs(1),
        ..Delays::NONE
    };
    Local::builder()
        .env(Arc::new(TestEnv(Arc::clone(clock))))
        .seed(1)
        .delays(delays)
        .open(dir)
}

async fn fill(client: &Client, clock: &Clock) {
    let create = CreateStreamRequest {
        stream_name: Some("s".into()),
        shard_count: Some(2),
        tags: Some([("k".to_owned(), "v".to_owned())].into()),
        ..Default::default()
    };

    client.call(create).await.unwrap();
    client.consumer(&arn("s"), "c").await;
    for i in 0..40 {
        let data = vec![i; 1000];
        let records = (0..20).map(|k| entry(&format!("{i}-{k}"), &data)).collect();
        let request = PutRecordsRequest {
            stream_name: Some("s".into()),
            records: Some(records),
            ..Default::default()
        };

        client.call(request).await.unwrap();
        clock.advance(Duration::from_millis(3));
    }

    let split = SplitShardRequest {
        stream_name: Some("s".into()),
        shard_to_split: Some(shard_id(0)),
        new_starting_hash_key: Some((1_u128 << 126).to_string()),
        ..Default::default()
    };

    client.call(split).await.unwrap();
    clock.advance(Duration::from_secs(1));
    client.put("s", &["a", "b", "c", "d"]).await;
}

/// Everything that can be seen from outside: shards and all their records.
async fn seen(client: &Client) -> Vec<(Shard, Vec<Record>)> {
    let mut out = Vec::new();
    for shard in client.shards("s").await {
        let mut at = Some(
            client
                .iterator("s", &shard.shard_id, ShardIteratorType::TrimHorizon)
                .await,
        );

        let mut records = Vec::new();
        while let Some(iterator) = at {
            let page = client.get(&iterator).await.unwrap();
            at = page
                .next_shard_iterator
                .filter(|_| !page.records.is_empty());
            records.extend(page.records);
        }

        out.push((shard, records));
    }

    out
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let local = open(dir.path(), &clock).unwrap();
    let client = Client::new(&local);
    fill(&client, &clock).await;
    let before = seen(&client).await;
    let iterator = client
        .iterator("s", &shard_id(1), ShardIteratorType::Latest)
        .await;
    assert_eq!(before.iter().map(|(_, r)| r.len()).sum::<usize>(), 804);
    // Only one process may open the directory.
    assert!(matches!(
        open(dir.path(), &clock),
        Err(StoreError::InUse { .. })
    ));
    drop((client, local));
    clock.advance(Duration::from_secs(10));
    for _ in 0..2 {
        let client = Client::new(&open(dir.path(), &clock).unwrap());
        assert_eq!(seen(&client).await, before);
    }
    let local = open(dir.path(), &clock).unwrap();
    let client = Client::new(&local);
    let consumers = ListStreamConsumersRequest {
        stream_arn: Some(arn("s")),
        ..Default::default()
    };
    assert_eq!(
        client
            .call(consumers)
            .await
            .unwrap()
            .consumers
            .unwrap()
            .len(),
        1
    );

    let tags = ListTagsForStreamRequest {
        stream_name: Some("s".into()),
        ..Default::default()
    };
    assert_eq!(client.call(tags).await.unwrap().tags[0].key, "k");
    // Sequence numbers continue, and iterators stay valid.
    let put = client.put("s", &["a"; 20]).await;
    let shard = put.records[0].shard_id.as_ref().unwrap();
    let (_, there) = before.iter().find(|(s, _)| s.shard_id == *shard).unwrap();
    let last = there.last().unwrap().sequence_number.clone();
    assert!(
        put.records
            .iter()
            .all(|r| r.sequence_number.as_ref().unwrap() > &last)
    );

    client.get(&iterator).await.unwrap();
}

#[tokio::test]
async fn deleted_and_expired_data_do_not_return() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let local = open(dir.path(), &clock).unwrap();
    let client = Client::new(&local);
    fill(&client, &clock).await;
    local.create_stream("gone", 1).unwrap();
    client.put("gone", &["x"]).await;
    let delete = DeleteStreamRequest {
        stream_name: Some("gone".into()),
        ..Default::default()
    };
    client.call(delete).await.unwrap();
    clock.advance(Duration::from_secs(24 * 3600) + Duration::from_millis(1));
    client.put("s", &["new"; 3]).await;
    let before = seen(&client).await;
    // The closed parent has expired; the open shards have only the new records.
    assert_eq!(before.iter().map(|(_, r)| r.len()).sum::<usize>(), 3);
    assert_eq!(before.len(), 3);
    drop((client, local));
    let local = open(dir.path(), &clock).unwrap();
    let client = Client::new(&local);
    assert_eq!(seen(&client).await, before);
    let names = client
        .call(ListStreamsRequest::default())
        .await
        .unwrap()
        .stream_names;
    assert_eq!(names, ["s"]);
}

#[tokio::test]
async fn damage_is_an_error_and_never_loses_data_silently() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let local = open(dir.path(), &clock).unwrap();
    let client = Client::new(&local);
    fill(&client, &clock).await;
    let before = seen(&client).await;
    drop((client, local));
    let file = dir.path().join("kinesis.redb");
    let whole = std::fs::read(&file).unwrap();
    let mut reported = 0;
    let mut tried = 0;
    // Damages bytes all over the file. Unused bytes may be damaged without an effect.
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut damaged = whole.clone();
        for byte in damaged.iter_mut().skip(at).take(64) {
            *byte ^= 0x55;
        }
        std::fs::write(&file, &damaged).unwrap();
        tried += 1;
        match open(dir.path(), &clock) {
            Err(StoreError::Damaged { .. }) => reported += 1,
            Err(other) => panic!("{other:?} at {at}"),
            Ok(local) => assert_eq!(seen(&Client::new(&local)).await, before, "at {at}"),
        }
    }

    assert!(reported * 3 > tried, "only {reported} of {tried}");
    for length in [0, 1, 4096, whole.len() / 2, whole.len() - 4096] {
        std::fs::write(&file, &whole[..length]).unwrap();
        match open(dir.path(), &clock) {
            Err(StoreError::Damaged { .. }) => {}
            Err(other) => panic!("{other:?} of {length} bytes"),
            // The end of the file may be unused.
            Ok(local) => assert_eq!(seen(&Client::new(&local)).await, before, "{length} bytes"),
        }
    }

    std::fs::remove_file(&file).unwrap();
    assert!(matches!(
        open(dir.path(), &clock),
        Err(StoreError::Damaged { .. })
    ));
    std::fs::write(dir.path().join("FORMAT"), "distributary-local 2\n").unwrap();
    assert!(matches!(
        open(dir.path(), &clock),
        Err(StoreError::Version { .. })
    ));
}

/// Names the directory that a process of [`a_process_that_writes_until_it_is_killed`] writes to.
const CHILD_DIR: &str = "DISTRIBUTARY_LOCAL_CHILD_DIR";

/// The process that the next test kills, no test by itself. Prints the sequence number of each
/// acknowledged record.
#[tokio::test]
async fn a_process_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let local = Local::builder().open(dir).unwrap();
    let client = Client::new(&local);
    if local.create_stream("s", 1).is_err() {
        // The stream exists since the run before.
    }
    loop {
        let answer = client.put("s", &["k"; 7]).await;
        for record in answer.records {
            println!("acknowledged {}", record.sequence_number.unwrap());
        }
    }
}

#[tokio::test]
async fn acknowledged_records_survive_a_kill() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::a_process_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        for line in lines {
            let Ok(line) = line else { break };
            let Some((_, number)) = line.split_once("acknowledged ") else {
                continue;
            };
            // The kill may cut the last line.
            if number.len() == 56 {
                acknowledged.push(number.to_owned());
            }
            count += 1;
            if count == 500 {
                child.kill().unwrap();
            }
        }

        child.wait().unwrap();
    }

    let local = Local::builder().open(dir.path()).unwrap();
    let client = Client::new(&local);
    let kept: std::collections::BTreeSet<String> = seen(&client)
        .await
        .into_iter()
        .flat_map(|(_, r)| r)
        .map(|r| r.sequence_number)
        .collect();
    assert!(acknowledged.len() >= 1500);
    let missing: Vec<_> = acknowledged.iter().filter(|n| !kept.contains(*n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let distinct: std::collections::BTreeSet<_> = acknowledged.iter().collect();
    assert_eq!(distinct.len(), acknowledged.len());
}

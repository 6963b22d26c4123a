//! Faults on command, seen by a client.

use std::sync::Arc;
use std::time::Duration;

use distributary_local::Local;
use distributary_local::faults::{Action, Entries, Rule};
use distributary_wire::codec;
use distributary_wire::op::Operation::{GetRecords, PutRecord, PutRecords};
use distributary_wire::transport::TransportError;
use distributary_wire::types::*;

use crate::client::{Client, Clock, entry, local, shard_id};

fn one_stream(shards: u32) -> (Local, Arc<Clock>, Client) {
    let (local, clock) = local(|b| b);
    local.create_stream("s", shards).unwrap();
    let client = Client::new(&local);
    (local, clock, client)
}

fn put(keys: &[&str]) -> PutRecordsRequest {
    PutRecordsRequest {
        stream_name: Some("s".into()),
        records: Some(keys.iter().map(|k| entry(k, k.as_bytes())).collect()),
        ..Default::default()
    }
}

#[tokio::test]
async fn entries_fail_and_are_not_written() {
    let (local, _, client) = one_stream(1);
    let places = Entries {
        places: Some(vec![1]),
        ..Entries::default()
    };
    let key = Entries {
        key: Some("c".into()),
        ..Entries::default()
    };
    local
        .faults()
        .add(Rule::always(PutRecords, Action::ThrottleEntries(places)).times(1))
        .unwrap();
    local
        .faults()
        .add(Rule::always(PutRecords, Action::FailEntries(key)).times(1))
        .unwrap();
    let answer = client.put("s", &["a", "b", "c", "d"]).await;
    assert_eq!(answer.failed_record_count, Some(2));
    let codes: Vec<_> = answer
        .records
        .iter()
        .map(|r| r.error_code.as_deref())
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some("ProvisionedThroughputExceededException"),
            Some("InternalFailure"),
            None
        ]
    );

    assert_eq!(client.all("s", &shard_id(0)).await, ["a", "d"]);
    assert_eq!(client.put("s", &["b"]).await.failed_record_count, Some(0));
}

#[tokio::test]
async fn a_single_put_fails_as_a_whole() {
    let (local, _, client) = one_stream(1);
    local
        .faults()
        .add(Rule::always(PutRecord, Action::ThrottleEntries(Entries::default())).times(1))
        .unwrap();
    let request = || PutRecordRequest {
        stream_name: Some("s".into()),
        data: Some(bytes::Bytes::from_static(b"x").into()),
        partition_key: Some("k".into()),
        ..Default::default()
    };

    let refused = client.call(request()).await.unwrap_err();
    assert_eq!(refused.code(), "ProvisionedThroughputExceededException");
    client.call(request()).await.unwrap();
}

#[tokio::test]
async fn a_rule_applies_to_one_shard_of_one_stream() {
    let (local, _, client) = one_stream(2);
    let rule = Rule::always(PutRecords, Action::FailEntries(Entries::default()));
    local
        .faults()
        .add(rule.stream("s").shard(shard_id(1)))
        .unwrap();
    // The MD5 of "a" starts with 0x0c, in the lower half. The MD5 of "abc", "b" and "x" are in the
    // upper half.
    let answer = client.put("s", &["a", "abc"]).await;
    let failed: Vec<_> = answer
        .records
        .iter()
        .map(|r| r.error_code.is_some())
        .collect();
    assert_eq!(failed, [false, true]);
    client.put("s", &["a"]).await;
    let status = &local.faults().list()[0];
    assert_eq!((status.selected, status.applied), (1, 1));
}

#[tokio::test]
async fn requests_fail_by_a_script() {
    let (local, _, client) = one_stream(1);
    let error = |code: &str, status| Action::Error {
        code: code.into(),
        message: "m".into(),
        status,
    };

    let script = vec![
        error("InternalFailure", None),
        error("ServiceUnavailable", None),
        error("ThrottlingException", Some(429)),
        Action::ExpireToken,
        Action::DropConnection,
        Action::Pass,
    ];

    local
        .faults()
        .add(Rule::script(PutRecords, script))
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(match client.call(put(&["a"])).await {
            Ok(_) => "ok".to_owned(),
            Err(failure) => failure.code().to_owned(),
        });
    }

    let codes = [
        "InternalFailure",
        "ServiceUnavailable",
        "ThrottlingException",
        "ExpiredTokenException",
        "Broken",
        "ok",
    ];

    assert_eq!(seen, codes);
    assert_eq!(client.all("s", &shard_id(0)).await, ["a"]);
}

#[tokio::test]
async fn lost_and_cut_answers_were_carried_out() {
    let (local, clock, client) = one_stream(1);
    let script = vec![
        Action::LoseReply { hang: false },
        Action::CutAnswer { after_bytes: 3 },
        Action::LoseReply { hang: true },
    ];

    local
        .faults()
        .add(Rule::script(PutRecords, script))
        .unwrap();
    for key in ["a", "b"] {
        assert_eq!(client.call(put(&[key])).await.unwrap_err().code(), "Broken");
    }
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call(put(&["c"])).await }
    });
    while client.all("s", &shard_id(0)).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    clock.advance(Duration::from_secs(30));
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "Timeout");
    assert_eq!(client.all("s", &shard_id(0)).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn calls_are_held_until_released_and_delayed_by_the_clock() {
    let (local, clock, client) = one_stream(1);
    let hold = |after| Action::Hold {
        gate: "g".into(),
        after,
    };
    let delay = Action::Delay {
        ms: 2000,
        after: false,
    };
    local
        .faults()
        .add(Rule::script(
            PutRecords,
            vec![hold(false), hold(true), delay],
        ))
        .unwrap();
    for (name, written) in [("before", 0), ("after", 2)] {
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(put(&["a"])).await.unwrap() }
        });
        while local.faults().held("g") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.all("s", &shard_id(0)).await.len(), written, "{name}");
        assert_eq!(local.faults().release("g"), 1);
        call.await.unwrap();
    }

    let late = tokio::spawn({
        let client = client.clone();
        async move { client.call(put(&["a"])).await.unwrap() }
    });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_millis(1999));
    tokio::task::yield_now().await;
    assert!(!late.is_finished());
    clock.advance(Duration::from_millis(1));
    late.await.unwrap();
    // A held call whose caller gives up is never carried out.
    local
        .faults()
        .add(Rule::always(PutRecords, hold(false)))
        .unwrap();
    let request = client.request(
        PutRecords.target(),
        codec::encode(client.format, &put(&["never"])),
    );
    let call = tokio::spawn({
        let transport = Arc::clone(&client.transport);
        async move { transport.call(request, Duration::from_secs(1)).await }
    });
    while local.faults().held("g") == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    assert!(matches!(
        call.await.unwrap(),
        Err(TransportError::Timeout { .. })
    ));
    assert_eq!(local.faults().release("g"), 0);
    assert_eq!(client.all("s", &shard_id(0)).await.len(), 3);
}

#[tokio::test]
async fn a_late_call_is_carried_out_after_its_caller_gave_up() {
    let (local, clock, client) = one_stream(1);
    local
        .faults()
        .add(Rule::always(PutRecords, Action::Late { ms: 60_000 }).times(1))
        .unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(put(&["late"])).await }
    });
    while local.faults().list()[0].applied == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(30));
    assert_eq!(call.await.unwrap().unwrap_err().code(), "Timeout");
    client.put("s", &["later"]).await;
    assert_eq!(client.all("s", &shard_id(0)).await, ["later"]);
    clock.advance(Duration::from_secs(30));
    assert_eq!(client.all("s", &shard_id(0)).await, ["later", "late"]);
}

#[tokio::test]
async fn reads_fail_on_command() {
    let (local, _, client) = one_stream(1);
    client.put("s", &["a"]).await;
    local
        .faults()
        .add(Rule::script(
            GetRecords,
            vec![Action::EmptyPage, Action::ExpireIterator],
        ))
        .unwrap();
    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let page = client.get(&iterator).await.unwrap();
    assert_eq!(
        (page.records.len(), page.millis_behind_latest),
        (0, Some(1))
    );
    let next = page.next_shard_iterator.unwrap();
    assert_eq!(
        client.get(&next).await.unwrap_err().code(),
        "ExpiredIteratorException"
    );
    assert_eq!(client.get(&next).await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn the_same_seed_fails_the_same_entries() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let (local, _) = local(|b| b.seed(seed));
        local.create_stream("s", 1).unwrap();
        let client = Client::new(&local);
        let some = Entries {
            probability: Some(0.5),
            ..Entries::default()
        };
        local
            .faults()
            .add(Rule::always(PutRecords, Action::ThrottleEntries(some)))
            .unwrap();
        let answer = client.put("s", &["k"; 100]).await;
        runs.push(
            answer
                .records
                .iter()
                .map(|r| r.error_code.is_some())
                .collect::<Vec<_>>(),
        );
    }

    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

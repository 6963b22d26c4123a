//! Writing and reading.

use std::time::Duration;

use distributary_local::TrimmedPosition;
use distributary_wire::types::*;

use crate::client::{Client, EPOCH_MS, arn, entry, local, shard_id};

#[tokio::test]
async fn records_are_read_in_order_in_both_formats() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let cbor = Client::new(&local);
    let json = cbor.clone().json();
    let put = cbor.put("s", &["a", "b"]).await;
    assert_eq!(put.failed_record_count, Some(0));
    assert_eq!(
        put.records[0].shard_id.as_deref(),
        Some("shardId-000000000000")
    );
    json.put("s", &["c"]).await;
    let one = PutRecordRequest {
        stream_arn: Some(arn("s")),
        data: Some(bytes::Bytes::from_static(b"d").into()),
        partition_key: Some("k".into()),
        ..Default::default()
    };

    let one = json.call(one).await.unwrap();
    assert_eq!(one.sequence_number.len(), 56);
    for client in [&cbor, &json] {
        assert_eq!(client.all("s", &shard_id(0)).await, ["a", "b", "c", "d"]);
    }
    let iterator = json
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let page = json.get(&iterator).await.unwrap();
    let numbers: Vec<_> = page
        .records
        .iter()
        .map(|r| r.sequence_number.clone())
        .collect();
    assert!(numbers.is_sorted() && numbers[3] == one.sequence_number);
    assert_eq!(page.records[0].partition_key.as_deref(), Some("a"));
    assert_eq!(page.millis_behind_latest, Some(0));
}

#[tokio::test]
async fn iterators_start_at_their_position() {
    let (local, clock) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let mut numbers = Vec::new();
    for key in ["a", "b", "c"] {
        numbers.push(
            client.put("s", &[key]).await.records[0]
                .sequence_number
                .clone()
                .unwrap(),
        );

        clock.advance(Duration::from_secs(10));
    }

    let first = async |kind: ShardIteratorType, number: Option<&String>, ms: Option<i64>| {
        let request = GetShardIteratorRequest {
            stream_name: Some("s".into()),
            shard_id: Some(shard_id(0)),
            shard_iterator_type: Some(kind),
            starting_sequence_number: number.cloned(),
            timestamp: ms.map(|ms| Timestamp(EPOCH_MS.cast_signed() + ms)),
            ..Default::default()
        };

        let iterator = match client.call(request).await {
            Ok(answer) => answer.shard_iterator.unwrap(),
            Err(failure) => return failure.code().to_owned(),
        };
        let page = client.get(&iterator).await.unwrap();
        page.records.first().map_or(String::new(), |r| {
            String::from_utf8(r.data.0.to_vec()).unwrap()
        })
    };

    use ShardIteratorType::*;
    assert_eq!(first(AtSequenceNumber, Some(&numbers[1]), None).await, "b");
    assert_eq!(
        first(AfterSequenceNumber, Some(&numbers[1]), None).await,
        "c"
    );
    assert_eq!(
        first(AfterSequenceNumber, Some(&numbers[2]), None).await,
        ""
    );
    assert_eq!(first(AtTimestamp, None, Some(10_000)).await, "b");
    assert_eq!(first(AtTimestamp, None, Some(10_001)).await, "c");
    assert_eq!(first(AtTimestamp, None, Some(0)).await, "a");
    assert_eq!(first(AtTimestamp, None, Some(29_000)).await, "");
    assert_eq!(
        first(AtTimestamp, None, Some(31_000)).await,
        "InvalidArgumentException"
    );
    assert_eq!(first(Latest, None, None).await, "");
    let shards = client.shards("s").await;
    let start = &shards[0]
        .sequence_number_range
        .as_ref()
        .unwrap()
        .starting_sequence_number;
    assert_eq!(first(AtSequenceNumber, Some(start), None).await, "a");
    for bad in ["0", "12345", &start[..55]] {
        assert_eq!(
            first(AtSequenceNumber, Some(&bad.to_owned()), None).await,
            "InvalidArgumentException"
        );
    }

    assert_eq!(
        first(AtSequenceNumber, Some(&"x".to_owned()), None).await,
        "ValidationException"
    );
    assert_eq!(
        first(AtSequenceNumber, None, None).await,
        "InvalidArgumentException"
    );
    assert_eq!(
        first(Other("NEXT".into()), None, None).await,
        "ValidationException"
    );
}

#[tokio::test]
async fn iterators_expire_and_garbage_is_refused() {
    let (local, clock) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    clock.advance(Duration::from_secs(300));
    client.get(&iterator).await.unwrap();
    clock.advance(Duration::from_millis(1));
    let expired = client.get(&iterator).await.unwrap_err();
    assert_eq!(expired.code(), "ExpiredIteratorException");
    assert!(
        expired
            .message()
            .contains("tolerated delay of 300000 milliseconds"),
        "{}",
        expired.message()
    );

    assert_eq!(
        client.get("AAAA").await.unwrap_err().code(),
        "InvalidArgumentException"
    );
    let fresh = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    local.faults().expire_iterators();
    assert_eq!(
        client.get(&fresh).await.unwrap_err().code(),
        "ExpiredIteratorException"
    );
}

#[tokio::test]
async fn millis_behind_latest_is_zero_only_at_the_tip() {
    let (local, clock) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    client.put("s", &["a"]).await;
    clock.advance(Duration::from_secs(7));
    client.put("s", &["b"]).await;
    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let request = GetRecordsRequest {
        shard_iterator: Some(iterator),
        limit: Some(1),
        ..Default::default()
    };

    let page = client.call(request).await.unwrap();
    assert_eq!(page.millis_behind_latest, Some(7000));
    let page = client
        .get(&page.next_shard_iterator.unwrap())
        .await
        .unwrap();
    assert_eq!(
        (page.records.len(), page.millis_behind_latest),
        (1, Some(0))
    );
    clock.advance(Duration::from_secs(7));
    let page = client
        .get(&page.next_shard_iterator.unwrap())
        .await
        .unwrap();
    assert_eq!(
        (page.records.len(), page.millis_behind_latest),
        (0, Some(0))
    );
}

#[tokio::test]
async fn an_answer_has_ten_thousand_records_or_ten_mebibytes() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let put = async |data: &[u8], count: usize| {
        let records = (0..count).map(|_| entry("k", data)).collect();
        let request = PutRecordsRequest {
            stream_name: Some("s".into()),
            records: Some(records),
            ..Default::default()
        };

        client.call(request).await.unwrap();
    };

    for _ in 0..21 {
        put(b"x", 500).await;
    }
    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let page = client.get(&iterator).await.unwrap();
    assert_eq!(page.records.len(), 10_000);
    let large = vec![0; 1024 * 1024 - 1];
    for _ in 0..3 {
        put(&large, 4).await;
    }
    let page = client
        .get(&page.next_shard_iterator.unwrap())
        .await
        .unwrap();
    // The small records, then records of one mebibyte up to ten mebibytes.
    assert_eq!(page.records.len(), 509);
    let page = client
        .get(&page.next_shard_iterator.unwrap())
        .await
        .unwrap();
    assert_eq!(page.records.len(), 3);
}

#[tokio::test]
async fn records_have_limits() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let put = async |records: Vec<PutRecordsRequestEntry>| {
        let request = PutRecordsRequest {
            stream_name: Some("s".into()),
            records: Some(records),
            ..Default::default()
        };

        client
            .call(request)
            .await
            .map(|a| a.records.len())
            .map_err(|f| f.code().to_owned())
    };

    let mib = 1024 * 1024;
    let validation = || Err("ValidationException".to_owned());
    let argument = || Err("InvalidArgumentException".to_owned());
    assert_eq!(put(vec![entry("k", &vec![0; mib - 1])]).await, Ok(1));
    assert_eq!(put(vec![entry("k", &vec![0; mib])]).await, argument());
    assert_eq!(put(vec![entry("k", &vec![0; mib + 1])]).await, validation());
    assert_eq!(put(vec![]).await, validation());
    assert_eq!(put(vec![entry("k", b""); 500]).await, Ok(500));
    assert_eq!(put(vec![entry("k", b""); 501]).await, validation());
    assert_eq!(put(vec![entry("", b"")]).await, validation());
    assert_eq!(put(vec![entry(&"é".repeat(256), b"")]).await, Ok(1));
    assert_eq!(put(vec![entry(&"é".repeat(257), b"")]).await, validation());
    assert_eq!(
        put(vec![PutRecordsRequestEntry {
            partition_key: None,
            ..entry("k", b"")
        }])
        .await,
        validation()
    );

    assert_eq!(
        put(vec![PutRecordsRequestEntry {
            data: None,
            ..entry("k", b"")
        }])
        .await,
        validation()
    );

    let explicit = |key: &str| PutRecordsRequestEntry {
        explicit_hash_key: Some(key.into()),
        ..entry("k", b"")
    };
    assert_eq!(
        put(vec![explicit("340282366920938463463374607431768211455")]).await,
        Ok(1)
    );
    assert_eq!(
        put(vec![explicit("340282366920938463463374607431768211456")]).await,
        argument()
    );
    assert_eq!(put(vec![explicit("-1")]).await, validation());
    // The request has ten and a half mebibytes.
    assert_eq!(
        put(vec![entry("k", &vec![0; mib / 2]); 21]).await,
        argument()
    );
    let raise = UpdateMaxRecordSizeRequest {
        stream_arn: Some(arn("s")),
        max_record_size_in_kib: Some(10_240),
        ..Default::default()
    };

    client.call(raise).await.unwrap();
    assert_eq!(put(vec![entry("k", &vec![0; 10 * mib - 1])]).await, Ok(1));
}

#[tokio::test]
async fn age_drops_records_and_old_positions_get_the_configured_answer() {
    let hour = Duration::from_secs(3600);
    for choice in [TrimmedPosition::Refuse, TrimmedPosition::EmptyPages(2)] {
        let (local, clock) = local(|b| b.trimmed_position(choice));
        local.create_stream("s", 1).unwrap();
        let client = Client::new(&local);
        let old = client.put("s", &["a", "b"]).await.records[0]
            .sequence_number
            .clone();
        clock.advance(12 * hour);
        client.put("s", &["c"]).await;
        clock.advance(12 * hour + Duration::from_millis(1));
        assert_eq!(client.all("s", &shard_id(0)).await, ["c"]);
        assert_eq!(local.dropped().records_by_age, 2);
        let request = GetShardIteratorRequest {
            stream_name: Some("s".into()),
            shard_id: Some(shard_id(0)),
            shard_iterator_type: Some(ShardIteratorType::AfterSequenceNumber),
            starting_sequence_number: old,
            ..Default::default()
        };

        let answer = client.call(request).await;
        let TrimmedPosition::EmptyPages(pages) = choice else {
            assert_eq!(answer.unwrap_err().code(), "InvalidArgumentException");
            continue;
        };
        let mut iterator = answer.unwrap().shard_iterator.unwrap();
        for _ in 0..pages {
            let page = client.get(&iterator).await.unwrap();
            assert_eq!(
                (page.records.len(), page.millis_behind_latest),
                (0, Some(24 * 3_600_000))
            );
            iterator = page.next_shard_iterator.unwrap();
        }

        assert_eq!(client.get(&iterator).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn a_byte_budget_drops_the_oldest_records_of_all_streams() {
    let (local, clock) = local(|b| b.retention_bytes(4 << 20));
    local.create_stream("a", 1).unwrap();
    local.create_stream("b", 1).unwrap();
    let client = Client::new(&local);
    let data = vec![7; 100_000];
    for i in 0..100 {
        let stream = if i < 20 { "a" } else { "b" };
        let request = PutRecordsRequest {
            stream_name: Some(stream.into()),
            records: Some(vec![entry("k", &data)]),
            ..Default::default()
        };

        client.call(request).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }

    assert!(client.all("a", &shard_id(0)).await.is_empty());
    let kept = client.all("b", &shard_id(0)).await.len();
    assert!((30..=42).contains(&kept), "{kept}");
    let dropped = local.dropped();
    assert_eq!(dropped.records_by_budget, 100 - kept as u64);
    assert_eq!(dropped.bytes, dropped.records_by_budget * 100_001);
}

/// As AWS answers: <https://github.com/etspaceman/kinesis-mock/pull/1536> cites the message.
#[tokio::test]
async fn no_position_follows_the_end_of_a_closed_shard() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    client.put("s", &["a"]).await;
    let split = SplitShardRequest {
        stream_name: Some("s".into()),
        shard_to_split: Some(shard_id(0)),
        new_starting_hash_key: Some((1_u128 << 127).to_string()),
        ..Default::default()
    };

    client.call(split).await.unwrap();
    let ending = client.shards("s").await[0]
        .sequence_number_range
        .as_ref()
        .and_then(|range| range.ending_sequence_number.clone());
    assert!(ending.is_some());

    let request = |kind| GetShardIteratorRequest {
        stream_name: Some("s".into()),
        shard_id: Some(shard_id(0)),
        shard_iterator_type: Some(kind),
        starting_sequence_number: ending.clone(),
        ..Default::default()
    };

    let refused = client
        .call(request(ShardIteratorType::AfterSequenceNumber))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "InvalidArgumentException");
    client
        .call(request(ShardIteratorType::AtSequenceNumber))
        .await
        .unwrap();
}

/// Writes one record of 1 MB to stream `s`; returns the sequence number.
async fn put_megabyte(client: &Client) -> String {
    let request = PutRecordRequest {
        stream_name: Some("s".into()),
        partition_key: Some("k".into()),
        data: Some(bytes::Bytes::from(vec![7; 1_000_000]).into()),
        ..Default::default()
    };

    client.call(request).await.unwrap().sequence_number
}

/// AWS has no byte budget, and passes over records dropped by age with no error. A reader sees
/// a gap of age by `MillisBehindLatest`; a gap of the byte budget needs an error.
#[tokio::test]
async fn an_iterator_before_a_gap_of_the_byte_budget_is_expired_and_its_position_refused() {
    let (local, _) = local(|b| b.retention_bytes(4 << 20));
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let after = |number: &str| GetShardIteratorRequest {
        stream_name: Some("s".into()),
        shard_id: Some(shard_id(0)),
        shard_iterator_type: Some(ShardIteratorType::AfterSequenceNumber),
        starting_sequence_number: Some(number.into()),
        ..Default::default()
    };

    let starting = client.shards("s").await[0]
        .sequence_number_range
        .as_ref()
        .unwrap()
        .starting_sequence_number
        .clone();
    let from_start = client.call(after(&starting)).await.unwrap();
    let first = put_megabyte(&client).await;
    let horizon = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    let page = client.get(&horizon).await.unwrap();
    assert_eq!(page.records[0].sequence_number, first);

    let mut numbers = Vec::new();
    for _ in 0..8 {
        numbers.push(put_megabyte(&client).await);
    }
    let dropped = usize::try_from(local.dropped().records_by_budget).unwrap();
    assert!((4..8).contains(&dropped), "{dropped}");

    let before_gap = page.next_shard_iterator.unwrap();
    for iterator in [before_gap, horizon, from_start.shard_iterator.unwrap()] {
        let refused = client.get(&iterator).await.unwrap_err();
        assert_eq!(refused.code(), "ExpiredIteratorException");
    }
    for number in [&first, &starting] {
        let refused = client.call(after(number)).await.unwrap_err();
        assert_eq!(refused.code(), "InvalidArgumentException");
    }

    // A position directly before the oldest kept record has no gap.
    let at_head = client.call(after(&numbers[dropped - 2])).await.unwrap();
    let page = client.get(&at_head.shard_iterator.unwrap()).await.unwrap();
    assert_eq!(page.records[0].sequence_number, numbers[dropped - 1]);
}

#[tokio::test]
async fn empty_pages_announce_a_gap_of_the_byte_budget_if_chosen() {
    let empty_pages = TrimmedPosition::EmptyPages(2);
    let (local, _) = local(|b| b.retention_bytes(4 << 20).trimmed_position(empty_pages));
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let mut iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    for _ in 0..9 {
        put_megabyte(&client).await;
    }

    for _ in 0..2 {
        let page = client.get(&iterator).await.unwrap();
        assert_eq!(
            (page.records.len(), page.millis_behind_latest),
            (0, Some(24 * 3_600_000))
        );
        iterator = page.next_shard_iterator.unwrap();
    }

    assert!(!client.get(&iterator).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn limits_are_enforced_on_request() {
    let (local, clock) = local(|b| b.enforce_limits(true));
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let mut failed = 0;
    for _ in 0..3 {
        failed += client
            .put("s", &["k"; 500])
            .await
            .failed_record_count
            .unwrap();
    }

    assert_eq!(failed, 500);
    let answer = client.put("s", &["k"]).await;
    assert_eq!(
        answer.records[0].error_code.as_deref(),
        Some("ProvisionedThroughputExceededException")
    );
    assert_eq!(
        answer.records[0].error_message.as_deref(),
        Some(
            "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
        )
    );

    let iterator = client
        .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
        .await;
    for _ in 0..5 {
        client.get(&iterator).await.unwrap();
    }
    let refused = client.get(&iterator).await.unwrap_err();
    assert_eq!(refused.code(), "ProvisionedThroughputExceededException");
    clock.advance(Duration::from_secs(1));
    client.get(&iterator).await.unwrap();
    assert_eq!(
        client.put("s", &["k"; 500]).await.failed_record_count,
        Some(0)
    );
    let list = || ListStreamsRequest::default();
    for _ in 0..5 {
        client.call(list()).await.unwrap();
    }
    assert_eq!(
        client.call(list()).await.unwrap_err().code(),
        "LimitExceededException"
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (local, _) = local(|b| b);
    local.create_stream("s", 1).unwrap();
    let client = Client::new(&local);
    let request = PutRecordsRequest {
        stream_name: Some("s".into()),
        records: Some(vec![entry("k", b"x")]),
        dry_run: Some(true),
        ..Default::default()
    };

    assert_eq!(
        client.call(request).await.unwrap_err().code(),
        "DryRunOperationException"
    );
    assert!(client.all("s", &shard_id(0)).await.is_empty());
}

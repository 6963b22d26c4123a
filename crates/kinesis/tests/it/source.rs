//! The reading of a shard: positions, iterators, ends, gaps.

use std::time::Duration;

use bytes::Bytes;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;
use distributary_core::output::TroubleKind;
use distributary_core::source::{Credit, Fetched, Read, ShardReader, Source};
use distributary_kinesis::client::Client;
use distributary_kinesis::source::KinesisSource;
use distributary_kinesis::transport::RequestClass;
use distributary_wire::codec::Format;
use distributary_wire::error::ErrorCode;
use distributary_wire::op::Operation;
use distributary_wire::types::*;

use crate::client::{by_arn, by_name, summary};
use crate::script::{DATE_MS, Script, reply};

const CREDIT: Credit = Credit { records: 100 };
/// The number at which a shard of Kinesis begins.
const START: &str = "49680490629149921448701257562937723084196276936611201042";

fn shard(id: &str, parents: [Option<&str>; 2], closed: bool) -> Shard {
    Shard {
        shard_id: id.into(),
        parent_shard_id: parents[0].map(str::to_owned),
        adjacent_parent_shard_id: parents[1].map(str::to_owned),
        hash_key_range: Some(HashKeyRange {
            starting_hash_key: "0".into(),
            ending_hash_key: u128::MAX.to_string(),
        }),
        sequence_number_range: Some(SequenceNumberRange {
            // moto numbers from 1, and its first record has the shard's starting number.
            starting_sequence_number: match id {
                "a" => "1".into(),
                _ => START.into(),
            },
            ending_sequence_number: closed.then(|| "99".to_owned()),
        }),
    }
}

fn iterator(name: &str) -> GetShardIteratorResponse {
    GetShardIteratorResponse {
        shard_iterator: Some(name.into()),
    }
}

fn page(sequences: &[&str], next: Option<&str>, behind: i64) -> GetRecordsResponse {
    let record = |s: &&str| Record {
        sequence_number: (*s).to_owned(),
        approximate_arrival_timestamp: Some(Timestamp(DATE_MS - 60_000)),
        data: Blob(Bytes::copy_from_slice(s.as_bytes())),
        partition_key: Some("k".into()),
        ..Default::default()
    };
    GetRecordsResponse {
        records: sequences.iter().map(record).collect(),
        next_shard_iterator: next.map(str::to_owned),
        millis_behind_latest: Some(behind),
        child_shards: None,
    }
}

fn open(script: &Script, position: Position) -> Box<dyn ShardReader> {
    KinesisSource::new(script.client(), by_arn()).open(&ShardId::new("s1"), position)
}

async fn next(reader: &mut Box<dyn ShardReader>) -> Read {
    reader.next(CREDIT).await.expect("a read")
}

fn sequences(read: &Read) -> Vec<String> {
    match &read.fetched {
        Fetched::Batch(batch) => batch.iter().map(|r| r.sequence.to_owned()).collect(),
        other => panic!("no batch but {other:?}"),
    }
}

fn after(sequence: &str) -> Position {
    Position::after(sequence)
}

#[tokio::test]
async fn the_stream_as_it_is() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_arn());
    script.ok(summary(StreamStatus::Active));
    let facts = source.facts().await.unwrap();
    let identity = facts.identity;
    assert!(identity.arn.ends_with(":stream/orders"));
    assert_eq!(identity.created, Some(Millis(1_700_000_000_000)));
    assert_eq!(facts.retention, Duration::from_secs(24 * 3600));
    let now = facts.time;
    assert_eq!((now.earliest.0, now.latest.0), (DATE_MS, DATE_MS + 1000));
    let shards = vec![
        shard("a", [None, None], true),
        shard("b", [None, None], true),
        shard("c", [Some("a"), Some("b")], false),
    ];
    script.ok(ListShardsResponse {
        shards: Some(shards),
        next_token: None,
    });
    let shards = source.shards().await.unwrap();
    assert_eq!(shards[2].parents, [ShardId::new("a"), ShardId::new("b")]);
    assert!(shards[0].closed && !shards[2].closed && shards[0].parents.is_empty());
    assert_eq!(shards[2].hash_range.unwrap().end, u128::MAX);
    assert_eq!(shards[0].start, None);
    assert_eq!(shards[2].start, Some(Sequence::new(START)));
    script.calls();
}

#[tokio::test]
async fn positions_become_iterators() {
    for (position, kind) in [
        (Position::TrimHorizon, ShardIteratorType::TrimHorizon),
        (
            Position::At(Millis(1_700_000_000_123)),
            ShardIteratorType::AtTimestamp,
        ),
        (after("007"), ShardIteratorType::AfterSequenceNumber),
    ] {
        let script = Script::default();
        let mut reader = open(&script, position.clone());
        script
            .ok(iterator("i1"))
            .ok(page(&["7", "8"], Some("i2"), 500))
            .ok(page(&[], Some("i3"), 0));
        let read = next(&mut reader).await;
        assert_eq!(sequences(&read), ["7", "8"]);
        assert_eq!(read.behind, Duration::from_millis(500));
        assert!(read.complete_until.0 <= DATE_MS - 500 && read.complete_until.0 > DATE_MS - 2000);
        let read = next(&mut reader).await;
        assert!(matches!(read.fetched, Fetched::Idle) && read.behind.is_zero());
        let calls = script.calls();
        let request: GetShardIteratorRequest = calls[0].read();
        assert_eq!(
            (request.shard_id.as_deref(), request.shard_iterator_type),
            (Some("s1"), Some(kind))
        );
        match position {
            Position::At(at) => assert_eq!(request.timestamp, Some(Timestamp(at.0))),
            // Sent as received, with leading zeros.
            Position::After { sequence: s, .. } => assert_eq!(
                request.starting_sequence_number.as_deref(),
                Some(s.as_str())
            ),
            Position::TrimHorizon | Position::Closed => {
                assert_eq!(request.starting_sequence_number, None);
            }
        }
        let requests: Vec<GetRecordsRequest> = calls[1..].iter().map(|call| call.read()).collect();
        assert_eq!(
            (requests[0].shard_iterator.as_deref(), requests[0].limit),
            (Some("i1"), Some(100))
        );
        assert_eq!(requests[1].shard_iterator.as_deref(), Some("i2"));
    }
}

#[tokio::test]
async fn records_are_places_in_the_answer() {
    for format in Format::ALL {
        let script = Script::default();
        let client = Client::builder(std::sync::Arc::new(script.clone()))
            .endpoint("http://s")
            .format(format);
        let source = KinesisSource::new(client.build().unwrap(), by_arn());
        script.ok(ListShardsResponse {
            shards: Some(vec![shard("s1", [None, None], false)]),
            next_token: None,
        });
        source.shards().await.unwrap();
        let mut reader = source.open(&ShardId::new("s1"), Position::TrimHorizon);
        script.ok(iterator("i1")).ok(page(&["12"], Some("i2"), 0));
        let read = next(&mut reader).await;
        let Fetched::Batch(batch) = &read.fetched else {
            panic!("{read:?}")
        };
        let record = batch.record(0);
        let data: &[u8] = if format == Format::Json {
            b"MTI="
        } else {
            b"12"
        };
        assert_eq!(
            (record.key, record.data, record.data_len()),
            (Some("k"), data, 2)
        );
        assert_eq!(record.arrival.0, DATE_MS - 60_000);
        assert_eq!(batch.hash_range().unwrap().end, u128::MAX);
        script.calls();
    }
}

#[tokio::test]
async fn expired_iterators_are_taken_again_from_the_last_record() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    script.ok(iterator("i1")).ok(page(&["7"], Some("i2"), 0));
    next(&mut reader).await;
    script.calls();
    script
        .err(ErrorCode::ExpiredIterator, "expired")
        .ok(iterator("i3"))
        .ok(page(&["8"], Some("i4"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["8"]);
    let calls = script.calls();
    let request: GetShardIteratorRequest = calls[1].read();
    assert_eq!(request.starting_sequence_number.as_deref(), Some("7"));
    // A new iterator that is refused as expired is trouble, not a loop; the next read takes
    // another.
    script
        .err(ErrorCode::ExpiredIterator, "")
        .ok(iterator("i5"))
        .err(ErrorCode::ExpiredIterator, "");
    assert_eq!(
        reader.next(CREDIT).await.unwrap_err().kind,
        TroubleKind::Unavailable
    );
    script.ok(iterator("i6")).ok(page(&["9"], Some("i7"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["9"]);
    assert_eq!(script.calls().len(), 5);
}

#[tokio::test]
async fn one_call_a_read_and_nothing_lost_by_a_failure() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    script
        .ok(iterator("i1"))
        .err(ErrorCode::ProvisionedThroughputExceeded, "Rate exceeded");
    let trouble = reader.next(CREDIT).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Throttled);
    assert!(trouble.message.contains("orders (shard s1)"), "{trouble}");
    assert_eq!(script.calls().len(), 2);
    // An empty page on the way is a step like any other.
    script
        .ok(page(&[], Some("i2"), 3_600_000))
        .ok(page(&["7"], Some("i3"), 0));
    assert!(matches!(next(&mut reader).await.fetched, Fetched::Idle));
    assert_eq!(sequences(&next(&mut reader).await), ["7"]);
    let requests: Vec<GetRecordsRequest> = script.calls().iter().map(|call| call.read()).collect();
    assert_eq!(
        requests
            .iter()
            .filter_map(|r| r.shard_iterator.as_deref())
            .collect::<Vec<_>>(),
        ["i1", "i2"]
    );
}

#[tokio::test]
async fn a_closed_shard_ends_after_its_last_records() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    let mut last = page(&["7"], None, 0);
    last.child_shards = Some(vec![ChildShard {
        shard_id: "c1".into(),
        ..Default::default()
    }]);
    script.ok(iterator("i1")).ok(last);
    assert_eq!(sequences(&next(&mut reader).await), ["7"]);
    let read = next(&mut reader).await;
    assert!(
        matches!(&read.fetched, Fetched::Closed { children } if *children == [ShardId::new("c1")])
    );
    assert_eq!(script.calls().len(), 2);
}

fn listing(shards: Vec<Shard>) -> ListShardsResponse {
    ListShardsResponse {
        shards: Some(shards),
        next_token: None,
    }
}

#[tokio::test]
async fn an_open_shard_without_a_next_iterator_has_not_ended() {
    for missing in [None, Some("")] {
        let script = Script::default();
        let mut reader = open(&script, Position::TrimHorizon);
        // An answer with records, and one without.
        script
            .ok(iterator("i1"))
            .ok(page(&["7"], missing, 0))
            .ok(listing(vec![shard("s1", [None, None], false)]))
            .ok(iterator("i2"))
            .ok(page(&[], missing, 0));
        let read = next(&mut reader).await;
        assert_eq!(sequences(&read), ["7"]);
        assert_eq!(
            read.complete_until.0,
            DATE_MS - 60_000,
            "the tip is not known"
        );
        let trouble = reader.next(CREDIT).await.unwrap_err();
        assert!(
            trouble.message.contains("lacks NextShardIterator"),
            "{trouble}"
        );

        script
            .ok(listing(vec![shard("s1", [None, None], false)]))
            .ok(iterator("i3"))
            .ok(page(&["8"], Some("i4"), 0));
        assert_eq!(sequences(&next(&mut reader).await), ["8"]);
        let calls = script.calls();
        let request: GetShardIteratorRequest = calls[6].read();
        assert_eq!(request.starting_sequence_number.as_deref(), Some("7"));
    }
}

#[tokio::test]
async fn the_shard_map_ends_a_shard_on_servers_that_return_no_children() {
    let script = Script::default();
    let mut reader = open(&script, after("7"));
    script.ok(iterator("i1")).ok(page(&[], None, 0));
    assert!(reader.next(CREDIT).await.is_err());
    // The map has an ending sequence number now. What the shard took before that is still read.
    let ended = vec![
        shard("s1", [None, None], true),
        shard("s2", [Some("s1"), None], false),
    ];
    script
        .ok(listing(ended))
        .ok(iterator("i2"))
        .ok(page(&["8"], None, 0));
    assert_eq!(sequences(&next(&mut reader).await), ["8"]);
    for i in 0..3 {
        script.ok(iterator("i3")).ok(page(&[], None, 0));
        let read = reader.next(CREDIT).await;
        assert_eq!(read.is_ok(), i == 2, "{read:?}");
        if let Ok(read) = read {
            assert!(
                matches!(read.fetched, Fetched::Closed { children } if children == [ShardId::new("s2")])
            );
        }
    }
    script.calls();
}

#[tokio::test]
async fn a_refused_iterator_is_taken_anew_from_the_last_record() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    script
        .ok(iterator("i1"))
        .ok(page(&["7"], Some("i2"), 5000))
        // Refused for each reason, and the new one, too.
        .err(ErrorCode::InvalidArgument, "Invalid ShardIterator.")
        .ok(iterator("i3"))
        .err(ErrorCode::InvalidArgument, "Invalid ShardIterator.");
    assert_eq!(sequences(&next(&mut reader).await), ["7"]);
    assert!(reader.next(CREDIT).await.is_err());
    for code in [
        ErrorCode::Validation,
        ErrorCode::ResourceNotFound,
        ErrorCode::Other("NewException".into()),
    ] {
        script.ok(iterator("i4")).err(code.clone(), "no");
        assert!(reader.next(CREDIT).await.is_err(), "{code:?}");
    }
    script.ok(iterator("i5")).ok(page(&["8"], Some("i6"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["8"]);
    for call in script.calls() {
        if call.operation == Operation::GetShardIterator {
            let request: GetShardIteratorRequest = call.read();
            let kind = request.shard_iterator_type.unwrap();
            let from = request.starting_sequence_number;
            assert!(kind == ShardIteratorType::TrimHorizon || from.as_deref() == Some("7"));
        }
    }
}

#[tokio::test]
async fn a_short_listing_is_no_listing() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_arn());
    let mut half = shard("a", [None, None], false);
    half.hash_key_range.as_mut().unwrap().ending_hash_key = "5".into();
    let lists = [vec![], vec![half], vec![shard("a", [None, None], true)]];
    for shards in lists {
        script.ok(listing(shards));
        let trouble = source.shards().await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unavailable);
        assert!(trouble.message.contains("lacks shards"), "{trouble}");
    }
    script.calls();
}

#[tokio::test]
async fn a_closed_shard_ends_on_servers_that_never_end_its_iterators() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_arn());
    let shards = vec![
        shard("s1", [None, None], true),
        shard("s2", [Some("s1"), None], false),
    ];
    script.ok(ListShardsResponse {
        shards: Some(shards),
        next_token: None,
    });
    source.shards().await.unwrap();
    let mut reader = source.open(&ShardId::new("s1"), Position::TrimHorizon);
    script.ok(iterator("i1")).ok(page(&["7"], Some("i2"), 0));
    next(&mut reader).await;
    // Behind, and empty: on the way.
    script.ok(page(&[], Some("i"), 5000));
    for _ in 0..3 {
        script.ok(page(&[], Some("i"), 0));
    }
    for _ in 0..3 {
        assert!(matches!(next(&mut reader).await.fetched, Fetched::Idle));
    }
    let read = next(&mut reader).await;
    assert!(
        matches!(&read.fetched, Fetched::Closed { children } if *children == [ShardId::new("s2")])
    );
    // An open shard never counts as closed.
    let mut reader = source.open(&ShardId::new("s2"), Position::TrimHorizon);
    script.ok(iterator("i1"));
    for _ in 0..20 {
        script.ok(page(&[], Some("i"), 0));
        assert!(matches!(next(&mut reader).await.fetched, Fetched::Idle));
    }
    script.calls();
}

#[tokio::test]
async fn a_refused_position_is_a_gap() {
    let script = Script::default();
    let mut reader = open(&script, after("7"));
    script.err(
        ErrorCode::InvalidArgument,
        "StartingSequenceNumber 7 used in GetShardIterator on shard s1 … is invalid",
    );
    script
        .ok(summary(StreamStatus::Active))
        .ok(iterator("oldest"))
        .ok(page(&["9"], Some("i2"), 0));
    let read = next(&mut reader).await;
    let Fetched::Gap { oldest } = read.fetched else {
        panic!("{read:?}")
    };
    let oldest = oldest.unwrap();
    assert_eq!(
        (oldest.sequence.as_str(), oldest.arrival.0),
        ("9", DATE_MS - 60_000)
    );
    script.calls();
    script.ok(iterator("i1")).ok(page(&["9"], Some("i2"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["9"]);
    let request: GetShardIteratorRequest = script.calls()[0].read();
    assert_eq!(
        request.shard_iterator_type,
        Some(ShardIteratorType::TrimHorizon)
    );
    // The shard still has an older record: the position is not gone.
    let mut reader = open(&script, after("7"));
    script
        .err(ErrorCode::InvalidArgument, "no")
        .ok(summary(StreamStatus::Active))
        .ok(iterator("oldest"))
        .ok(page(&["7"], Some("i2"), 0));
    let trouble = reader.next(CREDIT).await.unwrap_err();
    assert!(trouble.message.contains("older records"), "{trouble}");
    script.calls();
    // A time is never too old, so its refusal is trouble.
    let mut reader = open(&script, Position::At(Millis(5)));
    script.err(
        ErrorCode::InvalidArgument,
        "cannot be greater than the current time",
    );
    assert_eq!(
        reader.next(CREDIT).await.unwrap_err().kind,
        TroubleKind::Invalid
    );
    script.calls();
}

#[tokio::test]
async fn near_the_horizon_every_read_asks_for_its_position() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_name());
    script.ok(summary(StreamStatus::Active));
    source.facts().await.unwrap();
    let mut reader = source.open(&ShardId::new("s1"), after("7"));
    let day = 24 * 3600 * 1000;
    script
        .ok(iterator("i1"))
        .ok(page(&["8"], Some("i2"), day - 60_000));
    assert_eq!(sequences(&next(&mut reader).await), ["8"]);
    // The iterator of that page would silently pass over records that were deleted meanwhile.
    script.err(
        ErrorCode::InvalidArgument,
        "StartingSequenceNumber 8 used in GetShardIterator … is invalid",
    );
    script
        .ok(summary(StreamStatus::Active))
        .ok(iterator("oldest"))
        .ok(page(&["20"], None, 0));
    assert!(matches!(
        next(&mut reader).await.fetched,
        Fetched::Gap { .. }
    ));
    // Far from it one page leads to the next.
    script
        .ok(iterator("i3"))
        .ok(page(&["20"], Some("i4"), 5000))
        .ok(page(&["21"], Some("i5"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["20"]);
    assert_eq!(sequences(&next(&mut reader).await), ["21"]);
    let calls = script.calls();
    let iterators = calls
        .iter()
        .filter(|call| call.operation == Operation::GetShardIterator);
    assert_eq!(iterators.count(), 4);
}

#[tokio::test]
async fn a_position_that_returns_nothing_again_is_a_gap_after_the_tip() {
    let script = Script::default();
    let mut reader = open(&script, after("7"));
    let day = 24 * 3600 * 1000;
    script.ok(iterator("i"));
    // No Date: the reader is at the tip by this machine's clock.
    script.then(|call| {
        let body = distributary_wire::codec::encode(call.format, &page(&[], Some("i"), 0));
        let mut response = reply(200, Some(call.format.content_type()), body)?;
        response.headers_mut().remove("date");
        Ok(response)
    });
    next(&mut reader).await;

    // By its arrival time the oldest record can't have a deleted one before it.
    let later = distributary_core::clock::Clock::real().wall().0 + 60_000;
    for i in 0..20 {
        if i == 10 {
            script.ok(iterator("i"));
        }
        script.ok(page(&[], Some("i"), day - 1000));
        if i == 0 {
            script.ok(summary(StreamStatus::Active));
        }
        if i % 10 == 9 {
            let mut oldest = page(&["9"], None, 0);
            oldest.records[0].approximate_arrival_timestamp = Some(Timestamp(later));
            script
                .ok(summary(StreamStatus::Active))
                .ok(iterator("oldest"))
                .ok(oldest);
        }
        let read = next(&mut reader).await;
        let is_gap = matches!(read.fetched, Fetched::Gap { .. });
        assert_eq!(is_gap, i == 19, "page {i}: {read:?}");
    }
}

#[tokio::test]
async fn empty_pages_for_ever_at_the_retention_are_a_gap() {
    let script = Script::default();
    let mut reader = open(&script, after("7"));
    let day = 24 * 3600 * 1000;
    script.ok(iterator("i"));
    for i in 0..10 {
        script.ok(page(&[], Some("i"), day - 1000));
        if i == 0 {
            // The retention is asked for.
            script.ok(summary(StreamStatus::Active));
        }
        if i == 9 {
            script
                .ok(summary(StreamStatus::Active))
                .ok(iterator("oldest"))
                .ok(page(&["9"], None, 0));
        }
        let read = next(&mut reader).await;
        assert_eq!(
            matches!(read.fetched, Fetched::Gap { .. }),
            i == 9,
            "page {i}: {read:?}"
        );
    }
    script.ok(iterator("i")).ok(page(&["9"], Some("i"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["9"]);
    let calls = script.calls();
    let iterators = calls
        .iter()
        .filter(|call| call.operation == Operation::GetShardIterator);
    assert_eq!(iterators.count(), 3);

    // The same pages after the tip, where nothing older than the position is left, nor newer.
    for oldest in [page(&["7"], None, 0), page(&[], Some("i"), day)] {
        let mut reader = open(&script, after("7"));
        script.ok(iterator("i")).ok(page(&[], Some("i"), 0));
        next(&mut reader).await;
        for i in 0..25 {
            if i % 10 == 0 && i > 0 {
                script.ok(iterator("i"));
            }
            script.ok(page(&[], Some("i"), day - 1000));
            if i == 0 {
                script.ok(summary(StreamStatus::Active));
            }
            if i % 10 == 9 {
                script
                    .ok(summary(StreamStatus::Active))
                    .ok(iterator("oldest"))
                    .ok(oldest.clone());
            }
            assert!(matches!(next(&mut reader).await.fetched, Fetched::Idle));
        }
        script.calls();
    }

    // A reader that makes progress through an old, empty stretch reaches its end.
    let mut reader = open(&script, after("7"));
    script.ok(iterator("i"));
    for i in 0..50 {
        script.ok(page(&[], Some("i"), day - 10_000 * i));
        if i == 0 {
            script.ok(summary(StreamStatus::Active));
        }
        assert!(matches!(next(&mut reader).await.fetched, Fetched::Idle));
    }
    script.calls();
}

#[tokio::test]
async fn what_a_server_leaves_out_is_not_assumed() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    // No word about how far behind: surely complete is only what arrived up to the last record.
    let mut silent = page(&["7"], Some("i2"), 0);
    silent.millis_behind_latest = None;
    script.ok(iterator("i1")).ok(silent);
    let read = next(&mut reader).await;
    assert_eq!(read.complete_until.0, DATE_MS - 60_000);
    assert!(read.behind >= Duration::from_secs(59), "{:?}", read.behind);
    // "Not behind", and as many records as were asked for.
    script.ok(page(&["8", "9"], Some("i3"), 0));
    let read = reader.next(Credit { records: 2 }).await.unwrap();
    assert_eq!(read.complete_until.0, DATE_MS - 60_000);
    // No Date: this machine's clock, a little back.
    script.then(|call| {
        let mut response = reply(200, Some(call.format.content_type()), {
            distributary_wire::codec::encode(call.format, &page(&[], Some("i4"), 0))
        })?;
        response.headers_mut().remove("date");
        Ok(response)
    });
    let read = next(&mut reader).await;
    let wall = distributary_core::clock::Clock::real().wall();
    assert!(
        read.complete_until < wall && wall.since(read.complete_until) < Duration::from_secs(60)
    );
    script.calls();
}

#[tokio::test]
async fn what_is_no_record_is_trouble() {
    let script = Script::default();
    let mut reader = open(&script, Position::TrimHorizon);
    script
        .ok(iterator("i1"))
        .ok(page(&["no number"], Some("i2"), 0));
    let trouble = reader.next(CREDIT).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unintelligible);
    // The reader stays at its position.
    script.ok(page(&["7"], Some("i2"), 0));
    assert_eq!(sequences(&next(&mut reader).await), ["7"]);
    let request: GetRecordsRequest = script.calls()[2].read();
    assert_eq!(request.shard_iterator.as_deref(), Some("i1"));
}

#[tokio::test]
async fn the_arn_is_known_before_the_first_batch() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_name());
    let mut reader = source.open(&ShardId::new("s1"), Position::TrimHorizon);
    script
        .ok(summary(StreamStatus::Active))
        .ok(iterator("i1"))
        .ok(page(&["7"], Some("i2"), 0))
        .ok(page(&["8"], Some("i3"), 0));
    for _ in 0..2 {
        let read = next(&mut reader).await;
        let Fetched::Batch(batch) = &read.fetched else {
            panic!("{read:?}")
        };
        assert_eq!(*batch.origin().source, *by_arn().to_string());
    }
    let operations: Vec<_> = script.calls().iter().map(|call| call.operation).collect();
    assert_eq!(
        operations,
        [
            Operation::DescribeStreamSummary,
            Operation::GetShardIterator,
            Operation::GetRecords,
            Operation::GetRecords
        ]
    );
}

#[tokio::test]
async fn the_engines_calls_are_made_once() {
    let script = Script::default();
    let source = KinesisSource::new(script.client(), by_arn());
    let mut reader = source.open(&ShardId::new("s1"), Position::TrimHorizon);
    let throttled = || ErrorCode::LimitExceeded;
    script.err(throttled(), "Rate exceeded");
    let trouble = source.facts().await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Throttled);

    script.err(throttled(), "Rate exceeded");
    let trouble = source.shards().await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Throttled);

    script.err(throttled(), "Rate exceeded");
    let trouble = reader.next(CREDIT).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Throttled);
    let calls = script.calls();
    let classes: Vec<_> = calls.iter().map(|call| call.class).collect();
    assert_eq!(classes, [Some(RequestClass::Read); 3]);
}

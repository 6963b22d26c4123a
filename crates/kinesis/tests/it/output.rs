//! The requests of an output, and the outcome of every answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::output::{Demand, Outcome, Output, Picks, Room, TroubleKind, Verdict};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::HashRange;
use distributary_core::testing::TestClock;
use distributary_kinesis::client::Client;
use distributary_kinesis::output::{KinesisOutput, OutputOptions, Route};
use distributary_kinesis::transport::RequestClass;
use distributary_wire::codec::Format;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::TransportError;
use distributary_wire::types::*;
use proptest::prelude::*;

use crate::client::{by_arn, by_name, summary};
use crate::script::{Call, Script, reply};

const DEADLINE: Duration = Duration::from_secs(5);

/// A record for [`batch`].
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    key: Option<String>,
    data: Vec<u8>,
}

pub(crate) fn rec(key: &str, data: &[u8]) -> Rec {
    Rec {
        key: Some(key.to_owned()),
        data: data.to_vec(),
    }
}

fn base64(data: &[u8]) -> Vec<u8> {
    let text = serde_json::to_vec(&Blob(Bytes::copy_from_slice(data))).unwrap();
    text[1..text.len() - 1].to_vec()
}

fn origin(hash_range: Option<HashRange>) -> Arc<Origin> {
    Arc::new(Origin {
        source: "arn:aws:kinesis:us-east-1:123456789012:stream/input".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range,
    })
}

pub(crate) fn batch(form: DataForm, records: &[Rec]) -> Batch {
    batch_of_range(None, form, records)
}

pub(crate) fn batch_of_range(
    hash_range: Option<HashRange>,
    form: DataForm,
    records: &[Rec],
) -> Batch {
    let mut buffer = Vec::new();
    let mut put = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(bytes);
        Span {
            start,
            len: u32::try_from(bytes.len()).unwrap(),
        }
    };
    let index = records
        .iter()
        .enumerate()
        .map(|(i, r)| RecordIndex {
            sequence: put((1000 + i).to_string().as_bytes()),
            key: r.key.as_ref().map(|key| put(key.as_bytes())),
            data: match form {
                DataForm::Raw => put(&r.data),
                DataForm::Base64 => put(&base64(&r.data)),
            },
            arrival: Millis(0),
        })
        .collect();
    Batch::new(origin(hash_range), buffer.into(), form, index).unwrap()
}

/// An output whose server has answered in `format` before.
pub(crate) async fn output(
    script: &Script,
    format: Format,
    options: OutputOptions,
) -> KinesisOutput {
    let client = script.client();
    let output = KinesisOutput::new(client, by_name(), options);
    if format == Format::Json {
        // CBOR fails, JSON works, and CBOR fails again.
        script.html(500).ok(summary(StreamStatus::Active)).html(500);
    } else {
        script.ok(summary(StreamStatus::Active));
    }
    output.check().await.unwrap();
    script.calls();
    output
}

pub(crate) async fn plain(script: &Script) -> KinesisOutput {
    output(script, Format::Cbor, OutputOptions::default()).await
}

pub(crate) fn durable() -> PutRecordsResultEntry {
    PutRecordsResultEntry {
        sequence_number: Some("1".into()),
        shard_id: Some("shardId-0".into()),
        ..Default::default()
    }
}

pub(crate) fn failed(code: &str) -> PutRecordsResultEntry {
    PutRecordsResultEntry {
        error_code: Some(code.into()),
        error_message: Some("busy".into()),
        ..Default::default()
    }
}

pub(crate) fn answer(records: Vec<PutRecordsResultEntry>) -> PutRecordsResponse {
    let count = records.iter().filter(|r| r.error_code.is_some()).count();
    PutRecordsResponse {
        failed_record_count: i32::try_from(count).ok(),
        records,
        ..Default::default()
    }
}

pub(crate) async fn write(output: &KinesisOutput, batch: &Batch) -> Outcome {
    let chunk = output.encode(batch, Picks::Run(0..batch.len()));
    output.write(batch, &chunk, DEADLINE).await
}

fn three() -> Batch {
    batch(
        DataForm::Raw,
        &[rec("a", b"1"), rec("b", b"2"), rec("a", b"3")],
    )
}

pub(crate) fn entries(call: &Call) -> Vec<(Option<String>, Option<String>, Vec<u8>)> {
    let request: PutRecordsRequest = call.read();
    let entry = |e: PutRecordsRequestEntry| {
        (
            e.partition_key,
            e.explicit_hash_key,
            e.data.unwrap().0.to_vec(),
        )
    };
    request.records.unwrap().into_iter().map(entry).collect()
}

#[tokio::test]
async fn all_durable() {
    let script = Script::default();
    let output = plain(&script).await;
    script.ok(answer(vec![durable(), durable(), durable()]));
    assert!(matches!(write(&output, &three()).await, Outcome::Durable));
    let call = script.call();
    assert_eq!(
        (call.operation, call.format, call.class),
        (
            Operation::PutRecords,
            Format::Cbor,
            Some(RequestClass::Write)
        )
    );
    let request: PutRecordsRequest = call.read();
    assert_eq!(
        (request.stream_name.as_deref(), request.stream_arn),
        (Some("orders"), None)
    );
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(
        entries(&call),
        [
            (some("a"), None, b"1".to_vec()),
            (some("b"), None, b"2".to_vec()),
            (some("a"), None, b"3".to_vec())
        ]
    );
}

#[tokio::test]
async fn each_record_has_its_own_verdict() {
    let script = Script::default();
    let output = plain(&script).await;
    let codes = [
        "ProvisionedThroughputExceededException",
        "InternalFailure",
        "NewCode",
        "InvalidArgumentException",
    ];
    let mut records = vec![durable()];
    records.extend(codes.map(failed));
    script.ok(answer(records)).ok(ListShardsResponse {
        shards: Some(Vec::new()),
        next_token: None,
    });
    let batch = batch(DataForm::Raw, &vec![rec("k", b"x"); 5]);
    let Outcome::PerRecord(verdicts) = write(&output, &batch).await else {
        panic!("not per record")
    };
    let kinds: Vec<_> = verdicts
        .iter()
        .map(|v| match v {
            Verdict::Durable => "durable".to_owned(),
            Verdict::Retry(trouble) => format!("{:?}", trouble.kind),
            Verdict::Refused(refusal) => refusal.message.clone(),
            Verdict::Accepted => "accepted".to_owned(),
            Verdict::Partly(trouble) => format!("partly, {:?}", trouble.kind),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "durable",
            "Throttled",
            "Unavailable",
            "Unintelligible",
            "InvalidArgumentException: busy"
        ]
    );
}

#[tokio::test]
async fn a_doubtful_answer_is_unknown() {
    let script = Script::default();
    let output = plain(&script).await;
    let mut contradiction = answer(vec![durable(), durable(), failed("InternalFailure")]);
    contradiction.failed_record_count = Some(0);
    script.ok(contradiction);
    assert!(
        matches!(write(&output, &three()).await, Outcome::Unknown(t) if t.kind == TroubleKind::Unintelligible)
    );
    script.calls();

    let output = self::output(&script, Format::Json, OutputOptions::default()).await;
    // A success that lacks a record.
    script.ok(answer(vec![durable(), durable()]));
    assert!(
        matches!(write(&output, &three()).await, Outcome::Unknown(t) if t.kind == TroubleKind::Unintelligible)
    );
    script.err(ErrorCode::InternalFailure, "oops");
    assert!(
        matches!(write(&output, &three()).await, Outcome::Unknown(t) if t.kind == TroubleKind::Unavailable)
    );
    script.err(ErrorCode::ServiceUnavailable, "");
    assert!(matches!(
        write(&output, &three()).await,
        Outcome::Unknown(_)
    ));
    script.html(502);
    assert!(matches!(
        write(&output, &three()).await,
        Outcome::Unknown(_)
    ));
    script.broken();
    assert!(matches!(
        write(&output, &three()).await,
        Outcome::Unknown(_)
    ));
    script.then(|_| Err(TransportError::Timeout { after: DEADLINE }));
    assert!(matches!(
        write(&output, &three()).await,
        Outcome::Unknown(_)
    ));
    script.then(|call| {
        reply(
            200,
            Some(call.format.content_type()),
            Bytes::from_static(b"{\"Records\":[{"),
        )
    });
    assert!(matches!(
        write(&output, &three()).await,
        Outcome::Unknown(_)
    ));
    assert_eq!(script.calls().len(), 7);
}

#[tokio::test]
async fn a_refused_request_is_rejected() {
    let script = Script::default();
    let output = plain(&script).await;
    for (code, kind) in [
        (
            ErrorCode::ProvisionedThroughputExceeded,
            TroubleKind::Throttled,
        ),
        (ErrorCode::ResourceNotFound, TroubleKind::Missing),
        (ErrorCode::AccessDenied, TroubleKind::Denied),
        (ErrorCode::Validation, TroubleKind::Invalid),
    ] {
        script.err(code, "no");
        assert!(matches!(write(&output, &three()).await, Outcome::Rejected(t) if t.kind == kind));
    }
    script.then(|_| {
        Err(TransportError::Connect {
            endpoint: "s".into(),
            source: "refused".into(),
        })
    });
    assert!(
        matches!(write(&output, &three()).await, Outcome::Rejected(t) if t.kind == TroubleKind::Unavailable)
    );
    // Five requests: an output does not retry.
    assert_eq!(script.calls().len(), 5);
}

#[tokio::test]
async fn smaller_requests_are_learned_from_the_answer() {
    for refusal in [
        ApiError::new(
            ErrorCode::InvalidArgument,
            "Records size exceeds 5 MB limit",
        ),
        ApiError::new(
            ErrorCode::Validation,
            "Records total payload size exceeds 5 MB limit",
        ),
        ApiError {
            status: 413,
            ..ApiError::new(ErrorCode::RequestTooLarge, "")
        },
    ] {
        let script = Script::default();
        let output = plain(&script).await;
        assert_eq!(
            (
                output.profile().request.entries,
                output.profile().request.bytes
            ),
            (500, 10 << 20)
        );
        let before = output.encoding();
        let large = batch(DataForm::Raw, &vec![rec("k", &[7; 1_000_000]); 6]);
        let chunk = output.encode(&large, Picks::Run(0..6));
        let status = refusal.status;
        let empty = status == 413;
        script.then(move |call| {
            let body = if empty {
                Bytes::new()
            } else {
                refusal.encode(call.format)
            };
            reply(status, (!empty).then(|| call.format.content_type()), body)
        });
        let Outcome::Stale = output.write(&large, &chunk, DEADLINE).await else {
            panic!("not stale")
        };
        assert_eq!(output.profile().request.bytes, 5 << 20);
        assert_ne!(
            output.encoding(),
            before,
            "lanes that still cut larger ones don't share"
        );
        // A chunk that was cut before is not even sent.
        script.calls();
        assert!(matches!(
            output.write(&large, &chunk, DEADLINE).await,
            Outcome::Stale
        ));
        assert!(script.calls().is_empty());
        // A server that takes even less.
        let chunk = output.encode(&large, Picks::Run(0..4));
        script.html(413);
        assert!(matches!(
            output.write(&large, &chunk, DEADLINE).await,
            Outcome::Stale
        ));
        assert_eq!(output.profile().request.bytes, 2_000_002);
        script.call();
    }
}

#[tokio::test]
async fn chunks_in_cbor_are_stale_where_json_is_wanted() {
    let script = Script::default();
    let output = plain(&script).await;
    let batch = three();
    let chunk = output.encode(&batch, Picks::Run(0..3));
    // Each answer is cut at 16 KiB, as by one server: the records were written, without a proof. The
    // server has spoken CBOR before, so one such answer may be chance.
    for _ in 0..3 {
        script.then(|call| {
            reply(
                200,
                Some(call.format.content_type()),
                Bytes::from_static(b"\xbf\x67Records\x9f"),
            )
        });
        assert!(matches!(
            output.write(&batch, &chunk, DEADLINE).await,
            Outcome::Unknown(_)
        ));
        script.call();
    }
    assert!(matches!(
        output.write(&batch, &chunk, DEADLINE).await,
        Outcome::Stale
    ));
    assert!(script.calls().is_empty());
    script.ok(answer(vec![durable(), durable(), durable()]));
    assert!(matches!(write(&output, &batch).await, Outcome::Durable));
    assert_eq!(script.call().format, Format::Json);
}

#[tokio::test]
async fn the_first_call_to_a_server_is_a_harmless_one() {
    let script = Script::default();
    let output = KinesisOutput::new(script.client(), by_name(), OutputOptions::default());
    let batch = three();
    let chunk = output.encode(&batch, Picks::Run(0..3));
    script.html(500).ok(summary(StreamStatus::Active)).html(500);
    assert!(matches!(
        output.write(&batch, &chunk, DEADLINE).await,
        Outcome::Stale
    ));
    let calls: Vec<_> = script.calls().iter().map(|c| c.operation).collect();
    assert_eq!(calls, [Operation::DescribeStreamSummary; 3]);
}

#[tokio::test]
async fn by_name_where_no_arns_are_known() {
    let script = Script::default();
    let output = KinesisOutput::new(script.client(), by_arn(), OutputOptions::default());
    script.ok(summary(StreamStatus::Active));
    output.check().await.unwrap();
    script.calls();
    script.err(
        ErrorCode::Validation,
        "Value null at 'streamName' failed to satisfy constraint",
    );
    script.ok(answer(vec![durable(), durable(), durable()]));
    assert!(matches!(write(&output, &three()).await, Outcome::Durable));
    let calls = script.calls();
    let named: Vec<_> = calls
        .iter()
        .map(|call| {
            let request: PutRecordsRequest = call.read();
            (request.stream_name.is_some(), request.stream_arn.is_some())
        })
        .collect();
    assert_eq!(named, [(false, true), (true, false)]);
    assert_eq!(entries(&calls[0]), entries(&calls[1]));
}

#[tokio::test]
async fn records_that_no_request_can_hold_are_refused_and_the_rest_written() {
    let script = Script::default();
    let output = plain(&script).await;
    let mib = 1 << 20;
    let records = [
        rec("k", &vec![1; mib]),
        rec("k", b"fine"),
        rec(&"ü".repeat(257), b""),
        rec(&"ü".repeat(256), b""),
        rec("k", &vec![1; mib - 1]),
        rec("k", &vec![1; mib + 1]),
    ];
    let batch = batch(DataForm::Base64, &records);
    script.ok(answer(vec![
        durable(),
        failed("InternalFailure"),
        durable(),
    ]));
    let Outcome::PerRecord(verdicts) = write(&output, &batch).await else {
        panic!("not per record")
    };
    let kinds: Vec<_> = verdicts
        .iter()
        .map(|v| match v {
            Verdict::Durable => "durable",
            Verdict::Retry(_) => "retry",
            Verdict::Refused(refusal) => &refusal.code,
            Verdict::Accepted => "accepted",
            Verdict::Partly(_) => "partly",
        })
        .collect();
    let (validation, argument) = ("ValidationException", "InvalidArgumentException");
    assert_eq!(
        kinds,
        [
            argument, "durable", validation, "retry", "durable", validation
        ],
        "with the codes of AWS"
    );
    assert_eq!(entries(&script.call()).len(), 3);
    // With nothing left, nothing is sent.
    let chunk = output.encode(&batch, Picks::Some(vec![0, 5]));
    let outcome = output.write(&batch, &chunk, DEADLINE).await;
    assert!(
        matches!(outcome, Outcome::PerRecord(v) if v.len() == 2 && matches!(v[1], Verdict::Refused(_)))
    );
    assert!(script.calls().is_empty());
}

#[tokio::test]
async fn data_that_are_no_base64_are_refused_where_they_are_decoded() {
    let script = Script::default();
    let output = plain(&script).await;
    let buffer = Bytes::from_static(b"1k====eA==");
    let index = |start| RecordIndex {
        sequence: Span { start: 0, len: 1 },
        key: Some(Span { start: 1, len: 1 }),
        data: Span { start, len: 4 },
        arrival: Millis(0),
    };
    let batch = Batch::new(
        origin(None),
        buffer,
        DataForm::Base64,
        vec![index(2), index(6)],
    )
    .unwrap();
    script.ok(answer(vec![durable()]));
    let Outcome::PerRecord(verdicts) = write(&output, &batch).await else {
        panic!("not per record")
    };
    assert!(
        matches!(&verdicts[..], [Verdict::Refused(_), Verdict::Durable]),
        "{verdicts:?}"
    );
    assert_eq!(entries(&script.call())[0].2, b"x");
}

#[tokio::test]
async fn a_description_tells_the_record_size_and_the_identity() {
    let script = Script::default();
    let output = KinesisOutput::new(script.client(), by_name(), OutputOptions::default());
    let mut described = summary(StreamStatus::Active);
    described.stream_description_summary.max_record_size_in_kib = Some(10_240);
    script.ok(described);
    let before = output.encoding();
    assert_eq!(output.identity(), None);
    assert_eq!(output.check().await.unwrap().record_bytes, 10 << 20);
    assert_ne!(output.encoding(), before);
    let identity = output.identity().unwrap();
    assert_eq!(identity.arn, by_arn().to_string());
    assert_eq!(identity.created, Some(Millis(1_700_000_000_000)));
    script.calls();
    script.ok(answer(vec![durable()]));
    let outcome = write(
        &output,
        &batch(DataForm::Raw, &[rec("k", &vec![1; (10 << 20) - 1])]),
    )
    .await;
    assert!(matches!(outcome, Outcome::Durable));
    script.call();
}

#[tokio::test]
async fn records_without_a_key() {
    let script = Script::default();
    let output = plain(&script).await;
    let keyless = batch(
        DataForm::Raw,
        &[Rec {
            key: None,
            data: b"x".to_vec(),
        }],
    );
    script.ok(answer(vec![durable()]));
    write(&output, &keyless).await;
    assert_eq!(
        entries(&script.call())[0].0.as_deref(),
        Some("1000"),
        "its sequence number stands in"
    );

    let mut described = summary(StreamStatus::Active);
    described
        .stream_description_summary
        .record_distribution_strategy = Some(RecordDistributionStrategy::Auto);
    script.ok(described).ok(answer(vec![durable()]));
    output.check().await.unwrap();
    write(&output, &keyless).await;
    assert_eq!(
        entries(&script.calls()[1])[0].0,
        None,
        "a stream that places records by itself needs none"
    );
}

#[tokio::test]
async fn shard_mates_stay_together_by_route() {
    let script = Script::default();
    let options = OutputOptions {
        route: Route::SourceShard,
        ..OutputOptions::default()
    };
    let output = output(&script, Format::Cbor, options).await;
    assert_ne!(output.encoding(), plain(&script).await.encoding());
    let range = HashRange {
        start: u128::MAX / 2 + 1,
        end: u128::MAX,
    };
    script.ok(answer(vec![durable(), durable(), durable()]));
    let batch = batch_of_range(
        Some(range),
        DataForm::Raw,
        &[rec("a", b"1"), rec("b", b"2"), rec("a", b"3")],
    );
    write(&output, &batch).await;
    for entry in entries(&script.call()) {
        assert_eq!(
            entry.1.as_deref(),
            Some("170141183460469231731687303715884105728")
        );
    }
    script.ok(answer(vec![durable(), durable(), durable()]));
    write(&output, &three()).await;
    assert_eq!(
        entries(&script.call())[0].1,
        None,
        "a source that says no ranges"
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_shard_is_written_at_its_pace_and_more_shards_advised() {
    let script = Script::default();
    let clock = TestClock::new(1).clock();
    let client = Client::builder(Arc::new(script.clone()))
        .clock(clock.clone())
        .build()
        .unwrap();
    let output = KinesisOutput::new(client, by_name(), OutputOptions::default());
    script.ok(summary(StreamStatus::Active));
    output.check().await.unwrap();
    script.calls();
    let batch = batch(DataForm::Raw, &vec![rec("k", &[7; 100_000]); 10]);
    let throttled = || {
        let mut records = vec![durable(); 5];
        records.extend(vec![failed("ProvisionedThroughputExceededException"); 5]);
        answer(records)
    };
    let shard = |id: &str, start: u128, end: u128| Shard {
        shard_id: id.into(),
        hash_key_range: Some(HashKeyRange {
            starting_hash_key: start.to_string(),
            ending_hash_key: end.to_string(),
        }),
        ..Default::default()
    };
    let middle = u128::MAX / 2;
    let shards = vec![shard("s0", 0, middle), shard("s1", middle + 1, u128::MAX)];
    let picks = Picks::Run(0..10);
    assert_eq!(
        output.room(&batch, &picks),
        Room::All,
        "nothing was refused yet"
    );
    // The shards are listed when a record is refused.
    script.ok(throttled()).ok(ListShardsResponse {
        shards: Some(shards),
        next_token: None,
    });
    assert!(matches!(
        write(&output, &batch).await,
        Outcome::PerRecord(_)
    ));
    let operations: Vec<_> = script.calls().iter().map(|call| call.operation).collect();
    assert_eq!(operations, [Operation::PutRecords, Operation::ListShards]);
    // From now on there must be room for a quarter of a second's worth, at least.
    let Room::Less { held, wait } = output.room(&batch, &picks) else {
        panic!("its shard has no room")
    };
    assert_eq!(
        (held, wait.as_millis()),
        ((0..10).collect(), 286),
        "three of 100,001 bytes at 1 MiB/s"
    );
    clock.sleep(wait + Duration::from_millis(1)).await;
    // However often the question is asked: only records that are sent are counted.
    for _ in 0..2 {
        assert_eq!(
            output.room(&batch, &picks),
            Room::Less {
                held: (3..10).collect(),
                wait: Duration::ZERO
            }
        );
    }
    script.ok(throttled());
    let Outcome::PerRecord(verdicts) = write(&output, &batch).await else {
        panic!("not per record")
    };
    let Verdict::Retry(trouble) = &verdicts[9] else {
        panic!("{verdicts:?}")
    };
    // 5 x 100,001 bytes at 1 MiB/s, all of one key.
    assert_eq!(trouble.retry_after.unwrap().as_millis(), 476);
    let advice = output.shard_advice(None).unwrap();
    assert_eq!((advice.shards, advice.refused_percent), (2, 50));
    assert!(output.advice(None).unwrap().contains("it has 2 shards"));
    assert_eq!(
        script.call().operation,
        Operation::PutRecords,
        "the map is not asked for with every write"
    );
    // The source's rate decides on the number of shards.
    let demand = Some(Demand {
        records: 6500.0,
        bytes: 1e6,
    });
    assert_eq!(output.shard_advice(demand).unwrap().needed, 7);
    // After a minute without a refusal, records are no longer counted.
    clock.sleep(Duration::from_secs(61)).await;
    assert_eq!(output.room(&batch, &picks), Room::All);
}

fn any_record() -> impl Strategy<Value = Rec> {
    let key = prop_oneof![
        Just(None),
        "[a-z]{1,8}".prop_map(Some),
        // All characters that JSON escapes, or writes with more bytes.
        proptest::collection::vec(any::<char>(), 0..40).prop_map(|c| Some(c.into_iter().collect())),
        proptest::collection::vec(0u8..0x20, 0..250)
            .prop_map(|b| Some(b.into_iter().map(char::from).collect())),
    ];
    (key, proptest::collection::vec(any::<u8>(), 0..400)).prop_map(|(key, data)| Rec { key, data })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Records of either form are written unchanged, within the memory that was reserved.
    #[test]
    fn records_come_out_as_they_went_in(
        records in proptest::collection::vec(any_record(), 1..40),
        picked in proptest::collection::vec(any::<bool>(), 40),
        from_json: bool, to_json: bool, by_shard: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let script = Script::default();
            let route = if by_shard { Route::SourceShard } else { Route::PartitionKey };
            let format = if to_json { Format::Json } else { Format::Cbor };
            let output = output(&script, format, OutputOptions { route, ..OutputOptions::default() }).await;
            let form = if from_json { DataForm::Base64 } else { DataForm::Raw };
            let batch = batch_of_range(Some(HashRange { start: 5, end: 9 }), form, &records);
            let some: Vec<usize> = (0..records.len()).filter(|i| picked[*i]).collect();
            let picks = if some.is_empty() { Picks::Run(0..records.len()) } else { Picks::Some(some) };
            let bytes = picks.iter().map(|i| batch.footprint(i)).sum();
            let bound = output.encoded_bound(picks.len(), bytes);
            let expected: Vec<_> = picks
                .iter()
                .map(|i| {
                    let key = records[i].key.clone().unwrap_or_else(|| (1000 + i).to_string());
                    (Some(key), by_shard.then(|| "5".to_owned()), records[i].data.clone())
                })
                .collect();
            let weight: usize = picks.iter().map(|i| output.weigh(&batch.record(i)).bytes).sum();
            let real: usize = expected.iter().map(|e| e.2.len() + e.0.as_ref().unwrap().len()).sum();
            assert_eq!(weight, real);
            let chunk = output.encode(&batch, picks);
            assert!(chunk.allocation <= bound, "{} > {bound}", chunk.allocation);
            script.ok(answer(vec![durable(); expected.len()]));
            assert!(matches!(output.write(&batch, &chunk, DEADLINE).await, Outcome::Durable));
            let call = script.call();
            assert_eq!(call.format, format);
            assert_eq!(entries(&call), expected);
        });
    }
}

//! Encoding and decoding every shape, in every style of other encoders.

use proptest::prelude::*;
use serde_json::json;

use super::fill::{Fill, Rng};
use super::requests::tests::for_each_operation;
use super::*;
use crate::codec::{CodecError, Format, decode, decode_answer, encode, encode_answer};
use crate::op::Operation;

#[path = "../../tests/it/vary.rs"]
mod vary;

/// Encodes a random value, rewrites the body in another style, decodes and compares.
pub(super) fn there_and_back<T>(rng: &mut Rng)
where
    T: Fill + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value = T::fill(rng);
    let style = vary::Style::from_bits(rng.next() as u8);
    for format in Format::ALL {
        let body = encode(format, &value);
        assert_eq!(decode::<T>(format, &body).unwrap(), value, "{format:?}");
        assert_eq!(
            decode_answer::<T>(format, &encode_answer(format, &value)).unwrap(),
            value
        );

        let varied = match format {
            Format::Json => vary::json(&body, style),
            Format::Cbor => vary::cbor(&body, style),
        };
        let read = decode::<T>(format, &varied);
        assert_eq!(
            read.unwrap(),
            value,
            "{format:?} {style:?} {}",
            varied.escape_ascii()
        );

        // A body cut anywhere is an error, never a panic and never half a value.
        let cut = rng.below(body.len() as u64);
        assert!(
            matches!(
                decode::<T>(format, &body[..cut]),
                Err(CodecError::Malformed { .. })
            ),
            "cut at {cut}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn every_shape_comes_back(seed: u64) {
        let mut seen = Vec::new();
        for_each_operation(&mut Rng::new(seed), &mut seen);
        prop_assert_eq!(&seen[..], Operation::ALL);
    }

    #[test]
    fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            let _ = decode::<PutRecordsRequest>(format, &body);
            let _ = decode::<DescribeStreamResponse>(format, &body);
        }
    }
}

/// The messages that AWS sends for members of a wrong type.
#[test]
fn refusals_in_the_words_of_aws() {
    let message = |body: serde_json::Value| {
        let text = body.to_string();
        match decode::<PutRecordsRequest>(Format::Json, text.as_bytes()) {
            Err(CodecError::Shape { message }) => message,
            other => panic!("{text}: {other:?}"),
        }
    };
    let expected = [
        (
            json!({"StreamName": 5}),
            "class java.math.BigDecimal can not be converted to an String",
        ),
        (
            json!({"StreamName": true}),
            "class java.lang.Boolean can not be converted to an String",
        ),
        (
            json!({"StreamName": []}),
            "Start of list found where not expected",
        ),
        (
            json!({"StreamName": {}}),
            "Start of structure or map found where not expected.",
        ),
        (json!({"Records": "x"}), "Expected list or null"),
        (
            json!({"Records": {}}),
            "Start of structure or map found where not expected.",
        ),
        (json!({"Records": [1]}), "Expected null"),
        (
            json!({"Records": [[]]}),
            "Start of list found where not expected",
        ),
        (
            json!({"Records": [{"Data": 1}]}),
            "class java.math.BigDecimal can not be converted to a Blob",
        ),
        (
            json!({"Records": [{"Data": "abcde"}]}),
            "'abcde' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5",
        ),
        (
            json!({"Records": [{"Data": "=bcd"}]}),
            "'=bcd' can not be converted to a Blob: Invalid Base64 character: '='",
        ),
        (
            json!({"DryRun": 1}),
            "class java.math.BigDecimal can not be converted to an Boolean",
        ),
    ];
    for (body, text) in expected {
        assert_eq!(message(body.clone()), text, "{body}");
    }

    let limit = decode::<ListStreamsRequest>(Format::Json, br#"{"Limit": "5"}"#).unwrap_err();
    assert_eq!(
        limit.aws_message(),
        Some("class java.lang.String can not be converted to an Integer")
    );
    let tags = decode::<TagResourceRequest>(Format::Cbor, b"\xa1\x64Tags\x05").unwrap_err();
    assert_eq!(tags.aws_message(), Some("Expected map or null"));
    assert_eq!(message(json!([])), "Start of list found where not expected");
    assert_eq!(message(json!(5)), "Expected null");

    for body in ["", "{", "x", "{}x", "{\"StreamName\":\"\\q\"}"] {
        let error = decode::<PutRecordsRequest>(Format::Json, body.as_bytes()).unwrap_err();
        assert!(
            matches!(error, CodecError::Malformed { .. }) && error.aws_message().is_none(),
            "{body}"
        );
    }
}

#[test]
fn numbers_in_other_forms() {
    for (format, body) in [
        (Format::Json, &b"{\"Limit\":7.9}"[..]),
        (Format::Json, b"{\"Limit\":7e0}"),
        (
            Format::Cbor,
            b"\xa1\x65Limit\xfb\x40\x1f\x99\x99\x99\x99\x99\x9a",
        ),
        (Format::Cbor, b"\xbf\x65Limit\xf9\x47\x00\xff"),
        (Format::Cbor, b"\xa1\x65Limit\x1b\0\0\0\0\0\0\0\x07"),
    ] {
        assert_eq!(
            decode::<ListStreamsRequest>(format, body).unwrap().limit,
            Some(7),
            "{}",
            body.escape_ascii()
        );
    }

    assert!(decode::<ListStreamsRequest>(Format::Json, b"{\"Limit\":2147483648}").is_err());
    assert!(decode::<ListStreamsRequest>(Format::Json, b"{\"Limit\":1e300}").is_err());
    assert!(
        decode::<ListStreamsRequest>(Format::Cbor, b"\xa1\x65Limit\xf9\x7e\x00").is_err(),
        "not a number"
    );
}

#[test]
fn times_in_every_form() {
    let ms = Some(Timestamp(1_700_000_000_123));
    let read = |format, body: &[u8]| {
        decode::<GetShardIteratorRequest>(format, body)
            .unwrap()
            .timestamp
    };
    assert_eq!(read(Format::Json, b"{\"Timestamp\":1700000000.123}"), ms);
    assert_eq!(read(Format::Json, b"{\"Timestamp\":1.700000000123E9}"), ms);
    assert_eq!(
        read(Format::Json, b"{\"Timestamp\":1700000000}"),
        Some(Timestamp(1_700_000_000_000))
    );

    let cbor = |value: &[u8]| read(Format::Cbor, &[b"\xa1\x69Timestamp", value].concat());
    // Milliseconds with tag 1 and without, milliseconds as float, and seconds as float.
    assert_eq!(cbor(b"\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"), ms);
    assert_eq!(cbor(b"\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"), ms);
    assert_eq!(
        cbor(&[&[0xfb][..], &1_700_000_000_123_f64.to_be_bytes()].concat()),
        ms
    );
    assert_eq!(
        cbor(&[&[0xc1, 0xfb][..], &1_700_000_000.123_f64.to_be_bytes()].concat()),
        ms
    );

    // The form that AWS writes.
    let request = GetShardIteratorRequest {
        timestamp: ms,
        ..Default::default()
    };
    assert_eq!(
        &encode(Format::Json, &request)[..],
        b"{\"Timestamp\":1700000000.123}"
    );
    assert_eq!(
        &encode(Format::Cbor, &request)[..],
        b"\xa1\x69Timestamp\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b"
    );
}

/// Serde accepts a number as the index of a member; the protocol does not.
#[test]
fn members_have_names() {
    let error = decode::<ListStreamsRequest>(Format::Cbor, b"\xa1\x00\x05").unwrap_err();
    assert!(matches!(error, CodecError::Shape { .. }));
}

#[test]
fn new_values_are_kept() {
    let body = br#"{"StreamModeDetails":{"StreamMode":"ON_MARS","Colour":"red"}}"#;
    let read: CreateStreamRequest = decode(Format::Json, body).unwrap();
    let mode = read.stream_mode_details.unwrap().stream_mode.unwrap();
    assert_eq!((mode.as_str(), mode.is_known()), ("ON_MARS", false));
    assert_eq!(StreamMode::from("ON_DEMAND"), StreamMode::OnDemand);
}

#[test]
fn names_are_those_of_the_api() {
    fn text(value: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(value).unwrap()
    }
    let request = UpdateMaxRecordSizeRequest {
        stream_arn: Some("arn".into()),
        max_record_size_in_kib: Some(2048),
        ..Default::default()
    };
    assert_eq!(
        text(&request),
        json!({"StreamARN": "arn", "MaxRecordSizeInKiB": 2048})
    );
    let request = CreateStreamRequest {
        warm_throughput_mibps: Some(10),
        record_distribution_strategy: Some(RecordDistributionStrategy::UserPartitionKey),
        ..Default::default()
    };
    assert_eq!(
        text(&request),
        json!({"WarmThroughputMiBps": 10, "RecordDistributionStrategy": "USER_PARTITION_KEY"})
    );
    let filter = ShardFilter {
        kind: Some(ShardFilterType::AtTrimHorizon),
        ..Default::default()
    };
    assert_eq!(text(&filter), json!({"Type": "AT_TRIM_HORIZON"}));
    let warm = WarmThroughputObject {
        target_mibps: Some(1),
        current_mibps: Some(2),
    };
    assert_eq!(text(&warm), json!({"TargetMiBps": 1, "CurrentMiBps": 2}));
    let request = TagResourceRequest {
        resource_arn: Some("r".into()),
        ..Default::default()
    };
    assert_eq!(text(&request), json!({"ResourceARN": "r"}));
    let request = DescribeStreamConsumerRequest {
        consumer_arn: Some("c".into()),
        ..Default::default()
    };
    assert_eq!(text(&request), json!({"ConsumerARN": "c"}));
}

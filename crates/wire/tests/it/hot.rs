//! The hot codecs and the generic codec read and write the same.

use bytes::{Bytes, BytesMut};
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::ErrorCode;
use distributary_wire::hot::*;
use distributary_wire::types::*;
use proptest::collection::vec;
use proptest::prelude::*;
use ring::digest;

use crate::vary::{self, Style};

/// A record as a producer writes it.
#[derive(Clone, Debug)]
struct Sample {
    key: Option<String>,
    explicit_hash_key: Option<String>,
    data: Vec<u8>,
    arrival_ms: i64,
    encrypted: bool,
}

fn text() -> impl Strategy<Value = String> {
    let odd = [
        "\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{7f}", "ключ", "🦀", "a", "/", "}],", "\u{2028}",
    ];

    vec(proptest::sample::select(odd.to_vec()), 0..6).prop_map(|parts| parts.concat())
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![9 => 0usize..60, 3 => 250usize..260, 1 => 65_530usize..66_000];
    (sizes, any::<u8>()).prop_map(|(len, first)| {
        (0..len)
            .map(|i| first.wrapping_add((i * 7) as u8))
            .collect()
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let hash = proptest::option::weighted(0.2, any::<u128>().prop_map(|n| n.to_string()));
    (
        proptest::option::weighted(0.9, text()),
        hash,
        data(),
        0i64..4_000_000_000_000,
        any::<bool>(),
    )
        .prop_map(
            |(key, explicit_hash_key, data, arrival_ms, encrypted)| Sample {
                key,
                explicit_hash_key,
                data,
                arrival_ms,
                encrypted,
            },
        )
}

fn format() -> impl Strategy<Value = Format> {
    proptest::sample::select(Format::ALL.to_vec())
}

fn style() -> impl Strategy<Value = Style> {
    // Half of the bodies stay as this crate writes them.
    prop_oneof![Just(None), any::<u8>().prop_map(Some)]
        .prop_map(|bits| bits.map_or(Style::default(), Style::from_bits))
}

fn varied(format: Format, body: &[u8], style: Style) -> Bytes {
    match format {
        Format::Json => vary::json(body, style),
        Format::Cbor => vary::cbor(body, style),
    }
    .into()
}

fn sequence(i: usize) -> String {
    format!("4959033827149025660855969253836157109592157598913658{i:04}")
}

fn record(i: usize, sample: &Sample) -> Record {
    Record {
        sequence_number: sequence(i),
        approximate_arrival_timestamp: Some(Timestamp(sample.arrival_ms)),
        data: Blob::from(sample.data.clone()),
        partition_key: sample.key.clone(),
        encryption_type: sample.encrypted.then_some(EncryptionType::Kms),
    }
}

fn child() -> ChildShard {
    ChildShard {
        shard_id: "shardId-000000000002".into(),
        parent_shards: vec!["shardId-000000000000".into(), "shardId-000000000001".into()],
        hash_key_range: Some(HashKeyRange {
            starting_hash_key: "0".into(),
            ending_hash_key: "9".into(),
        }),
    }
}

/// The records of an answer.
fn records_of(answer: &GetRecordsAnswer) -> Vec<(String, Option<String>, Vec<u8>, i64)> {
    answer
        .records
        .iter()
        .map(|r| {
            let data = answer.data(r);
            let decoded = data.decode().unwrap();
            assert_eq!(data.decoded_len(), decoded.len());

            let key = r.key.map(|key| key.text(&answer.body).to_owned());
            (
                r.sequence.text(&answer.body).to_owned(),
                key,
                decoded,
                r.arrival_ms,
            )
        })
        .collect()
}

/// The records that [`records_of`] must return for an answer with these samples.
fn expected_records(samples: &[Sample]) -> Vec<(String, Option<String>, Vec<u8>, i64)> {
    let one = |(i, s): (usize, &Sample)| (sequence(i), s.key.clone(), s.data.clone(), s.arrival_ms);
    samples.iter().enumerate().map(one).collect()
}

fn put_request(samples: &[Sample]) -> PutRecordsRequest {
    let entry = |s: &Sample| PutRecordsRequestEntry {
        data: Some(Blob::from(s.data.clone())),
        partition_key: s.key.clone(),
        explicit_hash_key: s.explicit_hash_key.clone(),
    };
    PutRecordsRequest {
        records: Some(samples.iter().map(entry).collect()),
        stream_arn: Some("arn:aws:kinesis:eu-central-1:1:stream/s".into()),
        ..Default::default()
    }
}

/// The records of a parsed request.
fn entries_of(parsed: &PutRecordsParsed) -> Vec<PutRecordsRequestEntry> {
    let text = |span: Option<Span>| span.map(|span| span.text(&parsed.buffer).to_owned());
    let entry = |e: &EntryIndex| PutRecordsRequestEntry {
        data: e.data.map(|span| Blob(span.slice(&parsed.buffer))),
        partition_key: text(e.key),
        explicit_hash_key: text(e.explicit_hash_key),
    };
    parsed.records.iter().flatten().map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn answers_of_the_generic_codec_are_read(
        samples in vec(sample(), 0..8),
        format in format(),
        style in style(),
        closed: bool,
        behind: Option<u32>,
    ) {
        let generic = GetRecordsResponse {
            records: samples
                .iter()
                .enumerate()
                .map(|(i, s)| record(i, s))
                .collect(),
            next_shard_iterator: (!closed).then(|| "AAAA\"/\\é==".to_owned()),
            millis_behind_latest: behind.map(i64::from),
            child_shards: closed.then(|| vec![child()]),
        };
        let body = varied(format, &codec::encode(format, &generic), style);

        let read = GetRecordsAnswer::parse(format, body.clone()).unwrap();
        prop_assert_eq!(records_of(&read), expected_records(&samples));
        prop_assert_eq!(&read.next_shard_iterator, &generic.next_shard_iterator);
        prop_assert_eq!(read.millis_behind_latest, generic.millis_behind_latest);
        prop_assert_eq!(read.child_shards, generic.child_shards.unwrap_or_default());

        // The answer shares the memory of the body unless a text has escapes or chunks.
        let copied = style.chunked
            || style.escaped
            || style.wide
            || samples
                .iter()
                .flat_map(|s| &s.key)
                .any(|k| k.contains(|c: char| c < ' ' || c == '"' || c == '\\'));
        if !copied && closed {
            let form = match format {
                Format::Json => DataForm::Base64,
                Format::Cbor => DataForm::Raw,
            };
            prop_assert_eq!(read.body.as_ptr(), body.as_ptr());
            prop_assert_eq!(read.form, form);
        }
    }

    #[test]
    fn answers_are_written_for_the_generic_codec(
        samples in vec(sample(), 0..8),
        format in format(),
        closed: bool,
        behind in any::<u32>(),
    ) {
        let sequences: Vec<String> = (0..samples.len()).map(sequence).collect();
        let out = samples
            .iter()
            .zip(&sequences)
            .map(|(s, sequence_number)| OutgoingRecord {
                sequence_number,
                key: s.key.as_deref(),
                data: &s.data,
                arrival_ms: s.arrival_ms,
                encryption_type: s.encrypted.then_some("KMS"),
            });
        let next = (!closed).then_some("AAAA\"/\\é==");
        let children = if closed { vec![child()] } else { vec![] };
        let records: Vec<Record> = samples
            .iter()
            .enumerate()
            .map(|(i, s)| record(i, s))
            .collect();

        let body = encode_get_records(format, out.clone(), next, i64::from(behind), &children);
        let read: GetRecordsResponse = codec::decode(format, &body).unwrap();
        prop_assert_eq!(&read.records, &records);
        prop_assert_eq!(read.next_shard_iterator.as_deref(), next);
        prop_assert_eq!(read.millis_behind_latest, Some(i64::from(behind)));
        prop_assert_eq!(&read.child_shards.unwrap_or_default(), &children);
        prop_assert_eq!(
            records_of(&GetRecordsAnswer::parse(format, body).unwrap()),
            expected_records(&samples)
        );

        let body = encode_subscribe_event(format, out, next, i64::from(behind), &children);
        let read: SubscribeToShardEvent = codec::decode(format, &body).unwrap();
        prop_assert_eq!(&read.records, &records);
        prop_assert_eq!(read.continuation_sequence_number.as_deref(), next);
        let hot = GetRecordsAnswer::parse(format, body).unwrap();
        prop_assert_eq!(hot.continuation_sequence_number.as_deref(), next);
        prop_assert_eq!(hot.millis_behind_latest, Some(i64::from(behind)));
        prop_assert_eq!(hot.child_shards, children);
    }

    #[test]
    fn requests_of_the_generic_codec_are_read(
        samples in vec(sample(), 0..8),
        format in format(),
        style in style(),
    ) {
        let generic = put_request(&samples);
        let body = varied(format, &codec::encode(format, &generic), style);
        let read = PutRecordsParsed::parse(format, &body).unwrap();
        prop_assert_eq!(Some(entries_of(&read)), generic.records);
        prop_assert_eq!(read.stream_arn, generic.stream_arn);
        prop_assert_eq!(read.stream_name, None);
        if format == Format::Cbor && !style.chunked {
            prop_assert_eq!(read.buffer.as_ptr(), body.as_ptr());
        }
    }

    #[test]
    fn requests_are_written_once_for_many(
        samples in vec(sample(), 0..8),
        format in format(),
        base64: bool,
        announced in 0usize..9,
        named: bool,
    ) {
        let announced = match announced {
            8 => samples.len(),
            other => other,
        };

        let mut builder =
            PutRecordsBuilder::new(format, BytesMut::from(&b"left over"[..]), announced);
        let mut size = 0;
        for s in &samples {
            let text = base64_simd::STANDARD.encode_to_string(&s.data);
            let data = if base64 {
                Data::Base64(text.as_bytes())
            } else {
                Data::Raw(&s.data)
            };
            let entry = Entry {
                key: s.key.as_deref(),
                explicit_hash_key: s.explicit_hash_key.as_deref(),
                data,
            };
            size += entry_size(data, entry.key);
            builder.push(&entry).unwrap();
        }

        prop_assert_eq!((builder.len(), builder.size()), (samples.len(), size));
        prop_assert_eq!(
            size,
            samples
                .iter()
                .map(|s| s.data.len() + s.key.as_ref().map_or(0, String::len))
                .sum::<usize>()
        );
        let shared = builder.finish();
        prop_assert_eq!((shared.entries, shared.size), (samples.len(), size));

        let (stream, name, arn) = if named {
            (StreamRef::Name("s"), Some("s".to_owned()), None)
        } else {
            (StreamRef::Arn("arn:x"), None, Some("arn:x".to_owned()))
        };

        let tail = tail(format, stream);
        let whole = [&shared.bytes[..], &tail].concat();
        let read: PutRecordsRequest = codec::decode(format, &whole).unwrap();
        let expected = PutRecordsRequest {
            stream_name: name,
            stream_arn: arn,
            ..put_request(&samples)
        };
        prop_assert_eq!(read, expected);

        let mut hash = shared.hash;
        hash.update(&tail);
        let whole_hash = digest::digest(&digest::SHA256, &whole);
        let finished = hash.finish();
        prop_assert_eq!(finished.as_ref(), whole_hash.as_ref());
    }

    #[test]
    fn put_answers_are_read(
        failures in vec(proptest::option::weighted(0.1, (text(), text())), 0..20),
        format in format(),
        style in style(),
        hot: bool,
        counted: bool,
    ) {
        let records: Vec<PutRecordsResultEntry> = failures
            .iter()
            .enumerate()
            .map(|(i, failure)| match failure {
                None => PutRecordsResultEntry {
                    sequence_number: Some(sequence(i)),
                    shard_id: Some("shardId-000000000001".into()),
                    ..Default::default()
                },
                Some((code, message)) => PutRecordsResultEntry {
                    error_code: Some(format!("Code{code}")),
                    error_message: Some(message.clone()),
                    ..Default::default()
                },
            })
            .collect();
        let failed = failures.iter().flatten().count();
        let body = if hot {
            let results =
                records
                    .iter()
                    .map(|r| match (&r.sequence_number, &r.shard_id, &r.error_code) {
                        (Some(sequence_number), Some(shard_id), _) => OutgoingResult::Durable {
                            sequence_number,
                            shard_id,
                        },
                        (_, _, code) => OutgoingResult::Failed {
                            code: code.as_deref().unwrap(),
                            message: r.error_message.as_deref().unwrap(),
                        },
                    });
            let body = encode_put_records_answer(format, results, Some("KMS"));

            let read: PutRecordsResponse = codec::decode(format, &body).unwrap();
            prop_assert_eq!(&read.records, &records);
            prop_assert_eq!(read.failed_record_count, Some(failed as i32));
            prop_assert_eq!(read.encryption_type, Some(EncryptionType::Kms));
            body
        } else {
            let count = counted.then_some(failed as i32);
            codec::encode(
                format,
                &PutRecordsResponse {
                    failed_record_count: count,
                    records,
                    encryption_type: None,
                },
            )
        };

        let read = PutRecordsAnswer::parse(format, &varied(format, &body, style)).unwrap();
        prop_assert_eq!(read.len(), failures.len());
        if failed > 0 {
            prop_assert!(matches!(read, PutRecordsAnswer::PerEntry(_)));
        } else if (hot || counted) && !style.chunked && !style.wide {
            let all_durable = matches!(read, PutRecordsAnswer::AllDurable { .. });
            prop_assert!(all_durable);
        }

        let expected: Vec<EntryResult> = failures
            .iter()
            .enumerate()
            .map(|(i, failure)| match failure {
                None => EntryResult::Durable {
                    sequence_number: sequence(i),
                    shard_id: "shardId-000000000001".into(),
                },
                Some((code, message)) => EntryResult::Failed {
                    code: ErrorCode::from(format!("Code{code}").as_str()),
                    message: message.clone(),
                },
            })
            .collect();
        prop_assert_eq!(read.results().unwrap(), expected);
    }

    /// If a hot reader accepts a body with a changed byte or a cut end, the generic codec reads the
    /// same.
    #[test]
    fn damaged_bodies_are_read_alike_or_refused(
        samples in vec(sample(), 1..4),
        format in format(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut: bool,
    ) {
        let samples: Vec<Sample> = samples
            .into_iter()
            .map(|mut s| {
                s.data.truncate(20);
                s
            })
            .collect();

        let damage = |body: Bytes| {
            let mut body = body.to_vec();
            let at = at.index(body.len());
            if cut {
                body.truncate(at);
            } else {
                body[at] = byte;
            }
            Bytes::from(body)
        };

        let body = damage(codec::encode(format, &put_request(&samples)));
        let generic = codec::decode::<PutRecordsRequest>(format, &body);
        let hot = PutRecordsParsed::parse(format, &body);
        prop_assert_eq!(hot.is_ok(), generic.is_ok(), "{}", body.escape_ascii());
        if let (Ok(hot), Ok(generic)) = (hot, generic) {
            prop_assert_eq!(entries_of(&hot), generic.records.unwrap_or_default());
            prop_assert_eq!(hot.stream_arn, generic.stream_arn);
        }

        let answer = GetRecordsResponse {
            records: samples
                .iter()
                .enumerate()
                .map(|(i, s)| record(i, s))
                .collect(),
            millis_behind_latest: Some(5),
            ..Default::default()
        };
        let body = damage(codec::encode(format, &answer));
        if let Ok(hot) = GetRecordsAnswer::parse(format, body.clone()) {
            // Base64 is checked only by decoding.
            if hot.records.iter().all(|r| hot.data(r).decode().is_ok()) {
                let generic: GetRecordsResponse = codec::decode(format, &body).unwrap();
                let expected: Vec<_> = generic
                    .records
                    .iter()
                    .map(|r| {
                        let arrival = r.approximate_arrival_timestamp.unwrap_or_default().0;
                        (
                            r.sequence_number.clone(),
                            r.partition_key.clone(),
                            r.data.0.to_vec(),
                            arrival,
                        )
                    })
                    .collect();
                prop_assert_eq!(records_of(&hot), expected);
            }
        }

        let answer = PutRecordsResponse {
            failed_record_count: Some(0),
            records: (0..3)
                .map(|i| PutRecordsResultEntry {
                    sequence_number: Some(sequence(i)),
                    shard_id: Some("shardId-1".into()),
                    ..Default::default()
                })
                .collect(),
            encryption_type: None,
        };
        let body = damage(codec::encode(format, &answer));
        if let Ok(PutRecordsAnswer::AllDurable { entries, .. }) =
            PutRecordsAnswer::parse(format, &body)
        {
            let generic: PutRecordsResponse = codec::decode(format, &body).unwrap();
            prop_assert_eq!(generic.failed_record_count, Some(0));
            prop_assert_eq!(generic.records.len(), entries);
            for entry in generic.records {
                prop_assert!(entry.error_code.is_none() && entry.sequence_number.is_some());
            }
        }
    }

    #[test]
    fn garbage_never_panics(body in vec(any::<u8>(), 0..100), format in format()) {
        let body = Bytes::from(body);
        let _ = GetRecordsAnswer::parse(format, body.clone());
        let _ = PutRecordsParsed::parse(format, &body);
        let _ = PutRecordsAnswer::parse(format, &body);
    }
}

/// The example answer of AWS's documentation.
#[test]
fn a_documented_answer() {
    let body = br#"{
        "MillisBehindLatest": 2100,
        "NextShardIterator": "AAAAAAAAAAHsW8zCWf9164uy8Epue6WS3w6wmj4a4USt+CNvMd6uXQ+HL5vAJMznqqC0DLKsIjuoiTi1BpT6nW0LN2M2D56zM5H8anHm30Gbri9ua+qaGgj+3XTyvbhpERfrezgLHbPB/rIcVpykJbaSj5tmcXYRmFnqZBEyHwtZYFmh6hvWVFkIwLuMZLMrpWhG5r5hzkE=",
        "Records": [{
            "Data": "XzxkYXRhPl8w",
            "PartitionKey": "partitionKey",
            "ApproximateArrivalTimestamp": 1.441215410867E9,
            "SequenceNumber": "21269319989652663814458848515492872193"
        }]
    }"#;
    let answer = GetRecordsAnswer::parse(Format::Json, Bytes::from_static(body)).unwrap();
    let record = answer.records[0];
    assert_eq!(answer.data(&record).decode().unwrap(), b"_<data>_0");
    assert_eq!(record.data.of(&answer.body), b"XzxkYXRhPl8w");
    assert_eq!(record.arrival_ms, 1_441_215_410_867);
    assert_eq!(record.key.unwrap().text(&answer.body), "partitionKey");
    assert_eq!(answer.millis_behind_latest, Some(2100));
}

/// An answer that says neither "written" nor "not written" is an error.
#[test]
fn put_answers_that_contradict_themselves() {
    let parse = |body: &str| {
        PutRecordsAnswer::parse(Format::Json, &Bytes::copy_from_slice(body.as_bytes()))
    };
    for body in [
        // The count does not fit the entries.
        r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#,
        r#"{"FailedRecordCount":0,"Records":[{"ErrorCode":"InternalFailure","ErrorMessage":"m"}]}"#,
        r#"{"FailedRecordCount":-1,"Records":[]}"#,
        // An entry has neither a sequence number nor an error code, or both, or no shard.
        r#"{"FailedRecordCount":0,"Records":[{}]}"#,
        r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"},{"SequenceNumber":"","ShardId":"s"}]}"#,
        r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":null}]}"#,
        r#"{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1","ShardId":"s","ErrorCode":"InternalFailure"}]}"#,
    ] {
        assert!(
            matches!(parse(body), Err(CodecError::Inconsistent { .. })),
            "{body}"
        );
    }

    // Some servers send null codes.
    let nulls = r#"{"FailedRecordCount":0,"Records":[
        {"SequenceNumber":"1","ShardId":"s","ErrorCode":null,"ErrorMessage":null}]}"#;
    assert!(matches!(
        parse(nulls),
        Ok(PutRecordsAnswer::AllDurable { entries: 1, .. })
    ));

    // The body is not an answer.
    assert!(parse("").is_err() && parse("<html>").is_err() && parse("[]").is_err());
    assert_eq!(parse("{}").unwrap().len(), 0);
}

#[test]
fn refusals_are_those_of_the_generic_codec() {
    let parse = |body: &[u8]| {
        PutRecordsParsed::parse(Format::Json, &Bytes::copy_from_slice(body)).unwrap_err()
    };
    let bad = parse(br#"{"Records":[{"Data":"a","PartitionKey":"k"}]}"#);
    let message = "'a' can not be converted to a Blob: \
                   Base64 encoded length is expected a multiple of 4 bytes but found: 1";
    assert_eq!(bad.aws_message(), Some(message));
    assert_eq!(
        parse(br#"{"Records":5}"#).aws_message(),
        Some("Expected list or null")
    );
    assert!(matches!(parse(b"{"), CodecError::Malformed { .. }));

    let absent =
        PutRecordsParsed::parse(Format::Json, &Bytes::from_static(b"{\"StreamName\":\"s\"}"))
            .unwrap();
    assert!(absent.records.is_none());

    let text = Bytes::from_static(b"{\"StreamName\":\"s\",\"StreamName\":\"t\"}");
    assert!(
        PutRecordsParsed::parse(Format::Json, &text).is_err(),
        "a member is there twice"
    );
}

#[test]
fn bad_base64_is_found_when_it_has_to_be_converted() {
    let mut body = PutRecordsBuilder::new(Format::Cbor, BytesMut::new(), 1);
    let entry = |data| Entry {
        key: Some("k"),
        explicit_hash_key: None,
        data: Data::Base64(data),
    };
    for bad in [&b"abc"[..], b"ab=c", b"a\"==", b"====", b"\xff\xff\xff\xff"] {
        assert_eq!(
            body.push(&entry(bad)),
            Err(NotBase64),
            "{}",
            bad.escape_ascii()
        );
    }
    assert!(body.is_empty());

    body.push(&entry(b"YWJj")).unwrap();
    let whole = [
        body.finish().bytes,
        tail(Format::Cbor, StreamRef::Name("s")),
    ]
    .concat();
    let read: PutRecordsRequest = codec::decode(Format::Cbor, &whole).unwrap();
    assert_eq!(read.records.unwrap()[0].data, Some(Blob::from(&b"abc"[..])));
}

#[test]
fn announced_lengths_reserve_no_memory() {
    // An array of 2^60 records, with nothing after it.
    for (name, parse) in [
        (
            "Records",
            &(|b| GetRecordsAnswer::parse(Format::Cbor, b).is_err()) as &dyn Fn(Bytes) -> bool,
        ),
        ("Records", &|b| {
            PutRecordsParsed::parse(Format::Cbor, &b).is_err()
        }),
        ("Records", &|b| {
            PutRecordsAnswer::parse(Format::Cbor, &b).is_err()
        }),
    ] {
        let mut body = vec![0xa1, 0x60 + name.len() as u8];
        body.extend(name.bytes());
        body.extend([0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert!(parse(body.into()));
    }
    let long = format!(
        "{{\"Records\":[{}{{}}]}}",
        "{},".repeat(distributary_wire::limits::LIST_ITEMS)
    );
    assert!(PutRecordsParsed::parse(Format::Json, &Bytes::from(long)).is_err());
    let large = Bytes::from(vec![b' '; distributary_wire::limits::ANSWER_BODY_BYTES + 1]);
    assert!(matches!(
        GetRecordsAnswer::parse(Format::Json, large.clone()),
        Err(CodecError::TooLarge { .. })
    ));
    assert!(matches!(
        PutRecordsAnswer::parse(Format::Json, &large),
        Err(CodecError::TooLarge { .. })
    ));
    assert!(matches!(
        PutRecordsParsed::parse(Format::Json, &large),
        Err(CodecError::TooLarge { .. })
    ));
}

#[test]
fn spans_of_another_buffer_are_empty() {
    let span = Span { start: 2, end: 9 };
    assert_eq!(span.of(b"abc"), b"");
    assert_eq!(span.text(b"abc"), "");
    assert!(span.slice(&Bytes::from_static(b"abc")).is_empty());
    assert_eq!(
        Span { start: 1, end: 3 }.slice(&Bytes::from_static(b"abc")),
        "bc"
    );
    assert!(
        Span { start: 3, end: 1 }
            .slice(&Bytes::from_static(b"abc"))
            .is_empty()
    );
}

/// An object without records and without an iterator could pass for the end of a shard.
#[test]
fn a_page_without_records_is_an_error() {
    for body in [
        "{}",
        r#"{"MillisBehindLatest":0}"#,
        r#"{"Records":null,"MillisBehindLatest":0}"#,
        "",
    ] {
        assert!(
            GetRecordsAnswer::parse(Format::Json, Bytes::from_static(body.as_bytes())).is_err(),
            "{body}"
        );
    }
    assert!(GetRecordsAnswer::parse(Format::Cbor, Bytes::from_static(b"\xa0")).is_err());

    let end =
        GetRecordsAnswer::parse(Format::Json, Bytes::from_static(br#"{"Records":[]}"#)).unwrap();
    assert!(end.records.is_empty() && end.next_shard_iterator.is_none());
}

//! Measures the hot codecs: GB of record data a second and seconds a GB, for 1 KiB records on one
//! thread. The figures are wall-clock time: CPU time only on an otherwise idle machine.
//!
//! `cargo run --release -p distributary-wire --example throughput`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use distributary_wire::codec::Format;
use distributary_wire::hot::{
    Data, Entry, GetRecordsAnswer, OutgoingRecord, OutgoingResult, PutRecordsAnswer,
    PutRecordsBuilder, PutRecordsParsed, SharedBody, StreamRef, encode_get_records,
    encode_put_records_answer, tail,
};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::{Credentials, Signer, UnsignedRequest};
use distributary_wire::transport::RequestBody;
use http::Uri;
use ring::digest;

/// Bytes of data of each record.
const RECORD_BYTES: usize = 1024;
/// Records of a `GetRecords` answer.
const GET_RECORDS: usize = 10_000;
/// Records of a `PutRecords` request.
const PUT_RECORDS: usize = 500;
/// Length of each measurement.
const RUN: Duration = Duration::from_millis(700);

const KEY: &str = "user-0123456789abcdef";
const STREAM: StreamRef<'_> =
    StreamRef::Arn("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks");

#[allow(clippy::disallowed_methods, reason = "this program measures")]
fn now() -> Instant {
    Instant::now()
}

/// Runs `work` repeatedly and prints the cost for so many bytes of record data.
fn measure<T>(name: &str, bytes: usize, mut work: impl FnMut() -> T) {
    black_box(work());

    let (start, mut rounds) = (now(), 0u32);
    while start.elapsed() < RUN {
        black_box(work());
        rounds += 1;
    }

    let each = start.elapsed().as_secs_f64() / f64::from(rounds);
    let gb = bytes as f64 / 1e9;
    println!(
        "{name:<52} {:>8.2} GB/s {:>8.4} s/GB {:>9.1} us",
        gb / each,
        each / gb,
        each * 1e6
    );
}

fn get_records(format: Format, data: &[Vec<u8>]) {
    let sequences: Vec<String> = (0..GET_RECORDS)
        .map(|i| format!("495903382714902566085596925383615710959215759{i:011}"))
        .collect();
    let records = data
        .iter()
        .zip(&sequences)
        .map(|(data, sequence_number)| OutgoingRecord {
            sequence_number,
            key: Some(KEY),
            data,
            arrival_ms: 1_700_000_000_123,
            encryption_type: None,
        });
    let iterator = Some("AAAAAAAAAAHsW8zCWf9164uy8E");
    let encode = || encode_get_records(format, records.clone(), iterator, 0, &[]);

    let body = encode();
    let bytes = GET_RECORDS * RECORD_BYTES;
    measure(
        &format!("{format:?} GetRecords answer, parse (client)"),
        bytes,
        || GetRecordsAnswer::parse(format, body.clone()).map(|answer| answer.records.len()),
    );
    measure(
        &format!("{format:?} GetRecords answer, encode (server)"),
        bytes,
        encode,
    );
}

/// A `PutRecords` body in `buffer`.
fn put_body<'a>(
    format: Format,
    buffer: BytesMut,
    data: impl Iterator<Item = Data<'a>>,
) -> SharedBody {
    let mut body = PutRecordsBuilder::new(format, buffer, PUT_RECORDS);
    for data in data {
        let entry = Entry {
            key: Some(KEY),
            explicit_hash_key: None,
            data,
        };
        assert!(body.push(&entry).is_ok());
    }
    body.finish()
}

/// Measures building bodies from raw data and from base64, with one reused buffer.
fn put_bodies(format: Format, data: &[Vec<u8>]) {
    let texts: Vec<String> = data
        .iter()
        .map(|data| base64_simd::STANDARD.encode_to_string(data))
        .collect();
    let raw = || data.iter().map(|data| Data::Raw(data));
    let base64 = || texts.iter().map(|text| Data::Base64(text.as_bytes()));

    let bytes = PUT_RECORDS * RECORD_BYTES;
    let mut buffer = BytesMut::new();
    measure(
        &format!("{format:?} PutRecords body from raw, with SHA-256"),
        bytes,
        || rebuild(&mut buffer, |buffer| put_body(format, buffer, raw())),
    );
    measure(
        &format!("{format:?} PutRecords body from base64, with SHA-256"),
        bytes,
        || rebuild(&mut buffer, |buffer| put_body(format, buffer, base64())),
    );
}

/// Builds a body in `buffer` and takes the buffer back.
fn rebuild(buffer: &mut BytesMut, build: impl FnOnce(BytesMut) -> SharedBody) -> usize {
    let shared = build(std::mem::take(buffer));
    if let Ok(used) = shared.bytes.try_into_mut() {
        *buffer = used;
    }
    shared.entries
}

/// Measures the work on one finished body: hashing, reading as a server, signing.
fn put_requests(format: Format, data: &[Vec<u8>]) {
    let bytes = PUT_RECORDS * RECORD_BYTES;
    let records = data.iter().map(|data| Data::Raw(data));
    let shared = put_body(format, BytesMut::new(), records);
    let whole = Bytes::from([&shared.bytes[..], &tail(format, STREAM)[..]].concat());
    measure(
        &format!("{format:?} SHA-256 of that body alone"),
        bytes,
        || digest::digest(&digest::SHA256, &whole),
    );
    measure(
        &format!("{format:?} PutRecords request, parse (server)"),
        bytes,
        || PutRecordsParsed::parse(format, &whole).map(|request| request.buffer.len()),
    );

    let endpoint = Uri::from_static("https://kinesis.eu-central-1.amazonaws.com");
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: Some("t".repeat(900)),
    };
    let unsigned = UnsignedRequest {
        endpoint: &endpoint,
        operation: Operation::PutRecords,
        format,
        region: "eu-central-1",
        now_ms: 1_700_000_000_123,
    };
    let signer = Signer::new();
    let sign = || {
        let body = RequestBody {
            shared: shared.bytes.clone(),
            tail: tail(format, STREAM),
        };
        signer
            .request(&unsigned, &credentials, body, Some(&shared.hash))
            .is_ok()
    };
    measure(
        &format!("{format:?} request: tail, hash of it, signature"),
        bytes,
        sign,
    );
}

fn put_answers(format: Format) {
    let bytes = PUT_RECORDS * RECORD_BYTES;
    let result = |i: usize| {
        if i < PUT_RECORDS {
            OutgoingResult::Durable {
                sequence_number: "49590338271490256608559692538361571095921575989136588898",
                shard_id: "shardId-000000000001",
            }
        } else {
            OutgoingResult::Failed {
                code: "ProvisionedThroughputExceededException",
                message: "Rate exceeded",
            }
        }
    };
    let encode = || encode_put_records_answer(format, (0..PUT_RECORDS).map(result), None);

    let durable = encode();
    measure(
        &format!("{format:?} PutRecords answer, all durable, parse"),
        bytes,
        || PutRecordsAnswer::parse(format, &durable).map(|answer| answer.len()),
    );
    let partial = encode_put_records_answer(format, (1..PUT_RECORDS + 1).map(result), None);
    measure(
        &format!("{format:?} PutRecords answer, one failed, parse"),
        bytes,
        || PutRecordsAnswer::parse(format, &partial).map(|answer| answer.len()),
    );
    measure(
        &format!("{format:?} PutRecords answer, encode (server)"),
        bytes,
        encode,
    );
}

fn main() {
    let data: Vec<Vec<u8>> = (0..GET_RECORDS)
        .map(|i| {
            (0..RECORD_BYTES)
                .map(|j| (i * 31 + j * 7 + (i * j) % 11) as u8)
                .collect()
        })
        .collect();
    for format in Format::ALL {
        get_records(format, &data);
        put_bodies(format, &data[..PUT_RECORDS]);
        put_requests(format, &data[..PUT_RECORDS]);
        put_answers(format);
    }
}

//! What the hot codecs cost: GB of record data a second and seconds a GB, for 1 KiB records on one thread. Wall-clock
//! time, so it is CPU time only on a machine that does nothing else.
//!
//! `cargo run --release -p distributary-wire --example throughput`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use distributary_wire::codec::Format;
use distributary_wire::hot::{
    Data, Entry, GetRecordsAnswer, OutgoingRecord, OutgoingResult, PutRecordsAnswer,
    PutRecordsBuilder, PutRecordsParsed, StreamRef, encode_get_records, encode_put_records_answer,
    tail,
};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::{Credentials, Signer, UnsignedRequest};
use distributary_wire::transport::RequestBody;
use http::Uri;
use ring::digest;

const RECORD: usize = 1024;
const GET: usize = 10_000;
const PUT: usize = 500;
/// How long each measurement runs.
const RUN: Duration = Duration::from_millis(700);

#[allow(clippy::disallowed_methods, reason = "this program measures")]
fn now() -> Instant {
    Instant::now()
}

/// Prints what `work` costs for so many bytes of record data.
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
    let sequences: Vec<String> = (0..GET)
        .map(|i| format!("495903382714902566085596925383615710959215759{i:011}"))
        .collect();
    let records = data
        .iter()
        .zip(&sequences)
        .map(|(data, sequence_number)| OutgoingRecord {
            sequence_number,
            key: Some("user-0123456789abcdef"),
            data,
            arrival_ms: 1_700_000_000_123,
            encryption_type: None,
        });
    let encode = || {
        encode_get_records(
            format,
            records.clone(),
            Some("AAAAAAAAAAHsW8zCWf9164uy8E"),
            0,
            &[],
        )
    };
    let body = encode();
    let bytes = GET * RECORD;
    measure(
        &format!("{format:?} GetRecords answer, parse (client)"),
        bytes,
        || GetRecordsAnswer::parse(format, body.clone()).map(|a| a.records.len()),
    );
    measure(
        &format!("{format:?} GetRecords answer, encode (server)"),
        bytes,
        encode,
    );
}

fn put_records(format: Format, data: &[Vec<u8>]) {
    let bytes = PUT * RECORD;
    let texts: Vec<String> = data
        .iter()
        .map(|d| base64_simd::STANDARD.encode_to_string(d))
        .collect();
    let mut reused = BytesMut::new();
    let mut build = |data: &dyn Fn(usize) -> Data<'static>| {
        let mut body = PutRecordsBuilder::new(format, std::mem::take(&mut reused), PUT);
        for i in 0..PUT {
            let entry = Entry {
                key: Some("user-0123456789abcdef"),
                explicit_hash_key: None,
                data: data(i),
            };
            assert!(body.push(&entry).is_ok());
        }
        let shared = body.finish();
        let entries = shared.entries;
        let bytes = shared.bytes.clone();
        drop(shared);
        if let Ok(buffer) = bytes.try_into_mut() {
            reused = buffer;
        }
        entries
    };
    // Leaked so that the closures need no lifetimes; the program ends soon.
    let data: &'static [Vec<u8>] = data.to_vec().leak();
    let texts: &'static [String] = texts.leak();
    measure(
        &format!("{format:?} PutRecords body from raw, with SHA-256"),
        bytes,
        || build(&|i| Data::Raw(&data[i])),
    );
    measure(
        &format!("{format:?} PutRecords body from base64, with SHA-256"),
        bytes,
        || build(&|i| Data::Base64(texts[i].as_bytes())),
    );

    let mut body = PutRecordsBuilder::new(format, BytesMut::new(), PUT);
    for one in &data[..PUT] {
        let entry = Entry {
            key: Some("user-0123456789abcdef"),
            explicit_hash_key: None,
            data: Data::Raw(one),
        };
        assert!(body.push(&entry).is_ok());
    }
    let shared = body.finish();
    let end = tail(
        format,
        StreamRef::Arn("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"),
    );
    let whole = Bytes::from([&shared.bytes[..], &end[..]].concat());
    measure(
        &format!("{format:?} SHA-256 of that body alone"),
        bytes,
        || digest::digest(&digest::SHA256, &whole),
    );
    measure(
        &format!("{format:?} PutRecords request, parse (server)"),
        bytes,
        || PutRecordsParsed::parse(format, &whole).map(|p| p.buffer.len()),
    );

    let durable = |i: usize| {
        if i < PUT {
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
    let encode = || encode_put_records_answer(format, (0..PUT).map(durable), None);
    let answer = encode();
    measure(
        &format!("{format:?} PutRecords answer, all durable, parse"),
        bytes,
        || PutRecordsAnswer::parse(format, &answer).map(|a| a.len()),
    );
    let partial = encode_put_records_answer(format, (1..PUT + 1).map(durable), None);
    measure(
        &format!("{format:?} PutRecords answer, one failed, parse"),
        bytes,
        || PutRecordsAnswer::parse(format, &partial).map(|a| a.len()),
    );
    measure(
        &format!("{format:?} PutRecords answer, encode (server)"),
        bytes,
        encode,
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
    measure(
        &format!("{format:?} request: tail, hash of it, signature"),
        bytes,
        || {
            let tail = tail(
                format,
                StreamRef::Arn("arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"),
            );
            let body = RequestBody {
                shared: shared.bytes.clone(),
                tail,
            };
            signer
                .request(&unsigned, &credentials, body, Some(&shared.hash))
                .is_ok()
        },
    );
}

fn main() {
    let data: Vec<Vec<u8>> = (0..GET)
        .map(|i| {
            (0..RECORD)
                .map(|j| (i * 31 + j * 7 + (i * j) % 11) as u8)
                .collect()
        })
        .collect();
    for format in Format::ALL {
        get_records(format, &data);
        put_records(format, &data);
    }
}

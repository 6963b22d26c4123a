//! Any bytes are a damaged aggregate, or one whose pieces hold every user record exactly once.
#![no_main]

use distributary_kinesis::kpl::{Aggregate, Packer, UserRecord};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

type Parts<'a> = (&'a str, Option<u128>, &'a [u8]);

fn parts<'a>(record: &UserRecord<'a>) -> Parts<'a> {
    (record.key, record.explicit_hash_key, record.data)
}

/// The user records of the half of the hash keys that `lower` names.
fn half(aggregate: &Aggregate<'_>, lower: bool) -> Vec<u8> {
    let mut packer = Packer::default();
    for (record, hash_key) in aggregate.records().iter().zip(aggregate.hash_keys()) {
        if (hash_key < 1 << 127) == lower {
            packer.push_again(record);
        }
    }
    packer.finish()
}

fuzz_target!(|message: &[u8]| {
    // A fuzzer does not guess an MD5; data without one are fuzzed too.
    let _ = Aggregate::parse(message);
    let md5 = Md5::digest(message);
    let data = [&[0xF3, 0x89, 0x9A, 0xC2], message, &md5[..]].concat();
    let Ok(aggregate) = Aggregate::parse(&data) else {
        return;
    };

    let halves = [half(&aggregate, true), half(&aggregate, false)];
    let read: Vec<Aggregate<'_>> = halves
        .iter()
        .filter_map(|data| Aggregate::parse(data).ok())
        .collect();
    let found: Vec<Parts<'_>> = read
        .iter()
        .flat_map(|a| a.records().iter().map(parts))
        .collect();
    let mut expected: Vec<Parts<'_>> = Vec::new();
    for lower in [true, false] {
        let records = aggregate.records().iter().zip(aggregate.hash_keys());
        let of_half = records.filter(|(_, hash_key)| (*hash_key < 1 << 127) == lower);
        expected.extend(of_half.map(|(record, _)| parts(record)));
    }
    assert_eq!(found, expected);
});

//! Any message, cut, merged or re-ordered, is refused, or read as prost reads the message; an
//! aggregate that is read is divided into pieces that hold every user record exactly once.
#![no_main]

use distributary_kinesis::kpl::{Aggregate, Damage, Packer, UserRecord};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};
use prost::Message;

/// The messages of the KPL's `messages.proto`, as another library reads them.
#[derive(Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Message)]
struct Record {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    data: Option<Vec<u8>>,
}

type Parts = (String, Option<u128>, Vec<u8>);

fn parts(record: &UserRecord<'_>) -> Parts {
    let data = record.data.to_vec();
    (record.key.to_owned(), record.explicit_hash_key, data)
}

/// A hash key as the KPL writes numbers: decimal, without a sign and zeros in front.
fn hash_key(text: &str) -> Option<u128> {
    let number: u128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The user records of a message by prost; `None` if there are none, or a member is absent.
fn by_prost(message: &[u8]) -> Option<Vec<Parts>> {
    let read = AggregatedRecord::decode(message).ok()?;
    let hash_keys = read.explicit_hash_key_table.iter();
    let hash_keys: Vec<u128> = hash_keys
        .map(|text| hash_key(text))
        .collect::<Option<_>>()?;

    let user = |record: &Record| {
        let key = read
            .partition_key_table
            .get(record.partition_key_index? as usize)?;
        let hash_key = match record.explicit_hash_key_index {
            Some(at) => Some(*hash_keys.get(at as usize)?),
            None => None,
        };
        Some((key.clone(), hash_key, record.data.clone()?))
    };
    let users = read.records.iter().map(user).collect::<Option<Vec<_>>>()?;
    (!users.is_empty()).then_some(users)
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

/// Each user record is in the piece of its half, once and in order.
fn check_pieces(aggregate: &Aggregate<'_>) {
    for lower in [true, false] {
        let data = half(aggregate, lower);
        let piece = Aggregate::parse(&data).ok();
        let found = piece
            .iter()
            .flat_map(|piece| piece.records().iter().map(parts));

        let records = aggregate.records().iter().zip(aggregate.hash_keys());
        let of_half = records.filter(|(_, hash_key)| (*hash_key < 1 << 127) == lower);
        let expected: Vec<Parts> = of_half.map(|(record, _)| parts(record)).collect();
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

fn check(message: &[u8]) {
    let md5 = Md5::digest(message);
    let data = [&[0xF3, 0x89, 0x9A, 0xC2], message, &md5[..]].concat();
    match (Aggregate::parse(&data), by_prost(message)) {
        (Ok(aggregate), expected) => {
            let found = aggregate.records().iter().map(parts).collect();
            assert_eq!(Some(found), expected);
            check_pieces(&aggregate);
        }
        // Groups, which the format has not had since 2008, are the one difference.
        (Err(damage), Some(_)) => {
            assert_eq!(damage, Damage::Malformed("a field has an unknown type"));
        }
        (Err(_), None) => {}
    }

    // One byte less, or another one, is another MD5.
    assert!(Aggregate::parse(&data[..data.len() - 1]).is_err());
    let mut other = data;
    if let Some(byte) = other.get_mut(4) {
        *byte ^= 1;
    }
    assert!(Aggregate::parse(&other).is_err());
}

/// The fields of a message, as far as the fields have tags and lengths of one byte.
fn fields(message: &[u8]) -> Vec<&[u8]> {
    let mut rest = message;
    let mut fields = Vec::new();
    while let [tag, len, ..] = rest
        && tag & 7 == 2
        && let Some((field, behind)) = rest.split_at_checked(2 + usize::from(*len))
    {
        fields.push(field);
        rest = behind;
    }
    fields.push(rest);
    fields
}

fuzz_target!(|input: &[u8]| {
    // A fuzzer does not guess an MD5; data without one are fuzzed too.
    let _ = Aggregate::parse(input);
    let [at, message @ ..] = input else { return };
    check(message);

    let at = usize::from(*at) * message.len() / 256;
    let (front, back) = message.split_at(at);
    check(front);
    check(&[message, front].concat());
    check(&[back, front].concat());

    let mut fields = fields(message);
    fields.reverse();
    check(&fields.concat());
});

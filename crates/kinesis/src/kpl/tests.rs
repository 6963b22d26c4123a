use distributary_wire::codec::{Format, encode};
use distributary_wire::hot::DataForm;
use distributary_wire::types::Blob;
use proptest::prelude::*;

use super::*;

fn check(data: &[u8], form: DataForm) -> bool {
    is_aggregate(Data::new(form, data))
}

fn base64(data: &[u8]) -> Vec<u8> {
    let text = encode(Format::Json, &Blob(data.to_vec().into()));
    text[1..text.len() - 1].to_vec()
}

#[test]
fn aggregates_are_found_in_both_forms_before_any_byte() {
    for next in 0..=255u8 {
        let mut data = MAGIC.to_vec();
        data.push(next);
        data.extend([7; 20]);
        assert!(check(&data, DataForm::Raw));
        assert!(check(&base64(&data), DataForm::Base64), "{next}");

        // One bit of the last magic byte is wrong.
        data[3] ^= 1;
        assert!(!check(&data, DataForm::Raw));
        data[3] ^= 1;
        data[3] ^= 0x40;
        assert!(!check(&base64(&data), DataForm::Base64));
    }
    assert!(!check(&MAGIC, DataForm::Raw), "too short to be one");
    assert!(!check(b"84mawg==", DataForm::Base64));
    assert!(!check(b"", DataForm::Base64));
}

/// A record that the KPL 1.1.1 wrote.
const OF_KPL: &str = "f3899ac20a03706b310a03706b331a1108001a0d757365722d7265636f72642d311a1108011a0d757365722d7265636f72642d331a1108001a0d757365722d7265636f72642d361a1108011a0d757365722d7265636f72642d381a1208001a0e757365722d7265636f72642d31311a1208011a0e757365722d7265636f72642d31331a1208001a0e757365722d7265636f72642d31361a1208011a0e757365722d7265636f72642d31381a1208001a0e757365722d7265636f72642d32311a1208011a0e757365722d7265636f72642d32331a1208001a0e757365722d7265636f72642d32361a1208011a0e757365722d7265636f72642d32381a1208001a0e757365722d7265636f72642d33311a1208011a0e757365722d7265636f72642d33331a1208001a0e757365722d7265636f72642d33361a1208011a0e757365722d7265636f72642d33381a1208001a0e757365722d7265636f72642d34311a1208011a0e757365722d7265636f72642d34331a1208001a0e757365722d7265636f72642d34361a1208011a0e757365722d7265636f72642d3438794a5a2dcb908fcbf6874e9123889fbf";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn a_record_of_the_kpl_is_read_and_written_again_byte_for_byte() {
    let data = bytes_of(OF_KPL);
    let aggregate = Aggregate::parse(&data).unwrap();
    assert_eq!(aggregate.keys(), ["pk1", "pk3"]);
    let numbers = [
        1, 3, 6, 8, 11, 13, 16, 18, 21, 23, 26, 28, 31, 33, 36, 38, 41, 43, 46, 48,
    ];
    let expected: Vec<String> = numbers.map(|n| format!("user-record-{n}")).to_vec();
    let found = aggregate.records().iter().map(|record| record.data);
    assert!(found.eq(expected.iter().map(String::as_bytes)));

    let mut packer = Packer::default();
    let mut again = Packer::default();
    for record in aggregate.records() {
        let with = packer.size_with(record.key, record.explicit_hash_key, record.data);
        packer.push(record.key, record.explicit_hash_key, record.data);
        assert_eq!(packer.size(), with);
        again.push_again(record);
    }
    assert_eq!(packer.finish(), data);
    assert_eq!(again.finish(), data);
}

#[test]
fn tags_and_unknown_fields_of_a_user_record_are_kept() {
    // Key 0, a tag (field 4), data, an unknown field 9.
    let record = [8, 0, 0x22, 3, 0x0a, 1, b't', 0x1a, 1, b'x', 0x48, 5];
    let mut message = vec![0x0a, 1, b'k', 0x1a, record.len() as u8];
    message.extend(record);
    let data = sealed(&message);
    let aggregate = Aggregate::parse(&data).unwrap();
    let mut packer = Packer::default();
    packer.push_again(&aggregate.records()[0]);
    assert_eq!(packer.finish(), data);
}

/// The aggregate with this message.
fn sealed(message: &[u8]) -> Vec<u8> {
    use md5::{Digest, Md5};
    [&MAGIC, message, &Md5::digest(message)[..]].concat()
}

#[test]
fn messages_that_are_no_aggregate_are_damaged() {
    let of_record = |record: &[u8]| {
        let mut message = vec![0x0a, 1, b'k', 0x1a, record.len() as u8];
        message.extend(record);
        sealed(&message)
    };
    assert!(Aggregate::parse(&of_record(&[8, 0, 0x1a, 0])).is_ok());
    for (damage, data) in [
        ("no user record", sealed(&[0x0a, 1, b'k'])),
        ("no key", of_record(&[0x1a, 0])),
        ("no data", of_record(&[8, 0])),
        ("an index outside the table", of_record(&[8, 1, 0x1a, 0])),
        (
            "a hash key outside the table",
            of_record(&[8, 0, 0x10, 0, 0x1a, 0]),
        ),
        ("data cut off", of_record(&[8, 0, 0x1a, 9, 1])),
        ("a number that never ends", of_record(&[8, 0x80])),
        ("a group", of_record(&[8, 0, 0x1a, 0, 0x2b])),
        ("the field 0", of_record(&[8, 0, 0x1a, 0, 0, 0])),
        (
            "a key that is not UTF-8",
            sealed(&[0x0a, 1, 0xff, 0x1a, 4, 8, 0, 0x1a, 0]),
        ),
        (
            "a hash key that is no number",
            sealed(&[0x12, 1, b'x', 0x1a, 0]),
        ),
    ] {
        assert!(Aggregate::parse(&data).is_err(), "{damage}");
    }
}

type Owned = (String, Option<u128>, Vec<u8>);

fn user_records() -> impl Strategy<Value = Vec<Owned>> {
    let key = prop_oneof!["[a-c]", "\\PC{1,40}"];
    let hash_key = prop_oneof![
        Just(None),
        any::<u128>().prop_map(Some),
        (0u128..3).prop_map(Some)
    ];
    let data = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::vec((key, hash_key, data), 1..60)
}

fn pack(records: &[Owned]) -> Vec<u8> {
    let mut packer = Packer::default();
    for (key, hash_key, data) in records {
        let with = packer.size_with(key, *hash_key, data);
        packer.push(key, *hash_key, data);
        assert_eq!(packer.size(), with);
    }
    assert_eq!(packer.len(), records.len());
    let size = packer.size();
    let data = packer.finish();
    assert_eq!(data.len(), size);
    data
}

fn owned(record: &UserRecord<'_>) -> Owned {
    (
        record.key.to_owned(),
        record.explicit_hash_key,
        record.data.to_vec(),
    )
}

proptest! {
    #[test]
    fn packed_records_are_read_again(records in user_records()) {
        let data = pack(&records);
        prop_assert!(check(&data, DataForm::Raw));
        prop_assert!(check(&base64(&data), DataForm::Base64));

        let aggregate = Aggregate::parse(&data).unwrap();
        let read: Vec<Owned> = aggregate.records().iter().map(owned).collect();
        let hash_keys = aggregate.hash_keys();
        for ((key, hash_key, _), found) in read.iter().zip(hash_keys) {
            let expected = hash_key.unwrap_or_else(|| distributary_wire::hashkey::of_partition_key(key));
            prop_assert_eq!(found, expected);
        }
        prop_assert_eq!(read, records);
    }

    #[test]
    fn a_changed_or_shortened_aggregate_is_damaged(records in user_records(), at: usize, bit in 0..8u32) {
        let mut data = pack(&records);
        let at = at % data.len();
        prop_assert!(Aggregate::parse(&data[..at]).is_err());
        data[at] ^= 1u8 << bit;
        prop_assert!(Aggregate::parse(&data).is_err());
    }

    #[test]
    fn any_message_is_damaged_or_can_be_written_again(message: Vec<u8>) {
        let data = sealed(&message);
        if let Ok(aggregate) = Aggregate::parse(&data) {
            let mut packer = Packer::default();
            aggregate.records().iter().for_each(|record| packer.push_again(record));
            let again = packer.finish();
            let again = Aggregate::parse(&again).unwrap();
            let records = |aggregate: &Aggregate<'_>| -> Vec<Owned> {
                aggregate.records().iter().map(owned).collect()
            };
            prop_assert_eq!(records(&again), records(&aggregate));
        }
    }
}

//! The rows that stand for records: fingerprints and places, of a fixed size.

use std::cmp::Reverse;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as Sip128};

use super::sort::Row;

/// Bits of a place that number the record within its shard.
const ORDINAL_BITS: u32 = 44;
/// Shards that a place can name.
pub(crate) const MAX_SHARDS: usize = 1 << (64 - ORDINAL_BITS);

/// The place of a record in a stream: the rank of the shard, then the record's number in the shard,
/// from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

impl Place {
    /// The record number `ordinal` of the shard ranked `shard`.
    pub(crate) fn new(shard: usize, ordinal: u64) -> Self {
        Self((shard as u64) << ORDINAL_BITS | ordinal & ((1 << ORDINAL_BITS) - 1))
    }

    /// The rank of the shard.
    pub(crate) fn shard(self) -> usize {
        // At most MAX_SHARDS.
        #[allow(clippy::cast_possible_truncation)]
        let shard = (self.0 >> ORDINAL_BITS) as usize;
        shard
    }

    /// The record's number in the shard.
    pub(crate) fn ordinal(self) -> u64 {
        self.0 & ((1 << ORDINAL_BITS) - 1)
    }
}

/// Makes fingerprints with a secret key, so that a producer of records cannot forge equal ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prints {
    keys: [u64; 4],
}

impl Prints {
    /// Fingerprints with these 256 random bits as key.
    pub(crate) fn new(keys: [u64; 4]) -> Self {
        Self { keys }
    }

    /// The fingerprint of a record, from key and data.
    pub(crate) fn record(&self, key: Option<&str>, data: &[u8]) -> u128 {
        let mut hasher = Sip128::new_with_keys(self.keys[0], self.keys[1]);
        let key = own_key(key);
        hasher.write_u64(key.len() as u64);
        hasher.write(key.as_bytes());
        hasher.write(data);
        hasher.finish128().as_u128()
    }

    /// The fingerprint of a partition key; 0 for none.
    pub(crate) fn key(&self, key: Option<&str>) -> u64 {
        let key = own_key(key);
        if key.is_empty() {
            return 0;
        }
        let mut hasher = SipHasher13::new_with_keys(self.keys[2], self.keys[3]);
        hasher.write(key.as_bytes());
        hasher.finish().max(1)
    }
}

/// Number of digits of a sequence number, and the first digits, as seen in every response of AWS
/// and of its emulators.
const SEQUENCE: (usize, &str) = (56, "49");

/// A record's own key; empty for a record without a key. A key that is a sequence number counts as
/// none (see the module [`super`]). Kinesis allows no empty key.
fn own_key(key: Option<&str>) -> &str {
    let (digits, start) = SEQUENCE;
    match key {
        Some(key)
            if key.len() == digits
                && key.starts_with(start)
                && key.bytes().all(|b| b.is_ascii_digit()) =>
        {
            ""
        }
        Some(key) => key,
        None => "",
    }
}

/// A record of a stream; sorts by content, equal records by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordRow {
    /// Fingerprint of key and data.
    pub(crate) print: u128,
    /// The record's place.
    pub(crate) place: Place,
    /// Fingerprint of the key; 0 without a key.
    pub(crate) key: u64,
}

/// A record of the source of which the copy has as many; sorts by key, the last place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceRow {
    pub(crate) key: u64,
    pub(crate) place: Reverse<Place>,
    pub(crate) print: u128,
    /// True for the last of equal records.
    pub(crate) last: bool,
}

/// A record of the copy; sorts by key, the last place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CopyRow {
    pub(crate) key: u64,
    pub(crate) place: Reverse<Place>,
    pub(crate) print: u128,
    /// Only for the last of equal records: the place of the last of them in the source.
    pub(crate) stands_for: Option<Place>,
    /// True if the source has exactly one such record.
    pub(crate) unique: bool,
}

/// The bytes of a row on disk, taken from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        // Rows are read in the size in which they are written, so no field is cut short.
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .map_or(([0; N], self.0), |(h, r)| (*h, r));
        self.0 = rest;
        head
    }
}

impl Row for RecordRow {
    const BYTES: usize = 32;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.print.to_le_bytes());
        out.extend_from_slice(&self.place.0.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self {
            print: u128::from_le_bytes(f.take()),
            place: Place(u64::from_le_bytes(f.take())),
            key: u64::from_le_bytes(f.take()),
        }
    }
}

impl Row for SourceRow {
    const BYTES: usize = 33;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.place.0.0.to_le_bytes());
        out.extend_from_slice(&self.print.to_le_bytes());
        out.push(u8::from(self.last));
    }

    fn read(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        Self {
            key: u64::from_le_bytes(f.take()),
            place: Reverse(Place(u64::from_le_bytes(f.take()))),
            print: u128::from_le_bytes(f.take()),
            last: f.take::<1>() == [1],
        }
    }
}

impl Row for CopyRow {
    const BYTES: usize = 41;

    fn write(&self, out: &mut Vec<u8>) {
        let stands_for = match self.stands_for {
            Some(place) => place.0,
            None => 0,
        };
        let is_last = u8::from(self.stands_for.is_some());
        let unique = u8::from(self.unique);
        let flags = is_last | unique << 1;

        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.place.0.0.to_le_bytes());
        out.extend_from_slice(&self.print.to_le_bytes());
        out.extend_from_slice(&stands_for.to_le_bytes());
        out.push(flags);
    }

    fn read(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        let key = u64::from_le_bytes(f.take());
        let place = Place(u64::from_le_bytes(f.take()));
        let print = u128::from_le_bytes(f.take());
        let stands_for = Place(u64::from_le_bytes(f.take()));
        let [flags] = f.take();

        Self {
            key,
            place: Reverse(place),
            print,
            stands_for: (flags & 1 != 0).then_some(stands_for),
            unique: flags & 2 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip<R: Row + std::fmt::Debug>(row: R) {
        let mut bytes = Vec::new();
        row.write(&mut bytes);
        assert_eq!(bytes.len(), R::BYTES);
        assert!(R::read(&bytes) == row);
    }

    proptest! {
        #[test]
        fn rows_are_read_as_written(
            print: u128, key: u64, a: u64, b in prop::option::of(any::<u64>()), last: bool, unique: bool,
        ) {
            round_trip(RecordRow { print, place: Place(a), key });
            round_trip(SourceRow { key, place: Reverse(Place(a)), print, last });
            round_trip(CopyRow { key, place: Reverse(Place(a)), print, stands_for: b.map(Place), unique });
        }
    }

    #[test]
    fn places_sort_by_shard_then_number() {
        let p = Place::new(3, 70_000);
        assert_eq!((p.shard(), p.ordinal()), (3, 70_000));
        assert!(Place::new(2, 1 << 40) < p && p < Place::new(3, 70_001));
        assert_eq!(Place::new(MAX_SHARDS - 1, 5).shard(), MAX_SHARDS - 1);
    }

    #[test]
    fn fingerprints_tell_key_and_data_apart() {
        let h = Prints::new([1, 2, 3, 4]);
        assert_ne!(h.record(Some("ab"), b"c"), h.record(Some("a"), b"bc"));
        assert_ne!(h.record(Some("a"), b""), h.record(Some("b"), b""));
        assert_eq!(h.record(None, b"x"), h.record(Some(""), b"x"));
        assert_eq!(h.record(Some("k"), b"x"), h.record(Some("k"), b"x"));
        assert_ne!(
            h.record(Some("k"), b"x"),
            Prints::new([1, 3, 3, 4]).record(Some("k"), b"x")
        );
        assert_eq!((h.key(None), h.key(Some(""))), (0, 0));
        assert_ne!(h.key(Some("a")), h.key(Some("b")));
        let sequence = "49680509534829670955022332031249783423837553986631630866";
        assert_eq!(h.record(Some(sequence), b"x"), h.record(None, b"x"));
        assert_eq!(h.key(Some(sequence)), 0);
        assert_ne!(h.key(Some(&sequence[1..])), 0);
    }
}

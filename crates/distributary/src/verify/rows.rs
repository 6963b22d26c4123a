//! What is kept of a record: fixed-size rows of fingerprints and places.

use std::cmp::Reverse;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as Sip128};
use std::hash::Hasher;

use super::sort::Row;

/// Bits of a place that number the record within its shard.
const ORDINAL_BITS: u32 = 44;
/// Shards that a place can name.
pub(crate) const MAX_SHARDS: usize = 1 << (64 - ORDINAL_BITS);

/// Where a record stands in its stream: the rank of its shard, then its number within it, from 0.
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

    /// The record's number within its shard.
    pub(crate) fn ordinal(self) -> u64 {
        self.0 & ((1 << ORDINAL_BITS) - 1)
    }
}

/// Makes fingerprints. Keyed, so that nobody who writes records can make two differing ones look alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prints {
    keys: [u64; 4],
}

impl Prints {
    /// From 256 random bits.
    pub(crate) fn new(keys: [u64; 4]) -> Self {
        Self { keys }
    }

    /// Of a record: key and data.
    pub(crate) fn record(&self, key: Option<&str>, data: &[u8]) -> u128 {
        let mut hasher = Sip128::new_with_keys(self.keys[0], self.keys[1]);
        let key = own(key);
        hasher.write_u64(key.len() as u64);
        hasher.write(key.as_bytes());
        hasher.write(data);
        hasher.finish128().as_u128()
    }

    /// Of a partition key alone; 0 for none.
    pub(crate) fn key(&self, key: Option<&str>) -> u64 {
        let key = own(key);
        if key.is_empty() {
            return 0;
        }
        let mut hasher = SipHasher13::new_with_keys(self.keys[2], self.keys[3]);
        hasher.write(key.as_bytes());
        hasher.finish().max(1)
    }
}

/// Digits of a sequence number, and what it begins with. (Seen in every answer of AWS and of what imitates it.)
const SEQUENCE: (usize, &str) = (56, "49");

/// A record's own key; empty if it has none. A copy of a record without a key has a sequence number in its place where the
/// stream demands one, so a key that is one counts as none. No key and an empty one are the same: Kinesis allows no empty
/// one.
fn own(key: Option<&str>) -> &str {
    let (digits, start) = SEQUENCE;
    let is_sequence = |key: &&str| {
        key.len() == digits && key.starts_with(start) && key.bytes().all(|b| b.is_ascii_digit())
    };
    key.filter(|key| !is_sequence(key)).unwrap_or_default()
}

/// One record of a stream; sorts by content, equal records by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordRow {
    /// Fingerprint of key and data.
    pub(crate) print: u128,
    /// Where it stands.
    pub(crate) place: Place,
    /// Fingerprint of the key; 0 if it has none.
    pub(crate) key: u64,
}

/// One record of the source that the output has in full number; sorts by key, the last place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceRow {
    pub(crate) key: u64,
    pub(crate) place: Reverse<Place>,
    pub(crate) print: u128,
    /// It is the last of its equals.
    pub(crate) last: bool,
}

/// One record of an output; sorts by key, the last place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutputRow {
    pub(crate) key: u64,
    pub(crate) place: Reverse<Place>,
    pub(crate) print: u128,
    /// If it is the last of its equals: the place of the last of its equals in the source.
    pub(crate) stands_for: Option<Place>,
    /// The source has just one such record.
    pub(crate) unique: bool,
}

/// Bytes of a row as they lie on disk, taken from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        // Rows are read in the size that they are written in.
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

impl Row for OutputRow {
    const BYTES: usize = 41;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.place.0.0.to_le_bytes());
        out.extend_from_slice(&self.print.to_le_bytes());
        out.extend_from_slice(&self.stands_for.map_or(0, |p| p.0).to_le_bytes());
        out.push(u8::from(self.stands_for.is_some()) | u8::from(self.unique) << 1);
    }

    fn read(bytes: &[u8]) -> Self {
        let mut f = Fields(bytes);
        let (key, place, print) = (
            u64::from_le_bytes(f.take()),
            u64::from_le_bytes(f.take()),
            u128::from_le_bytes(f.take()),
        );
        let stands_for = Place(u64::from_le_bytes(f.take()));
        let [flags] = f.take();
        Self {
            key,
            place: Reverse(Place(place)),
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
            round_trip(OutputRow { key, place: Reverse(Place(a)), print, stands_for: b.map(Place), unique });
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

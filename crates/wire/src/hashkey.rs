//! Hash keys and hash ranges, which decide the shard of a record; the order of sequence numbers.

use std::cmp::Ordering;
use std::fmt;

use md5::{Digest, Md5};

use crate::types::HashKeyRange;

/// The 128-bit hash key by which Kinesis routes a partition key: the MD5 as a big-endian number.
///
/// Source: [`PutRecord`](crate::op::Operation::PutRecord).
pub fn of_partition_key(key: &str) -> u128 {
    let mut hash = Md5::new();
    hash.update(key.as_bytes());
    u128::from_be_bytes(hash.finalize().into())
}

/// Reads a hash key: a decimal number below 2^128 without leading zeros (in the API the pattern
/// `0|([1-9]\d{0,38})`).
pub fn parse(text: &str) -> Option<u128> {
    let starts_with_digit =
        text == "0" || (text.len() <= 39 && text.starts_with(|c: char| ('1'..='9').contains(&c)));

    // `u128::from_str` alone would also accept a sign in front, and leading zeros.
    if starts_with_digit {
        text.parse().ok()
    } else {
        None
    }
}

/// A range of hash keys, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The first key of the range.
    pub start: u128,
    /// The last key of the range.
    pub end: u128,
}

impl HashRange {
    /// The range of every hash key.
    pub const ALL: Self = Self {
        start: 0,
        end: u128::MAX,
    };

    /// True if the key is in the range.
    pub fn contains(&self, key: u128) -> bool {
        self.start <= key && key <= self.end
    }

    /// True if all of `other` is in the range.
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// True if one range starts where the other ends, so that the two shards can be merged.
    pub fn is_adjacent(&self, other: &Self) -> bool {
        self.end.checked_add(1) == Some(other.start) || other.end.checked_add(1) == Some(self.start)
    }

    /// Cuts all hash keys into `count` ranges of even size; as with AWS, the last range also takes
    /// the remainder. Empty for 0.
    pub fn even(count: u32) -> Vec<Self> {
        if count <= 1 {
            return std::iter::repeat_n(Self::ALL, count as usize).collect();
        }

        // 2^128 / count: for a count of 1 the result would not fit 128 bits.
        let count = u128::from(count);
        let size = u128::MAX / count + u128::from(u128::MAX % count == count - 1);
        let last = count - 1;

        (0..count)
            .map(|i| Self {
                start: size * i,
                end: if i == last {
                    u128::MAX
                } else {
                    size * (i + 1) - 1
                },
            })
            .collect()
    }

    /// Reads a range of the protocol; `None` if an end is not a hash key, or the start is after
    /// the end.
    pub fn from_wire(range: &HashKeyRange) -> Option<Self> {
        let start = parse(&range.starting_hash_key)?;
        let end = parse(&range.ending_hash_key)?;
        (start <= end).then_some(Self { start, end })
    }

    /// The range as the protocol has it.
    pub fn to_wire(self) -> HashKeyRange {
        HashKeyRange {
            starting_hash_key: self.start.to_string(),
            ending_hash_key: self.end.to_string(),
        }
    }
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Compares two sequence numbers: decimal numbers of up to 129 digits, which no integer type holds.
/// Without leading zeros, the longer number is the greater one.
pub fn compare_sequence(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_of_known_keys() {
        // RFC 1321, appendix A.5.
        assert_eq!(
            of_partition_key(""),
            0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e
        );
        assert_eq!(
            of_partition_key("abc"),
            0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72
        );
    }

    #[test]
    fn hash_keys_have_limits() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(
            parse("340282366920938463463374607431768211455"),
            Some(u128::MAX)
        );

        for bad in [
            "",
            "340282366920938463463374607431768211456",
            "01",
            "+1",
            "-1",
            "1e3",
            "1 ",
            "٣",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn even_ranges_cover_everything_once() {
        assert!(HashRange::even(0).is_empty());

        for count in [1, 2, 3, 7, 10, 500] {
            let ranges = HashRange::even(count);
            assert_eq!(ranges.len(), count as usize);
            assert_eq!(
                (ranges[0].start, ranges[ranges.len() - 1].end),
                (0, u128::MAX)
            );
            for pair in ranges.windows(2) {
                assert!(pair[0].is_adjacent(&pair[1]) && pair[1].is_adjacent(&pair[0]));
                assert!(pair[0].end < pair[1].start);
            }
        }

        // AWS gives a stream of three shards this first range.
        assert_eq!(
            HashRange::even(3)[0].end.to_string(),
            "113427455640312821154458202477256070484"
        );
        assert_eq!(HashRange::even(2)[1].start, 1 << 127);
    }

    #[test]
    fn ranges_to_the_wire_and_back() {
        let range = HashRange {
            start: 5,
            end: u128::MAX,
        };
        assert_eq!(HashRange::from_wire(&range.to_wire()), Some(range));
        assert!(range.contains(5) && !range.contains(4));
        assert!(HashRange::ALL.covers(&range) && !range.covers(&HashRange::ALL));

        let reversed = HashKeyRange {
            starting_hash_key: "2".into(),
            ending_hash_key: "1".into(),
        };
        assert_eq!(HashRange::from_wire(&reversed), None);
    }

    #[test]
    fn sequence_numbers_compare_as_numbers() {
        for (a, b, order) in [
            ("9", "10", Ordering::Less),
            ("0010", "9", Ordering::Greater),
            ("007", "7", Ordering::Equal),
            ("0", "", Ordering::Equal),
            (
                "49590338271490256608559692538361571095921575989136588898",
                "49590338271490256608559692538361571095921575989136588899",
                Ordering::Less,
            ),
        ] {
            assert_eq!(compare_sequence(a, b), order, "{a} {b}");
        }
    }
}

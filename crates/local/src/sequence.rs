//! Sequence numbers in AWS's shape: 188 bits, printed as 56 decimal digits.
//!
//! The fields from the top, with their bits: `2` (4), second of the shard's creation (36), low
//! digit of the shard's number (4), index of the record in the shard (64), zero (8), second of the
//! record's arrival (36), number of the shard (32), `2` (4). Numbers grow along a shard. A child's
//! numbers are greater than all of the parents' numbers, because a child is created in a later
//! second.
//!
//! Source: numbers in AWS's documentation, and the layout found by the project kinesalite.

use std::fmt;

/// Decimal digits of every sequence number.
pub(crate) const DIGITS: usize = 56;

/// Index in the `EndingSequenceNumber` of a closed shard, far above the index of any record.
const ENDING_INDEX: u64 = i64::MAX as u64;

const SECONDS_MASK: u64 = (1 << 36) - 1;
/// The largest power of ten below 2^64.
const TEN_TO_19: u64 = 10_000_000_000_000_000_000;

/// The fields that all sequence numbers of a shard share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardNumbers {
    /// Seconds since 1970 of the shard's creation, later than the creation of the parents.
    pub(crate) created_s: u64,
    /// The number in `shardId-…`.
    pub(crate) shard: u32,
}

/// The fields of a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) numbers: ShardNumbers,
    /// 0 for the shard's `StartingSequenceNumber`; 1 for the first record.
    pub(crate) index: u64,
    /// Seconds since 1970 of the arrival.
    pub(crate) time_s: u64,
}

impl ShardNumbers {
    /// The shard's `StartingSequenceNumber`, which belongs to no record.
    pub(crate) fn starting(self) -> Sequence {
        Sequence {
            numbers: self,
            index: 0,
            time_s: self.created_s,
        }
    }

    /// The sequence number of the record at `offset`, counted from 0.
    pub(crate) fn of_record(self, offset: u64, arrival_ms: u64) -> Sequence {
        Sequence {
            numbers: self,
            index: offset.saturating_add(1),
            time_s: arrival_ms / 1000,
        }
    }

    /// The `EndingSequenceNumber` of a closed shard, which belongs to no record.
    pub(crate) fn ending(self, closed_ms: u64) -> Sequence {
        Sequence {
            numbers: self,
            index: ENDING_INDEX,
            time_s: closed_ms / 1000,
        }
    }
}

impl Sequence {
    /// True for the `EndingSequenceNumber` of a closed shard.
    pub(crate) fn is_ending(&self) -> bool {
        self.index == ENDING_INDEX
    }

    /// The offset of the first record at or after this number.
    pub(crate) fn at_offset(&self) -> u64 {
        self.index.saturating_sub(1)
    }

    /// The offset of the first record after this number.
    pub(crate) fn after_offset(&self) -> u64 {
        self.index
    }

    /// The low 64, middle 64 and high 60 bits.
    fn limbs(&self) -> (u64, u64, u64) {
        let Self {
            numbers: ShardNumbers { created_s, shard },
            index,
            time_s,
        } = *self;
        let time = time_s & SECONDS_MASK;

        // Low limb: the trailing 2 (4 bits), the shard (32), the lower 28 bits of the time.
        let low = 2 | u64::from(shard) << 4 | time << 36;
        // Middle limb: the upper 8 bits of the time, zero (8), the lower 48 bits of the index.
        let middle = time >> 28 | index << 16;
        // High limb: the upper 16 bits of the index, the shard's low digit (4), the second of the
        // creation (36), the leading 2 (4).
        let high =
            index >> 48 | u64::from(shard & 15) << 16 | (created_s & SECONDS_MASK) << 20 | 2 << 56;

        (low, middle, high)
    }

    /// Writes the 56 digits.
    pub(crate) fn write_digits(&self, out: &mut [u8; DIGITS]) {
        let (low, middle, high) = self.limbs();

        // Two divisions by 10^19 leave a quotient below 10^18, so the upper limbs are zero then.
        let (upper, last) = divide_by_ten_to_19((high, middle, low));
        let ((_, _, first), next) = divide_by_ten_to_19(upper);

        write_decimal(first, &mut out[..18]);
        write_decimal(next, &mut out[18..37]);
        write_decimal(last, &mut out[37..]);
    }

    /// Parses a number in this module's format; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > DIGITS {
            return None;
        }

        let mut limbs = [0_u64; 3];
        for digit in text.bytes() {
            if !digit.is_ascii_digit() {
                return None;
            }
            let mut carry = u128::from(digit - b'0');
            for limb in &mut limbs {
                let n = u128::from(*limb) * 10 + carry;
                *limb = n as u64;
                carry = n >> 64;
            }
        }

        let [low, middle, high] = limbs;
        let shard = (low >> 4) as u32;
        let constants_match = low & 15 == 2
            && high >> 56 == 2
            && middle >> 8 & 0xff == 0
            && high >> 16 & 15 == u64::from(shard & 15);

        constants_match.then_some(Self {
            numbers: ShardNumbers {
                created_s: high >> 20 & SECONDS_MASK,
                shard,
            },
            index: (high & 0xffff) << 48 | middle >> 16,
            time_s: (middle & 0xff) << 28 | low >> 36,
        })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = [0; DIGITS];
        self.write_digits(&mut out);
        f.write_str(as_text(&out))
    }
}

/// The digits as text.
pub(crate) fn as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

/// Divides a number of three limbs, the highest first, by 10^19: the quotient and the remainder.
fn divide_by_ten_to_19((high, middle, low): (u64, u64, u64)) -> ((u64, u64, u64), u64) {
    let divisor = u128::from(TEN_TO_19);
    let (high, rest) = (high / TEN_TO_19, high % TEN_TO_19);

    let n = u128::from(rest) << 64 | u128::from(middle);
    let (middle, rest) = ((n / divisor) as u64, n % divisor);

    let n = rest << 64 | u128::from(low);
    ((high, middle, (n / divisor) as u64), (n % divisor) as u64)
}

/// Writes a number with leading zeros, as many digits as `out` has bytes.
fn write_decimal(mut n: u64, out: &mut [u8]) {
    for pair in out.rchunks_mut(2) {
        let two = (n % 100) as u8;
        n /= 100;
        if let [tens, ones] = pair {
            *tens = b'0' + two / 10;
            *ones = b'0' + two % 10;
        } else if let [ones] = pair {
            *ones = b'0' + two % 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBERS: ShardNumbers = ShardNumbers {
        created_s: 1_700_000_000,
        shard: 7,
    };

    #[test]
    fn the_shape_is_aws_s() {
        let text = NUMBERS.starting().to_string();
        assert_eq!(text.len(), 56);
        assert!(text.starts_with("496"), "{text}");
        // Numbers from AWS's documentation are read and written unchanged.
        for known in [
            "49543463076548007577105092703039560359975228518395019266",
            "49544985256907370027570885864065577703022652638596431874",
            "49546986683135544286507457936321625675700192471156785154",
        ] {
            let read = Sequence::parse(known).expect(known);
            assert_eq!(read.to_string(), known);
        }
    }

    #[test]
    fn numbers_grow_along_a_shard_and_to_its_children() {
        let mut last = NUMBERS.starting().to_string();
        let child = ShardNumbers {
            created_s: 1_700_000_001,
            shard: 0,
        };
        let along = [
            NUMBERS.of_record(0, 1_700_000_000_000),
            NUMBERS.of_record(1, 1_700_000_000_000),
            NUMBERS.of_record(u64::from(u32::MAX), 1_800_000_000_000),
            NUMBERS.ending(1_700_000_000_000),
            child.starting(),
        ];
        for next in along {
            assert!(next.to_string() > last);
            last = next.to_string();
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "0",
            "1",
            "-1",
            "4954346307654800757710509270303956035997522851839501926x",
            "٤",
        ] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
        assert_eq!(Sequence::parse(&"9".repeat(56)), None);
        assert_eq!(Sequence::parse(&"9".repeat(129)), None);
    }

    proptest! {
        #[test]
        fn numbers_are_read_back(created_s in 0..=SECONDS_MASK, shard: u32, index: u64, time_s in 0..=SECONDS_MASK) {
            let sequence = Sequence { numbers: ShardNumbers { created_s, shard }, index, time_s };
            let text = sequence.to_string();
            prop_assert_eq!(text.len(), DIGITS);
            prop_assert_eq!(Sequence::parse(&text), Some(sequence));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9]{0,60}|.{0,60}") {
            if let Some(read) = Sequence::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}

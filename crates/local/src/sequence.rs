//! Sequence numbers in the shape AWS gives them.
//!
//! A number has 188 bits, which are 56 decimal digits. From the top: `2` (4 bits), the second that the shard was created
//! in (36), the low digit of the shard's number (4), the record's place in the shard (64), zero (8), the second that the
//! record arrived in (36), the shard's number (32), `2` (4). So numbers grow along a shard, and a child's are all greater
//! than its parents', since a child is created in a later second.

use std::fmt;

/// Decimal digits of every sequence number.
pub(crate) const DIGITS: usize = 56;

/// The place in the `EndingSequenceNumber` of a closed shard: no record comes near it.
const LAST_INDEX: u64 = i64::MAX as u64;

const SECONDS_MASK: u64 = (1 << 36) - 1;
const TEN_19: u64 = 10_000_000_000_000_000_000;

/// What does not change along a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardNumbers {
    /// When the shard was created, in seconds since 1970; more than its parents'.
    pub(crate) created_s: u64,
    /// The number in `shardId-…`.
    pub(crate) shard: u32,
}

/// A sequence number taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) numbers: ShardNumbers,
    /// 0 is the shard's beginning, the first record has 1.
    pub(crate) index: u64,
    pub(crate) time_s: u64,
}

impl ShardNumbers {
    /// `StartingSequenceNumber` of the shard.
    pub(crate) fn first(self) -> Sequence {
        Sequence {
            numbers: self,
            index: 0,
            time_s: self.created_s,
        }
    }

    /// The number of the record at `offset`, counted from 0 at the shard's beginning.
    pub(crate) fn at(self, offset: u64, arrival_ms: u64) -> Sequence {
        Sequence {
            numbers: self,
            index: offset.saturating_add(1),
            time_s: arrival_ms / 1000,
        }
    }

    /// `EndingSequenceNumber` of the shard once it is closed.
    pub(crate) fn last(self, closed_ms: u64) -> Sequence {
        Sequence {
            numbers: self,
            index: LAST_INDEX,
            time_s: closed_ms / 1000,
        }
    }
}

impl Sequence {
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
        // Low limb: version 4, shard 32, the lower 28 bits of the time.
        let low = 2 | u64::from(shard) << 4 | time << 36;
        // Middle: the time's upper 8 bits, 8 of zero, the lower 48 bits of the place.
        let middle = time >> 28 | index << 16;
        // High: the place's upper 16 bits, a digit of the shard, 36 of the creation, the leading 2.
        let high =
            index >> 48 | u64::from(shard & 15) << 16 | (created_s & SECONDS_MASK) << 20 | 2 << 56;
        (low, middle, high)
    }

    /// Writes the 56 digits.
    pub(crate) fn write(&self, out: &mut [u8; DIGITS]) {
        let (low, middle, high) = self.limbs();
        // Long division by 10^19, twice: what is left is below 10^18.
        let divide = |high: u64, middle: u64, low: u64| {
            let (q2, r) = (high / TEN_19, high % TEN_19);
            let n = u128::from(r) << 64 | u128::from(middle);
            let (q1, r) = ((n / u128::from(TEN_19)) as u64, n % u128::from(TEN_19));
            let n = r << 64 | u128::from(low);
            (
                q2,
                q1,
                (n / u128::from(TEN_19)) as u64,
                (n % u128::from(TEN_19)) as u64,
            )
        };
        let (h, m, l, last) = divide(high, middle, low);
        let (_, _, first, next) = divide(h, m, l);
        digits(first, &mut out[..18]);
        digits(next, &mut out[18..37]);
        digits(last, &mut out[37..]);
    }

    /// Reads a number that this format could have made; `None` for any other text.
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
        let whole = low & 15 == 2
            && high >> 56 == 2
            && middle >> 8 & 0xff == 0
            && high >> 16 & 15 == u64::from(shard & 15);
        whole.then_some(Self {
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
        self.write(&mut out);
        f.write_str(as_text(&out))
    }
}

/// The digits as text.
pub(crate) fn as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

fn digits(mut n: u64, out: &mut [u8]) {
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
        let text = NUMBERS.first().to_string();
        assert_eq!(text.len(), 56);
        assert!(text.starts_with("496"), "{text}");
        // Numbers from AWS's documentation fit the layout.
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
        let mut last = NUMBERS.first().to_string();
        let child = ShardNumbers {
            created_s: 1_700_000_001,
            shard: 0,
        };
        let along = [
            NUMBERS.at(0, 1_700_000_000_000),
            NUMBERS.at(1, 1_700_000_000_000),
            NUMBERS.at(u64::from(u32::MAX), 1_800_000_000_000),
            NUMBERS.last(1_700_000_000_000),
            child.first(),
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

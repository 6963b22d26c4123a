//! Progress in a shard: sequence numbers and positions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::clock::Millis;

/// The number that a source gave a record: opaque, ordered within a shard, decimal, up to 129
/// digits (Kinesis API reference, `Record.SequenceNumber`: `0|([1-9]\d{0,128})`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sequence(Arc<str>);

impl Sequence {
    /// Takes the decimal text as the source gave it.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The decimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The order of two sequence numbers of one shard, by value. Compares the texts without
    /// parsing.
    pub fn compare(a: &str, b: &str) -> Ordering {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        // Texts of equal value that differ in leading zeros differ for `Eq`, so they must differ
        // here.
        Self::compare(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position in one shard: the start of a reader, and the content of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the oldest record that the source still has.
    TrimHorizon,
    /// Before the first record that arrived at or after this moment.
    At(Millis),
    /// After a record, or after a part of one.
    After {
        /// The record.
        sequence: Sequence,
        /// `None`: the record and all before it are done. A number: all before the record are done,
        /// and of the records that it was taken apart into (an aggregate's, a pump's rows) those
        /// with the indices 0 to this one. The KCL's `checkpointSubSequenceNumber` means the same.
        sub: Option<u32>,
    },
    /// After the last record of a closed shard: there will be no more.
    Closed,
}

impl Position {
    /// The position just after the whole record `sequence`.
    pub fn after(sequence: &str) -> Self {
        Self::After {
            sequence: Sequence::new(sequence),
            sub: None,
        }
    }

    /// True if `self` says at least as much is done as `other` does, as far as the two can be
    /// compared: `TrimHorizon` and `At` stand before every `After`, and `Closed` after all.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::TrimHorizon | Self::At(_)) | (Self::Closed, _) => true,
            (Self::After { .. }, Self::After { .. }) => self.rank() >= other.rank(),
            (
                Self::TrimHorizon | Self::At(_) | Self::After { .. },
                Self::After { .. } | Self::Closed,
            ) => false,
        }
    }

    /// The key that orders `After` positions of one shard; `None` for all others. A whole record
    /// stands after each of its parts.
    pub fn rank(&self) -> Option<(&Sequence, u64)> {
        match self {
            Self::After { sequence, sub } => {
                let sub = sub.map_or(u64::MAX, u64::from);
                Some((sequence, sub))
            }
            Self::TrimHorizon | Self::At(_) | Self::Closed => None,
        }
    }
}

/// For people: log lines and the status.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("the oldest record"),
            Self::At(at) => write!(f, "{} ms since 1970", at.0),
            Self::After {
                sequence,
                sub: None,
            } => write!(f, "after {sequence}"),
            Self::After {
                sequence,
                sub: Some(sub),
            } => write!(f, "after part {sub} of {sequence}"),
            Self::Closed => f.write_str("the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_record_stand_before_the_whole() {
        let at = |sequence: &str, sub| Position::After {
            sequence: Sequence::new(sequence),
            sub,
        };
        let ascending = [
            Position::TrimHorizon,
            at("9", None),
            at("10", Some(0)),
            at("10", Some(7)),
            at("10", None),
            at("11", Some(0)),
            Position::Closed,
        ];

        for (i, low) in ascending.iter().enumerate() {
            for (j, high) in ascending.iter().enumerate() {
                assert_eq!(high.covers(low), j >= i, "{high} covers {low}");
            }
        }
    }
}

//! Where a lane is: sequence numbers and positions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::clock::Millis;

/// The number that a source gave a record: opaque, ordered within a shard, decimal, up to 129 digits.
/// (Kinesis API reference, `Record.SequenceNumber`: `0|([1-9]\d{0,128})`.)
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

    /// The order of two sequence numbers of one shard: by value; no text is turned into a number.
    pub fn compare(a: &str, b: &str) -> Ordering {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        // Equal values with different text (leading zeros) must not compare equal while `Eq` says they differ.
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

/// A place in one shard: what a reader is opened at, and what a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the oldest record that the source still has.
    TrimHorizon,
    /// Before the first record that arrived at or after this moment.
    At(Millis),
    /// Just after this record: it, and all before it, are done.
    After(Sequence),
    /// After the last record of a closed shard: there will be no more.
    Closed,
}

impl Position {
    /// True if `self` says at least as much is done as `other` does, as far as the two can be compared:
    /// `TrimHorizon` and `At` come before every `After`, and `Closed` after all.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::TrimHorizon | Self::At(_)) | (Self::Closed, _) => true,
            (Self::After(a), Self::After(b)) => a >= b,
            (Self::TrimHorizon | Self::At(_) | Self::After(_), Self::After(_) | Self::Closed) => {
                false
            }
        }
    }
}

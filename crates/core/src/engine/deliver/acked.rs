//! The state of single records beyond a lane's cursor.

use std::num::NonZeroUsize;

use crate::output::Order;

/// A set of small numbers that grows as needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, i: usize) -> bool {
        let word = self.0.get(i / 64);
        word.is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, i: usize) {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(i / 64) {
            *word |= 1 << (i % 64);
        }
    }

    pub(super) fn remove(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word &= !(1 << (i % 64));
        }
    }

    /// Adds every number of `other`.
    fn include(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Removes every number of `other`.
    fn exclude(&mut self, other: &Self) {
        for (word, less) in self.0.iter_mut().zip(&other.0) {
            *word &= !less;
        }
    }

    /// Adds every number below `end` that is not in `other`, plus `by`.
    pub(crate) fn add_rest(&mut self, end: usize, other: &Self, by: usize) {
        let rest = (0..end).filter(|i| !other.get(*i));
        rest.for_each(|i| self.insert(i + by));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// True if no number from `from` on is in the set.
    pub(super) fn none_from(&self, from: usize) -> bool {
        (from..self.0.len() * 64).all(|i| !self.get(i))
    }

    /// The set of `i - by` for every `i >= by` in the set.
    pub(super) fn moved_down(&self, by: usize) -> Self {
        let mut moved = Self::default();
        if self.is_empty() {
            return moved;
        }

        let kept = (by..self.0.len() * 64).filter(|i| self.get(*i));
        kept.for_each(|i| moved.insert(i - by));
        moved
    }

    /// The set of `i + by` for every `i` in the set.
    pub(super) fn moved_up(&self, by: usize) -> Self {
        let mut moved = Self::default();
        if self.is_empty() {
            return moved;
        }

        let kept = (0..self.0.len() * 64).filter(|i| self.get(*i));
        kept.for_each(|i| moved.insert(i + by));
        moved
    }
}

/// The state of the records beyond a lane's cursor, counted from the cursor. Outlives the batch:
/// records are read again in the same order, however later reads cut them into batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Acknowledged records, durable or accepted.
    pub(super) durable: Bits,
    /// The acknowledged records that wait for a flush.
    pub(super) accepted: Bits,
    /// Records that may have been written: sending one again is a repeat.
    pub(super) maybe_written: Bits,
    /// The number of records that the next request may hold. Set where many records that succeeded
    /// had to be sent again: without a cap, small records could take a throttled output's room from
    /// a large record before them, without end.
    pub(super) request_cap: Option<NonZeroUsize>,
    /// The order that was kept when the records were acknowledged.
    pub(super) order: Order,
}

impl Acked {
    /// The records that wait for a flush are durable.
    pub(crate) fn flushed(&mut self) {
        self.accepted = Bits::default();
    }

    /// The state after a flush that failed, counted from the durable cursor: the first `records`
    /// records may have been written, and only the ones in `durable` need not be sent again. `self`
    /// is the state of the records behind these.
    pub(crate) fn flush_failed(&self, records: usize, durable: &Bits, written: Written) -> Self {
        let mut beyond = self.durable.clone();
        beyond.exclude(&self.accepted);
        let mut known = beyond.moved_up(records);
        known.include(durable);

        let mut maybe_written = self.maybe_written.moved_up(records);
        maybe_written.include(&known);
        if written == Written::Maybe {
            maybe_written.include(&self.durable.moved_up(records));
            (0..records).for_each(|i| maybe_written.insert(i));
        }
        Self {
            durable: known,
            maybe_written,
            accepted: Bits::default(),
            request_cap: self.request_cap,
            order: self.order,
        }
    }
}

/// The state of accepted records after a flush that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Some may be written.
    Maybe,
    /// None is written, for certain.
    Nothing,
}

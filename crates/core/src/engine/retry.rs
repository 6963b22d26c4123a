//! What to send next, and what an answer means: ordering through partial failures, written once for all outputs. No
//! I/O and no clock: a [`Delivery`] is one lane's pass over one batch, and is asked and told.
//!
//! Cost: while all goes well a delivery is a cursor; per-record state exists from the first partial failure on, and in
//! [`Order::Strict`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::output::{Order, Outcome, Picks, Refusal, Trouble, TroubleKind, Verdict};

use super::mutation::{Mutation, on};

/// How soon something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffClass {
    /// Expected to pass by itself: waits grow from the base to the cap.
    Passing,
    /// Somebody has to mend it: waits begin where those of the other class end.
    Lasting,
}

/// What to do about a kind of trouble. Nothing is given up: a lane goes on trying until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How soon to try again.
    pub class: BackoffClass,
    /// What the user should do, if anything.
    pub advice: Option<&'static str>,
}

/// The retry policy.
pub fn policy(kind: TroubleKind) -> Policy {
    let (class, advice) = match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable => (BackoffClass::Passing, None),
        TroubleKind::Unauthenticated => (
            BackoffClass::Lasting,
            Some("renew the credentials, or check which ones are used; it is tried again"),
        ),
        TroubleKind::Denied => (
            BackoffClass::Lasting,
            Some("allow the action in the role's or the stream's policy; it is tried again"),
        ),
        TroubleKind::Missing => (
            BackoffClass::Lasting,
            Some("create it, or remove it from the configuration; it is tried again"),
        ),
        TroubleKind::Invalid | TroubleKind::Unintelligible => (
            BackoffClass::Lasting,
            Some("check that the endpoint is what it should be; it is tried again"),
        ),
    };
    Policy { class, advice }
}

/// Waits between tries: exponential, with jitter over the upper half, and a cap for each class.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    lasting_cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits that begin at `base`; `cap` and `lasting_cap` bound those of the two classes.
    pub fn new(base: Duration, cap: Duration, lasting_cap: Duration) -> Self {
        Self {
            base,
            cap,
            lasting_cap: lasting_cap.max(cap),
            tries: 0,
        }
    }

    /// The next wait. A server's own wish is kept to, up to the larger cap.
    pub fn next(&mut self, clock: &Clock, class: BackoffClass, wish: Option<Duration>) -> Duration {
        // 2^20 times any base is past any cap.
        let doubled = self.base.saturating_mul(1 << self.tries.min(20));
        self.tries = self.tries.saturating_add(1);
        let full = match class {
            BackoffClass::Passing => doubled.min(self.cap),
            BackoffClass::Lasting => doubled.saturating_mul(10).min(self.lasting_cap),
        };
        let wait = full / 2 + clock.jitter(full / 2);
        wait.max(wish.unwrap_or_default().min(self.lasting_cap))
    }

    /// The next wait is the first one again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A set of small numbers that grows as needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, i: usize) -> bool {
        self.0
            .get(i / 64)
            .is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn set(&mut self, i: usize, on: bool) {
        if on && self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(i / 64) {
            *word = *word & !(1 << (i % 64)) | u64::from(on) << (i % 64);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The set of `i - by` for every `i >= by` in it.
    fn less(&self, by: usize) -> Self {
        let mut out = Self::default();
        for i in by..self.0.len() * 64 {
            if self.get(i) {
                out.set(i - by, true);
            }
        }
        out
    }

    /// The set of `i + by` for every `i` in it.
    fn plus(&self, by: usize) -> Self {
        let mut out = Self::default();
        for i in (0..self.0.len() * 64).filter(|i| self.get(*i)) {
            out.set(i + by, true);
        }
        out
    }
}

/// A request that is made smaller is made larger again up to this many records; then there is no limit any more.
const WIDE: usize = 1024;

/// What is known of the records beyond a lane's cursor, counted from it. It outlives the batch: records are read again
/// in the same order, however they are cut into batches then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    acked: Bits,
    /// May have been written: sending it again is a repeat.
    maybe: Bits,
    /// Records that the next request may hold; 0: no limit. Where much that went through had to be sent again, fewer
    /// at once: else small records could take a throttled output's room from the large one before them, for ever.
    narrow: usize,
    /// The order that was kept when they were acknowledged.
    order: Order,
}

impl Acked {
    /// True if nothing beyond the cursor is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.acked.is_empty()
    }
}

/// What a lane does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these records, as one request.
    Send {
        /// Ascending, all of one chunk; the whole chunk where possible.
        picks: Picks,
    },
    /// Every record of the batch is durable.
    Done,
    /// All before `record` is durable; the output will never take that one.
    Stopped {
        /// Its index in the batch.
        record: usize,
        /// The output's reason.
        refusal: Refusal,
    },
}

/// What an answer meant.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Records of the request that may have been written before: sent again on purpose, or because nobody knew.
    pub repeats: usize,
    /// Records that the output did not take, or of which nobody knows.
    pub failed: usize,
    /// Records that it took in vain: they are sent again behind a failed one of their key.
    pub undone: usize,
    /// The trouble to back off for: the gravest of the records'.
    pub trouble: Option<Trouble>,
    /// The chunk's encoding is no longer accepted: the records are encoded again.
    pub stale: bool,
}

/// One lane's pass over one batch.
#[derive(Debug)]
pub struct Delivery<'a> {
    order: Order,
    batch: &'a Batch,
    /// Everything before it is durable.
    cursor: usize,
    /// By index in the batch, from the cursor on; may reach beyond the batch.
    known: Acked,
    /// The first record that the output will never take.
    refused: Option<(usize, Refusal)>,
    /// The last request was smaller than its chunk's rest only to keep the order.
    order_limited: bool,
}

impl<'a> Delivery<'a> {
    /// A pass over `batch` from record `from` on, the first that is not durable; `acked` is what was carried over,
    /// counted from that record.
    pub fn new(order: Order, batch: &'a Batch, from: usize, acked: &Acked) -> Self {
        let shift = |bits: &Bits| {
            if bits.is_empty() {
                Bits::default()
            } else {
                bits.plus(from)
            }
        };
        let mut known = Acked {
            acked: shift(&acked.acked),
            maybe: shift(&acked.maybe),
            narrow: acked.narrow,
            order,
        };
        if acked.order == Order::Unordered && order != Order::Unordered {
            // Records that were acknowledged while no order was kept may stand before the open ones of their keys.
            known.acked = Bits::default();
        }
        let mut new = Self {
            order,
            batch,
            cursor: from,
            known,
            refused: None,
            order_limited: false,
        };
        new.move_cursor();
        new
    }

    /// What to send next. `chunks` are the runs that the batch is cut into, in order and without gaps.
    pub fn next(&mut self, chunks: &[Range<usize>]) -> Next {
        let end = self
            .refused
            .as_ref()
            .map_or(self.batch.len(), |(at, _)| *at);
        if self.cursor >= end {
            return match &self.refused {
                Some((record, refusal)) => Next::Stopped {
                    record: *record,
                    refusal: refusal.clone(),
                },
                None => Next::Done,
            };
        }
        let at = chunks.partition_point(|chunk| chunk.end <= self.cursor);
        // A batch that nobody cut is one chunk.
        let chunk = chunks.get(at).cloned().unwrap_or(0..self.batch.len());
        let (start, end) = (self.cursor, chunk.end.min(end));
        self.order_limited = false;
        let picks = match self.order {
            Order::Strict => self.wave(start..end),
            Order::Resend | Order::Unordered if self.known.acked.is_empty() => {
                Picks::Run(start..end.min(start.saturating_add(self.width())))
            }
            Order::Resend | Order::Unordered => {
                let open = (start..end).filter(|i| !self.known.acked.get(*i));
                Picks::from(open.take(self.width()).collect::<Vec<usize>>())
            }
        };
        Next::Send { picks }
    }

    /// `picks` without the records that the output has no room for, and without those that would overtake them.
    pub fn without(&self, picks: &Picks, held: &[usize]) -> Picks {
        let keep_order = self.order != Order::Unordered && !on(Mutation::HeldIsOvertaken);
        let mut waiting: BTreeSet<&str> = BTreeSet::new();
        let mut held = held.iter().peekable();
        let mut rest = Vec::new();
        for i in picks.iter() {
            while held.next_if(|at| **at < i).is_some() {}
            let key = self.batch.record(i).key.filter(|_| keep_order);
            if held.next_if_eq(&&i).is_some() {
                waiting.extend(key);
            } else if key.is_none_or(|key| !waiting.contains(key)) {
                rest.push(i);
            }
        }
        Picks::from(rest)
    }

    fn width(&self) -> usize {
        if self.known.narrow == 0 {
            usize::MAX
        } else {
            self.known.narrow
        }
    }

    /// The first open record of each key, those without a key all.
    fn wave(&mut self, range: Range<usize>) -> Picks {
        let mut keys = BTreeSet::new();
        let mut wave = Vec::new();
        for i in range.filter(|i| !self.known.acked.get(*i)) {
            // A record without a key has no order to keep.
            let first = self.batch.record(i).key.is_none_or(|key| keys.insert(key));
            if first || on(Mutation::StrictInOneRequest) {
                wave.push(i);
            } else {
                self.order_limited = true;
            }
        }
        Picks::from(wave)
    }

    /// Takes the output's answer to the request that [`Delivery::next`] asked for.
    pub fn answer(&mut self, picks: &Picks, outcome: &Outcome) -> Answer {
        let repeats = if self.known.maybe.is_empty() {
            0
        } else {
            picks.iter().filter(|i| self.known.maybe.get(*i)).count()
        };
        let mut answer = Answer {
            repeats,
            ..Answer::default()
        };
        match outcome {
            Outcome::Durable => self.all_durable(picks),
            Outcome::PerRecord(_) if on(Mutation::AckDespitePartialFailure) => {
                self.all_durable(picks);
            }
            Outcome::Unknown(_) if on(Mutation::AckUnknown) => self.all_durable(picks),
            Outcome::PerRecord(verdicts) if verdicts.len() == picks.len() => {
                self.each(picks, verdicts, &mut answer);
            }
            Outcome::PerRecord(verdicts) => {
                let text = format!(
                    "the output answered for {} of {} records",
                    verdicts.len(),
                    picks.len()
                );
                self.unknown(
                    picks,
                    Trouble::new(TroubleKind::Unintelligible, text),
                    &mut answer,
                );
            }
            Outcome::Rejected(trouble) => {
                answer.failed = picks.len();
                answer.trouble = Some(trouble.clone());
            }
            Outcome::Unknown(trouble) => self.unknown(picks, trouble.clone(), &mut answer),
            Outcome::Stale => answer.stale = true,
            Outcome::Accepted => {
                let text = "the output accepted the records and did not make them durable";
                self.unknown(
                    picks,
                    Trouble::new(TroubleKind::Unintelligible, text),
                    &mut answer,
                );
            }
        }
        self.move_cursor();
        answer
    }

    fn all_durable(&mut self, picks: &Picks) {
        let wider = self.known.narrow * 2;
        self.known.narrow = if wider < WIDE { wider } else { 0 };
        match picks {
            Picks::Run(range) if range.start == self.cursor => self.cursor = range.end,
            Picks::Run(_) | Picks::Some(_) => {
                picks.iter().for_each(|i| self.known.acked.set(i, true));
            }
        }
    }

    fn unknown(&mut self, picks: &Picks, trouble: Trouble, answer: &mut Answer) {
        picks.iter().for_each(|i| self.known.maybe.set(i, true));
        answer.failed = picks.len();
        answer.trouble = Some(trouble);
    }

    fn each(&mut self, picks: &Picks, verdicts: &[Verdict], answer: &mut Answer) {
        // Where each key failed first.
        let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut fail = |i: usize, batch: &'a Batch| {
            if let Some(key) = batch.record(i).key {
                failed.entry(key).or_insert(i);
            }
        };
        for (i, verdict) in picks.iter().zip(verdicts) {
            match verdict {
                Verdict::Durable => {
                    self.known.acked.set(i, true);
                    self.known.maybe.set(i, true);
                }
                Verdict::Refused(_) if on(Mutation::SkipRefused) => self.known.acked.set(i, true),
                Verdict::Retry(trouble) => {
                    fail(i, self.batch);
                    answer.failed += 1;
                    if answer
                        .trouble
                        .as_ref()
                        .is_none_or(|worst| worst.kind < trouble.kind)
                    {
                        answer.trouble = Some(trouble.clone());
                    }
                }
                Verdict::Refused(refusal) => {
                    fail(i, self.batch);
                    if self.refused.as_ref().is_none_or(|(at, _)| i < *at) {
                        self.refused = Some((i, refusal.clone()));
                    }
                }
            }
        }
        if self.order == Order::Resend && !failed.is_empty() && !on(Mutation::RetryOutOfOrder) {
            // What stands behind a failed record of its key goes again, so that its last occurrence stands behind it.
            for i in picks.iter() {
                if self
                    .batch
                    .record(i)
                    .key
                    .and_then(|key| failed.get(key))
                    .is_some_and(|first| *first < i)
                {
                    answer.undone += usize::from(self.known.acked.get(i));
                    self.known.acked.set(i, false);
                }
            }
            if answer.undone > 0 {
                self.known.narrow = (picks.len() / 2).max(1);
            }
        }
    }

    fn move_cursor(&mut self) {
        if self.known.acked.is_empty() {
            return;
        }
        while self.cursor < self.batch.len() && self.known.acked.get(self.cursor) {
            self.cursor += 1;
        }
        if self.cursor == self.batch.len() {
            // What lies beyond the batch stays known; what lies before the cursor needs no bits.
            return;
        }
        if (self.cursor..self.known.acked.0.len() * 64).all(|i| !self.known.acked.get(i)) {
            self.known.acked = Bits::default();
        }
    }

    /// The records `[0, n)` of the batch are durable.
    pub fn durable_through(&self) -> usize {
        self.cursor
    }

    /// What is known of the records beyond the cursor, to carry over.
    pub fn acked(&self) -> Acked {
        let base = self.cursor + usize::from(on(Mutation::CarryOneOff));
        let shift = |bits: &Bits| {
            if bits.is_empty() {
                Bits::default()
            } else {
                bits.less(base)
            }
        };
        let Acked { narrow, order, .. } = self.known;
        Acked {
            acked: shift(&self.known.acked),
            maybe: shift(&self.known.maybe),
            narrow,
            order,
        }
    }

    /// True if the request that was asked for last left records out only to keep the order.
    pub fn order_limited(&self) -> bool {
        self.order_limited
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;

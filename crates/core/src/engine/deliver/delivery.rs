//! The order of sending, and the meaning of answers: one pass over one batch at one output. No I/O
//! and no clock; [`super::pass`] asks for the next request and reports each answer.
//!
//! Cost: while every request succeeds, a delivery is a cursor. State of single records exists from
//! the first partial failure on, in [`Order::Strict`], and while several requests are in flight.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::batch::Batch;
use crate::engine::mutation::{Mutation, on};
use crate::output::{Order, Outcome, Output, Picks, Refusal, Trouble, TroubleKind, Verdict};

use super::acked::{Acked, Bits};
use super::keys::{KeySet, Keys};

/// A request cap doubles with every success up to this many records, and is lifted there.
const LARGEST_REQUEST_CAP: usize = 1024;

/// The next step of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send these records, as one request.
    Send {
        /// Ascending, all of one chunk; the whole chunk where possible.
        picks: Picks,
    },
    /// Wait for an answer: every open record is in flight, or has to follow one that is.
    Wait,
    /// Every record of the batch is settled.
    Done,
    /// All records before `record` are settled; the output will never take that one.
    Refused {
        /// The record's index in the batch.
        record: usize,
        /// The output's reason.
        refusal: Refusal,
    },
}

/// The meaning of one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Records of the request that may have been written before.
    pub repeats: usize,
    /// Records that the output did not take, or whose outcome is unknown.
    pub failed: usize,
    /// Records that the output took in vain: they are sent again behind a failed one of their key.
    pub undone: usize,
    /// The failure that decides the wait: the gravest of the records'.
    pub trouble: Option<Trouble>,
    /// The chunk's encoding is no longer accepted: the records are encoded again.
    pub stale: bool,
}

impl Answer {
    fn fail(&mut self, trouble: &Trouble) {
        self.failed += 1;
        let graver = |worst: &Trouble| worst.kind < trouble.kind;
        if self.trouble.as_ref().is_none_or(graver) {
            self.trouble = Some(trouble.clone());
        }
    }
}

/// The way in which an output takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Every record that the output takes is durable.
    Durably,
    /// The output may hold records until a flush ([`Outcome::Accepted`]).
    UntilFlush,
}

/// One pass over one batch at one output.
///
/// A record is *settled* when the output has acknowledged it, as durable or as accepted until a
/// flush, or when it was diverted. All other records are *open*.
pub(crate) struct Delivery<'a> {
    order: Order,
    takes: Takes,
    batch: &'a Batch,
    /// Tells the keys within a record, and the entries of a request.
    output: Option<&'a dyn Output>,
    /// Every record before this one is settled.
    cursor: usize,
    /// By index in the batch, from the cursor on; may reach beyond the batch.
    known: Acked,
    /// The first record that the output will never take.
    refused: Option<(usize, Refusal)>,
    /// Requests that wait for their answers, where more than one may.
    flying: Vec<Picks>,
    /// The output has accepted records of this pass since the last flush, also such as are open
    /// again.
    holds_accepted: bool,
    /// True if the last request left records out only to keep the order.
    order_limited: bool,
}

impl<'a> Delivery<'a> {
    /// A pass over `batch` from record `from` on, the first that is not settled; `acked` is the
    /// state of an earlier pass, counted from that record.
    pub(crate) fn new(
        order: Order,
        takes: Takes,
        batch: &'a Batch,
        from: usize,
        acked: &Acked,
    ) -> Self {
        // Records that were acknowledged while no order was kept may stand before open records of
        // their keys.
        let keeps_none = acked.order == Order::Unordered && order != Order::Unordered;
        let durable = match keeps_none {
            true => Bits::default(),
            false => acked.durable.moved_up(from),
        };
        let known = Acked {
            durable,
            maybe_written: acked.maybe_written.moved_up(from),
            accepted: acked.accepted.moved_up(from),
            request_cap: acked.request_cap,
            order,
        };

        let mut new = Self {
            order,
            takes,
            batch,
            output: None,
            cursor: from,
            known,
            refused: None,
            flying: Vec::new(),
            holds_accepted: false,
            order_limited: false,
        };
        new.move_cursor();
        new
    }

    /// The same pass with the order that `output` tells of records within records.
    pub(crate) fn at_output(mut self, output: &'a dyn Output) -> Self {
        self.output = Some(output);
        self
    }

    /// The keys whose order the record takes part in.
    fn keys(&self, i: usize) -> Keys<'a> {
        let record = self.batch.record(i);
        let inner = self.output.map(|output| output.inner_keys(&record));
        Keys {
            own: record.key,
            inner: inner.unwrap_or_default(),
        }
    }

    /// The next step. `chunks` are the runs that the batch is cut into, in order and without gaps.
    pub(crate) fn next(&mut self, chunks: &[Range<usize>]) -> Next {
        let refused = self.refused.as_ref();
        let end = refused.map_or(self.batch.len(), |(record, _)| *record);
        if self.cursor >= end {
            return self.finish();
        }

        self.order_limited = false;
        if self.flying.is_empty() {
            let chunk = self.chunk_from(self.cursor, chunks);
            let picks = self.pick(self.cursor..chunk.end.min(end), &mut KeySet::default());
            return Next::Send { picks };
        }
        self.next_beside_flying(chunks, end)
    }

    fn finish(&self) -> Next {
        match &self.refused {
            _ if !self.flying.is_empty() => Next::Wait,
            Some((record, refusal)) => Next::Refused {
                record: *record,
                refusal: refusal.clone(),
            },
            None => Next::Done,
        }
    }

    /// The first request that may be in flight together with those that are.
    fn next_beside_flying(&mut self, chunks: &[Range<usize>], end: usize) -> Next {
        let mut busy = KeySet::default();
        if !on(Mutation::SharesKeyInFlight) {
            let flying = self.flying.iter().flat_map(Picks::iter);
            flying.for_each(|i| busy.add(self.keys(i)));
        }

        let mut start = self.cursor;
        while start < end {
            let chunk = self.chunk_from(start, chunks);
            let picks = self.pick(start..chunk.end.min(end), &mut busy);
            if !picks.is_empty() {
                return Next::Send { picks };
            }
            start = chunk.end;
        }
        Next::Wait
    }

    /// The chunk of record `start`. A batch without chunks is one.
    fn chunk_from(&self, start: usize, chunks: &[Range<usize>]) -> Range<usize> {
        let at = chunks.partition_point(|chunk| chunk.end <= start);
        chunks.get(at).cloned().unwrap_or(0..self.batch.len())
    }

    /// The records of `range` for one request; none with a key in `busy`.
    fn pick(&mut self, range: Range<usize>, busy: &mut KeySet<'a>) -> Picks {
        if self.order == Order::Strict {
            return self.first_of_each_key(range, busy);
        }

        let cap = match self.known.request_cap {
            Some(cap) => cap.get(),
            None => usize::MAX,
        };
        if self.known.durable.is_empty() && self.flying.is_empty() {
            let most = range.start.saturating_add(cap);
            let end = range.end.min(most);
            return Picks::Run(range.start..end);
        }

        let mut picked = Vec::new();
        for i in range {
            if picked.len() == cap {
                break;
            }
            if self.is_free(i, busy) {
                picked.push(i);
            }
        }
        Picks::from(picked)
    }

    /// True if the record may be sent beside the requests in flight, whose keys are `busy`. A
    /// record that has to wait adds its keys.
    fn is_free(&self, i: usize, busy: &mut KeySet<'a>) -> bool {
        if self.known.durable.get(i) || self.is_flying(i) {
            return false;
        }
        if busy.is_empty() {
            return true;
        }

        let keys = self.keys(i);
        let is_free = !busy.touches(&keys);
        if !is_free {
            busy.add(keys);
        }
        is_free
    }

    fn is_flying(&self, i: usize) -> bool {
        self.flying.iter().any(|picks| match picks {
            Picks::Run(range) => range.contains(&i),
            Picks::Some(picked) => picked.binary_search(&i).is_ok(),
        })
    }

    /// The first open record of each key, and all open records without a key. Records of a key that
    /// one entry of the request holds together are settled together, and count as one.
    fn first_of_each_key(&mut self, range: Range<usize>, busy: &mut KeySet<'a>) -> Picks {
        let open: Vec<usize> = range.filter(|i| self.is_free(*i, busy)).collect();
        let packed = match self.output {
            Some(output) => output.first_entries(self.batch, &open),
            None => None,
        };
        let picked = match packed {
            Some(packed) => packed,
            None => self.first_of_each(&open),
        };

        self.order_limited = picked.len() < open.len();
        Picks::from(picked)
    }

    /// The first of the records `open` of each key.
    fn first_of_each(&self, open: &[usize]) -> Vec<usize> {
        let mut sent = KeySet::default();
        let mut picked = Vec::new();
        for i in open {
            let keys = self.keys(*i);
            if !sent.touches(&keys) || on(Mutation::StrictInOneRequest) {
                picked.push(*i);
            }
            sent.add(keys);
        }
        picked
    }

    /// `picks` without the records that the output has no room for, and without those that would
    /// overtake them.
    pub(crate) fn without(&self, picks: &Picks, held: &[usize]) -> Picks {
        let is_held = |i: usize| held.binary_search(&i).is_ok();
        let rest: Vec<usize> = match self.order {
            Order::Strict | Order::Resend if !on(Mutation::HeldIsOvertaken) => {
                self.before_held(picks, is_held)
            }
            Order::Strict | Order::Resend | Order::Unordered => {
                picks.iter().filter(|i| !is_held(*i)).collect()
            }
        };
        Picks::from(rest)
    }

    /// The records of `picks` that follow no held one of their keys.
    fn before_held(&self, picks: &Picks, is_held: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut waiting = KeySet::default();
        let mut rest = Vec::new();
        for i in picks.iter() {
            let keys = self.keys(i);
            if is_held(i) || waiting.touches(&keys) {
                waiting.add(keys);
            } else {
                rest.push(i);
            }
        }
        rest
    }

    /// Notes that `picks` are in flight, where another request may be sent before the answer.
    pub(crate) fn sent(&mut self, picks: &Picks) {
        self.flying.push(picks.clone());
    }

    /// Takes the output's answer to a request of `picks`.
    pub(crate) fn answer(&mut self, picks: &Picks, outcome: &Outcome) -> Answer {
        self.flying.retain(|flying| flying != picks);
        let mut answer = Answer {
            repeats: self.count_repeats(picks),
            ..Answer::default()
        };
        match outcome {
            Outcome::Durable => self.settle_all(picks),
            Outcome::PerRecord(verdicts) => self.per_record(picks, verdicts, &mut answer),
            Outcome::Unknown(_) if on(Mutation::AckUnknown) => self.settle_all(picks),
            Outcome::Unknown(trouble) => self.unknown(picks, trouble.clone(), &mut answer),
            Outcome::Rejected(trouble) => {
                answer.failed = picks.len();
                answer.trouble = Some(trouble.clone());
            }
            Outcome::Stale => answer.stale = true,
            Outcome::Accepted => self.accept_all(picks, &mut answer),
        }

        self.move_cursor();
        answer
    }

    /// Takes the verdicts of a request, which must be as many as the records.
    fn per_record(&mut self, picks: &Picks, verdicts: &[Verdict], answer: &mut Answer) {
        if on(Mutation::AckDespitePartialFailure) {
            return self.settle_all(picks);
        }
        if verdicts.len() == picks.len() {
            return self.take_verdicts(picks, verdicts, answer);
        }

        let (answered, sent) = (verdicts.len(), picks.len());
        let text = format!("the output answered for {answered} of {sent} records");
        self.unintelligible(picks, text, answer);
    }

    fn count_repeats(&self, picks: &Picks) -> usize {
        let maybe_written = &self.known.maybe_written;
        match maybe_written.is_empty() {
            true => 0,
            false => picks.iter().filter(|i| maybe_written.get(*i)).count(),
        }
    }

    fn settle_all(&mut self, picks: &Picks) {
        if let Some(cap) = self.known.request_cap {
            let wider = cap.saturating_mul(TWO);
            let is_lifted = wider.get() >= LARGEST_REQUEST_CAP;
            self.known.request_cap = (!is_lifted).then_some(wider);
        }

        match picks {
            Picks::Run(range) if range.start == self.cursor => self.cursor = range.end,
            Picks::Run(_) | Picks::Some(_) => {
                for i in picks.iter() {
                    self.known.durable.insert(i);
                }
            }
        }
    }

    fn accept_all(&mut self, picks: &Picks, answer: &mut Answer) {
        match self.takes {
            Takes::UntilFlush => {
                picks.iter().for_each(|i| self.accept(i));
                self.settle_all(picks);
            }
            Takes::Durably => {
                let text = "the output accepted records, and its profile names no flush";
                self.unintelligible(picks, text.to_owned(), answer);
            }
        }
    }

    fn unintelligible(&mut self, picks: &Picks, text: String, answer: &mut Answer) {
        self.unknown(
            picks,
            Trouble::new(TroubleKind::Unintelligible, text),
            answer,
        );
    }

    fn unknown(&mut self, picks: &Picks, trouble: Trouble, answer: &mut Answer) {
        picks
            .iter()
            .for_each(|i| self.known.maybe_written.insert(i));
        answer.failed = picks.len();
        answer.trouble = Some(trouble);
    }

    fn take_verdicts(&mut self, picks: &Picks, verdicts: &[Verdict], answer: &mut Answer) {
        for (i, verdict) in picks.iter().zip(verdicts) {
            self.take_verdict(i, verdict, answer);
        }

        let has_failed = picks.iter().any(|i| !self.known.durable.get(i));
        if self.order == Order::Resend && has_failed && !on(Mutation::RetryOutOfOrder) {
            self.undo_behind(picks, answer);
        }
    }

    fn take_verdict(&mut self, i: usize, verdict: &Verdict, answer: &mut Answer) {
        match verdict {
            Verdict::Durable => self.settle(i),
            Verdict::Accepted => match self.takes {
                Takes::UntilFlush => {
                    self.accept(i);
                    self.settle(i);
                }
                Takes::Durably => {
                    let text = "the output accepted a record, and its profile names no flush";
                    self.maybe_written(i, &Trouble::new(TroubleKind::Unintelligible, text), answer);
                }
            },
            Verdict::Refused(refusal) => self.refuse(i, refusal),
            Verdict::Retry(trouble) => answer.fail(trouble),
            Verdict::Partly(trouble) => self.maybe_written(i, trouble, answer),
        }
    }

    fn maybe_written(&mut self, i: usize, trouble: &Trouble, answer: &mut Answer) {
        answer.fail(trouble);
        self.known.maybe_written.insert(i);
    }

    fn accept(&mut self, i: usize) {
        self.known.accepted.insert(i);
        self.holds_accepted = true;
    }

    fn settle(&mut self, i: usize) {
        self.known.durable.insert(i);
        self.known.maybe_written.insert(i);
    }

    fn refuse(&mut self, i: usize, refusal: &Refusal) {
        if on(Mutation::SkipRefused) {
            self.known.durable.insert(i);
            return;
        }
        let first = self.refused.as_ref();
        if first.is_none_or(|(first, _)| i < *first) {
            self.refused = Some((i, refusal.clone()));
        }
    }

    /// Opens the records behind a failed one of their key again, so that the last occurrence of
    /// each stands behind the failed record's.
    fn undo_behind(&mut self, picks: &Picks, answer: &mut Answer) {
        let mut failed = KeySet::default();
        for i in picks.iter() {
            let keys = self.keys(i);
            if failed.touches(&keys) && self.undo(i) {
                answer.undone += 1;
            }
            if !self.known.durable.get(i) {
                failed.add(keys);
            }
        }

        if answer.undone > 0 {
            let half = NonZeroUsize::new(picks.len() / 2);
            self.known.request_cap = Some(half.unwrap_or(NonZeroUsize::MIN));
        }
    }

    /// Opens a record again. True if the record was settled.
    fn undo(&mut self, i: usize) -> bool {
        let was_settled = self.known.durable.get(i);
        self.known.durable.remove(i);
        self.known.accepted.remove(i);
        was_settled
    }

    /// Passes over the refused record, which now counts as settled: it was stored elsewhere. Only
    /// after [`Next::Refused`].
    pub(crate) fn divert(&mut self) {
        if let Some((record, _)) = self.refused.take() {
            self.cursor = record + 1;
            self.move_cursor();
        }
    }

    fn move_cursor(&mut self) {
        let durable = &self.known.durable;
        if durable.is_empty() {
            return;
        }

        while self.cursor < self.batch.len() && durable.get(self.cursor) {
            self.cursor += 1;
        }
        // The state of records beyond the batch is kept.
        if self.cursor < self.batch.len() && durable.none_from(self.cursor) {
            self.known.durable = Bits::default();
        }
    }

    /// The records `[0, n)` of the batch are settled.
    pub(crate) fn settled_through(&self) -> usize {
        self.cursor
    }

    /// True if a record of this pass waits for a flush.
    pub(crate) fn holds_accepted(&self) -> bool {
        self.holds_accepted
    }

    /// The accepted ones among the settled records from `from` on, counted from there.
    pub(crate) fn accepted_from(&self, from: usize) -> Bits {
        self.known.accepted.moved_down(from)
    }

    /// The accepted records are durable.
    pub(crate) fn flushed(&mut self) {
        self.known.flushed();
        self.holds_accepted = false;
    }

    /// The accepted records are open again; every record before `durable` is durable.
    pub(crate) fn flush_failed(&mut self, durable: usize, outcome: &Outcome) {
        let accepted = std::mem::take(&mut self.known.accepted);
        self.holds_accepted = false;
        let nothing_written = matches!(outcome, Outcome::Rejected(_));
        for i in durable..self.batch.len() {
            if accepted.get(i) {
                self.known.durable.remove(i);
                if !nothing_written {
                    self.known.maybe_written.insert(i);
                }
            } else if i < self.cursor {
                self.known.durable.insert(i);
            }
        }
        self.cursor = durable;
        self.refused = None;
        self.move_cursor();
    }

    /// The state of the records beyond the cursor, for a later pass.
    pub(crate) fn acked(&self) -> Acked {
        let base = self.cursor + usize::from(on(Mutation::CarryOneOff));
        Acked {
            durable: self.known.durable.moved_down(base),
            maybe_written: self.known.maybe_written.moved_down(base),
            accepted: self.known.accepted.moved_down(base),
            request_cap: self.known.request_cap,
            order: self.known.order,
        }
    }

    /// True if the request that was asked for last left records out only to keep the order.
    pub(crate) fn order_limited(&self) -> bool {
        self.order_limited
    }
}

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;

//! The rate at which a shard may be read by all its feeds together: calls and bytes a second are
//! limits of the shard, not of a reader.
//!
//! The head must not be late because laggards catch up. So no two calls need to keep a distance,
//! which would push the head back by nearly a whole interval whenever a laggard's call came first:
//! the limit is the number of calls in any stretch of [`ReadLimits::per`], and laggards leave
//! enough calls and bytes to the head.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::source::ReadLimits;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// The moments of the last calls, [`ReadLimits::calls`] at most.
    calls: VecDeque<Instant>,
    /// No call starts before this moment: one failed.
    not_before: Instant,
    /// The moment of the next call for laggards.
    laggards_at: Instant,
    /// Bytes that may still be read, at the moment `at`; below zero after a large answer.
    allowance: i64,
    at: Instant,
    /// Bytes that a record takes in a batch: a recent average; 0 while nothing is known.
    pub(crate) mean: usize,
    /// The largest of the recent averages.
    pub(crate) largest: usize,
}

impl Pace {
    /// Adds the bytes of the time that passed, at `rate` bytes a second.
    pub(crate) fn refill(&mut self, now: Instant, rate: usize) {
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        let passed = now.since(self.at).as_millis();
        let passed = i64::try_from(passed.min(60_000)).unwrap_or(0);
        let gained = passed.saturating_mul(rate) / 1000;

        let allowance = self.allowance.saturating_add(gained);
        self.allowance = allowance.min(rate);
        self.at = now;
    }

    /// The moment at which bytes may be read again.
    pub(crate) fn free_at(&self, rate: usize) -> Instant {
        if self.allowance > 0 {
            return self.at;
        }
        let missing = u64::try_from(1 - self.allowance).unwrap_or(0);
        self.at.plus(Duration::from_millis(
            missing.saturating_mul(1000) / (rate.max(1) as u64) + 1,
        ))
    }

    /// Bytes that a laggard may read now without a wait for the head; a little where the head
    /// itself uses all of them.
    pub(crate) fn spare(&self, rate: usize) -> usize {
        usize::try_from(self.allowance).unwrap_or(0).max(rate / 8)
    }

    /// The moment of the next call.
    pub(crate) fn call_at(&self, limits: &ReadLimits) -> Instant {
        match self.calls.front() {
            Some(first) if self.calls.len() >= limits.calls.get() as usize => {
                first.plus(limits.per).max(self.not_before)
            }
            Some(_) | None => self.not_before,
        }
    }

    /// The moment of the next call for laggards.
    pub(crate) fn laggards_at(&self, limits: &ReadLimits) -> Instant {
        self.call_at(limits).max(self.laggards_at)
    }

    /// A call for laggards is planned; the head calls every `head`.
    pub(crate) fn laggards_call(&mut self, now: Instant, limits: &ReadLimits, head: Duration) {
        let all = limits.per;
        let interval = head.as_nanos().max(1);
        let of_head = all.as_nanos().div_ceil(interval);
        let calls = u128::from(limits.calls.get());
        let left = calls.saturating_sub(of_head).max(1);

        let left = u32::try_from(left).unwrap_or(1);
        self.laggards_at = now.plus(all / left);
    }

    /// A call is made.
    pub(crate) fn called(&mut self, now: Instant, limits: &ReadLimits) {
        self.calls.push_back(now);
        while self.calls.len() > limits.calls.get() as usize {
            self.calls.pop_front();
        }
    }

    /// A call failed: no other starts before `until`.
    pub(crate) fn failed(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }

    /// Notes an answer of `records` records with `allocated` bytes, `bytes` of them data.
    pub(crate) fn note(&mut self, records: usize, allocated: usize, bytes: usize) {
        self.allowance = self
            .allowance
            .saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mean = allocated / records.max(1);
        self.mean = if self.mean == 0 {
            mean
        } else {
            self.mean - self.mean / 4 + mean / 4
        }
        .max(1);
        self.largest = mean.max(self.largest - self.largest / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ReadLimits = ReadLimits {
        calls: std::num::NonZeroU32::new(5).unwrap(),
        per: Duration::from_secs(1),
        bytes_per_second: None,
        answer_records: 10_000,
        answer_bytes: 1 << 20,
        ingest_bytes_per_second: 1 << 20,
    };

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn five_calls_in_any_second_however_close() {
        let mut pace = Pace::default();
        for ms in [1000, 1250, 1500, 1510] {
            assert!(pace.call_at(&LIMITS) <= at(ms));
            pace.called(at(ms), &LIMITS);
        }
        assert!(
            pace.call_at(&LIMITS) <= at(1750),
            "the head is not held up by who goes before it"
        );
        pace.called(at(1750), &LIMITS);
        assert_eq!(pace.call_at(&LIMITS), at(2000));
        pace.called(at(2000), &LIMITS);
        assert_eq!(pace.call_at(&LIMITS), at(2250));
        pace.failed(at(2600));
        assert_eq!(pace.call_at(&LIMITS), at(2600));
    }

    #[test]
    fn laggards_have_what_the_head_leaves() {
        let mut pace = Pace::default();
        pace.laggards_call(at(1000), &LIMITS, Duration::from_millis(250));
        assert_eq!(pace.laggards_at(&LIMITS), at(2000));
        pace.laggards_call(at(1000), &LIMITS, Duration::from_millis(1000));
        assert_eq!(pace.laggards_at(&LIMITS), at(1250));
        pace.laggards_call(at(1000), &LIMITS, Duration::ZERO);
        assert_eq!(pace.laggards_at(&LIMITS), at(2000), "never none");

        pace.refill(at(60_000), 1000);
        assert_eq!(pace.spare(1000), 1000);
        pace.note(1, 700, 600);
        assert_eq!(pace.spare(1000), 400);
        pace.note(1, 700, 600);
        assert_eq!(pace.spare(1000), 125);
        assert_eq!(pace.free_at(1000), at(60_202));
    }
}

//! The speed of a lane: decides whose batches are dropped first when memory is short.

use std::time::Duration;

use crate::clock::Instant;

/// The time that a lane takes for the batches that it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed {
    /// Nanoseconds for a KiB: a moving average.
    pub(super) nanos_per_kib: Option<u64>,
    in_hand: Option<InHand>,
}

/// The batch that the lane is delivering.
#[derive(Clone, Copy, Debug)]
struct InHand {
    since: Instant,
    kib: u64,
}

impl Speed {
    /// A lane that takes this many times as long as the others is slow.
    const SLOW: u64 = 3;
    /// Added to the time that a batch may take: small batches tell little.
    const SLACK: Duration = Duration::from_millis(500);

    /// The lane was given a batch of `bytes`.
    pub(super) fn start(&mut self, now: Instant, bytes: usize) {
        let kib = (bytes as u64).div_ceil(1024).max(1);
        self.in_hand = Some(InHand { since: now, kib });
    }

    /// The lane has delivered that batch.
    pub(super) fn finish(&mut self, now: Instant) {
        let Some(InHand { since, kib }) = self.in_hand.take() else {
            return;
        };
        let nanos = now.since(since).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let took = nanos / kib;
        let average = match self.nanos_per_kib {
            Some(before) => before - before / 8 + took / 8,
            None => took,
        };
        self.nanos_per_kib = Some(average);
    }

    /// True if the batch in hand takes long, however long the other lanes take.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.in_hand
            .is_some_and(|batch| now.since(batch.since) > Self::SLACK)
    }

    /// The moment from which the lane counts as slow where others take `usual` nanoseconds a KiB;
    /// `None` if the lane is slow already.
    pub(super) fn slow_at(&self, usual: Option<u64>) -> Option<Instant> {
        let limit = usual.map(|usual| usual.saturating_mul(Self::SLOW));
        if let (Some(own), Some(limit)) = (self.nanos_per_kib, limit)
            && own > limit
        {
            return None;
        }

        // A lane that has nothing in hand is not slow.
        let Some(InHand { since, kib }) = self.in_hand else {
            return Some(Instant(Duration::MAX));
        };
        // While nothing is known of the others, the slack is all there is.
        let nanos = limit.unwrap_or(0).saturating_mul(kib);
        let expected = Duration::from_nanos(nanos);
        Some(since.plus(expected).plus(Self::SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn a_lane_is_slow_when_it_takes_three_times_what_others_do() {
        let mut speed = Speed::default();
        assert_eq!(
            speed.slow_at(None),
            Some(Instant(Duration::MAX)),
            "nothing in hand"
        );
        speed.start(at(0), 1 << 20);
        assert_eq!(speed.slow_at(None), Some(at(500)), "nothing is known");
        assert!(!speed.is_overdue(at(500)) && speed.is_overdue(at(501)));
        // Others take 100 ms for a MiB.
        let usual = Some(100_000_000 / 1024);
        let slow_at = speed.slow_at(usual).unwrap();
        assert!(slow_at > at(790) && slow_at <= at(800), "{slow_at:?}");
        speed.finish(at(200));
        assert!(speed.slow_at(usual).is_some());
        for i in 0..20 {
            speed.start(at(1000 * i), 1 << 20);
            speed.finish(at(1000 * i + 400));
        }
        assert_eq!(speed.slow_at(usual), None);
    }
}

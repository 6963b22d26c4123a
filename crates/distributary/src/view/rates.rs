//! Rates from counters: the slope over the last few seconds.

use std::collections::VecDeque;
use std::time::Duration;

use distributary_core::clock::Instant;

/// The stretch of time that a rate covers.
const WINDOW: Duration = Duration::from_secs(5);
/// Samples kept at most.
const SAMPLES: usize = 64;

/// Turns a counter into a rate.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Adds the counter's value at `now`. Returns the rate per second over the last few seconds,
    /// if known.
    pub(super) fn update(&mut self, now: Instant, value: u64) -> Option<f64> {
        if self.samples.back().is_some_and(|(_, last)| *last > value) {
            // The counter starts again when an output is removed and added again.
            self.samples.clear();
        }
        self.samples.push_back((now, value));
        self.drop_old(now);

        let (at, first) = *self.samples.front()?;
        let seconds = now.since(at).as_secs_f64();
        // A rate for people needs no precision.
        #[allow(clippy::cast_precision_loss)]
        let more = value.saturating_sub(first) as f64;
        (seconds > 0.0).then(|| more / seconds)
    }

    /// Drops samples that the window does not need.
    fn drop_old(&mut self, now: Instant) {
        let is_old = |sample: &(Instant, u64)| now.since(sample.0) >= WINDOW;

        // One sample from before the window stays, so that the window is covered.
        while self.samples.len() > SAMPLES || self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_the_last_seconds() {
        let at = |ms| Instant(Duration::from_millis(ms));
        let mut rate = Rate::default();
        assert_eq!(rate.update(at(0), 0), None);
        assert_eq!(rate.update(at(1000), 100), Some(100.0));
        for second in 2..20 {
            rate.update(at(second * 1000), 100);
        }
        assert_eq!(rate.update(at(20_000), 100), Some(0.0));
        assert_eq!(rate.update(at(21_000), 10), None);
    }
}

//! The rate at which records arrive in a shard, by their arrival times: independent of the speed of
//! reading.

use crate::clock::Millis;
use crate::output::Demand;

/// Seconds: records that arrived longer ago count less and less.
const MEMORY: f64 = 60.0;
/// Seconds: a rate over a shorter time means nothing.
const LEAST: f64 = 2.0;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inflow {
    /// Faded sums over `seconds`.
    records: f64,
    bytes: f64,
    seconds: f64,
    /// The newest arrival that was counted.
    last: Option<Millis>,
}

impl Inflow {
    /// Notes a read of consecutive records that arrived from `first` to `last`. Records that were
    /// counted before are not counted again.
    pub(crate) fn note(&mut self, first: Millis, last: Millis, records: usize, bytes: usize) {
        let since = self.last.unwrap_or(first);
        if self.last.is_some_and(|before| last <= before) {
            return;
        }
        let seconds = last.since(since).as_secs_f64().min(MEMORY);
        let fade = (-seconds / MEMORY).exp();
        self.records = self.records * fade + records as f64;
        self.bytes = self.bytes * fade + bytes as f64;
        self.seconds = self.seconds * fade + seconds;
        self.last = Some(last);
    }

    /// The rate of about the last minute. `tip`: the server's time, if everything has been read.
    pub(crate) fn demand(&self, tip: Option<Millis>) -> Option<Demand> {
        let silent = match (tip, self.last) {
            (Some(now), Some(last)) => now.since(last).as_secs_f64(),
            _ => 0.0,
        };
        let fade = (-silent / MEMORY).exp();
        let seconds = self.seconds * fade + silent.min(MEMORY);
        if seconds < LEAST {
            return None;
        }
        Some(Demand {
            records: self.records * fade / seconds,
            bytes: self.bytes * fade / seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(inflow: &mut Inflow, seconds: std::ops::Range<i64>, records: usize) {
        for s in seconds {
            inflow.note(
                Millis(s * 1000 + 1),
                Millis(s * 1000 + 1000),
                records,
                records * 100,
            );
        }
    }

    #[test]
    fn the_rate_is_that_of_arrival() {
        let mut inflow = Inflow::default();
        assert_eq!(inflow.demand(None), None);
        reads(&mut inflow, 0..300, 50);
        let demand = inflow.demand(None).unwrap();
        assert!((49.0..51.0).contains(&demand.records), "{demand:?}");
        assert!((4900.0..5100.0).contains(&demand.bytes), "{demand:?}");
        // Read once more by whoever catches up.
        reads(&mut inflow, 100..300, 50);
        assert_eq!(inflow.demand(None), Some(demand));
    }

    #[test]
    fn it_follows_what_changes() {
        let mut inflow = Inflow::default();
        reads(&mut inflow, 0..100, 50);
        // An hour of silence, then ten times as much.
        reads(&mut inflow, 3700..3900, 500);
        let demand = inflow.demand(None).unwrap();
        assert!((450.0..501.0).contains(&demand.records), "{demand:?}");
        let quiet = inflow.demand(Some(Millis(3_960_000))).unwrap();
        assert!(quiet.records < demand.records / 2.0, "{quiet:?}");
    }
}

//! The pace of one shard of an output: what it takes a second, counted here before it is sent, so that it need not refuse.

use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_wire::limits;

/// What is asked of a shard at once, where more is wanted: this part of a second's worth. Less would make many small
/// requests.
const SLICE: f64 = 0.25;
/// Somebody else writes to the shard, too: each refusal takes this part of what is left …
const CUT: f64 = 0.8;
/// … down to this share of the shard …
const LEAST_SHARE: f64 = 0.05;
/// … and each second gives back so much.
const REGAIN: f64 = 0.05;
/// The longest wait that is asked for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

/// Records, and bytes of data and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amount {
    pub(super) records: f64,
    pub(super) bytes: f64,
}

impl Amount {
    /// What one shard takes in a second (Kinesis quotas).
    const SHARD_SECOND: Self = Self {
        records: limits::SHARD_WRITE_RECORDS_PER_SECOND as f64,
        bytes: limits::SHARD_WRITE_BYTES_PER_SECOND as f64,
    };

    fn times(self, factor: f64) -> Self {
        Self {
            records: self.records * factor,
            bytes: self.bytes * factor,
        }
    }

    /// How long one shard needs to take it, in seconds.
    pub(super) fn shard_seconds(self) -> f64 {
        (self.records / Self::SHARD_SECOND.records).max(self.bytes / Self::SHARD_SECOND.bytes)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// What may be sent now; below zero after a record larger than a second's worth.
    level: Amount,
    at: Instant,
    /// The part of the shard that is ours, from 0 to 1.
    share: f64,
    /// When it was made smaller last.
    cut_at: Instant,
    /// Up to here the room is spoken for by those who wait.
    promised: Instant,
}

impl Pace {
    /// A shard that has just refused something.
    pub(super) fn new(now: Instant) -> Self {
        let level = Amount {
            records: 0.0,
            bytes: 0.0,
        };
        Self {
            level,
            at: now,
            share: 1.0,
            cut_at: now,
            promised: now,
        }
    }

    /// A second's worth; also the most that is saved up.
    fn second(&self) -> Amount {
        Amount::SHARD_SECOND.times(self.share)
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.share = (self.share + REGAIN * seconds).min(1.0);
        let most = self.second();
        let filled = |level: f64, most: f64| (level + most * seconds).min(most);
        self.level = Amount {
            records: filled(self.level.records, most.records),
            bytes: filled(self.level.bytes, most.bytes),
        };
    }

    /// What there must be room for before any of records of these `sizes` are sent: all, or a slice, and at most what a
    /// shard can save up.
    fn goal(&self, sizes: &[u64]) -> Amount {
        let (slice, most) = (self.second().times(SLICE), self.second());
        let mut goal = Amount {
            records: 0.0,
            bytes: 0.0,
        };
        for size in sizes {
            goal.records += 1.0;
            goal.bytes += *size as f64;
            if goal.records >= slice.records || goal.bytes >= slice.bytes {
                break;
            }
        }
        Amount {
            records: goal.records.min(most.records),
            bytes: goal.bytes.min(most.bytes),
        }
    }

    /// How many of the first records of these `sizes` may be sent now. They count as sent.
    pub(super) fn admit(&mut self, now: Instant, sizes: &[u64]) -> usize {
        self.fill(now);
        let goal = self.goal(sizes);
        if self.level.records < goal.records || self.level.bytes < goal.bytes {
            return 0;
        }
        let mut admitted = 0;
        for size in sizes {
            let size = *size as f64;
            // What is larger than a second's worth goes when all of that is there, and the next ones wait for longer.
            if self.level.records < 1.0 || self.level.bytes < size.min(self.second().bytes) {
                break;
            }
            self.level.records -= 1.0;
            self.level.bytes -= size;
            admitted += 1;
        }
        admitted
    }

    /// How long until records of these `sizes` have room, those before whom others wait already.
    pub(super) fn wait(&self, now: Instant, sizes: &[u64]) -> Duration {
        let (goal, rate) = (self.goal(sizes), self.second());
        let seconds = |goal: f64, level: f64, rate: f64| ((goal - level) / rate).max(0.0);
        let room = seconds(goal.records, self.level.records, rate.records).max(seconds(
            goal.bytes,
            self.level.bytes,
            rate.bytes,
        ));
        let own = (goal.records / rate.records).max(goal.bytes / rate.bytes);
        let turn = self.promised.plus(Duration::from_secs_f64(own)).since(now);
        Duration::from_secs_f64(room).max(turn).min(WAIT_MAX)
    }

    /// Somebody waits for so long.
    pub(super) fn promise(&mut self, now: Instant, wait: Duration) {
        self.promised = self.promised.max(now.plus(wait));
    }

    /// The shard refused something of a request that was sent at `sent`.
    pub(super) fn refused(&mut self, now: Instant, sent: Instant) {
        self.fill(now);
        self.level.records = self.level.records.min(0.0);
        self.level.bytes = self.level.bytes.min(0.0);
        // Of requests that were under way together, one tells.
        if sent > self.cut_at {
            self.share = (self.share * CUT).max(LEAST_SHARE);
            self.cut_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    /// Lanes that always have more, in turn as they are told, with a round trip of `trip`: what went out by the end.
    fn play(pace: &mut Pace, lanes: usize, sizes: &[u64], trip: u64, until: u64) -> Vec<u64> {
        let mut next: Vec<(u64, usize)> = (0..lanes).map(|lane| (0, lane)).collect();
        let mut sent = vec![0; lanes];
        loop {
            next.sort_unstable();
            let (now, lane) = next[0];
            if now >= until {
                return sent;
            }
            let n = pace.admit(at(now), sizes);
            sent[lane] += n as u64;
            next[0].0 = if n > 0 {
                now + trip
            } else {
                let wait = pace.wait(at(now), sizes);
                pace.promise(at(now), wait);
                now + u64::try_from(wait.as_millis()).unwrap().max(1)
            };
        }
    }

    #[test]
    fn a_shard_gets_all_it_takes_and_no_more() {
        for lanes in [1, 3, 20] {
            let mut pace = Pace::new(at(0));
            let sent = play(&mut pace, lanes, &[1024; 500], 20, 60_000);
            let all: u64 = sent.iter().sum();
            assert!(
                (57_000..=60_000).contains(&all),
                "{lanes} lanes: {all} records in a minute, 60,000 fit"
            );
            let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
            assert!(*least * 2 > *most, "{lanes} lanes: {sent:?}");
        }
    }

    #[test]
    fn bytes_count_as_well() {
        let mut pace = Pace::new(at(0));
        let sent = play(&mut pace, 2, &[100 << 10; 20], 20, 60_000);
        let mib = sent.iter().sum::<u64>() / 10;
        assert!((55..=61).contains(&mib), "{sent:?}");
    }

    #[test]
    fn a_record_larger_than_a_second_s_worth_goes_alone() {
        let mut pace = Pace::new(at(0));
        let sizes = [5 << 20, 5 << 20];
        assert_eq!(pace.admit(at(900), &sizes), 0);
        assert_eq!(pace.admit(at(1000), &sizes), 1);
        assert_eq!(
            pace.admit(at(5000), &sizes[1..]),
            0,
            "four seconds are owed"
        );
        assert!(pace.wait(at(5000), &sizes[1..]) > Duration::from_millis(900));
        assert_eq!(pace.admit(at(6000), &sizes[1..]), 1);
    }

    #[test]
    fn what_others_take_is_left_to_them() {
        let mut pace = Pace::new(at(0));
        for second in 1..30 {
            pace.refused(at(second * 1000), at(second * 1000 - 20));
        }
        let share = pace.share;
        assert!((LEAST_SHARE..0.3).contains(&share), "{share}");
        // Requests that were under way when it refused tell nothing new.
        pace.refused(at(29_010), at(28_990));
        assert!(pace.share >= share);
        pace.fill(at(60_000));
        assert!(pace.share > 0.99, "it is tried again");
    }
}

//! The rate at which one shard of an output takes records. Records are counted before they are
//! sent, so that the shard need not refuse them.

use std::collections::VecDeque;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::Instant;
use distributary_wire::limits;

/// The part of a second's worth that there must be room for where more is wanted. Less would make
/// many small requests.
const SLICE: f64 = 0.25;
/// Each refusal shows that another program writes to the shard too: this part of the rate stays …
const KEPT_AFTER_REFUSAL: f64 = 0.8;
/// … down to this part of the shard's rate …
const FRACTION_MIN: f64 = 0.05;
/// … and each second adds this part again.
const FRACTION_PER_SECOND: f64 = 0.05;
/// The longest wait that a shard asks for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);
/// A lane that was served before waits a little longer, so that lanes which wake up together ask in
/// the order of their last send, and lanes that were never served ask first. In parts of the time
/// that the lane's records take: for the lane that was served longest ago …
const DEFERRAL_MIN: f64 = 0.1;
/// … and for the lane that was served last.
const DEFERRAL_MAX: f64 = 0.5;
/// Lanes whose last send is remembered.
const LANES_MAX: usize = 64;
/// A lane that sent nothing for this time has its turn like a lane that was never served.
const LANE_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A number of records, and the bytes of their data and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amount {
    pub(super) records: f64,
    pub(super) bytes: f64,
}

impl Amount {
    pub(super) const NOTHING: Self = Self {
        records: 0.0,
        bytes: 0.0,
    };

    /// The amount that one shard takes in a second (Kinesis quotas).
    const SHARD_SECOND: Self = Self {
        records: limits::SHARD_WRITE_RECORDS_PER_SECOND as f64,
        bytes: limits::SHARD_WRITE_BYTES_PER_SECOND as f64,
    };

    fn of(sizes: &[u64]) -> Self {
        Self {
            records: sizes.len() as f64,
            bytes: sizes.iter().sum::<u64>() as f64,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            records: self.records * factor,
            bytes: self.bytes * factor,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            records: self.records.min(other.records),
            bytes: self.bytes.min(other.bytes),
        }
    }

    /// Seconds until there is this amount, from `available` on, at the rate `second`.
    fn seconds_from(self, available: Self, second: Self) -> f64 {
        let records = (self.records - available.records) / second.records;
        let bytes = (self.bytes - available.bytes) / second.bytes;
        records.max(bytes).max(0.0)
    }

    /// Seconds that one shard needs to take this amount.
    pub(super) fn shard_seconds(self) -> f64 {
        self.seconds_from(Self::NOTHING, Self::SHARD_SECOND)
    }
}

/// The room in a shard at one moment.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Below zero after a record larger than a second's worth.
    available: Amount,
    /// The part of the shard's rate that this program uses, from 0 to 1.
    fraction: f64,
    at: Instant,
}

impl Level {
    /// The amount of one second; also the most that is saved up.
    fn second(&self) -> Amount {
        Amount::SHARD_SECOND.times(self.fraction)
    }

    fn advanced_to(self, now: Instant) -> Self {
        let seconds = now.since(self.at).as_secs_f64();
        let mut level = Self {
            fraction: (self.fraction + FRACTION_PER_SECOND * seconds).min(1.0),
            at: self.at.max(now),
            ..self
        };

        let second = level.second();
        level.available = level.available.plus(second.times(seconds)).min(second);
        level
    }

    /// The room that is waited for before any record of these `sizes` is sent: room for all, or for
    /// a slice, and at most the amount that a shard saves up.
    fn goal(&self, sizes: &[u64]) -> Amount {
        let second = self.second();
        let slice = second.times(SLICE);
        let mut goal = Amount::NOTHING;
        for size in sizes {
            goal.records += 1.0;
            goal.bytes += *size as f64;
            if goal.records >= slice.records || goal.bytes >= slice.bytes {
                break;
            }
        }
        goal.min(second)
    }

    /// The number of the first records of these `sizes` that there is room for.
    fn room_for(&self, sizes: &[u64]) -> usize {
        let goal = self.goal(sizes);
        let mut available = self.available;
        if available.records < goal.records || available.bytes < goal.bytes {
            return 0;
        }

        let most_bytes = self.second().bytes;
        let mut fitting = 0;
        for size in sizes {
            let size = *size as f64;
            // A record larger than a second's worth is sent when all of that is available; the
            // next records wait longer.
            if available.records < 1.0 || available.bytes < size.min(most_bytes) {
                break;
            }
            available.records -= 1.0;
            available.bytes -= size;
            fitting += 1;
        }
        fitting
    }
}

/// The rate of one shard, and the lanes that share that rate.
#[derive(Clone, Debug)]
pub(super) struct ShardRate {
    level: Level,
    /// The time of the last reduction of the fraction.
    reduced_at: Instant,
    /// Lanes in the order of their last send, by the source's shard.
    last_sends: VecDeque<(ShardId, Instant)>,
}

impl ShardRate {
    /// The rate of a shard that has just refused a record.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            level: Level {
                available: Amount::NOTHING,
                fraction: 1.0,
                at: now,
            },
            reduced_at: now,
            last_sends: VecDeque::new(),
        }
    }

    /// The number of the first records of these `sizes` that may be sent now.
    pub(super) fn room_for(&self, now: Instant, sizes: &[u64]) -> usize {
        self.level.advanced_to(now).room_for(sizes)
    }

    /// The time until records of these `sizes` should be tried again by `lane`. Lanes wait in the
    /// order of their last send, but not longer than until the shard has saved up all that it can:
    /// lanes that have nothing to send leave their turn to the others.
    pub(super) fn wait(&self, now: Instant, lane: &ShardId, sizes: &[u64]) -> Duration {
        let level = self.level.advanced_to(now);
        let goal = level.goal(sizes);
        let second = level.second();
        let until_room = goal.seconds_from(level.available, second);
        let until_full = second.seconds_from(level.available, second);

        let own = goal.seconds_from(Amount::NOTHING, second);
        let mut lanes = self.last_sends.iter();
        let wait = match lanes.position(|(other, _)| other == lane) {
            None => until_room,
            Some(place) => {
                let turn = (until_room + own * place as f64).min(until_full - own * DEFERRAL_MAX);
                turn.max(until_room) + own * deferral(place)
            }
        };
        Duration::from_secs_f64(wait).min(WAIT_MAX)
    }

    /// Counts records of these `sizes` that `lane` sends now. True if no further record of such a
    /// size has room.
    pub(super) fn count(&mut self, now: Instant, lane: &ShardId, sizes: &[u64]) -> bool {
        self.level = self.level.advanced_to(now);
        let sent = Amount::of(sizes);
        self.level.available = self.level.available.plus(sent.times(-1.0));

        self.note_send(now, lane);

        let available = self.level.available;
        available.records < 1.0 || available.bytes < sent.bytes / sent.records.max(1.0)
    }

    fn note_send(&mut self, now: Instant, lane: &ShardId) {
        self.last_sends
            .retain(|(other, at)| other != lane && now.since(*at) < LANE_FORGOTTEN_AFTER);
        if self.last_sends.len() >= LANES_MAX {
            self.last_sends.pop_front();
        }
        self.last_sends.push_back((lane.clone(), now));
    }

    /// Notes that the shard refused records of a request that was sent at `sent_at`.
    pub(super) fn refused(&mut self, now: Instant, sent_at: Instant) {
        self.level = self.level.advanced_to(now);
        self.level.available = self.level.available.min(Amount::NOTHING);
        // Of requests that were in flight together, one shows the shard's state.
        if sent_at > self.reduced_at {
            self.level.fraction = (self.level.fraction * KEPT_AFTER_REFUSAL).max(FRACTION_MIN);
            self.reduced_at = now;
        }
    }
}

/// The deferral of the lane at `place` in the order of the last sends.
fn deferral(place: usize) -> f64 {
    let part = place as f64 / LANES_MAX as f64;
    DEFERRAL_MIN + (DEFERRAL_MAX - DEFERRAL_MIN) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn lane(number: usize) -> ShardId {
        ShardId::new(&format!("shardId-{number}"))
    }

    /// The records sent until `until` by lanes that always have more. Each lane waits as it is
    /// told, and has a round trip of `trip` milliseconds.
    fn play(rate: &mut ShardRate, lanes: usize, sizes: &[u64], trip: u64, until: u64) -> Vec<u64> {
        let mut next: Vec<(u64, usize)> = (0..lanes).map(|lane| (0, lane)).collect();
        let mut sent = vec![0; lanes];
        loop {
            next.sort_unstable();
            let (now, number) = next[0];
            if now >= until {
                return sent;
            }

            let lane = lane(number);
            let room = rate.room_for(at(now), sizes);
            assert_eq!(
                rate.room_for(at(now), sizes),
                room,
                "a question changes nothing"
            );
            sent[number] += room as u64;
            next[0].0 = if room > 0 {
                rate.count(at(now), &lane, &sizes[..room]);
                now + trip
            } else {
                let wait = rate.wait(at(now), &lane, sizes);
                now + u64::try_from(wait.as_millis()).unwrap().max(1)
            };
        }
    }

    #[test]
    fn a_shard_gets_all_it_takes_and_no_more() {
        for lanes in [1, 3, 20] {
            let mut rate = ShardRate::new(at(0));
            let sent = play(&mut rate, lanes, &[1024; 500], 20, 60_000);
            let all: u64 = sent.iter().sum();
            assert!(
                (57_000..=60_000).contains(&all),
                "{lanes} lanes: {all} records in a minute, 60,000 fit"
            );
            let least = sent.iter().min().unwrap();
            let most = sent.iter().max().unwrap();
            assert!(*least * 2 > *most, "{lanes} lanes: {sent:?}");
        }
    }

    #[test]
    fn lanes_without_records_leave_their_turn_to_the_others() {
        let mut rate = ShardRate::new(at(0));
        play(&mut rate, 20, &[1024; 500], 20, 30_000);
        let mut late = rate.clone();
        late.level = late.level.advanced_to(at(30_000));
        late.level.available = Amount::NOTHING;

        // From now on only one of the twenty lanes has records.
        let mut now = 30_000;
        let mut sent = 0;
        while now < 40_000 {
            let room = late.room_for(at(now), &[1024; 500]);
            sent += room;
            now += if room > 0 {
                late.count(at(now), &lane(3), &[1024; 500][..room]);
                20
            } else {
                late.wait(at(now), &lane(3), &[1024; 500]).as_millis() as u64 + 1
            };
        }
        assert!(
            sent > 9000,
            "{sent} of 10,000 records that fit into ten seconds"
        );
    }

    #[test]
    fn bytes_count_as_well() {
        let mut rate = ShardRate::new(at(0));
        let sent = play(&mut rate, 2, &[100 << 10; 20], 20, 60_000);
        let mib = sent.iter().sum::<u64>() / 10;
        assert!((55..=61).contains(&mib), "{sent:?}");
    }

    #[test]
    fn a_record_larger_than_a_second_s_worth_is_sent_alone() {
        let mut rate = ShardRate::new(at(0));
        let sizes = [5 << 20, 5 << 20];
        assert_eq!(rate.room_for(at(900), &sizes), 0);
        assert_eq!(rate.room_for(at(1000), &sizes), 1);

        assert!(rate.count(at(1000), &lane(0), &sizes[..1]));
        assert_eq!(
            rate.room_for(at(5000), &sizes[1..]),
            0,
            "four seconds are owed"
        );
        assert!(rate.wait(at(5000), &lane(0), &sizes[1..]) > Duration::from_millis(900));
        assert_eq!(rate.room_for(at(6000), &sizes[1..]), 1);
    }

    #[test]
    fn the_rate_of_other_writers_is_left_to_them() {
        let mut rate = ShardRate::new(at(0));
        for second in 1..30 {
            rate.refused(at(second * 1000), at(second * 1000 - 20));
        }
        let fraction = rate.level.fraction;
        assert!((FRACTION_MIN..0.3).contains(&fraction), "{fraction}");

        // Requests that were in flight at the refusal show nothing new.
        rate.refused(at(29_010), at(28_990));
        assert!(rate.level.fraction >= fraction);
        let later = rate.level.advanced_to(at(60_000));
        assert!(later.fraction > 0.99, "the full rate is tried again");
    }
}

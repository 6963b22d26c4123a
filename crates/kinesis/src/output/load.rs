//! How a stream copes with what it is given: which of its shards throttle, at what pace to write to each, and how many
//! shards would do.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_core::output::{Demand, Room};
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{Shard, StreamMode};

use crate::client::is_closed;

use super::pace::{Amount, Pace, WAIT_MAX};

/// Seconds that are looked at.
const WINDOW: u64 = 60;
/// Less than this share of refused records is no reason for advice: a burst.
const NOTEWORTHY: f64 = 0.01;
/// Less than this share of requests that found no room is no reason either.
const OFTEN: f64 = 0.1;
/// A shard map is asked for again after this, while records are refused or held back: shards may have been added for it.
const MAP_GOOD_FOR: Duration = Duration::from_secs(15);
/// Nothing is counted any more when nothing was refused or held back for so long.
const PACED_FOR: Duration = Duration::from_secs(60);

/// What happened in one second.
#[derive(Default)]
struct Second {
    at: u64,
    records: u64,
    bytes: u64,
    /// By the index of the shard that refused them.
    refused: BTreeMap<usize, u64>,
    /// Times that room was asked for.
    asked: u64,
    /// By the index of the shard that had none.
    short: BTreeMap<usize, u64>,
}

/// The last minute of one output stream.
#[derive(Default)]
pub(super) struct Load {
    on_demand: bool,
    /// Open shards in the order of their hash ranges.
    shards: Vec<(HashRange, String)>,
    /// When the map was asked for last.
    asked: Option<Instant>,
    seconds: VecDeque<Second>,
    /// For each of the shards.
    paces: Vec<Pace>,
    /// When something was refused or held back last.
    scarce_at: Option<Instant>,
}

/// A record that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Its index in the batch.
    pub(super) index: usize,
    /// What it is routed by; `None` if the stream places it.
    pub(super) hash_key: Option<u128>,
    /// Data and key in bytes.
    pub(super) bytes: u64,
}

/// A record that was refused for its shard's rate.
pub(super) struct Refused {
    /// What it is routed by.
    pub(super) hash_key: u128,
    /// Data and key in bytes.
    pub(super) bytes: u64,
}

/// How many shards a throttled stream has and would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Its open shards.
    pub shards: u32,
    /// The number that would take what the source brings, if keys were spread evenly; where that is not known, what was
    /// offered in the last minute, and at most twice as many as there are.
    pub needed: u32,
    /// Percent of the records that were refused in the last minute.
    pub refused_percent: u32,
    /// The one shard that refused most of them although the others have room.
    pub hottest: Option<String>,
    /// It grows by itself.
    pub on_demand: bool,
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            shards,
            needed,
            refused_percent,
            hottest,
            on_demand,
        } = self;
        if *refused_percent > 0 {
            write!(
                f,
                "throttled: {refused_percent} % of its records in the last minute; "
            )?;
        } else {
            f.write_str(
                "written at the pace that its shards allow, which is less than the source brings; ",
            )?;
        }
        let s = if *shards == 1 { "" } else { "s" };
        write!(f, "it has {shards} shard{s}")?;
        match hottest {
            Some(shard) => {
                write!(
                    f,
                    ", of which {shard} gets more than it can take: split that one, or spread the partition keys"
                )
            }
            None if *on_demand => {
                write!(
                    f,
                    " and would need about {needed}: being on demand it grows by itself, sooner with warm throughput"
                )
            }
            None => write!(f, " and would need about {needed} (UpdateShardCount)"),
        }
    }
}

impl Load {
    /// True while writing is paced: something was refused not long ago.
    pub(super) fn is_scarce(&self, now: Instant) -> bool {
        self.scarce_at.is_some_and(|at| now.since(at) < PACED_FOR)
    }

    /// True if a shard map should be asked for; says so once in a while only.
    pub(super) fn wants_map(&mut self, now: Instant) -> bool {
        let wants =
            self.is_scarce(now) && self.asked.is_none_or(|at| now.since(at) >= MAP_GOOD_FOR);
        if wants {
            self.asked = Some(now);
        }
        wants
    }

    pub(super) fn learn_mode(&mut self, mode: &StreamMode) {
        self.on_demand = *mode == StreamMode::OnDemand;
    }

    pub(super) fn learn_map(&mut self, now: Instant, shards: &[Shard]) {
        let open = shards.iter().filter(|shard| !is_closed(shard));
        let range = |shard: &Shard| HashRange::from_wire(shard.hash_key_range.as_ref()?);
        let mut open: Vec<_> = open
            .filter_map(|s| Some((range(s)?, s.shard_id.clone())))
            .collect();
        open.sort();
        if open == self.shards {
            return;
        }
        // Half a shard is a new one: nothing is known of what it has taken so far.
        let pace = |shard| {
            self.shards
                .iter()
                .position(|old| old == shard)
                .map(|i| self.paces[i])
        };
        self.paces = open
            .iter()
            .map(|shard| pace(shard).unwrap_or_else(|| Pace::new(now)))
            .collect();
        self.shards = open;
        // Indices of the old map mean nothing in the new one.
        for second in &mut self.seconds {
            for by_shard in [&mut second.refused, &mut second.short] {
                let all = by_shard.values().sum();
                by_shard.clear();
                if all > 0 {
                    by_shard.insert(usize::MAX, all);
                }
            }
        }
    }

    fn shard_of(&self, hash_key: u128) -> usize {
        let after = self
            .shards
            .partition_point(|(range, _)| range.start <= hash_key);
        after.checked_sub(1).unwrap_or(usize::MAX)
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let at = now.0.as_secs();
        while self.seconds.front().is_some_and(|s| s.at + WINDOW <= at) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|s| s.at < at) {
            self.seconds.push_back(Second {
                at,
                ..Second::default()
            });
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }

    /// What of `wanted`, records in the order in which they are to be sent, the shards have room for. It counts as sent.
    pub(super) fn room(&mut self, now: Instant, wanted: &[Wanted]) -> Room {
        let mut by_shard: BTreeMap<usize, (Vec<usize>, Vec<u64>)> = BTreeMap::new();
        for Wanted {
            index,
            hash_key,
            bytes,
        } in wanted
        {
            let shard = hash_key.map_or(usize::MAX, |key| self.shard_of(key));
            if shard < self.paces.len() {
                let (indices, sizes) = by_shard.entry(shard).or_default();
                indices.push(*index);
                sizes.push(*bytes);
            }
        }
        let (mut held, mut short) = (Vec::new(), Vec::new());
        for (shard, (indices, sizes)) in &by_shard {
            let admitted = self.paces[*shard].admit(now, sizes);
            if admitted < sizes.len() {
                held.extend_from_slice(&indices[admitted..]);
                short.push(*shard);
            }
        }
        let second = self.second(now);
        second.asked += 1;
        for shard in &short {
            *second.short.entry(*shard).or_default() += 1;
        }
        if held.is_empty() {
            return Room::All;
        }
        self.scarce_at = Some(now);
        held.sort_unstable();
        let mut wait = Duration::ZERO;
        if held.len() == wanted.len() {
            let waits = short
                .iter()
                .map(|shard| (self.paces[*shard].wait(now, &by_shard[shard].1), *shard));
            if let Some((least, shard)) = waits.min() {
                self.paces[shard].promise(now, least);
                wait = least;
            }
        }
        Room::Less { held, wait }
    }

    /// Notes what one request offered that was sent at `sent`, refused records included, and what of it was refused. How
    /// long the busiest shard needs to take its part, if the shards are known.
    pub(super) fn note(
        &mut self,
        now: Instant,
        sent: Instant,
        records: u64,
        bytes: u64,
        refused: &[Refused],
    ) -> Option<Duration> {
        let mut by_shard: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for record in refused {
            let (n, bytes) = by_shard.entry(self.shard_of(record.hash_key)).or_default();
            *n += 1;
            *bytes += record.bytes;
        }
        let second = self.second(now);
        second.records += records;
        second.bytes += bytes;
        for (shard, (n, _)) in &by_shard {
            *second.refused.entry(*shard).or_default() += n;
        }
        if !refused.is_empty() {
            // What was counted of shards long ago is not what they have now.
            if !self.is_scarce(now) {
                self.paces.fill(Pace::new(now));
            }
            self.scarce_at = Some(now);
        }
        for shard in by_shard.keys() {
            if let Some(pace) = self.paces.get_mut(*shard) {
                pace.refused(now, sent);
            }
        }
        if self.shards.is_empty() {
            return None;
        }
        by_shard
            .values()
            .map(|(n, bytes)| time_for(*n, *bytes))
            .max()
            .map(|wait| wait.min(WAIT_MAX))
    }

    /// What to tell the user, if anything, where the source brings `demand`.
    pub(super) fn advice(&self, now: Instant, demand: Option<Demand>) -> Option<Advice> {
        let shards = u32::try_from(self.shards.len()).ok().filter(|n| *n > 0)?;
        let recent = Recent::of(&self.seconds, now);
        let refusing = recent.all_refused > 0
            && recent.all_refused as f64 >= recent.records as f64 * NOTEWORTHY;
        let short = recent.all_short > 0 && recent.all_short as f64 >= recent.asked as f64 * OFTEN;
        if !refusing && !short {
            return None;
        }
        let seconds = match demand {
            Some(Demand { records, bytes }) => Amount { records, bytes }.shard_seconds(),
            None => recent.offered_shard_seconds(),
        };
        // A count of shards: small, and never negative.
        let enough = seconds.ceil() as u32;
        let hottest = recent.hottest().filter(|_| shards > 1 && enough <= shards);
        let hottest = hottest.and_then(|shard| Some(self.shards.get(shard)?.1.clone()));
        if !refusing && hottest.is_none() && demand.is_some() && enough <= shards {
            // It takes what the source brings; what it has missed so far takes its time.
            return None;
        }
        let most = if demand.is_some() {
            u32::MAX
        } else {
            shards * 2
        };
        Some(Advice {
            shards,
            needed: enough.clamp(shards + 1, most),
            refused_percent: recent.refused_percent(),
            hottest,
            on_demand: self.on_demand,
        })
    }
}

/// Sums over the last minute.
#[derive(Default)]
struct Recent {
    /// Since when, in seconds until now.
    seconds: u64,
    records: u64,
    bytes: u64,
    asked: u64,
    all_refused: u64,
    all_short: u64,
    refused: BTreeMap<usize, u64>,
    short: BTreeMap<usize, u64>,
}

impl Recent {
    fn of(seconds: &VecDeque<Second>, now: Instant) -> Self {
        let mut sum = Self::default();
        let at = now.0.as_secs();
        for second in seconds.iter().filter(|s| s.at + WINDOW > at) {
            sum.seconds = sum.seconds.max(at.saturating_sub(second.at) + 1);
            sum.records += second.records;
            sum.bytes += second.bytes;
            sum.asked += second.asked;
            for (shard, n) in &second.refused {
                *sum.refused.entry(*shard).or_default() += n;
                sum.all_refused += n;
            }
            for (shard, n) in &second.short {
                *sum.short.entry(*shard).or_default() += n;
                sum.all_short += n;
            }
        }
        sum
    }

    /// Shards that what was offered takes.
    fn offered_shard_seconds(&self) -> f64 {
        let offered = Amount {
            records: self.records as f64,
            bytes: self.bytes as f64,
        };
        offered.shard_seconds() / self.seconds.max(1) as f64
    }

    fn refused_percent(&self) -> u32 {
        if (self.all_refused as f64) < self.records as f64 * NOTEWORTHY {
            return 0;
        }
        // At most a hundred.
        ((self.all_refused * 100).div_ceil(self.records.max(1))).min(100) as u32
    }

    /// The one shard that had no room most of the times.
    fn hottest(&self) -> Option<usize> {
        let one = |by_shard: &BTreeMap<usize, u64>, all: u64| {
            by_shard
                .iter()
                .find(|(_, n)| **n * 2 > all)
                .map(|(shard, _)| *shard)
        };
        one(&self.short, self.all_short).or_else(|| one(&self.refused, self.all_refused))
    }
}

/// How long one shard needs to take so much.
fn time_for(records: u64, bytes: u64) -> Duration {
    let amount = Amount {
        records: records as f64,
        bytes: bytes as f64,
    };
    Duration::from_secs_f64(amount.shard_seconds().min(1e9))
}

#[cfg(test)]
mod tests {
    use distributary_wire::types::{HashKeyRange, SequenceNumberRange};

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn load(shards: u32) -> Load {
        let mut load = Load::default();
        let mut map: Vec<Shard> = HashRange::even(shards)
            .into_iter()
            .enumerate()
            .map(|(i, range)| Shard {
                shard_id: format!("s{i}"),
                hash_key_range: Some(range.to_wire()),
                ..Default::default()
            })
            .collect();
        // A closed parent covers everything and takes nothing.
        map.push(Shard {
            shard_id: "parent".into(),
            hash_key_range: Some(HashKeyRange {
                starting_hash_key: "0".into(),
                ending_hash_key: u128::MAX.to_string(),
            }),
            sequence_number_range: Some(SequenceNumberRange {
                starting_sequence_number: "1".into(),
                ending_sequence_number: Some("2".into()),
            }),
            ..Default::default()
        });
        load.learn_map(at(0), &map);
        load
    }

    fn refused(n: usize, hash_key: u128, bytes: u64) -> Vec<Refused> {
        (0..n).map(|_| Refused { hash_key, bytes }).collect()
    }

    #[test]
    fn nothing_to_say_while_all_is_taken() {
        let mut load = load(2);
        for second in 0..100 {
            assert_eq!(load.note(at(second), at(second), 5000, 5 << 20, &[]), None);
            assert_eq!(load.advice(at(second), None), None);
        }
        assert!(
            load.seconds.len() <= WINDOW as usize,
            "the past is forgotten"
        );
        assert!(!load.wants_map(at(100)));
    }

    #[test]
    fn too_few_shards() {
        let mut load = load(2);
        for second in 0..10 {
            // 3 MiB/s offered, a third of it refused, on both shards alike.
            let mut both = refused(150, 0, 1024);
            both.extend(refused(150, u128::MAX, 1024));
            let wait = load
                .note(at(second), at(second), 900, 3 << 20, &both)
                .unwrap();
            assert_eq!(
                wait,
                Duration::from_millis(150),
                "150 records, or 150 KiB, at one shard's rate"
            );
        }
        let advice = load.advice(at(9), None).unwrap();
        assert_eq!(
            advice,
            Advice {
                shards: 2,
                needed: 3,
                refused_percent: 34,
                hottest: None,
                on_demand: false
            }
        );
        let text = "throttled: 34 % of its records in the last minute; it has 2 shards and would need about 3 \
                    (UpdateShardCount)";
        assert_eq!(advice.to_string(), text);
        load.learn_mode(&StreamMode::OnDemand);
        assert!(
            load.advice(at(9), None)
                .unwrap()
                .to_string()
                .contains("grows by itself")
        );
        assert_eq!(
            load.advice(at(200), None),
            None,
            "a minute later that is the past"
        );
    }

    #[test]
    fn one_hot_shard() {
        let mut load = load(4);
        load.note(
            at(0),
            at(0),
            1500,
            1 << 20,
            &refused(400, u128::MAX / 2 + 5, 100),
        );
        let advice = load.advice(at(0), None).unwrap();
        assert_eq!((advice.needed, advice.hottest.as_deref()), (5, Some("s2")));
        assert!(
            advice.to_string().contains("s2 gets more than it can take"),
            "{advice}"
        );
    }

    #[test]
    fn a_burst_is_nothing_to_speak_of() {
        let mut load = load(2);
        load.note(at(0), at(0), 10_000, 1 << 20, &refused(50, 0, 100));
        assert_eq!(load.advice(at(0), None), None);
    }

    #[test]
    fn the_map_is_asked_for_when_it_is_needed() {
        let mut load = Load::default();
        assert!(!load.wants_map(at(0)));
        assert_eq!(
            load.note(at(0), at(0), 10, 1000, &refused(5, 0, 100)),
            None,
            "no shards are known"
        );
        assert!(load.wants_map(at(0)) && !load.wants_map(at(14)) && load.wants_map(at(16)));
        load.note(at(59), at(59), 10, 1000, &refused(5, 0, 100));
        assert!(load.wants_map(at(61)));
        assert_eq!(
            load.advice(at(61), None),
            None,
            "without a map there is no number to tell"
        );
    }

    fn wanted(n: usize, hash_key: u128, bytes: u64) -> Vec<Wanted> {
        (0..n)
            .map(|index| Wanted {
                index,
                hash_key: Some(hash_key),
                bytes,
            })
            .collect()
    }

    #[test]
    fn each_shard_has_its_own_pace() {
        let mut load = load(2);
        assert!(!load.is_scarce(at(0)), "nothing was refused");
        load.note(at(100), at(100), 500, 1000, &refused(5, 0, 10));
        assert!(load.is_scarce(at(100)));
        // Both have a second's worth; the first is used up.
        assert_eq!(load.room(at(101), &wanted(1000, 0, 10)), Room::All);
        let mut mixed = wanted(4, 0, 10);
        mixed[1].hash_key = Some(u128::MAX);
        mixed[3].hash_key = None;
        assert_eq!(
            load.room(at(101), &mixed),
            Room::Less {
                held: vec![0, 2],
                wait: Duration::ZERO
            }
        );
        let Room::Less { held, wait } = load.room(at(101), &wanted(2, 0, 10)) else {
            panic!("no room")
        };
        assert_eq!(
            (held, wait.as_millis()),
            (vec![0, 1], 2),
            "two records at 1,000 a second"
        );
        // The next one waits behind those.
        let Room::Less { wait, .. } = load.room(at(101), &wanted(250, 0, 10)) else {
            panic!("no room")
        };
        assert_eq!(wait.as_millis(), 252);
        assert!(!load.is_scarce(at(162)), "a minute later that is the past");
    }

    #[test]
    fn shards_that_were_added_have_a_pace_of_their_own() {
        let mut load = load(1);
        load.note(at(0), at(0), 500, 1000, &refused(5, 0, 10));
        let map: Vec<Shard> = HashRange::even(2)
            .into_iter()
            .map(|range| Shard {
                shard_id: format!("child-{}", range.start),
                hash_key_range: Some(range.to_wire()),
                ..Default::default()
            })
            .collect();
        load.learn_map(at(1), &map);
        assert_eq!(load.room(at(2), &wanted(1000, 0, 10)), Room::All);
        assert_eq!(load.room(at(2), &wanted(1000, u128::MAX, 10)), Room::All);
    }

    #[test]
    fn the_source_says_how_many_shards_are_needed() {
        let mut load = load(2);
        load.note(at(0), at(0), 500, 1000, &refused(1, 0, 10));
        for second in 61..100 {
            load.scarce_at = Some(at(second));
            load.room(at(second), &wanted(2000, 0, 10));
            load.room(at(second), &wanted(2000, u128::MAX, 10));
            load.note(at(second), at(second), 1000, 1000, &[]);
        }
        let advice = load
            .advice(
                at(99),
                Some(Demand {
                    records: 4500.0,
                    bytes: 1e6,
                }),
            )
            .unwrap();
        assert_eq!(
            (
                advice.needed,
                advice.refused_percent,
                advice.hottest.as_deref()
            ),
            (5, 0, None)
        );
        let text = "written at the pace that its shards allow, which is less than the source brings; it has 2 shards and \
                    would need about 5 (UpdateShardCount)";
        assert_eq!(advice.to_string(), text);
        // Two are enough for what comes; it only catches up.
        assert_eq!(
            load.advice(
                at(99),
                Some(Demand {
                    records: 1500.0,
                    bytes: 1e6
                })
            ),
            None
        );
    }
}

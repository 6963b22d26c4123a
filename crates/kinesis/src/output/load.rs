//! How a stream copes with what it is given: which of its shards throttle, how long to wait for them, and how many shards
//! would do.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_wire::hashkey::HashRange;
use distributary_wire::limits;
use distributary_wire::types::{Shard, StreamMode};

use crate::client::is_closed;

/// Seconds that are looked at.
const WINDOW: u64 = 60;
/// Less than this share of refused records is no reason for advice: a burst.
const NOTEWORTHY: f64 = 0.01;
/// A shard map is asked for again after this, while records are refused.
const MAP_GOOD_FOR: Duration = Duration::from_secs(60);
/// The longest wait that is asked for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What happened in one second.
#[derive(Default)]
struct Second {
    at: u64,
    records: u64,
    bytes: u64,
    /// By the index of the shard that refused them.
    refused: BTreeMap<usize, u64>,
}

impl Second {
    fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
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
    /// The number that would take what was offered in the last minute, if keys were spread evenly; at most twice as many as
    /// there are, as one resharding may add.
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
        let Self { shards, needed, refused_percent, hottest, on_demand } = self;
        write!(
            f,
            "throttled: {refused_percent} % of its records in the last minute; it has {shards} shards"
        )?;
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
    /// True if a shard map should be asked for; says so once in a while only.
    pub(super) fn wants_map(&mut self, now: Instant) -> bool {
        let refused = self.seconds.iter().any(|second| !second.refused.is_empty());
        let due = self.asked.is_none_or(|at| now.since(at) >= MAP_GOOD_FOR);
        if refused && due {
            self.asked = Some(now);
        }
        refused && due
    }

    pub(super) fn learn_mode(&mut self, mode: &StreamMode) {
        self.on_demand = *mode == StreamMode::OnDemand;
    }

    pub(super) fn learn_map(&mut self, shards: &[Shard]) {
        let open = shards.iter().filter(|shard| !is_closed(shard));
        let range = |shard: &Shard| HashRange::from_wire(shard.hash_key_range.as_ref()?);
        let mut open: Vec<_> = open.filter_map(|s| Some((range(s)?, s.shard_id.clone()))).collect();
        open.sort();
        self.shards = open;
        // Indices of the old map mean nothing in the new one.
        for second in &mut self.seconds {
            let refused = second.refused();
            second.refused.clear();
            if refused > 0 {
                second.refused.insert(usize::MAX, refused);
            }
        }
    }

    fn shard_of(&self, hash_key: u128) -> usize {
        let after = self.shards.partition_point(|(range, _)| range.start <= hash_key);
        after.checked_sub(1).unwrap_or(usize::MAX)
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let at = now.0.as_secs();
        while self.seconds.front().is_some_and(|s| s.at + WINDOW <= at) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|s| s.at < at) {
            self.seconds.push_back(Second { at, ..Second::default() });
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }

    /// Notes what one request offered, refused ones included, and what of it was refused. How long the busiest shard needs
    /// to take its part, if the shards are known.
    pub(super) fn note(
        &mut self,
        now: Instant,
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
        if self.shards.is_empty() {
            return None;
        }
        by_shard.values().map(|(n, bytes)| time_for(*n, *bytes)).max().map(|wait| wait.min(WAIT_MAX))
    }

    /// What to tell the user, if anything.
    pub(super) fn advice(&self, now: Instant) -> Option<Advice> {
        let recent = || self.seconds.iter().filter(|s| s.at + WINDOW > now.0.as_secs());
        let (mut records, mut bytes, mut refused) = (0u64, 0u64, BTreeMap::<usize, u64>::new());
        for second in recent() {
            records += second.records;
            bytes += second.bytes;
            for (shard, n) in &second.refused {
                *refused.entry(*shard).or_default() += n;
            }
        }
        let all_refused: u64 = refused.values().sum();
        let shards = u32::try_from(self.shards.len()).ok().filter(|n| *n > 0)?;
        if records == 0 || (all_refused as f64) < records as f64 * NOTEWORTHY {
            return None;
        }
        let first = recent().next().map_or(0, |s| s.at);
        let seconds = now.0.as_secs().saturating_sub(first) + 1;
        let busy = time_for(records, bytes).as_secs_f64() / seconds as f64;
        // A count of shards: small, and never negative.
        let enough = busy.ceil() as u32;
        let hottest = refused
            .iter()
            .find(|(_, n)| **n * 2 > all_refused)
            .filter(|_| shards > 1 && enough < shards)
            .and_then(|(shard, _)| Some(self.shards.get(*shard)?.1.clone()));
        Some(Advice {
            shards,
            needed: enough.clamp(shards + 1, shards * 2),
            refused_percent: ((all_refused * 100).div_ceil(records)).min(100) as u32,
            hottest,
            on_demand: self.on_demand,
        })
    }
}

/// How long one shard needs to take so much.
fn time_for(records: u64, bytes: u64) -> Duration {
    let by_records = records as f64 / limits::SHARD_WRITE_RECORDS_PER_SECOND as f64;
    let by_bytes = bytes as f64 / limits::SHARD_WRITE_BYTES_PER_SECOND as f64;
    Duration::from_secs_f64(by_records.max(by_bytes).min(1e9))
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
        load.learn_map(&map);
        load
    }

    fn refused(n: usize, hash_key: u128, bytes: u64) -> Vec<Refused> {
        (0..n).map(|_| Refused { hash_key, bytes }).collect()
    }

    #[test]
    fn nothing_to_say_while_all_is_taken() {
        let mut load = load(2);
        for second in 0..100 {
            assert_eq!(load.note(at(second), 5000, 5 << 20, &[]), None);
            assert_eq!(load.advice(at(second)), None);
        }
        assert!(load.seconds.len() <= WINDOW as usize, "the past is forgotten");
        assert!(!load.wants_map(at(100)));
    }

    #[test]
    fn too_few_shards() {
        let mut load = load(2);
        for second in 0..10 {
            // 3 MiB/s offered, a third of it refused, on both shards alike.
            let mut both = refused(150, 0, 1024);
            both.extend(refused(150, u128::MAX, 1024));
            let wait = load.note(at(second), 900, 3 << 20, &both).unwrap();
            assert_eq!(wait, Duration::from_millis(150), "150 records, or 150 KiB, at one shard's rate");
        }
        let advice = load.advice(at(9)).unwrap();
        assert_eq!(
            advice,
            Advice { shards: 2, needed: 3, refused_percent: 34, hottest: None, on_demand: false }
        );
        let text = "throttled: 34 % of its records in the last minute; it has 2 shards and would need about 3 \
                    (UpdateShardCount)";
        assert_eq!(advice.to_string(), text);
        load.learn_mode(&StreamMode::OnDemand);
        assert!(load.advice(at(9)).unwrap().to_string().contains("grows by itself"));
        assert_eq!(load.advice(at(200)), None, "a minute later that is the past");
    }

    #[test]
    fn one_hot_shard() {
        let mut load = load(4);
        load.note(at(0), 1500, 1 << 20, &refused(400, u128::MAX / 2 + 5, 100));
        let advice = load.advice(at(0)).unwrap();
        assert_eq!((advice.needed, advice.hottest.as_deref()), (5, Some("s2")));
        assert!(advice.to_string().contains("s2 gets more than it can take"), "{advice}");
    }

    #[test]
    fn a_burst_is_nothing_to_speak_of() {
        let mut load = load(2);
        load.note(at(0), 10_000, 1 << 20, &refused(50, 0, 100));
        assert_eq!(load.advice(at(0)), None);
    }

    #[test]
    fn the_map_is_asked_for_when_it_is_needed() {
        let mut load = Load::default();
        assert!(!load.wants_map(at(0)));
        assert_eq!(load.note(at(0), 10, 1000, &refused(5, 0, 100)), None, "no shards are known");
        assert!(load.wants_map(at(0)) && !load.wants_map(at(30)));
        load.note(at(59), 10, 1000, &refused(5, 0, 100));
        assert!(load.wants_map(at(61)));
        assert_eq!(load.advice(at(61)), None, "without a map there is no number to tell");
    }
}

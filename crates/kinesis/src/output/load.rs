//! The load of an output: the shards of the stream, the rate of each, and which of them throttle.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::Instant;
use distributary_core::output::{Demand, Room};
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{Shard, StreamMode};

use crate::client::is_closed;

use super::advice::{Advice, OpenShards, advise};
use super::history::{History, ShardIndex};
use super::shard_rate::{Amount, ShardRate, WAIT_MAX};

/// The time after which the shards are listed again while records are refused or held back: shards
/// may have been added.
const MAP_GOOD_FOR: Duration = Duration::from_secs(15);
/// The time without a refusal or a used-up shard after which records are no longer counted.
const SCARCE_FOR: Duration = Duration::from_secs(60);

/// An open shard of the stream.
#[derive(Clone, Debug)]
struct OpenShard {
    range: HashRange,
    id: String,
    rate: ShardRate,
}

/// The last minute of one output stream.
#[derive(Default)]
pub(super) struct Load {
    on_demand: bool,
    /// In the order of the hash ranges.
    shards: Vec<OpenShard>,
    map_asked_at: Option<Instant>,
    history: History,
    /// The time of the last refusal, or of the last request that used up a shard's room.
    scarce_at: Option<Instant>,
}

/// A record, for the shard that it is routed to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed {
    /// Index in the batch.
    pub(super) index: usize,
    /// `None` if the stream places the record by itself.
    pub(super) hash_key: Option<u128>,
    /// Data and key in bytes.
    pub(super) bytes: u64,
}

/// The records of one request that are routed to one shard, in the order of the request.
#[derive(Debug, Default)]
struct ShardPart {
    indices: Vec<usize>,
    sizes: Vec<u64>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) sent_at: Instant,
    /// Records of the request, refused ones included.
    pub(super) records: u64,
    /// Bytes of data and keys.
    pub(super) bytes: u64,
    /// Records that were refused for the rate of their shard.
    pub(super) refused: &'a [Routed],
}

impl Load {
    /// True while the shards' rates limit writing: a record was refused not long ago.
    pub(super) fn is_scarce(&self, now: Instant) -> bool {
        self.scarce_at.is_some_and(|at| now.since(at) < SCARCE_FOR)
    }

    /// True if the shards should be listed now; at most once in [`MAP_GOOD_FOR`].
    pub(super) fn wants_map(&mut self, now: Instant) -> bool {
        let is_old = self
            .map_asked_at
            .is_none_or(|at| now.since(at) >= MAP_GOOD_FOR);
        let wants = self.is_scarce(now) && is_old;
        if wants {
            self.map_asked_at = Some(now);
        }
        wants
    }

    pub(super) fn learn_mode(&mut self, mode: &StreamMode) {
        self.on_demand = *mode == StreamMode::OnDemand;
    }

    /// Takes over a listing of the stream's shards.
    pub(super) fn learn_map(&mut self, now: Instant, shards: &[Shard]) {
        let open = open_shards(shards);
        if self.has_shards(&open) {
            return;
        }

        let shards = open.into_iter().map(|(range, id)| OpenShard {
            range,
            id: id.clone(),
            rate: self.rate_of(range, id, now),
        });
        self.shards = shards.collect();
        self.history.forget_shards();
    }

    fn has_shards(&self, open: &[(HashRange, &String)]) -> bool {
        let known = self.shards.iter().map(|shard| (shard.range, &shard.id));
        known.eq(open.iter().copied())
    }

    /// The rate of a shard that is known. Half of a known shard is a new shard with a new rate:
    /// nothing is known about the records that it took so far.
    fn rate_of(&self, range: HashRange, id: &str, now: Instant) -> ShardRate {
        let mut known = self.shards.iter();
        let same = known.find(|shard| shard.range == range && shard.id == id);
        same.map_or_else(|| ShardRate::new(now), |shard| shard.rate.clone())
    }

    fn shard_of(&self, record: &Routed) -> ShardIndex {
        let hash_key = record.hash_key?;
        let after = self
            .shards
            .partition_point(|shard| shard.range.start <= hash_key);
        after.checked_sub(1)
    }

    /// `records` by shard, without the records whose shard is not known.
    fn by_shard(&self, records: &[Routed]) -> BTreeMap<usize, ShardPart> {
        let mut parts: BTreeMap<usize, ShardPart> = BTreeMap::new();
        for record in records {
            if let Some(shard) = self.shard_of(record) {
                let part = parts.entry(shard).or_default();
                part.indices.push(record.index);
                part.sizes.push(record.bytes);
            }
        }
        parts
    }

    /// The room for `wanted`, records of `lane` in the order in which they are to be sent.
    pub(super) fn room(&self, now: Instant, lane: &ShardId, wanted: &[Routed]) -> Room {
        let mut held = Vec::new();
        let mut shortest_wait: Option<Duration> = None;
        for (shard, part) in self.by_shard(wanted) {
            let rate = &self.shards[shard].rate;
            let room = rate.room_for(now, &part.sizes);
            if room < part.sizes.len() {
                held.extend_from_slice(&part.indices[room..]);
                let wait = rate.wait(now, lane, &part.sizes);
                shortest_wait = Some(shortest_wait.map_or(wait, |shortest| shortest.min(wait)));
            }
        }
        if held.is_empty() {
            return Room::All;
        }

        // An aggregate is several entries: held back as a whole if one shard has no room.
        held.sort_unstable();
        held.dedup();
        let records = wanted.chunk_by(|a, b| a.index == b.index).count();
        let wait = shortest_wait.filter(|_| held.len() == records);
        Room::Less {
            held,
            wait: wait.unwrap_or_default(),
        }
    }

    /// Counts `sent`, records that `lane` sends now, against the rates of their shards.
    pub(super) fn count(&mut self, now: Instant, lane: &ShardId, sent: &[Routed]) {
        let mut exhausted = Vec::new();
        for (shard, part) in self.by_shard(sent) {
            if self.shards[shard].rate.count(now, lane, &part.sizes) {
                exhausted.push(shard);
            }
        }

        let second = self.history.second(now);
        second.counted += 1;
        for shard in &exhausted {
            *second.exhausted.entry(Some(*shard)).or_default() += 1;
        }
        if !exhausted.is_empty() {
            self.scarce_at = Some(now);
        }
    }

    /// Notes the answer to a request. Returns the time that the busiest shard needs to take its
    /// refused records, if the shards are known.
    pub(super) fn note(&mut self, now: Instant, answered: Answered<'_>) -> Option<Duration> {
        let refused = self.refused_by_shard(answered.refused);
        let second = self.history.second(now);
        second.records += answered.records;
        second.bytes += answered.bytes;
        for (shard, amount) in &refused {
            // A whole number of records.
            *second.refused.entry(*shard).or_default() += amount.records as u64;
        }
        if refused.is_empty() {
            return None;
        }

        self.note_refusals(now, answered.sent_at, refused.keys().copied());
        if self.shards.is_empty() {
            return None;
        }
        Some(longest_wait(refused.values()))
    }

    fn refused_by_shard(&self, refused: &[Routed]) -> BTreeMap<ShardIndex, Amount> {
        let mut by_shard: BTreeMap<ShardIndex, Amount> = BTreeMap::new();
        for record in refused {
            let shard = self.shard_of(record);
            let amount = by_shard.entry(shard).or_insert(Amount::NOTHING);
            amount.records += 1.0;
            amount.bytes += record.bytes as f64;
        }
        by_shard
    }

    fn note_refusals(
        &mut self,
        now: Instant,
        sent_at: Instant,
        shards: impl Iterator<Item = ShardIndex>,
    ) {
        // The rates of long ago are not the rates of now.
        if !self.is_scarce(now) {
            for shard in &mut self.shards {
                shard.rate = ShardRate::new(now);
            }
        }

        self.scarce_at = Some(now);
        for shard in shards.flatten() {
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.rate.refused(now, sent_at);
            }
        }
    }

    /// The advice for the user, if any, where the source brings `demand`.
    pub(super) fn advice(&self, now: Instant, demand: Option<Demand>) -> Option<Advice> {
        let stream = OpenShards {
            ids: self.shards.iter().map(|shard| shard.id.as_str()).collect(),
            on_demand: self.on_demand,
        };
        advise(&self.history.recent(now), &stream, demand)
    }
}

/// The open shards of a listing, in the order of their hash ranges.
fn open_shards(shards: &[Shard]) -> Vec<(HashRange, &String)> {
    let open = shards.iter().filter(|shard| !is_closed(shard));
    let range = |shard: &Shard| HashRange::from_wire(shard.hash_key_range.as_ref()?);
    let with_range = open.filter_map(|shard| Some((range(shard)?, &shard.shard_id)));

    let mut open: Vec<_> = with_range.collect();
    open.sort();
    open
}

/// The time that a shard needs to take the largest of the amounts, up to [`WAIT_MAX`].
fn longest_wait<'a>(amounts: impl Iterator<Item = &'a Amount>) -> Duration {
    let seconds = amounts.map(|amount| amount.shard_seconds());
    let longest = seconds.fold(0.0, f64::max);
    Duration::from_secs_f64(longest.min(WAIT_MAX.as_secs_f64()))
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
        // A closed parent covers the whole hash space and takes no records.
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

    fn lane() -> ShardId {
        ShardId::new("shardId-000000000000")
    }

    /// `count` records of one hash key and size.
    fn records(count: usize, hash_key: u128, bytes: u64) -> Vec<Routed> {
        (0..count)
            .map(|index| Routed {
                index,
                hash_key: Some(hash_key),
                bytes,
            })
            .collect()
    }

    /// Notes a request that was sent and answered in the second `second`.
    fn note(
        load: &mut Load,
        second: u64,
        records: u64,
        bytes: u64,
        refused: &[Routed],
    ) -> Option<Duration> {
        let answered = Answered {
            sent_at: at(second),
            records,
            bytes,
            refused,
        };
        load.note(at(second), answered)
    }

    #[test]
    fn no_advice_while_all_records_are_taken() {
        let mut load = load(2);
        for second in 0..100 {
            assert_eq!(note(&mut load, second, 5000, 5 << 20, &[]), None);
            assert_eq!(load.advice(at(second), None), None);
        }
        assert!(load.history.len() <= 60, "the past is forgotten");
        assert!(!load.wants_map(at(100)));
    }

    #[test]
    fn too_few_shards() {
        let mut load = load(2);
        for second in 0..10 {
            // 3 MiB/s offered, a third of it refused, on both shards alike.
            let mut both = records(150, 0, 1024);
            both.extend(records(150, u128::MAX, 1024));
            let wait = note(&mut load, second, 900, 3 << 20, &both).unwrap();
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
        note(
            &mut load,
            0,
            1500,
            1 << 20,
            &records(400, u128::MAX / 2 + 5, 100),
        );
        let advice = load.advice(at(0), None).unwrap();
        assert_eq!((advice.needed, advice.hottest.as_deref()), (5, Some("s2")));
        assert!(
            advice.to_string().contains("s2 gets more than it can take"),
            "{advice}"
        );
    }

    #[test]
    fn a_burst_is_no_reason_for_advice() {
        let mut load = load(2);
        note(&mut load, 0, 10_000, 1 << 20, &records(50, 0, 100));
        assert_eq!(load.advice(at(0), None), None);
    }

    #[test]
    fn the_map_is_asked_for_when_it_is_needed() {
        let mut load = Load::default();
        assert!(!load.wants_map(at(0)));
        assert_eq!(
            note(&mut load, 0, 10, 1000, &records(5, 0, 100)),
            None,
            "no shards are known"
        );
        assert!(load.wants_map(at(0)) && !load.wants_map(at(14)) && load.wants_map(at(16)));
        note(&mut load, 59, 10, 1000, &records(5, 0, 100));
        assert!(load.wants_map(at(61)));
        assert_eq!(
            load.advice(at(61), None),
            None,
            "without a map there is no number to tell"
        );
    }

    #[test]
    fn each_shard_has_its_own_rate() {
        let mut load = load(2);
        assert!(!load.is_scarce(at(0)), "nothing was refused");
        note(&mut load, 100, 500, 1000, &records(5, 0, 10));
        assert!(load.is_scarce(at(100)));
        // Both shards have a second's worth of room, however often the question is asked.
        for _ in 0..2 {
            let room = load.room(at(101), &lane(), &records(1000, 0, 10));
            assert_eq!(room, Room::All);
        }

        // The first shard is used up by records that are sent.
        load.count(at(101), &lane(), &records(1000, 0, 10));
        let mut mixed = records(4, 0, 10);
        mixed[1].hash_key = Some(u128::MAX);
        mixed[3].hash_key = None;
        assert_eq!(
            load.room(at(101), &lane(), &mixed),
            Room::Less {
                held: vec![0, 2],
                wait: Duration::ZERO
            }
        );

        let other_lane = ShardId::new("shardId-000000000001");
        let Room::Less { held, wait } = load.room(at(101), &other_lane, &records(2, 0, 10)) else {
            panic!("no room")
        };
        assert_eq!(
            (held, wait.as_millis()),
            (vec![0, 1], 2),
            "two records at 1,000 a second"
        );

        // The lane that was just served waits a little longer than a lane that was not.
        let wait_of = |lane: &ShardId| match load.room(at(101), lane, &records(250, 0, 10)) {
            Room::Less { wait, .. } => wait.as_millis(),
            Room::All => panic!("room"),
        };
        assert_eq!((wait_of(&other_lane), wait_of(&lane())), (250, 275));
        assert!(!load.is_scarce(at(162)), "a minute later that is the past");
    }

    #[test]
    fn added_shards_have_rates_of_their_own() {
        let mut load = load(1);
        note(&mut load, 0, 500, 1000, &records(5, 0, 10));
        let map: Vec<Shard> = HashRange::even(2)
            .into_iter()
            .map(|range| Shard {
                shard_id: format!("child-{}", range.start),
                hash_key_range: Some(range.to_wire()),
                ..Default::default()
            })
            .collect();
        load.learn_map(at(1), &map);
        assert_eq!(load.room(at(2), &lane(), &records(1000, 0, 10)), Room::All);
        assert_eq!(
            load.room(at(2), &lane(), &records(1000, u128::MAX, 10)),
            Room::All
        );
    }

    #[test]
    fn the_rate_of_the_source_tells_how_many_shards_are_needed() {
        let mut load = load(2);
        note(&mut load, 0, 500, 1000, &records(1, 0, 10));
        for second in 61..100 {
            load.scarce_at = Some(at(second));
            load.count(at(second), &lane(), &records(1000, 0, 10));
            load.count(at(second), &lane(), &records(1000, u128::MAX, 10));
            note(&mut load, second, 1000, 1000, &[]);
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
        // Two shards are enough for new records; the output only catches up.
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

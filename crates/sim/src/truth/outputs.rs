//! The facts about outputs, their lanes and their requests in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::Order;
use distributary_core::store::OutputId;

use super::source::{RecordFacts, ShardFacts, durable_by};

/// The state of a record at one output, since the engine started last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SendState {
    #[default]
    NotSent,
    InFlight,
    /// The last request failed or has an unknown outcome.
    Failed,
    Acknowledged,
    /// Acknowledged, but must be sent again: an earlier record of the key in the request failed.
    MustRepeat,
    /// Acknowledged, and may be sent again: the output's settings have changed since.
    MayRepeat,
    /// Accepted; a flush decides.
    Accepted,
    /// Refused, and durable as a dead letter.
    DeadLettered,
}

impl SendState {
    /// True if a checkpoint may pass the record.
    pub(super) fn is_durable(self) -> bool {
        matches!(
            self,
            Self::Acknowledged | Self::MayRepeat | Self::DeadLettered
        )
    }
}

/// One lane: a shard and an output.
#[derive(Debug, Default)]
pub(super) struct LaneFacts {
    /// The checkpoint in the store.
    pub(super) checkpoint: Option<Position>,
    /// The output's start: records that arrived before are not for the output.
    pub(super) from: Option<Millis>,
    /// How many of the shard's records were durable when the engine started last.
    pub(super) durable_at_start: usize,
    /// How many of the shard's records are under a checkpoint and were checked.
    pub(super) checked: usize,
    /// All records of the closed shard were sent, since the engine started last.
    pub(super) finished: bool,
    /// The store has deleted the checkpoint.
    pub(super) forgotten: bool,
    pub(super) requests_in_flight: BTreeSet<u64>,
    /// Time of the last answer that told the outcome of single records.
    pub(super) answered_at: Duration,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) shard: usize,
    pub(super) records: Vec<usize>,
    pub(super) order: Order,
    /// The output's number of updates when the request was sent.
    pub(super) updates: u32,
}

/// The last acknowledgement of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) at: Duration,
    /// The order was `unordered` at the time.
    pub(super) unordered: bool,
}

/// For each key, the last record and its place at an output.
pub(super) type LastPlaces = BTreeMap<u32, (usize, usize)>;

/// One output, from its addition to its removal. Lists by record have an item for each record of
/// the source, as far as any record needed one.
#[derive(Debug)]
pub(super) struct OutputFacts {
    pub(super) id: OutputId,
    pub(super) order: Order,
    pub(super) lanes: BTreeMap<usize, LaneFacts>,
    /// By record, since the engine started last.
    pub(super) states: Vec<SendState>,
    /// By record, over the whole run.
    pub(super) acknowledged: Vec<Option<Acknowledgement>>,
    /// By record: the place of the last write, except writes that arrived late.
    pub(super) places: Vec<Option<usize>>,
    pub(super) requests: BTreeMap<u64, Request>,
    /// The last places of records under a checkpoint.
    pub(super) last_places: LastPlaces,
    /// The output has accepted records, of which a flush makes many durable at one moment.
    pub(super) gathers: bool,
    /// Records that are durable as dead letters, and since when.
    pub(super) dead_letters: BTreeMap<usize, Duration>,
    pub(super) removed: bool,
    pub(super) paused: bool,
    /// Records deleted by retention, for which the engine must report a gap.
    pub(super) owed_gaps: Vec<usize>,
    /// How often records were sent that had been sent, since the engine started last.
    pub(super) resent: u64,
    /// How often the settings were changed.
    pub(super) updates: u32,
    /// By record: written by the running engine with the present settings.
    pub(super) written: Vec<bool>,
    /// How often records were written that had been written, since the engine started last.
    pub(super) rewritten: u64,
    /// Records behind the checkpoints of shards that the running engine gained again.
    pub(super) reread: u64,
}

/// Counts of one output, since the engine started last.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Records that are acknowledged.
    pub acked: u64,
    /// Records that are durable as dead letters.
    pub dead_lettered: u64,
    /// Records that can be filtered: records of which the pump makes no row.
    pub filtered: u64,
    /// How often records were sent that had been sent.
    pub resent: u64,
    /// How often records were written that had been written.
    pub rewritten: u64,
    /// Records that can be counted twice, as the engine lost their shard and gained it again.
    pub reread: u64,
}

impl OutputFacts {
    pub(super) fn new(id: OutputId, order: Order) -> Self {
        Self {
            id,
            order,
            lanes: BTreeMap::new(),
            states: Vec::new(),
            acknowledged: Vec::new(),
            places: Vec::new(),
            requests: BTreeMap::new(),
            last_places: BTreeMap::new(),
            gathers: false,
            dead_letters: BTreeMap::new(),
            removed: false,
            paused: false,
            owed_gaps: Vec::new(),
            resent: 0,
            updates: 0,
            written: Vec::new(),
            rewritten: 0,
            reread: 0,
        }
    }

    pub(super) fn engine_starts(&mut self, shards: &[ShardFacts], records: &[RecordFacts]) {
        self.states.clear();
        self.requests.clear();
        self.written.clear();
        (self.resent, self.rewritten, self.reread) = (0, 0, 0);

        for (shard, lane) in &mut self.lanes {
            let of_shard = &shards[*shard].records;
            lane.durable_at_start = durable_by(records, of_shard, lane.checkpoint.as_ref());
            lane.finished = false;
            lane.requests_in_flight.clear();
        }
    }

    /// The engine starts a shard from the checkpoint in the store. Returns the number of records
    /// behind the checkpoint. Records that were accepted before are sent again.
    pub(super) fn shard_gained(
        &mut self,
        shard: usize,
        shards: &[ShardFacts],
        records: &[RecordFacts],
    ) -> usize {
        let lane = self.lanes.entry(shard).or_default();
        let of_shard = &shards[shard].records;
        lane.durable_at_start = durable_by(records, of_shard, lane.checkpoint.as_ref());
        lane.finished = false;
        let in_flight = &lane.requests_in_flight;
        self.requests
            .retain(|number, request| request.shard != shard || in_flight.contains(number));

        let behind = of_shard.get(lane.durable_at_start..).unwrap_or_default();
        for n in behind {
            if let Some(state) = self.states.get_mut(*n)
                && *state != SendState::InFlight
            {
                *state = SendState::NotSent;
            }
        }
        behind.len()
    }

    pub(super) fn update(&mut self, order: Order) {
        self.order = order;
        self.updates += 1;
        self.written.clear();

        for state in &mut self.states {
            if *state == SendState::Acknowledged {
                *state = SendState::MayRepeat;
            }
        }
    }

    pub(super) fn state(&self, n: usize) -> SendState {
        self.states.get(n).copied().unwrap_or_default()
    }

    pub(super) fn set_state(&mut self, n: usize, state: SendState) {
        set(&mut self.states, n, state);
    }

    fn acknowledgement(&self, n: usize) -> Option<Acknowledgement> {
        self.acknowledged.get(n).copied().flatten()
    }

    pub(super) fn acknowledged_at(&self, n: usize) -> Option<Duration> {
        self.acknowledgement(n).map(|a| a.at)
    }

    /// When the record was acknowledged last, or became durable as a dead letter.
    pub(super) fn settled_at(&self, n: usize) -> Option<Duration> {
        let dead_letter = self.dead_letters.get(&n).copied();
        self.acknowledged_at(n).max(dead_letter)
    }

    /// True if the output ever acknowledged the record, or the record is a dead letter.
    pub(super) fn has(&self, n: usize) -> bool {
        self.dead_letters.contains_key(&n) || self.acknowledgement(n).is_some()
    }

    /// True if the record was acknowledged without a promise of order.
    fn is_unordered(&self, n: usize) -> bool {
        self.acknowledgement(n).is_some_and(|a| a.unordered)
    }

    pub(super) fn place(&self, n: usize) -> Option<usize> {
        self.places.get(n).copied().flatten()
    }

    pub(super) fn set_place(&mut self, n: usize, place: usize) {
        set(&mut self.places, n, Some(place));
    }

    /// Marks a record as written with the present settings; counts repeats.
    pub(super) fn count_written(&mut self, n: usize) {
        let was_written = self.written.get(n).copied().unwrap_or_default();
        self.rewritten += u64::from(was_written);
        set(&mut self.written, n, true);
    }

    pub(super) fn set_acknowledged(&mut self, n: usize, acknowledgement: Acknowledgement) {
        set(&mut self.acknowledged, n, Some(acknowledgement));
    }

    /// True if a lane still needs a record that retention deletes, and must notice the gap. The
    /// start of a shard is no record: with `starts_tell`, a gap behind it is noticed too.
    pub(super) fn misses(&self, record: &RecordFacts, starts_tell: bool) -> bool {
        self.lanes.get(&record.shard).is_some_and(|lane| {
            let names_a_record = matches!(lane.checkpoint, Some(Position::After { .. }))
                && (starts_tell || lane.checked > 0);
            let after_start = lane.from.is_none_or(|from| record.arrival >= from);
            names_a_record && lane.checked <= record.index && after_start
        })
    }

    pub(super) fn counted(&self) -> Counted {
        let durable = self.states.iter().filter(|s| s.is_durable()).count() as u64;
        let dead_letters = self
            .states
            .iter()
            .filter(|s| **s == SendState::DeadLettered);
        let dead_lettered = dead_letters.count() as u64;
        Counted {
            acked: durable - dead_lettered,
            dead_lettered,
            filtered: 0,
            resent: self.resent,
            rewritten: self.rewritten,
            reread: self.reread,
        }
    }

    /// Checks that a record's place is behind the places of earlier records of the key; returns the
    /// earlier record whose place is behind. Skips the check of records without an order.
    pub(super) fn out_of_order(
        &self,
        last_places: &mut LastPlaces,
        key: Option<u32>,
        n: usize,
        place: usize,
    ) -> Option<usize> {
        let key = key?;
        match last_places.get(&key) {
            Some((other, last)) if *last > place => (!self.is_unordered(n)).then_some(*other),
            _ => {
                last_places.insert(key, (n, place));
                None
            }
        }
    }
}

/// Sets the item of a record in a list that grows on demand.
fn set<T: Clone + Default>(list: &mut Vec<T>, n: usize, value: T) {
    if list.len() <= n {
        list.resize(n + 1, T::default());
    }
    list[n] = value;
}

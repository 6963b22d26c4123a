//! The shards that aggregates are for, and the shards that took them: known before the first
//! aggregate is encoded, and compared with every answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_core::engine::mutation::{Mutation, on};
use distributary_core::output::{Outcome, Tally, Trouble, TroubleKind, Verdict, Weight};
use distributary_core::record::Record;
use distributary_core::sync::lock;
use distributary_wire::hot::EntryResult;
use distributary_wire::types::Shard;

use super::payload::{Content, Grouped, PutPayload};
use super::{Aggregates, KinesisOutput, MAP_DEADLINE};
use crate::kpl::{data_of, is_aggregate};

/// Records that were written because of aggregates, since the start.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    whole: AtomicU64,
    divided: AtomicU64,
    pieces: AtomicU64,
    packed: AtomicU64,
    damaged: AtomicU64,
    strays: AtomicU64,
}

impl Tallies {
    fn of(&self, content: Content) -> Option<&AtomicU64> {
        match content {
            Content::Record => None,
            Content::Damaged => Some(&self.damaged),
            Content::Whole => Some(&self.whole),
            Content::Divided => Some(&self.divided),
            Content::Packed => Some(&self.packed),
        }
    }

    pub(super) fn all(&self) -> Vec<Tally> {
        let read = |name, counter: &AtomicU64| Tally {
            name,
            count: counter.load(Ordering::Relaxed),
        };
        vec![
            read("passed-whole", &self.whole),
            read("divided", &self.divided),
            read("pieces", &self.pieces),
            read("packed", &self.packed),
            read("damaged", &self.damaged),
            read("misplaced", &self.strays),
        ]
    }
}

impl KinesisOutput {
    /// Takes over a listing of the shards. The map of aggregates follows once there is one.
    pub(super) fn take_shards(&self, shards: &[Shard]) {
        let now = self.now();
        self.load().learn_map(now, shards);
        let mut map = lock(&self.shards);
        if map.layout().is_some() {
            map.learn(shards);
        }
    }

    /// Lists the shards for a chunk that could not be encoded without them.
    pub(super) async fn learn_shards(&self, deadline: Duration) -> Outcome {
        match self.list_shards(deadline).await {
            Err(trouble) => Outcome::Rejected(trouble),
            Ok(()) if lock(&self.shards).layout().is_none() => {
                let text = format!("stream {} lists no open shard", self.stream);
                Outcome::Rejected(Trouble::new(TroubleKind::Unavailable, text))
            }
            Ok(()) => Outcome::Stale,
        }
    }

    /// Lists the shards and takes over the listing.
    async fn list_shards(&self, deadline: Duration) -> Result<(), Trouble> {
        let deadline = deadline.min(MAP_DEADLINE);
        let listing = self.client.list_shards(&self.stream);
        let listed = self.client.clock().timeout(deadline, listing).await;
        let listed = listed.unwrap_or_else(|| {
            let text = format!("ListShards on {}: no answer", self.stream);
            Err(Trouble::new(TroubleKind::Unavailable, text))
        })?;

        lock(&self.shards).learn(&listed.answer);
        self.take_shards(&listed.answer);
        Ok(())
    }

    /// True if the payload was made for other shards than those that are known now.
    pub(super) fn has_other_shards(&self, payload: &PutPayload) -> bool {
        let Some(grouped) = payload.grouped() else {
            return false;
        };
        let known = lock(&self.shards).layout();
        known.as_ref() != Some(&grouped.layout)
    }

    /// Forgets the shards of a stream that is gone.
    pub(super) fn forget_shards(&self) {
        lock(&self.shards).forget();
    }

    /// The weight of a record that is `whole` as an entry.
    pub(super) fn weigh_entries(&self, record: &Record<'_>, whole: Weight) -> Weight {
        let divided = match self.options.aggregates {
            Aggregates::PassOn if is_aggregate(data_of(record)) => {
                self.current_encoding().pieces_weight(record)
            }
            Aggregates::PassOn | Aggregates::TakeApart => None,
            Aggregates::Pack => {
                let entries = self.current_encoding().packed_entries(whole.bytes);
                Some((entries, whole.bytes))
            }
        };
        divided.map_or(whole, |(entries, bytes)| Weight { entries, bytes })
    }

    /// Marks the entries that a shard took whose hash keys are not all of the aggregate: a reader
    /// discards such an aggregate. Lists the shards if an answer names a shard that is not known.
    pub(super) async fn check_places(
        &self,
        grouped: &Grouped,
        results: &[EntryResult],
        until: Instant,
    ) -> Vec<bool> {
        let strays = self.strays(grouped, results);
        if !strays.contains(&true) || on(Mutation::TrustsOldMap) {
            return vec![false; results.len()];
        }

        let left = until.since(self.now());
        if let Err(trouble) = self.list_shards(left).await {
            tracing::debug!(
                stream = %self.stream, error = %trouble,
                "the output was resharded, and its shards were not listed"
            );
        }
        let strays = self.strays(grouped, results);
        let count = strays.iter().filter(|is_stray| **is_stray).count();
        self.tallies
            .strays
            .fetch_add(count as u64, Ordering::Relaxed);
        strays
    }

    fn strays(&self, grouped: &Grouped, results: &[EntryResult]) -> Vec<bool> {
        let map = lock(&self.shards);
        let mut strays = Vec::with_capacity(results.len());
        for (placed, result) in grouped.placed.iter().zip(results) {
            let is_stray = match (placed.extent, result) {
                (Some(extent), EntryResult::Durable { shard_id, .. }) => {
                    !map.holds(shard_id, &extent)
                }
                _ => false,
            };
            strays.push(is_stray);
        }
        strays
    }

    /// The trouble of a record whose pieces are partly in wrong shards.
    pub(super) fn misplaced(&self) -> Verdict {
        let text = format!(
            "stream {} was resharded: aggregates are divided anew and sent again",
            self.stream
        );
        Verdict::Partly(Trouble::new(TroubleKind::Unavailable, text))
    }

    /// Counts the groups that are durable as a whole.
    pub(super) fn tally(&self, grouped: &Grouped, verdicts: &[Verdict]) {
        for group in &grouped.groups {
            let Verdict::Durable = group.verdict(verdicts) else {
                continue;
            };
            if let Some(counter) = self.tallies.of(group.content) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            if group.content == Content::Divided {
                let pieces = group.entries.len() as u64;
                self.tallies.pieces.fetch_add(pieces, Ordering::Relaxed);
            }
        }
    }
}

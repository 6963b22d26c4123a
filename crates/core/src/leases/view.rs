//! Everything that one worker knows of the table and of its own leases. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::Instant;
use crate::ownership::OwnershipChange;
use crate::source::Shard;
use crate::store::{LaneCheckpoint, LaneId, OutputId};

use super::LeaseSettings;
use super::balance::Claim;
use super::cursors::{Cursor, Cursors, OutputPrint};
use super::hold::Hold;
use super::row::{KclCheckpoint, LeaseRow, RowUpdate};

/// A row, as the scans saw it.
pub(super) struct Seen {
    pub(super) row: LeaseRow,
    /// The end of the first scan that saw the row with its present counter and owner.
    since: Instant,
    /// The start of the last scan.
    scanned: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct View {
    /// The fingerprint of the source.
    pub(super) source: u64,
    /// The outputs of this worker.
    pub(super) outputs: BTreeMap<OutputPrint, OutputId>,
    /// The shards that the source lists.
    pub(super) listed: BTreeMap<ShardId, Shard>,
    pub(super) rows: BTreeMap<ShardId, Seen>,
    pub(super) holds: BTreeMap<ShardId, Arc<Hold>>,
    /// Shards that are lost, and not released by the engine yet.
    pub(super) leaving: BTreeSet<ShardId>,
    /// Leases that this worker asked for.
    pub(super) asked: BTreeMap<ShardId, Instant>,
    /// Leases that this worker tried to take from an owner: no request before this moment.
    pub(super) not_before: BTreeMap<ShardId, Instant>,
    /// The rows whose progress was reported, as they were then.
    pub(super) told: BTreeMap<ShardId, LeaseRow>,
    /// The starts of this worker's lanes, for rows that lack them.
    pub(super) pins: BTreeMap<ShardId, Cursors>,
    /// True once no further lease is taken.
    pub(super) draining: bool,
    /// Shards whose rows no lane needs any more.
    pub(super) gone: BTreeSet<ShardId>,
    pub(super) news: VecDeque<OwnershipChange>,
}

impl View {
    /// Takes the result of a scan.
    pub(super) fn observe(&mut self, rows: Vec<LeaseRow>, started: Instant, ended: Instant) {
        let mut known = std::mem::take(&mut self.rows);
        for row in rows {
            let before = known.remove(&row.shard);
            let same = before.filter(|seen| seen.row.unchanged() == row.unchanged());
            let seen = Seen {
                since: same.map_or(ended, |seen| seen.since),
                scanned: started,
                row,
            };
            self.rows.insert(seen.row.shard.clone(), seen);
        }
    }

    /// Takes a row that this worker has changed at `now`.
    pub(super) fn replace(&mut self, row: LeaseRow, now: Instant) {
        let seen = Seen {
            since: now,
            scanned: now,
            row,
        };
        self.rows.insert(seen.row.shard.clone(), seen);
    }

    /// Leases of this worker that another worker asks for.
    pub(super) fn requested(&self, me: &str) -> Vec<Arc<Hold>> {
        let mut requested = Vec::new();
        for hold in self.holds.values() {
            let Some(seen) = self.rows.get(hold.shard()) else {
                continue;
            };
            let Some(successor) = &seen.row.successor else {
                continue;
            };
            if successor != me && !hold.is_leaving() {
                requested.push(Arc::clone(hold));
            }
        }
        requested
    }

    /// True if no lane of this worker has anything left in the shard.
    pub(super) fn is_finished(&self, row: &LeaseRow) -> bool {
        if self.outputs.is_empty() {
            return false;
        }
        let lanes = self.lanes(row);
        for print in self.outputs.keys() {
            let cursor = lanes.get(print);
            let is_closed = |cursor: &Cursor| cursor.position == Position::Closed;
            if !cursor.is_some_and(is_closed) {
                return false;
            }
        }
        true
    }

    /// The leases that are worth holding, with their holders. An owner whose lease has expired
    /// holds nothing.
    pub(super) fn claims(&self, me: &str, settings: &LeaseSettings) -> BTreeMap<ShardId, Claim> {
        let mut claims = BTreeMap::new();
        for seen in self.rows.values() {
            let shard = &seen.row.shard;
            if !self.listed.contains_key(shard) || self.is_finished(&seen.row) {
                continue;
            }
            let claim = self.claim(seen, me, settings);
            claims.insert(shard.clone(), claim);
        }
        claims
    }

    fn claim(&self, seen: &Seen, me: &str, settings: &LeaseSettings) -> Claim {
        let row = &seen.row;
        if self.holds.contains_key(&row.shard) || self.leaving.contains(&row.shard) {
            let holder = row.successor.as_deref().unwrap_or(me);
            return Claim::Of(holder.to_owned());
        }
        match &row.owner {
            Some(owner) if owner != me && !seen.has_expired(settings) => {
                let holder = row.successor.as_ref().unwrap_or(owner);
                Claim::Of(holder.clone())
            }
            Some(_) | None => Claim::Free,
        }
    }

    /// Rows that name this worker as the owner of a lease that this worker does not hold: handed
    /// over by the last owner, or taken by a write whose answer was lost.
    pub(super) fn adoptable(&self, me: &str) -> Vec<ShardId> {
        let mut adoptable = Vec::new();
        for seen in self.rows.values() {
            let row = &seen.row;
            let names_me = row.owner.as_deref() == Some(me);
            if !names_me || self.is_mine(&row.shard) {
                continue;
            }
            if self.listed.contains_key(&row.shard) && !self.is_finished(row) {
                adoptable.push(row.shard.clone());
            }
        }
        adoptable
    }

    /// Leases that their owner did not hand over in time.
    pub(super) fn unanswered(&self, now: Instant, settings: &LeaseSettings) -> Vec<ShardId> {
        let patience = settings.unanswered();
        let mut unanswered = Vec::new();
        for (shard, asked) in &self.asked {
            if now.since(*asked) >= patience {
                unanswered.push(shard.clone());
            }
        }
        unanswered
    }

    /// Drops requests for leases that were answered: the row is gone, or has another owner or
    /// successor.
    pub(super) fn settle_requests(&mut self, me: &str) {
        let Self {
            asked, rows, holds, ..
        } = self;
        asked.retain(|shard, _| {
            let row = rows.get(shard).map(|seen| &seen.row);
            let waiting = row.is_some_and(|row| {
                row.successor.as_deref() == Some(me) && row.owner.as_deref() != Some(me)
            });
            waiting && !holds.contains_key(shard)
        });
    }

    /// This worker has asked for the lease of `row` by `update` at `now`; `seen`: the same moment
    /// as an observer of leases sees it.
    pub(super) fn note_asked(
        &mut self,
        mut row: LeaseRow,
        update: RowUpdate,
        now: Instant,
        seen: Instant,
    ) {
        update.apply(&mut row);
        self.asked.insert(row.shard.clone(), now);
        self.replace(row, seen);
    }

    /// Drops `hold`. False if the shard has another hold, or none.
    pub(super) fn forget_hold(&mut self, hold: &Arc<Hold>) -> bool {
        let held = self.holds.get(hold.shard());
        let is_held = held.is_some_and(|held| Arc::ptr_eq(held, hold));
        if is_held {
            self.holds.remove(hold.shard());
        }
        is_held
    }

    /// This worker has taken the lease of `row`.
    pub(super) fn hold(&mut self, row: LeaseRow, hold: Arc<Hold>, now: Instant) {
        let shard = row.shard.clone();
        self.asked.remove(&shard);
        self.not_before.remove(&shard);
        self.replace(row, now);
        self.holds.insert(shard, hold);
    }

    /// The shards of the source's newest map.
    pub(super) fn list(&mut self, shards: &[Shard]) {
        let listed = shards.iter().map(|shard| (shard.id.clone(), shard.clone()));
        self.listed = listed.collect();

        let Self { gone, listed, .. } = self;
        gone.retain(|shard| !listed.contains_key(shard));
    }

    /// True while this worker holds the shard, or the engine still works on it.
    pub(super) fn is_mine(&self, shard: &ShardId) -> bool {
        self.holds.contains_key(shard) || self.leaving.contains(shard)
    }

    /// Reports the progress of shards that this worker does not hold, where it changed.
    pub(super) fn tell_progress(&mut self) {
        let mut news = Vec::new();
        for (shard, seen) in &self.rows {
            if self.is_mine(shard) || !self.listed.contains_key(shard) {
                continue;
            }
            if !self.was_told(&seen.row) {
                news.push((shard.clone(), seen.row.clone()));
            }
        }

        for (shard, row) in news {
            let progress = self.progress(&row);
            self.told.insert(shard.clone(), row);
            let elsewhere = OwnershipChange::Elsewhere { shard, progress };
            self.news.push_back(elsewhere);
        }
    }

    /// True if the progress in `row` was reported before.
    fn was_told(&self, row: &LeaseRow) -> bool {
        let Some(told) = self.told.get(&row.shard) else {
            return false;
        };
        told.lanes == row.lanes && told.checkpoint == row.checkpoint
    }

    /// The rows of the lanes of this worker's outputs.
    pub(super) fn progress(&self, row: &LeaseRow) -> Vec<LaneCheckpoint> {
        let lanes = self.lanes(row);
        let known = lanes.into_iter().filter_map(|(print, cursor)| {
            let output = self.outputs.get(&print)?.clone();
            Some(LaneCheckpoint {
                lane: LaneId {
                    shard: row.shard.clone(),
                    output,
                },
                position: cursor.position,
                arrival: cursor.arrival,
            })
        });
        known.collect()
    }

    /// The positions of all lanes. A row that only a KCL has written, or that a KCL has written
    /// last, stands for every output.
    pub(super) fn lanes(&self, row: &LeaseRow) -> BTreeMap<OutputPrint, Cursor> {
        let cursors = row.lanes.as_deref().and_then(Cursors::decode);
        if let Some(cursors) = cursors
            && is_of(&cursors, row)
        {
            return cursors.lanes;
        }

        let mut lanes = BTreeMap::new();
        if let Some(position) = row.checkpoint.position() {
            for print in self.outputs.keys() {
                let cursor = Cursor {
                    position: position.clone(),
                    arrival: None,
                };
                lanes.insert(*print, cursor);
            }
        }
        lanes
    }

    /// The lanes of a row that this worker creates or takes: the row's, and its own starts of lanes
    /// that the row lacks.
    pub(super) fn lanes_to_hold(&self, row: &LeaseRow) -> Cursors {
        let mut cursors = Cursors {
            source: self.source,
            lanes: self.lanes(row),
        };
        if let Some(pins) = self.pins.get(&row.shard) {
            cursors.add_missing(pins);
        }
        cursors
    }

    /// Listed shards without a row.
    pub(super) fn missing_rows(&self) -> Vec<Shard> {
        let missing = self.listed.values();
        missing
            .filter(|shard| !self.rows.contains_key(&shard.id))
            .cloned()
            .collect()
    }

    /// The listed children of `shard`.
    pub(super) fn children(&self, shard: &ShardId) -> Vec<ShardId> {
        let listed = self.listed.values();
        let children = listed.filter(|child| child.parents.contains(shard));
        children.map(|child| child.id.clone()).collect()
    }

    /// Rows that no worker needs: of shards that the source does not list, all of whose lanes have
    /// been given up, and that nobody holds.
    pub(super) fn deletable(&self, settings: &LeaseSettings) -> Vec<LeaseRow> {
        let mut deletable = Vec::new();
        for shard in &self.gone {
            let Some(seen) = self.rows.get(shard) else {
                continue;
            };
            let is_free = seen.row.owner.is_none() || seen.has_expired(settings);
            if is_free && !self.listed.contains_key(shard) && !self.is_mine(shard) {
                deletable.push(seen.row.clone());
            }
        }
        deletable
    }
}

/// True if a worker of this program wrote the checkpoint of `row` last.
fn is_of(cursors: &Cursors, row: &LeaseRow) -> bool {
    let lowest = match cursors.lowest() {
        Some(position) => KclCheckpoint::of(position),
        None => KclCheckpoint::TrimHorizon,
    };
    lowest == row.checkpoint
}

impl Seen {
    /// True if the row has not changed for the failover time, by this worker's clock alone.
    pub(super) fn has_expired(&self, settings: &LeaseSettings) -> bool {
        self.scanned.since(self.since) >= settings.failover
    }
}

//! The facts about leases: until when the engine may send the records of a shard.

use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::batch::ShardId;

use super::{Broken, Truth, line};

/// The engine's lease of one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseFacts {
    /// The end of the lease.
    until: Duration,
    /// Since when the lease has been good without a break.
    since: Duration,
}

/// The lease of a shard, as an event tells it.
pub(super) struct Leased<'a> {
    pub(super) shard: &'a ShardId,
    pub(super) until: Duration,
    /// The lease is a new one.
    pub(super) gained: bool,
}

impl Truth {
    /// The engine may send records of the shard until this moment. With a new lease it starts from
    /// the checkpoints in the store, as after a crash.
    pub(super) fn on_leased(&mut self, leased: &Leased<'_>) {
        let Leased {
            shard,
            until,
            gained,
        } = *leased;
        self.trace.text(shard.as_str());
        self.trace.line(self.now, |l| {
            _ = write!(l, "lease of {shard} until {until:?}, new: {gained}");
        });
        self.for_rows(|rows| rows.on_leased(leased));

        let shard = self.shard(shard);
        let was_held = self.set_lease(shard, until, gained);
        if gained {
            self.start_shard(shard, was_held);
        }
    }

    /// Notes the lease of a shard. True if the engine had a lease of the shard before.
    fn set_lease(&mut self, shard: usize, until: Duration, gained: bool) -> bool {
        let before = self.leases.get(&shard).copied();
        let since = match before {
            Some(lease) if !gained && lease.until > self.now => lease.since,
            Some(_) | None => self.now,
        };

        self.leases.insert(shard, LeaseFacts { until, since });
        before.is_some()
    }

    /// The engine starts a shard from the checkpoints in the store. `again`: not for the first
    /// time.
    fn start_shard(&mut self, shard: usize, again: bool) {
        let counted_twice = |records: usize| if again { records as u64 } else { 0 };
        self.reread += counted_twice(self.shards[shard].records.len());

        for output in self.outputs.values_mut() {
            let behind = output.shard_gained(shard, &self.shards, &self.records);
            output.reread += counted_twice(behind);
        }
    }

    /// Checks that the engine's lease of the shard has not ended.
    pub(super) fn check_lease(&self, shard: usize) -> Result<(), Broken> {
        match self.leases.get(&shard) {
            Some(lease) if self.now >= lease.until => {
                let until = lease.until;
                let problem = format!("the lease ended at {until:?}");
                Err((line::ONE_WRITER, problem))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// True if the engine owns the shard at `now` and has owned it since `since`.
    pub(super) fn is_held(&self, shard: usize, since: Duration, now: Duration) -> bool {
        if !self.has_leases {
            return true;
        }
        let lease = self.leases.get(&shard);
        lease.is_some_and(|lease| lease.since <= since && now < lease.until)
    }
}

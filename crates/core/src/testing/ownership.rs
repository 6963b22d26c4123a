//! An ownership that gains and loses shards at random, over a store in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::clock::{Clock, Instant};
use crate::ownership::{Committed, Lease, Ownership, OwnershipChange};
use crate::source::Shard;
use crate::store::{CheckpointStore, LaneCheckpoint, LaneId, State, StoreError};

use super::{Event, FakeStore, MillisRange, Observer, Rng, TestClock, draw, lock};

/// The life of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseFaults {
    /// Time for which a lease is good after a renewal. Renewals are a third of that apart.
    pub term: Duration,
    /// Of a thousand renewals, so many fail.
    pub missed: u32,
    /// Time for which a lease is held.
    pub held: MillisRange,
    /// Time between the news of a loss and the loss; with 0 the lease is lost at once.
    pub warning: MillisRange,
    /// Time until a lease that was given back is gained again.
    pub away: MillisRange,
}

/// The state of one shard's lease.
enum Hold {
    /// Gained at `until`.
    Away { until: Instant },
    /// Held: renewed at `renew_at`, lost at `lost_at`.
    Held {
        lease: Lease,
        renew_at: Instant,
        lost_at: Instant,
    },
    /// To be given back.
    Losing,
}

struct Inner {
    holds: BTreeMap<ShardId, Hold>,
    /// The fence of the next lease.
    fence: u64,
    calm: bool,
    news: VecDeque<OwnershipChange>,
    rng: Rng,
}

/// See the module.
pub struct FakeOwnership {
    faults: LeaseFaults,
    inner: Mutex<Inner>,
    store: FakeStore,
    clock: Clock,
    observer: Arc<dyn Observer>,
    changed: Notify,
}

impl FakeOwnership {
    /// Leases of every shard that is offered; rows are kept in `store`.
    pub fn new(
        faults: LeaseFaults,
        store: FakeStore,
        clock: &TestClock,
        rng: Rng,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            faults,
            inner: Mutex::new(Inner {
                holds: BTreeMap::new(),
                fence: 1,
                calm: false,
                news: VecDeque::new(),
                rng,
            }),
            store,
            clock: clock.clock(),
            observer,
            changed: Notify::new(),
        }
    }

    /// No lease is lost any more, nor any renewal missed.
    pub fn calm(&self) {
        let mut inner = lock(&self.inner);
        inner.calm = true;
        for hold in inner.holds.values_mut() {
            if let Hold::Held { lost_at, .. } = hold {
                *lost_at = Instant(Duration::MAX);
            }
        }
    }

    /// Everything that is due; the next change, or the moment of the next event.
    async fn step(&self) -> Result<OwnershipChange, Option<Instant>> {
        let rows = self.store.load().await.unwrap_or_default().lanes;
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        if let Some(change) = inner.news.pop_front() {
            return Ok(change);
        }

        let next = inner
            .holds
            .iter()
            .filter_map(|(shard, hold)| Some((hold.due()?, shard.clone())))
            .min();
        let Some((due, shard)) = next else {
            return Err(None);
        };
        if due > now {
            return Err(Some(due));
        }
        match self.turn(&mut inner, &shard, now, &rows) {
            Some(change) => Ok(change),
            None => Err(Some(now)),
        }
    }

    /// Carries out the event that is due for `shard`.
    fn turn(
        &self,
        inner: &mut Inner,
        shard: &ShardId,
        now: Instant,
        rows: &[LaneCheckpoint],
    ) -> Option<OwnershipChange> {
        let Inner {
            holds, rng, calm, ..
        } = inner;
        match holds.get_mut(shard)? {
            Hold::Away { .. } => Some(self.gain(inner, shard, now, rows)),
            Hold::Held {
                lease,
                renew_at,
                lost_at,
            } if *renew_at < *lost_at => {
                *renew_at = now.plus(self.faults.term / 3);
                let missed = rng.per_mille(self.faults.missed) && !*calm;
                self.renew(lease, now, missed);
                None
            }
            Hold::Held { lease, .. } => {
                let lease = lease.clone();
                Some(self.lose(inner, &lease, now))
            }
            Hold::Losing => None,
        }
    }

    fn gain(
        &self,
        inner: &mut Inner,
        shard: &ShardId,
        now: Instant,
        rows: &[LaneCheckpoint],
    ) -> OwnershipChange {
        let term = self.faults.term;
        let lease = Lease::new(shard.clone(), inner.fence, now.plus(term));
        inner.fence += 1;
        let held = draw(&mut inner.rng, self.faults.held);
        let hold = Hold::Held {
            lease: lease.clone(),
            renew_at: now.plus(term / 3),
            lost_at: if inner.calm {
                Instant(Duration::MAX)
            } else {
                now.plus(held)
            },
        };

        inner.holds.insert(shard.clone(), hold);
        self.tell(&lease, true);
        OwnershipChange::Gained {
            lease,
            progress: Some(of_shard(rows, shard)),
        }
    }

    fn renew(&self, lease: &Lease, now: Instant, missed: bool) {
        if missed {
            self.observer.on(&Event::Fault("a lease was not renewed"));
        } else {
            lease.renew(now.plus(self.faults.term));
            self.tell(lease, false);
        }
    }

    fn lose(&self, inner: &mut Inner, lease: &Lease, now: Instant) -> OwnershipChange {
        let warning = draw(&mut inner.rng, self.faults.warning);
        let stop_by = now.plus(warning).min(lease.good_until());
        lease.end(stop_by);
        self.tell(lease, false);
        self.observer.on(&Event::Fault("a lease was lost"));

        let shard = lease.shard().clone();
        inner.holds.insert(shard.clone(), Hold::Losing);
        OwnershipChange::Losing { shard, stop_by }
    }

    fn tell(&self, lease: &Lease, gained: bool) {
        self.observer.on(&Event::Leased {
            shard: lease.shard(),
            until: lease.good_until(),
            gained,
        });
    }

    /// True if the rows of `lane`'s shard may be written.
    fn may_write(&self, lane: &LaneId, leases: &[Lease], now: Instant) -> bool {
        let held = leases.iter().find(|lease| *lease.shard() == lane.shard);
        let known = lock(&self.inner).holds.contains_key(&lane.shard);
        known && held.is_some_and(|lease| lease.is_good(now))
    }
}

impl Hold {
    /// The moment of the next event.
    fn due(&self) -> Option<Instant> {
        match self {
            Self::Away { until } => Some(*until),
            Self::Held {
                renew_at, lost_at, ..
            } => Some(*renew_at.min(lost_at)),
            Self::Losing => None,
        }
    }
}

fn of_shard(rows: &[LaneCheckpoint], shard: &ShardId) -> Vec<LaneCheckpoint> {
    let rows = rows.iter().filter(|row| row.lane.shard == *shard);
    rows.cloned().collect()
}

#[async_trait]
impl Ownership for FakeOwnership {
    fn offer(&self, shards: &[Shard]) {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        for shard in shards {
            inner
                .holds
                .entry(shard.id.clone())
                .or_insert(Hold::Away { until: now });
        }
        self.changed.notify_one();
    }

    async fn next(&self) -> OwnershipChange {
        loop {
            match self.step().await {
                Ok(change) => return change,
                Err(Some(at)) => {
                    let left = at.since(self.clock.now());
                    self.clock.timeout(left, self.changed.notified()).await;
                }
                Err(None) => self.changed.notified().await,
            }
        }
    }

    async fn commit(&self, changes: &State, leases: &[Lease]) -> Result<Committed, StoreError> {
        let now = self.clock.now();
        let (good, lost): (Vec<_>, Vec<_>) = changes
            .lanes
            .iter()
            .cloned()
            .partition(|row| self.may_write(&row.lane, leases, now));
        let changes = State {
            lanes: good,
            ..changes.clone()
        };
        self.store.commit(&changes).await?;
        Ok(Committed {
            lost: lost.into_iter().map(|row| row.lane.shard).collect(),
        })
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        self.store.forget(lanes).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let rows = self.store.load().await?.lanes;
        let shard = lease.shard().clone();
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        let until = now.plus(draw(&mut inner.rng, self.faults.away));
        lease.end(now);
        self.tell(lease, false);
        inner.holds.insert(shard.clone(), Hold::Away { until });
        inner.news.push_back(OwnershipChange::Elsewhere {
            progress: of_shard(&rows, &shard),
            shard,
        });
        self.changed.notify_one();
        Ok(())
    }
}

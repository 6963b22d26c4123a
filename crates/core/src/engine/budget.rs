//! The memory budget: every byte that is read or encoded is reserved here before it is allocated.
//!
//! Two pools, so that neither can starve the other: three quarters for batches with the encodings
//! that lanes share, a quarter for the encodings of single lanes (retries, starts in the middle of
//! a chunk). As soon as an output gathers, the batches leave a third of their pool to another one,
//! for records that outputs have accepted and not made durable. The first two are first come, first
//! served: a large request at the front waits for released memory, and is not overtaken. Only
//! readers of laggards come after all others: their memory may be held by an output in trouble for
//! long, and no other request is to wait behind them. An unused pool grants any request, however
//! large, so that one record of the maximum size always gets through.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};

use super::lock;
use super::mutation::{Mutation, on};
use super::status::MemoryStatus;

/// A part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Batches, with the encodings that lanes share.
    Read,
    /// Encodings of single lanes.
    Encode,
    /// Records that outputs have accepted, until a flush.
    Gathered,
}

/// Memory for batches and encodings that several fan-outs of a process share: a handle for
/// [`FanOut::budget`](super::FanOut::budget). Cheap to clone; all clones are one budget.
#[derive(Clone)]
pub struct MemoryBudget(pub(crate) Arc<Budget>);

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(Budget::new(bytes))
    }

    /// The bytes in use, and the most that ever were.
    pub fn status(&self) -> MemoryStatus {
        self.0.status()
    }
}

/// The budget of one engine, or of several.
pub(crate) struct Budget {
    total: usize,
    state: Mutex<State>,
    pressed: AtomicBool,
    /// A lane waits for memory of [`Pool::Gathered`].
    gathering_short: AtomicBool,
}

#[derive(Default)]
struct State {
    pools: [PoolState; 3],
    peak: usize,
    /// The shards that are read; woken when memory gets short. (A `watch` would wake them in an
    /// order that differs from run to run.)
    readers: Vec<Arc<Notify>>,
}

#[derive(Default)]
struct PoolState {
    size: usize,
    used: usize,
    waiting: VecDeque<Waiting>,
    /// Requests that wait until no other does.
    patient: VecDeque<Waiting>,
}

type Waiting = (usize, oneshot::Sender<Permit>);

/// The turn of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In the order of asking.
    Usual,
    /// After all others.
    Last,
}

impl PoolState {
    fn is_awaited(&self) -> bool {
        !self.waiting.is_empty() || !self.patient.is_empty()
    }

    /// The next request.
    fn pop(&mut self) -> Option<(Turn, Waiting)> {
        let usual = self.waiting.pop_front().map(|next| (Turn::Usual, next));
        usual.or_else(|| self.patient.pop_front().map(|next| (Turn::Last, next)))
    }

    fn queue(&mut self, turn: Turn) -> &mut VecDeque<Waiting> {
        match turn {
            Turn::Usual => &mut self.waiting,
            Turn::Last => &mut self.patient,
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.used == 0
            || self.used.saturating_add(bytes) <= self.size
            || on(Mutation::BudgetIgnored)
    }
}

/// A share of the budget; given back when dropped.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    pool: Pool,
    bytes: usize,
}

/// A place in the queue for a share of the budget. Dropping it gives the place up.
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    granted: oneshot::Receiver<Permit>,
}

impl Future for Reservation {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        match Pin::new(&mut self.granted).poll(cx) {
            Poll::Ready(Ok(permit)) => Poll::Ready(permit),
            // The sender lives in the budget, which lives as long as the engine: no task waits any
            // more.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Self::of_pools(total - total / 4, total / 4)
    }

    fn of_pools(read: usize, encode: usize) -> Arc<Self> {
        let mut state = State::default();
        state.pools[Pool::Read as usize].size = read;
        state.pools[Pool::Encode as usize].size = encode;
        Arc::new(Self {
            total: read + encode,
            state: Mutex::new(state),
            pressed: AtomicBool::new(false),
            gathering_short: AtomicBool::new(false),
        })
    }

    /// A budget for encodings alone, of `bytes`.
    pub(crate) fn for_encodings(bytes: usize) -> Arc<Self> {
        Self::of_pools(0, bytes)
    }

    /// Bytes that batches could still take.
    pub(crate) fn free(&self) -> usize {
        let state = lock(&self.state);
        let pool = &state.pools[Pool::Read as usize];
        if pool.waiting.is_empty() {
            pool.size.saturating_sub(pool.used)
        } else {
            0
        }
    }

    /// Bytes that the reader that waits longest is short of.
    pub(crate) fn short(&self) -> usize {
        let state = lock(&self.state);
        let pool = &state.pools[Pool::Read as usize];
        let first = pool
            .waiting
            .front()
            .or(pool.patient.front())
            .map_or(0, |(bytes, _)| *bytes);
        first.saturating_sub(pool.size.saturating_sub(pool.used))
    }

    /// Bytes that batches may take together.
    pub(crate) fn read_pool(&self) -> usize {
        lock(&self.state).pools[Pool::Read as usize].size
    }

    /// Asks for `bytes` of `pool`.
    pub(crate) fn reserve(self: &Arc<Self>, pool: Pool, bytes: usize, turn: Turn) -> Reservation {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        state.pools[pool as usize]
            .queue(turn)
            .push_back((bytes, sender));
        self.grant(&mut state);
        drop(state);
        Reservation {
            budget: Arc::clone(self),
            granted: receiver,
        }
    }

    /// `bytes` of `pool` if there is room now and no request waits.
    pub(crate) fn try_reserve(self: &Arc<Self>, pool: Pool, bytes: usize) -> Option<Permit> {
        let mut state = lock(&self.state);
        let of = &mut state.pools[pool as usize];
        if of.is_awaited() || !of.fits(bytes) {
            return None;
        }
        of.used += bytes;
        self.grant(&mut state);
        Some(Permit {
            budget: Arc::clone(self),
            pool,
            bytes,
        })
    }

    /// Moves a third of the batches' pool to accepted records, once: an output gathers.
    pub(crate) fn open_gathered(&self) {
        let mut state = lock(&self.state);
        let [read, _, gathered] = &mut state.pools;
        if gathered.size == 0 {
            gathered.size = read.size / 3;
            read.size -= gathered.size;
        }
    }

    /// Adds `bytes` of [`Pool::Gathered`] to `permit`, if there is room, or if nothing else is
    /// accepted. Otherwise all lanes with accepted records are asked to flush them.
    pub(crate) fn gather(self: &Arc<Self>, permit: &mut Option<Permit>, bytes: usize) -> bool {
        self.open_gathered();
        let mut state = lock(&self.state);
        let used: usize = state.pools.iter().map(|pool| pool.used).sum();
        let pool = &mut state.pools[Pool::Gathered as usize];
        // The batches' pool may hold more than its size since the accepted records have their own.
        let fits = pool.used == 0 || used.saturating_add(bytes) <= self.total;
        if !fits || !pool.fits(bytes) {
            self.gathering_short.store(true, Ordering::Relaxed);
            state.readers.iter().for_each(|reader| reader.notify_one());
            return false;
        }

        pool.used += bytes;
        self.grant(&mut state);
        match permit {
            Some(permit) => permit.bytes += bytes,
            None => {
                *permit = Some(Permit {
                    budget: Arc::clone(self),
                    pool: Pool::Gathered,
                    bytes,
                });
            }
        }
        true
    }

    /// True while a lane waits for memory of [`Pool::Gathered`].
    pub(crate) fn is_gathering_short(&self) -> bool {
        self.gathering_short.load(Ordering::Relaxed)
    }

    /// Serves waiting requests in order, as far as there is room.
    fn grant(self: &Arc<Self>, state: &mut State) {
        for pool in [Pool::Read, Pool::Encode] {
            let of = &mut state.pools[pool as usize];
            while let Some((turn, (bytes, sender))) = of.pop() {
                if sender.is_closed() {
                    continue;
                }
                if !of.fits(bytes) {
                    of.queue(turn).push_front((bytes, sender));
                    break;
                }
                of.used += bytes;
                if let Err(mut permit) = sender.send(Permit {
                    budget: Arc::clone(self),
                    pool,
                    bytes,
                }) {
                    // The request was given up. Dropping the permit with its bytes would take the
                    // lock that is held here.
                    permit.bytes = 0;
                    of.used -= bytes;
                }
            }
        }
        let used = state.pools.iter().map(|p| p.used).sum();
        state.peak = state.peak.max(used);
        let pressed = state.pools[Pool::Read as usize].is_awaited();
        if pressed && !self.pressed.swap(pressed, Ordering::Relaxed) {
            state.readers.iter().for_each(|reader| reader.notify_one());
        }
        self.pressed.store(pressed, Ordering::Relaxed);
    }

    /// True while a reader waits for memory: batches that are not needed now must be dropped.
    pub(crate) fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Counts `reader` among the shards that divide the budget, and wakes it whenever memory gets
    /// short.
    pub(crate) fn register(self: &Arc<Self>, reader: &Arc<Notify>) -> RegisteredReader {
        lock(&self.state).readers.push(Arc::clone(reader));
        RegisteredReader {
            budget: Arc::clone(self),
            reader: Arc::clone(reader),
        }
    }

    /// Bytes that the batches of one shard may take: an equal part for each shard that is read, of
    /// all engines with this budget.
    pub(crate) fn share(&self) -> usize {
        let state = lock(&self.state);
        state.pools[Pool::Read as usize].size / state.readers.len().max(1)
    }

    pub(crate) fn status(&self) -> MemoryStatus {
        let state = lock(&self.state);
        MemoryStatus {
            budget: self.total,
            used: state.pools.iter().map(|p| p.used).sum(),
            peak: state.peak,
        }
    }
}

impl Permit {
    /// Changes the size to `bytes`, if that is less, or if there is room for more and no request
    /// waits.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let mut state = lock(&self.budget.state);
        let pool = &mut state.pools[self.pool as usize];
        let others = pool.used - self.bytes;
        let fits = others == 0 || (others.saturating_add(bytes) <= pool.size && !pool.is_awaited());
        if bytes > self.bytes && !fits {
            return false;
        }
        pool.used = others + bytes;
        self.bytes = bytes;
        self.budget.grant(&mut state);
        true
    }

    /// The reserved bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A shard's reader among those that divide the budget, until this is dropped.
pub(crate) struct RegisteredReader {
    budget: Arc<Budget>,
    reader: Arc<Notify>,
}

impl Drop for RegisteredReader {
    fn drop(&mut self) {
        let mut state = lock(&self.budget.state);
        state.readers.retain(|r| !Arc::ptr_eq(r, &self.reader));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = lock(&self.budget.state);
            state.pools[self.pool as usize].used -= self.bytes;
            if self.pool == Pool::Gathered {
                self.budget.gathering_short.store(false, Ordering::Relaxed);
            }
            self.budget.grant(&mut state);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Requests behind this one may have their turn now. (A permit that was sent and never taken
        // is dropped with the channel.)
        self.granted.close();
        self.budget.grant(&mut lock(&self.budget.state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<F: Future + Unpin>(mut f: F) -> Option<F::Output> {
        match Pin::new(&mut f).poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(v) => Some(v),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_shards_of_all_engines_divide_the_budget() {
        let budget = Budget::new(400);
        let reader = |_| budget.register(&Arc::new(Notify::new()));
        let mut readers: Vec<_> = (0..3).map(reader).collect();
        assert_eq!(budget.share(), 100);
        readers.pop();
        assert_eq!(budget.share(), 150);
        readers.clear();
        assert_eq!(budget.share(), 300);
    }

    #[test]
    fn first_come_first_served_and_one_alone_always() {
        let budget = Budget::new(400);
        let small = now(budget.reserve(Pool::Read, 100, Turn::Usual)).unwrap();
        let mut large = budget.reserve(Pool::Read, 1000, Turn::Usual);
        assert!(now(&mut large).is_none());
        assert!(budget.pressed());
        // It would fit, but does not overtake.
        let mut late = budget.reserve(Pool::Read, 10, Turn::Usual);
        assert!(now(&mut late).is_none());
        drop(small);
        let large = now(&mut large).unwrap();
        assert_eq!(budget.status().used, 1000);
        assert!(now(&mut late).is_none());
        drop(large);
        assert_eq!(now(&mut late).unwrap().bytes(), 10);
        assert_eq!(
            budget.status(),
            MemoryStatus {
                budget: 400,
                used: 0,
                peak: 1000
            }
        );
        assert!(!budget.pressed());
    }

    #[test]
    fn who_catches_up_holds_nobody_back() {
        let budget = Budget::new(400);
        let held = now(budget.reserve(Pool::Read, 100, Turn::Usual)).unwrap();
        let mut patient = budget.reserve(Pool::Read, 250, Turn::Last);
        assert!(now(&mut patient).is_none());
        assert!(budget.pressed());
        let small = now(budget.reserve(Pool::Read, 100, Turn::Usual)).unwrap();
        let mut large = budget.reserve(Pool::Read, 300, Turn::Usual);
        drop(held);
        assert!(now(&mut patient).is_none(), "others wait");
        drop(small);
        drop(now(&mut large).unwrap());
        assert_eq!(now(&mut patient).unwrap().bytes(), 250);
        assert!(!budget.pressed());
    }

    #[test]
    fn who_gives_up_holds_nobody_back() {
        let budget = Budget::new(400);
        let held = now(budget.reserve(Pool::Read, 300, Turn::Usual)).unwrap();
        let gives_up = budget.reserve(Pool::Read, 300, Turn::Usual);
        let mut next = budget.reserve(Pool::Read, 300, Turn::Usual);
        let mut small = budget.reserve(Pool::Read, 0, Turn::Usual);
        drop(gives_up);
        drop(held);
        assert!(now(&mut next).is_some());
        assert!(now(&mut small).is_some());
        // Granted, never looked at.
        let unseen = budget.reserve(Pool::Read, 5, Turn::Usual);
        drop(unseen);
        drop(next);
        assert_eq!(budget.status().used, 0);
    }

    #[test]
    fn a_permit_grows_only_into_free_room() {
        let budget = Budget::new(400);
        let mut a = now(budget.reserve(Pool::Read, 100, Turn::Usual)).unwrap();
        let b = now(budget.reserve(Pool::Read, 150, Turn::Usual)).unwrap();
        assert!(a.resize(150));
        assert!(!a.resize(151));
        drop(b);
        assert!(a.resize(1000), "alone");
        assert!(budget.try_reserve(Pool::Read, 1).is_none());
        drop(a);
        assert!(budget.try_reserve(Pool::Read, 1).is_some());
        assert_eq!(budget.status().used, 0);
    }
}

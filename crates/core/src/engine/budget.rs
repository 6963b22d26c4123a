//! The memory budget: every byte that is read or encoded is reserved here before it is allocated.
//!
//! Parts that can't starve each other: three quarters for batches with the encodings that lanes
//! share, a quarter for the encodings of single lanes (`encodings`). As soon as an output gathers,
//! the batches leave a third of their pool to another one, for records that outputs have accepted
//! and not made durable. The batches' pool is first come, first served: a large request at the
//! front waits for released memory, and is not overtaken. Only readers of laggards come after all
//! others: their memory may be held by an output in trouble for long, and no other request is to
//! wait behind them. An unused pool grants any request, however large, so that one record of the
//! maximum size always gets through.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};

use super::encodings::{AccountId, Encodings};
use super::lock;
use super::mutation::{Mutation, on};
use super::status::MemoryStatus;

/// A part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    /// Batches, with the encodings that lanes share.
    Read,
    /// Encodings of single lanes of one output.
    Encode(AccountId),
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
    read: PoolState,
    encodings: Encodings,
    gathered: Gathered,
    peak: usize,
    /// The shards that are read; woken when memory gets short. (A `watch` would wake them in an
    /// order that differs from run to run.)
    readers: Vec<Arc<Notify>>,
}

/// The pool of accepted records.
#[derive(Default)]
struct Gathered {
    size: usize,
    used: usize,
}

impl State {
    fn used(&self) -> usize {
        self.read.used + self.encodings.used() + self.gathered.used
    }
}

/// The pool of batches.
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
        if let Some(next) = self.waiting.pop_front() {
            return Some((Turn::Usual, next));
        }
        let next = self.patient.pop_front()?;
        Some((Turn::Last, next))
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

    fn resize(&mut self, before: usize, after: usize) -> bool {
        let others = self.used - before;
        let free = others.saturating_add(after) <= self.size && !self.is_awaited();
        if after > before && others > 0 && !free {
            return false;
        }

        self.used = others + after;
        true
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

    fn of_pools(read: usize, encodings: usize) -> Arc<Self> {
        let mut state = State {
            encodings: Encodings::new(encodings),
            ..State::default()
        };
        state.read.size = read;

        Arc::new(Self {
            total: read + encodings,
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
        let pool = &state.read;
        if pool.waiting.is_empty() {
            pool.size.saturating_sub(pool.used)
        } else {
            0
        }
    }

    /// Bytes that the reader that waits longest is short of.
    pub(crate) fn short(&self) -> usize {
        let state = lock(&self.state);
        let pool = &state.read;
        let first = match pool.waiting.front() {
            Some(first) => Some(first),
            None => pool.patient.front(),
        };

        let Some((wanted, _)) = first else {
            return 0;
        };
        let free = pool.size.saturating_sub(pool.used);
        wanted.saturating_sub(free)
    }

    /// Bytes that batches may take together.
    pub(crate) fn read_pool(&self) -> usize {
        lock(&self.state).read.size
    }

    /// Asks for `bytes` for a batch.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize, turn: Turn) -> Reservation {
        self.request(|state, sender| {
            let queue = state.read.queue(turn);
            queue.push_back((bytes, sender));
        })
    }

    /// Asks for `bytes` for an encoding of a single lane; see [`Account::reserve`].
    ///
    /// [`Account::reserve`]: super::encodings::Account::reserve
    pub(super) fn reserve_encoding(self: &Arc<Self>, of: AccountId, bytes: usize) -> Reservation {
        self.request(|state, sender| state.encodings.queue(of, bytes, sender))
    }

    fn request(
        self: &Arc<Self>,
        queue: impl FnOnce(&mut State, oneshot::Sender<Permit>),
    ) -> Reservation {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        queue(&mut state, sender);
        self.grant(&mut state);

        drop(state);
        Reservation {
            budget: Arc::clone(self),
            granted: receiver,
        }
    }

    /// `bytes` for a batch if there is room now and no request waits.
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut state = lock(&self.state);
        let pool = &mut state.read;
        if pool.is_awaited() || !pool.fits(bytes) {
            return None;
        }

        pool.used += bytes;
        self.grant(&mut state);
        Some(self.permit(Pool::Read, bytes))
    }

    fn permit(self: &Arc<Self>, pool: Pool, bytes: usize) -> Permit {
        Permit {
            budget: Arc::clone(self),
            pool,
            bytes,
        }
    }

    /// Changes or asks the accounts, and serves the requests that have room then.
    pub(super) fn with_encodings<T>(
        self: &Arc<Self>,
        event: impl FnOnce(&mut Encodings) -> T,
    ) -> T {
        let mut state = lock(&self.state);
        let answer = event(&mut state.encodings);
        self.grant(&mut state);
        answer
    }

    /// Moves a third of the batches' pool to accepted records, once: an output gathers.
    pub(crate) fn open_gathered(&self) {
        let mut state = lock(&self.state);
        let State { read, gathered, .. } = &mut *state;
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
        if !self.gathered_fits(&state, bytes) {
            self.gathering_short.store(true, Ordering::Relaxed);
            state.readers.iter().for_each(|reader| reader.notify_one());
            return false;
        }

        state.gathered.used += bytes;
        self.grant(&mut state);
        match permit {
            Some(permit) => permit.bytes += bytes,
            None => *permit = Some(self.permit(Pool::Gathered, bytes)),
        }
        true
    }

    /// True if `bytes` more may be accepted. The batches' pool may hold more than its size since
    /// the accepted records have their own.
    fn gathered_fits(&self, state: &State, bytes: usize) -> bool {
        let pool = &state.gathered;
        if pool.used == 0 {
            return true;
        }

        let within_all = state.used().saturating_add(bytes) <= self.total;
        let within_pool = pool.used.saturating_add(bytes) <= pool.size;
        within_all && (within_pool || on(Mutation::BudgetIgnored))
    }

    /// True while a lane waits for memory of [`Pool::Gathered`].
    pub(crate) fn is_gathering_short(&self) -> bool {
        self.gathering_short.load(Ordering::Relaxed)
    }

    /// Serves waiting requests, as far as there is room.
    fn grant(self: &Arc<Self>, state: &mut State) {
        self.grant_batches(&mut state.read);
        while let Some((account, bytes, sender)) = state.encodings.admit() {
            if !self.send(sender, Pool::Encode(account), bytes) {
                state.encodings.release(account, bytes);
            }
        }

        state.peak = state.peak.max(state.used());
        self.note_pressure(state);
    }

    /// Serves the requests for batches in order.
    fn grant_batches(self: &Arc<Self>, pool: &mut PoolState) {
        while let Some((turn, (bytes, sender))) = pool.pop() {
            if sender.is_closed() {
                continue;
            }
            if !pool.fits(bytes) {
                pool.queue(turn).push_front((bytes, sender));
                break;
            }
            if self.send(sender, Pool::Read, bytes) {
                pool.used += bytes;
            }
        }
    }

    /// Grants a request. False if the request was given up.
    fn send(self: &Arc<Self>, sender: oneshot::Sender<Permit>, pool: Pool, bytes: usize) -> bool {
        let unsent = sender.send(self.permit(pool, bytes));
        if let Err(mut permit) = unsent {
            // Dropping the permit with its bytes would take the lock that is held here.
            permit.bytes = 0;
            return false;
        }
        true
    }

    /// Notes whether a reader waits; wakes all readers when the first one does.
    fn note_pressure(&self, state: &State) {
        let pressed = state.read.is_awaited();
        let before = self.pressed.swap(pressed, Ordering::Relaxed);
        if pressed && !before {
            state.readers.iter().for_each(|reader| reader.notify_one());
        }
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
        state.read.size / state.readers.len().max(1)
    }

    pub(crate) fn status(&self) -> MemoryStatus {
        let state = lock(&self.state);
        MemoryStatus {
            budget: self.total,
            used: state.used(),
            peak: state.peak,
        }
    }
}

impl State {
    /// Gives `bytes` of `pool` back.
    fn release(&mut self, pool: Pool, bytes: usize) {
        match pool {
            Pool::Read => self.read.used -= bytes,
            Pool::Encode(account) => self.encodings.release(account, bytes),
            Pool::Gathered => self.gathered.used -= bytes,
        }
    }

    /// Changes `before` bytes of `pool` to `after`, if that is less, or if there is room for more.
    fn resize(&mut self, pool: Pool, before: usize, after: usize) -> bool {
        match pool {
            Pool::Read => self.read.resize(before, after),
            Pool::Encode(account) => self.encodings.resize(account, before, after),
            Pool::Gathered => false,
        }
    }
}

impl Permit {
    /// Changes the size to `bytes`, if that is less, or if there is room for more and no request
    /// waits. Memory of accepted records grows by [`Budget::gather`] only.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let mut state = lock(&self.budget.state);
        if !state.resize(self.pool, self.bytes, bytes) {
            return false;
        }

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
            state.release(self.pool, self.bytes);
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
        let small = now(budget.reserve(100, Turn::Usual)).unwrap();
        let mut large = budget.reserve(1000, Turn::Usual);
        assert!(now(&mut large).is_none());
        assert!(budget.pressed());
        // It would fit, but does not overtake.
        let mut late = budget.reserve(10, Turn::Usual);
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
        let held = now(budget.reserve(100, Turn::Usual)).unwrap();
        let mut patient = budget.reserve(250, Turn::Last);
        assert!(now(&mut patient).is_none());
        assert!(budget.pressed());
        let small = now(budget.reserve(100, Turn::Usual)).unwrap();
        let mut large = budget.reserve(300, Turn::Usual);
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
        let held = now(budget.reserve(300, Turn::Usual)).unwrap();
        let gives_up = budget.reserve(300, Turn::Usual);
        let mut next = budget.reserve(300, Turn::Usual);
        let mut small = budget.reserve(0, Turn::Usual);
        drop(gives_up);
        drop(held);
        assert!(now(&mut next).is_some());
        assert!(now(&mut small).is_some());
        // Granted, never looked at.
        let unseen = budget.reserve(5, Turn::Usual);
        drop(unseen);
        drop(next);
        assert_eq!(budget.status().used, 0);
    }

    #[test]
    fn a_permit_grows_only_into_free_room() {
        let budget = Budget::new(400);
        let mut a = now(budget.reserve(100, Turn::Usual)).unwrap();
        let b = now(budget.reserve(150, Turn::Usual)).unwrap();
        assert!(a.resize(150));
        assert!(!a.resize(151));
        drop(b);
        assert!(a.resize(1000), "alone");
        assert!(budget.try_reserve(1).is_none());
        drop(a);
        assert!(budget.try_reserve(1).is_some());
        assert_eq!(budget.status().used, 0);
    }
}

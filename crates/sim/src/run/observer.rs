//! Observes the events at the seams of a run.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::{Event, Observer, TestClock};
use tokio::sync::Notify;

use crate::environment::LiveBytes;
use crate::trace::Trace;
use crate::truth::{Truth, line};

/// Adds every event at the seams to the facts, checks the memory, and kills the process when told.
pub(crate) struct RunObserver {
    truth: Mutex<Truth>,
    clock: TestClock,
    /// The process is killed when this number of events has happened; 0 or less: never.
    events_until_crash: AtomicI64,
    crash: Notify,
    memory: Mutex<Option<Memory>>,
}

/// The memory that a run holds.
struct Memory {
    live: LiveBytes,
    most: usize,
}

/// Bytes held in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryUse {
    pub(super) used: usize,
    /// The most bytes allowed.
    pub(super) most: usize,
}

impl RunObserver {
    /// An observer without events yet. `first` is the number that requests give the first record.
    pub(super) fn new(first: u128, trace: Trace, clock: &TestClock) -> Self {
        Self {
            truth: Mutex::new(Truth::new(first, trace)),
            clock: clock.clone(),
            events_until_crash: AtomicI64::new(0),
            crash: Notify::new(),
            memory: Mutex::new(None),
        }
    }

    /// The facts, with the present time.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        let mut truth = lock(&self.truth);
        truth.set_now(self.clock.now().0);
        truth
    }

    /// The facts, without an entry in the trace.
    pub(super) fn truth_untraced(&self) -> MutexGuard<'_, Truth> {
        lock(&self.truth)
    }

    /// Checks the memory from now on.
    pub(super) fn watch_memory(&self, live: LiveBytes, most: usize) {
        *lock(&self.memory) = Some(Memory { live, most });
    }

    /// Drops the reference to the environment, which refers to this observer.
    pub(super) fn forget_memory(&self) {
        lock(&self.memory).take();
    }

    pub(super) fn memory(&self) -> Option<MemoryUse> {
        let memory = lock(&self.memory);
        let memory = memory.as_ref()?;
        Some(MemoryUse {
            used: (memory.live)(),
            most: memory.most,
        })
    }

    /// Kills the process after this number of events.
    pub(super) fn crash_after(&self, events: u64) {
        let events = i64::try_from(events).unwrap_or(1);
        self.events_until_crash.store(events, Ordering::Relaxed);
    }

    /// Counts one event towards a planned crash.
    pub(crate) fn count_event(&self) {
        if self.events_until_crash.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crash.notify_one();
        }
    }

    pub(super) fn cancel_crash(&self) {
        self.events_until_crash.store(0, Ordering::Relaxed);
    }

    /// Waits until the process is to be killed.
    pub(super) async fn crashed(&self) {
        self.crash.notified().await;
    }
}

impl Observer for RunObserver {
    fn on(&self, event: &Event<'_>) {
        let memory = self.memory();
        let mut truth = self.truth();
        truth.on(event);

        if let Some(MemoryUse { used, most }) = memory
            && used > most
        {
            let description = format!("{used} bytes are held, at most {most} are allowed");
            truth.violate(line::BOUNDED, description);
        }
        self.count_event();
    }
}

//! A clock that a test owns: tokio's, which has to be paused, with randomness from a seed and a
//! wall clock that jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, ClockSource, Instant, Millis, Sleep, split_mix};

/// The time of all clocks, the servers' included, at the start of a test: 2026-01-01 00:00 UTC.
pub const EPOCH: Millis = Millis(1_767_225_600_000);

struct Inner {
    origin: tokio::time::Instant,
    random: AtomicU64,
    jumped: AtomicI64,
}

/// See the module. Cheap to clone; all clones are one clock.
#[derive(Clone)]
pub struct TestClock(Arc<Inner>);

impl TestClock {
    /// A clock that starts now, inside a tokio runtime with paused time.
    #[allow(clippy::disallowed_methods, reason = "this is the tests' clock")]
    pub fn new(seed: u64) -> Self {
        let (origin, random) = (tokio::time::Instant::now(), AtomicU64::new(split_mix(seed)));
        Self(Arc::new(Inner {
            origin,
            random,
            jumped: AtomicI64::new(0),
        }))
    }

    /// The clock of the program under test.
    pub fn clock(&self) -> Clock {
        Clock::new(self.clone())
    }

    /// Moves the program's wall clock by this number of milliseconds, and nothing else.
    pub fn jump(&self, millis: i64) {
        self.0.jumped.fetch_add(millis, Ordering::Relaxed);
    }

    /// The servers' wall clock, which never jumps.
    pub fn server(&self) -> Millis {
        EPOCH.plus(self.now().0)
    }
}

impl ClockSource for TestClock {
    fn now(&self) -> Instant {
        Instant(self.0.origin.elapsed())
    }

    fn wall(&self) -> Millis {
        Millis(self.server().0 + self.0.jumped.load(Ordering::Relaxed))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the tests' clock")]
    fn sleep(&self, d: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(d))
    }

    fn random(&self) -> u64 {
        split_mix(
            self.0
                .random
                .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed),
        )
    }
}

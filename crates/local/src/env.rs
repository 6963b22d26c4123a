//! Time, randomness and waiting: the only way in which this crate gets them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What [`Env::sleep`] gives.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The world outside: clocks, sleep and randomness. A simulation implements it to own all three.
pub trait Env: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970. It may stand still or jump; arrival times never go back because of it.
    fn now_ms(&self) -> u64;
    /// Time since some fixed moment; never goes back. Rates and subscriptions are measured by it.
    fn monotonic(&self) -> Duration;
    /// Completes when `duration` has passed by [`monotonic`](Self::monotonic).
    fn sleep(&self, duration: Duration) -> Sleep;
    /// The next of a seeded sequence of random numbers.
    fn random(&self) -> u64;
}

/// The machine's clocks, tokio's timer and a generator of random numbers. Sleeping needs a tokio runtime with its timer;
/// under tokio's paused time only [`monotonic`](Env::monotonic) and [`sleep`](Env::sleep) follow it.
#[derive(Debug)]
pub struct RealEnv {
    start: tokio::time::Instant,
    rng: Mutex<StdRng>,
}

impl RealEnv {
    /// Seeded by the operating system.
    pub fn new() -> Self {
        Self::with_rng(rand::make_rng())
    }

    /// The same random numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::with_rng(StdRng::seed_from_u64(seed))
    }

    // The one place of this crate that reads the real clock.
    #[allow(clippy::disallowed_methods)]
    fn with_rng(rng: StdRng) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            rng: Mutex::new(rng),
        }
    }
}

impl Default for RealEnv {
    fn default() -> Self {
        Self::new()
    }
}

// The one place of this crate that reads the real clock and sleeps.
#[allow(clippy::disallowed_methods)]
impl Env for RealEnv {
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.start)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u64 {
        self.rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random()
    }
}

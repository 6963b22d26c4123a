//! Clocks, sleep and randomness, which this crate takes from an [`Env`] only.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The future that [`Env::sleep`] returns.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Clocks, sleep and randomness. A simulation implements this trait to control all three.
pub trait Env: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970. The clock may stand still or jump back; arrival
    /// times of records never go back.
    fn now_ms(&self) -> u64;

    /// Time since some fixed moment; never goes back. Measures rates and subscriptions.
    fn monotonic(&self) -> Duration;

    /// Completes when `duration` has passed by [`monotonic`](Self::monotonic).
    fn sleep(&self, duration: Duration) -> Sleep;

    /// The next of a seeded sequence of random numbers.
    fn random(&self) -> u64;
}

/// The machine's clocks, tokio's timer and a generator of random numbers.
///
/// Sleeping needs a tokio runtime with a timer. tokio's paused time moves
/// [`monotonic`](Env::monotonic) and [`sleep`](Env::sleep), but not the wall clock.
#[derive(Debug)]
pub struct RealEnv {
    start: tokio::time::Instant,
    rng: Mutex<StdRng>,
}

impl RealEnv {
    /// Random numbers seeded by the operating system.
    pub fn new() -> Self {
        Self::with_rng(rand::make_rng())
    }

    /// Random numbers from a seed: the same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self::with_rng(StdRng::seed_from_u64(seed))
    }

    // Only `RealEnv` may read the real clock.
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

// Only `RealEnv` may read the real clock and sleep.
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

//! Time, sleeping and randomness. No other code asks the system for them, so that a simulation can
//! own all three.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A moment of wall-clock time: milliseconds since 1970-01-01 UTC, as Kinesis gives arrival times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// This moment plus `d`, stopping at the largest value.
    pub fn plus(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This moment minus `d`, stopping at the smallest value.
    pub fn minus(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A moment on the monotonic clock: time since a fixed moment before the process started its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub Duration);

impl Instant {
    /// Time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `d`.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }
}

/// A sleep that has started.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The source of a clock. The machine's is in [`Clock::real`]; a simulation has its own.
pub trait ClockSource: Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock; may jump, in either direction.
    fn wall(&self) -> Millis;
    /// Completes `d` from now by the monotonic clock.
    fn sleep(&self, d: Duration) -> Sleep;
    /// 64 random bits; a fixed sequence for a given seed in a simulation.
    fn random(&self) -> u64;
}

/// A handle to the clock; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn ClockSource>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now().0)
    }
}

impl Clock {
    /// A clock over `source`.
    pub fn new(source: impl ClockSource) -> Self {
        Self(Arc::new(source))
    }

    /// The machine's clock and randomness. Sleeps need a tokio runtime with time enabled.
    pub fn real() -> Self {
        Self::new(RealClock::new())
    }

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// The wall clock.
    pub fn wall(&self) -> Millis {
        self.0.wall()
    }

    /// Completes after `d`.
    pub fn sleep(&self, d: Duration) -> Sleep {
        self.0.sleep(d)
    }

    /// Completes at `at`; at once if that has passed.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        self.0.sleep(at.since(self.now()))
    }

    /// Completes at `at`; never without one.
    pub(crate) async fn sleep_until_some(&self, at: Option<Instant>) {
        match at {
            Some(at) => self.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        self.0.random()
    }

    /// A random duration in `[0, max)`, for jitter.
    pub fn jitter(&self, max: Duration) -> Duration {
        // 53 bits make an exact fraction in [0, 1).
        #[allow(clippy::cast_precision_loss)]
        let fraction = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        max.mul_f64(fraction)
    }

    /// `future`'s value, or `None` if `d` passes first (the future is then dropped).
    pub async fn timeout<F: Future>(&self, d: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            // The work first: a value that is ready wins over a deadline at the same moment.
            biased;
            value = future => Some(value),
            () = self.sleep(d) => None,
        }
    }
}

/// The machine's clock.
struct RealClock {
    origin: std::time::Instant,
    random: std::sync::atomic::AtomicU64,
}

impl RealClock {
    // The one place that may ask the machine for the time and for randomness.
    #[allow(clippy::disallowed_methods)]
    fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        // std's per-process random hash keys are the one source of randomness in std; jitter needs
        // no more.
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Self {
            origin: std::time::Instant::now(),
            random: std::sync::atomic::AtomicU64::new(seed),
        }
    }
}

impl ClockSource for RealClock {
    fn now(&self) -> Instant {
        Instant(self.origin.elapsed())
    }

    #[allow(clippy::disallowed_methods)]
    fn wall(&self) -> Millis {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[allow(clippy::disallowed_methods)]
    fn sleep(&self, d: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(d))
    }

    fn random(&self) -> u64 {
        let state = self
            .random
            .fetch_add(GOLDEN, std::sync::atomic::Ordering::Relaxed);
        split_mix(state.wrapping_add(GOLDEN))
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a good 64-bit mix of a counter.
pub fn split_mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

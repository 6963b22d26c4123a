//! The waits of `put`, which tries again as long as records are acknowledged now and then. The
//! commands that read a stream have theirs in `distributary_kinesis::retry`.

use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::output::Trouble;

/// The wait that the server asked for, or `first` doubled for each failure; at most `longest`.
/// Random between half of that and all, so that clients do not return together.
pub(crate) fn backoff(
    clock: &Clock,
    trouble: &Trouble,
    failures: u32,
    first: Duration,
    longest: Duration,
) -> Duration {
    let doubled = first.saturating_mul(1 << failures.min(16));
    let half = trouble.retry_after.unwrap_or(doubled).min(longest) / 2;
    half + clock.jitter(half)
}

/// A clock whose sleeps pass at once.
#[cfg(test)]
pub(crate) fn jumping() -> Clock {
    use std::sync::Mutex;

    use distributary_core::clock::{ClockSource, Instant, Millis, Sleep};

    struct Jumping(Mutex<Duration>);

    impl ClockSource for Jumping {
        fn now(&self) -> Instant {
            Instant(*self.0.lock().unwrap())
        }
        fn wall(&self) -> Millis {
            Millis(0)
        }
        fn sleep(&self, d: Duration) -> Sleep {
            *self.0.lock().unwrap() += d;
            Box::pin(std::future::ready(()))
        }
        fn random(&self) -> u64 {
            7
        }
    }

    Clock::new(Jumping(Mutex::new(Duration::ZERO)))
}

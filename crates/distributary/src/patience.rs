//! Retries of the commands that read a stream. Copying has a retry policy of its own, in
//! `distributary_core::engine`.

use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::output::{Trouble, TroubleKind};

/// Failures in a row after which a read fails for good: after about 45 s.
const ATTEMPTS: u32 = 12;
/// Wait after the first failure; doubled with each further one, up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The patience with failures in a row of one call.
pub(crate) struct Patience<'a> {
    clock: &'a Clock,
    failures: u32,
}

impl<'a> Patience<'a> {
    /// The patience before the first failure.
    pub(crate) fn new(clock: &'a Clock) -> Self {
        Self { clock, failures: 0 }
    }

    /// Waits before the next try. Returns `trouble` if another try is useless.
    pub(crate) async fn wait(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let may_pass = match trouble.kind {
            TroubleKind::Throttled | TroubleKind::Unavailable => true,
            TroubleKind::Unauthenticated
            | TroubleKind::Denied
            | TroubleKind::Missing
            | TroubleKind::Invalid
            | TroubleKind::Unintelligible => false,
        };
        if !may_pass || self.failures >= ATTEMPTS {
            return Err(trouble);
        }

        let wait = backoff(self.clock, &trouble, self.failures, BACKOFF, BACKOFF_MAX);
        self.clock.sleep(wait).await;
        self.failures += 1;
        Ok(())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_that_may_pass_is_retried_and_not_for_ever() {
        let clock = jumping();
        for kind in [TroubleKind::Throttled, TroubleKind::Unavailable] {
            let mut patience = Patience::new(&clock);
            let mut waits = 0;
            while patience.wait(Trouble::new(kind, "")).await.is_ok() {
                waits += 1;
            }
            assert_eq!(waits, ATTEMPTS);
        }
        assert!(
            clock.now().0 > Duration::from_secs(30) && clock.now().0 < Duration::from_secs(120)
        );

        for kind in [
            TroubleKind::Unauthenticated,
            TroubleKind::Denied,
            TroubleKind::Missing,
            TroubleKind::Invalid,
            TroubleKind::Unintelligible,
        ] {
            let waited = Patience::new(&clock).wait(Trouble::new(kind, "")).await;
            assert!(waited.is_err());
        }
    }
}

//! How long the commands that read a stream put up with its failures. (What copies streams has a policy of its own, in
//! `core::engine`.)

use std::time::Duration;

use distributary_core::clock::{Clock, Sleep};
use distributary_core::output::{Trouble, TroubleKind};

/// Failures in a row after which a stream is given up: about 45 s.
const ATTEMPTS: u32 = 12;
/// Wait after the first failure; doubled with each further one, up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The wait before the next try; `None` if there is none.
pub(crate) fn wait(clock: &Clock, trouble: &Trouble, failures: u32) -> Option<Sleep> {
    match trouble.kind {
        TroubleKind::Throttled | TroubleKind::Unavailable if failures < ATTEMPTS => {
            let backoff = BACKOFF
                .saturating_mul(1 << failures.min(16))
                .min(BACKOFF_MAX);
            let backoff = trouble.retry_after.unwrap_or(backoff).min(BACKOFF_MAX);
            Some(clock.sleep(backoff / 2 + clock.jitter(backoff / 2)))
        }
        TroubleKind::Throttled
        | TroubleKind::Unavailable
        | TroubleKind::Unauthenticated
        | TroubleKind::Denied
        | TroubleKind::Missing
        | TroubleKind::Invalid
        | TroubleKind::Unintelligible => None,
    }
}

/// Calls until it succeeds or is given up.
pub(crate) async fn retried<T, F>(clock: &Clock, mut call: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(trouble) => match wait(clock, &trouble, failures) {
                Some(sleep) => sleep.await,
                None => return Err(trouble),
            },
        }
        failures += 1;
    }
}

/// A clock whose sleeps pass at once.
#[cfg(test)]
pub(crate) fn jumping() -> Clock {
    use std::sync::Mutex;

    use distributary_core::clock::{ClockSource, Instant, Millis};

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

    #[test]
    fn what_may_pass_is_waited_for_and_not_for_ever() {
        let clock = jumping();
        for kind in [TroubleKind::Throttled, TroubleKind::Unavailable] {
            let trouble = Trouble::new(kind, "");
            let failures = (0..)
                .take_while(|n| wait(&clock, &trouble, *n).is_some())
                .count();
            assert_eq!(failures, ATTEMPTS as usize);
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
            assert!(wait(&clock, &Trouble::new(kind, ""), 0).is_none());
        }
    }
}

//! The retry policy: the wait after each kind of failure.

use std::time::Duration;

use crate::clock::Clock;
use crate::output::TroubleKind;

/// The length of the waits between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffClass {
    /// The failure is expected to pass by itself: waits grow from the base to the cap.
    Passing,
    /// The user has to fix the reason: waits start where the other class's end.
    Lasting,
}

/// The reaction to a kind of trouble. A lane retries without end, until its output is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The length of the waits.
    pub class: BackoffClass,
    /// Advice for the user; `None` where waiting is enough.
    pub advice: Option<&'static str>,
}

/// The retry policy.
pub fn policy(kind: TroubleKind) -> Policy {
    let (class, advice) = match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable => (BackoffClass::Passing, None),
        TroubleKind::Unauthenticated => (
            BackoffClass::Lasting,
            Some("renew the credentials, or check which ones are used; it is tried again"),
        ),
        TroubleKind::Denied => (
            BackoffClass::Lasting,
            Some("allow the action in the role's or the stream's policy; it is tried again"),
        ),
        TroubleKind::Missing => (
            BackoffClass::Lasting,
            Some("create it, or remove it from the configuration; it is tried again"),
        ),
        TroubleKind::Invalid | TroubleKind::Unintelligible => (
            BackoffClass::Lasting,
            Some("check that the endpoint is what it should be; it is tried again"),
        ),
    };
    Policy { class, advice }
}

/// Waits between tries: exponential, with jitter over the upper half, and a cap for each class.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    lasting_cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits that start at `base`; `cap` and `lasting_cap` bound the waits of the two classes.
    pub fn new(base: Duration, cap: Duration, lasting_cap: Duration) -> Self {
        Self {
            base,
            cap,
            lasting_cap: lasting_cap.max(cap),
            tries: 0,
        }
    }

    /// The next wait; at least `wish`, the wait that the server asked for, up to the larger cap.
    pub fn next(&mut self, clock: &Clock, class: BackoffClass, wish: Option<Duration>) -> Duration {
        // 2^20 times any base is past any cap.
        let factor = 1 << self.tries.min(20);
        let doubled = self.base.saturating_mul(factor);
        self.tries = self.tries.saturating_add(1);
        let full = match class {
            BackoffClass::Passing => doubled.min(self.cap),
            BackoffClass::Lasting => {
                let longer = doubled.saturating_mul(10);
                longer.min(self.lasting_cap)
            }
        };

        let half = full / 2;
        let wait = half + clock.jitter(half);
        let wish = wish.unwrap_or_default();
        wait.max(wish.min(self.lasting_cap))
    }

    /// The next wait is the first one again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_class_s_cap_and_keep_to_the_server_s_wish() {
        let clock = Clock::real();
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second / 10, second, 30 * second);
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.next(&clock, BackoffClass::Passing, None))
            .collect();
        assert!(
            waits[0] >= second / 20 && waits[0] <= second / 10,
            "{waits:?}"
        );
        assert!(waits[7] >= second / 2 && waits[7] <= second, "{waits:?}");
        assert!(backoff.next(&clock, BackoffClass::Lasting, None) >= 15 * second);
        backoff.reset();
        assert!(backoff.next(&clock, BackoffClass::Passing, None) <= second / 10);
        assert_eq!(
            backoff.next(&clock, BackoffClass::Passing, Some(5 * second)),
            5 * second
        );
    }
}

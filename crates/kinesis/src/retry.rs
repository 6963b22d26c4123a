//! Retries of the calls that a command makes before or beside the engine: descriptions, creations,
//! lists, reads of `tail` and `verify`.
//!
//! A client makes each call once. The engine has its own loop for the calls that it makes, in
//! `distributary_core::engine`; the classes of failures and the waits are the same.

use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::engine::retry::{Backoff, BackoffClass, policy};
use distributary_core::output::Trouble;

/// Attempts at one question of a command, the first included: about a second and a half.
pub const COMMAND_ATTEMPTS: u32 = 4;
/// Attempts at one read or page, the first included: about 45 s.
pub const READ_ATTEMPTS: u32 = 13;
/// The longest wait after the first failure; doubled after each further failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The retries of one call.
pub struct Retries<'a> {
    clock: &'a Clock,
    backoff: Backoff,
    /// Attempts that are left after a failure.
    left: u32,
}

impl<'a> Retries<'a> {
    /// The retries of a question that a user waits for: [`COMMAND_ATTEMPTS`].
    pub fn of_question(clock: &'a Clock) -> Self {
        Self::new(clock, COMMAND_ATTEMPTS)
    }

    /// The retries of a read among many: [`READ_ATTEMPTS`].
    pub fn of_read(clock: &'a Clock) -> Self {
        Self::new(clock, READ_ATTEMPTS)
    }

    fn new(clock: &'a Clock, attempts: u32) -> Self {
        Self {
            clock,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, LONGEST_WAIT),
            left: attempts - 1,
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `trouble` if another attempt is useless, or if none is left.
    pub async fn wait(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let class = policy(trouble.kind).class;
        if class == BackoffClass::Lasting || self.left == 0 {
            return Err(trouble);
        }

        self.left -= 1;
        let wait = self.backoff.next(self.clock, class, trouble.retry_after);
        tracing::debug!(?wait, error = %trouble, "a call failed and is tried again");
        self.clock.sleep(wait).await;
        Ok(())
    }
}

/// Makes `call` up to [`COMMAND_ATTEMPTS`] times, as long as the failure may pass.
///
/// # Errors
/// [`Trouble`] of the last attempt.
pub async fn with_retries<T, F>(clock: &Clock, call: impl Fn() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut retries = Retries::of_question(clock);
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(trouble) => retries.wait(trouble).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_core::output::TroubleKind;

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_may_pass_is_retried_and_not_for_ever() {
        let clock = Clock::real();
        for kind in [TroubleKind::Throttled, TroubleKind::Unavailable] {
            let mut retries = Retries::of_read(&clock);
            let mut waits = 0;
            while retries.wait(Trouble::new(kind, "")).await.is_ok() {
                waits += 1;
            }
            assert_eq!(waits, READ_ATTEMPTS - 1);
        }

        for kind in [
            TroubleKind::Unauthenticated,
            TroubleKind::Denied,
            TroubleKind::Missing,
            TroubleKind::Invalid,
            TroubleKind::Unintelligible,
        ] {
            let mut retries = Retries::of_read(&clock);
            assert!(retries.wait(Trouble::new(kind, "")).await.is_err());
        }
    }
}

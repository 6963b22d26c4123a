//! Patience at the start: a service that does not answer yet is asked again, up to
//! `start-timeout`.

use std::time::Duration;

use distributary_adapters::kind::BuildError;
use distributary_core::clock::{Clock, Instant};
use distributary_core::output::{Trouble, TroubleKind};

use super::failing::may_pass;
use crate::patience::backoff;

/// The wait after the first failure; doubled with each further one, up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The least time for one call.
const CALL_MIN: Duration = Duration::from_secs(5);

/// Asks until a service answers, or for so long.
pub(super) struct Waiting<'a> {
    clock: &'a Clock,
    end: Instant,
    timeout: Duration,
}

impl<'a> Waiting<'a> {
    /// From now on, for `timeout`.
    pub(super) fn new(clock: &'a Clock, timeout: Duration) -> Self {
        Self {
            clock,
            end: clock.now().plus(timeout),
            timeout,
        }
    }

    /// The answer of `call`, which is called again after failures that pass by themselves.
    pub(super) async fn ask<T, F>(&self, call: impl Fn() -> F) -> Result<T, BuildError>
    where
        F: Future<Output = Result<T, BuildError>>,
    {
        let mut failures = 0;
        loop {
            let error = match self.once(call()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !may_pass(&error) {
                return Err(error);
            }
            if self.left().is_zero() {
                return Err(self.given_up(error));
            }

            if failures == 0 {
                let limit = self.timeout.as_secs();
                tracing::warn!("waiting for the source, up to {limit} s (start-timeout): {error}");
            }
            let trouble = Trouble::new(TroubleKind::Unavailable, "");
            let wait = backoff(self.clock, &trouble, failures, WAIT, WAIT_MAX);
            failures += 1;
            self.clock
                .sleep(wait.min(self.end.since(self.clock.now())))
                .await;
        }
    }

    /// One call. A call that was started in time may say why the service is not there.
    async fn once<T>(
        &self,
        call: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let limit = self.left().max(CALL_MIN);
        let answer = self.clock.timeout(limit, call).await;
        answer.unwrap_or_else(|| Err(no_answer()))
    }

    fn left(&self) -> Duration {
        let now = self.clock.now();
        self.end.since(now)
    }

    /// The error with the time that was waited.
    fn given_up(&self, error: BuildError) -> BuildError {
        let BuildError::Failed { message, source } = error else {
            return error;
        };
        let limit = self.timeout.as_secs();
        BuildError::Failed {
            message: format!("{message}; gave up after {limit} s (--start-timeout)"),
            source,
        }
    }
}

fn no_answer() -> BuildError {
    let text = "there is no answer";
    let source = Trouble::new(TroubleKind::Unavailable, text);
    BuildError::Failed {
        message: text.to_owned(),
        source,
    }
}

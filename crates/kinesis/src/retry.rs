//! Retries of the calls that a command makes before or beside the engine: descriptions, creations.
//!
//! A client makes each call once. The engine has its own policy for the calls that it makes, in
//! `distributary_core::engine`.

use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::output::{Trouble, TroubleKind};

/// Attempts at one call, the first included.
pub const COMMAND_ATTEMPTS: u32 = 4;
/// The longest wait after the first failure; doubled after each further failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Makes `call` up to [`COMMAND_ATTEMPTS`] times, as long as the failure may pass.
///
/// # Errors
/// [`Trouble`] of the last attempt.
pub async fn with_retries<T, F>(clock: &Clock, call: impl Fn() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut longest = FIRST_WAIT;
    for _ in 1..COMMAND_ATTEMPTS {
        let trouble = match call().await {
            Ok(value) => return Ok(value),
            Err(trouble) => trouble,
        };
        if !may_pass(trouble.kind) {
            return Err(trouble);
        }

        let wait = longest / 2 + clock.jitter(longest / 2);
        tracing::debug!(?wait, error = %trouble, "a call failed and is tried again");
        clock.sleep(wait).await;
        longest *= 2;
    }
    call().await
}

fn may_pass(kind: TroubleKind) -> bool {
    match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable => true,
        TroubleKind::Unauthenticated
        | TroubleKind::Denied
        | TroubleKind::Missing
        | TroubleKind::Invalid
        | TroubleKind::Unintelligible => false,
    }
}

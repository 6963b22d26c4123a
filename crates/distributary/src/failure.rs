//! The end of a command that failed: one paragraph on stderr, and an exit code.

use std::error::Error;
use std::process::ExitCode;

#[cfg(feature = "dynamodb")]
use distributary_core::store::StoreError;
use distributary_core::text::chain;

use crate::screen;

/// The reason why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

/// Exit code of a failure while running.
const RUN: u8 = 1;
/// Exit code of a bounded run that reached its end without records that retention had deleted.
const GAP: u8 = 3;
/// Exit code of a wrong flag, configuration or environment, as clap has it.
const USAGE: u8 = 2;

/// A state or a table of leases that failed: exit code 1.
#[cfg(feature = "dynamodb")]
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::run(chain(&error))
    }
}

impl Failure {
    /// A wrong flag, configuration or environment: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            message: message.into(),
        }
    }

    /// A failure while running: exit code 1.
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self {
            code: RUN,
            message: message.into(),
        }
    }

    /// Records were deleted before they were read: exit code 3.
    pub(crate) fn gap(message: impl Into<String>) -> Self {
        Self {
            code: GAP,
            message: message.into(),
        }
    }

    /// A failure while running, caused by `error`: exit code 1.
    pub(crate) fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self::run(chain(error))
    }

    /// The same failure with the exit code that a command has for it.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The message for the user.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the message on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        screen::say(&format!("distributary: {}", self.message));
        ExitCode::from(self.code)
    }
}

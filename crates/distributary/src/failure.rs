//! How a command ends when it does not do what it was asked: one paragraph on stderr, and an exit code.

use std::error::Error;
use std::process::ExitCode;

use distributary_core::text::chain;

/// Why a command ended without having done what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

/// Exit code of a run-time failure.
const RUN: u8 = 1;
/// Exit code of a wrong flag, configuration or environment (clap's own as well).
const USAGE: u8 = 2;

impl Failure {
    /// What the user wrote is wrong: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            message: message.into(),
        }
    }

    /// It failed while running: exit code 1.
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self {
            code: RUN,
            message: message.into(),
        }
    }

    /// It failed while running, because of `error`: its text and its causes', each once.
    pub(crate) fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self::run(chain(error))
    }

    /// The same with another exit code, where a command has its own.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("distributary: {}", self.message);
        ExitCode::from(self.code)
    }
}

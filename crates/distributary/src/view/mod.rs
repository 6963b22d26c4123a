//! The progress of the running fan-outs: a live view in a terminal, log lines elsewhere.

mod lines;
mod live;
mod rates;

use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::engine::Status;
use tokio::sync::watch;

use crate::logging::LogFormat;
use crate::screen;

/// The last snapshots of all fan-outs of the process.
pub(crate) type Snapshots = watch::Receiver<Vec<Snapshot>>;

/// One fan-out at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The fan-out's name.
    pub(crate) name: Arc<str>,
    pub(crate) phase: Phase,
    /// Rows that pumps sent to `error_stream`.
    pub(crate) error_rows: Vec<ErrorRows>,
}

/// Rows of one kind that a pump sent to `error_stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorRows {
    /// The pump of the configuration.
    pub(crate) pump: String,
    /// The pump of the code; `null` where a record gave no row.
    pub(crate) statement: String,
    /// ERROR_NAME.
    pub(crate) error: String,
    pub(crate) count: u64,
}

/// The phase of a fan-out.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The source and the outputs are being asked.
    Starting,
    /// The engine runs; its status.
    Running(Arc<Status>),
    /// The fan-out has ended.
    Ended {
        /// The last status, if the engine had started.
        last: Option<Arc<Status>>,
        /// The reason, if a failure ended the fan-out.
        failure: Option<String>,
    },
}

impl Phase {
    /// The phase as one word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Ended { failure: None, .. } => "ended",
            Self::Ended { .. } => "failed",
        }
    }
}

impl Snapshot {
    /// A fan-out that has just been started.
    pub(crate) fn starting(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            phase: Phase::Starting,
            error_rows: Vec::new(),
        }
    }

    /// A fan-out that runs.
    pub(crate) fn running(status: Status) -> Self {
        Self {
            name: Arc::from(status.name.as_str()),
            phase: Phase::Running(Arc::new(status)),
            error_rows: Vec::new(),
        }
    }

    /// Notes the end; the last status is kept.
    pub(crate) fn end(&mut self, failure: Option<String>) {
        let last = self.status().cloned();
        self.phase = Phase::Ended { last, failure };
    }

    /// The last status, if the engine has started.
    pub(crate) fn status(&self) -> Option<&Arc<Status>> {
        match &self.phase {
            Phase::Starting => None,
            Phase::Running(status) => Some(status),
            Phase::Ended { last, .. } => last.as_ref(),
        }
    }

    /// The failure that ended the fan-out.
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.phase {
            Phase::Ended { failure, .. } => failure.as_deref(),
            Phase::Starting | Phase::Running(_) => None,
        }
    }
}

/// Time between two drawings of the live view.
const DRAW: Duration = Duration::from_millis(250);
/// Time between two log lines.
const LOG: Duration = Duration::from_secs(10);

/// The form in which progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A block of lines at the bottom of the terminal.
    Live,
    /// Log lines every ten seconds.
    Lines,
}

impl View {
    /// The live view if stderr is a terminal and log lines are text.
    pub(crate) fn fit(format: LogFormat) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match format {
            LogFormat::Text if screen::size().is_some() && !dumb => Self::Live,
            LogFormat::Text | LogFormat::Json => Self::Lines,
        }
    }

    /// Shows snapshots until the future is dropped. The last drawing of the live view stays.
    pub(crate) async fn show(self, snapshots: Snapshots, clock: Clock) {
        match self {
            Self::Live => live::show(snapshots, clock).await,
            Self::Lines => lines::show(snapshots, clock).await,
        }
    }

    /// Shows the last state: draws the live view once more and leaves it in place, or writes log
    /// lines.
    pub(crate) fn end(self, last: &[Snapshot]) {
        match self {
            Self::Live => live::end(last),
            Self::Lines => lines::end(last),
        }
    }
}

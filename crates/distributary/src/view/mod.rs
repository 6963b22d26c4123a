//! The progress of a running fan-out: a live view in a terminal, log lines elsewhere.

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

/// The last snapshot of an engine; `None` before the start.
pub(crate) type Snapshots = watch::Receiver<Option<Arc<Status>>>;

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
    pub(crate) fn end(self, last: &Status) {
        match self {
            Self::Live => live::end(last),
            Self::Lines => lines::end(last),
        }
    }
}

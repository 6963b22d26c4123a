//! What a fan-out shows of itself while it runs: a live view in a terminal, log lines elsewhere.

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

/// The last snapshot of an engine; `None` before its start.
pub(crate) type Snapshots = watch::Receiver<Option<Arc<Status>>>;

/// Time between two drawings of the live view.
const DRAW: Duration = Duration::from_millis(250);
/// Time between two log lines.
const LOG: Duration = Duration::from_secs(10);

/// How a fan-out is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A block of lines at the bottom of the terminal.
    Live,
    /// A log line each ten seconds.
    Lines,
}

impl View {
    /// The live view where a person looks at stderr.
    pub(crate) fn fit(format: LogFormat) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match format {
            LogFormat::Text if screen::size().is_some() && !dumb => Self::Live,
            LogFormat::Text | LogFormat::Json => Self::Lines,
        }
    }

    /// Shows snapshots as they come; drop it to stop. The live view's last drawing stays where it is.
    pub(crate) async fn show(self, snapshots: Snapshots, clock: Clock) {
        match self {
            Self::Live => live::show(snapshots, clock).await,
            Self::Lines => lines::show(snapshots, clock).await,
        }
    }

    /// Says how it ended: the live view is drawn a last time and left standing, a log line is written.
    pub(crate) fn end(self, last: &Status) {
        match self {
            Self::Live => live::end(last),
            Self::Lines => lines::end(last),
        }
    }
}

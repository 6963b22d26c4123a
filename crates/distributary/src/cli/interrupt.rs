//! SIGINT and SIGTERM, for commands that have nothing to finish.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// From this call on, SIGINT and SIGTERM complete the returned future instead of ending the
/// process.
pub(crate) fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

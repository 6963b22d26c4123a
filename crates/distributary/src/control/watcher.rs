//! A client of the actor that follows the configuration file: a changed file, or SIGHUP, is a
//! reload.

use std::path::PathBuf;
use std::time::Duration;

use distributary_config::{Mistakes, Place, file};
use distributary_core::clock::Clock;

use super::signals::Hangups;
use super::{Control, Origin};

/// Time between two looks at the file. A change counts when two looks in a row find the same
/// content: an editor may be in the middle of writing, and half a file can look like a file that
/// has lost outputs.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the file of `origin`, until the future is dropped.
pub(super) async fn follow(origin: Origin, mut hangups: Hangups, control: Control, clock: Clock) {
    let mut last = origin.content;
    let mut candidate: Option<Vec<u8>> = None;
    loop {
        let asked = hangups.next_or_after(&clock, LOOK).await;
        let content = match read(origin.path.clone()).await {
            Ok(content) => content,
            Err(why) => {
                // An editor that replaces a file may have removed it for a moment.
                if asked {
                    tracing::error!(
                        "the configuration was not reloaded; nothing has changed: {why}"
                    );
                }
                continue;
            }
        };

        let settled = candidate.as_ref() == Some(&content);
        if !(asked || last != content && settled) {
            candidate = Some(content);
            continue;
        }
        candidate = None;
        last.clone_from(&content);
        reload(&control, content).await;
    }
}

async fn reload(control: &Control, content: Vec<u8>) {
    match control.reload(content).await {
        Ok(done) => tracing::info!("{done}"),
        Err(why) => tracing::error!("the configuration was not reloaded: {why}"),
    }
}

/// Reads the file on a thread that may block.
pub(super) async fn read(path: PathBuf) -> Result<Vec<u8>, Mistakes> {
    let failed = |error: tokio::task::JoinError| Mistakes::one(&Place::Nowhere, error.to_string());
    tokio::task::spawn_blocking(move || file::read(&path))
        .await
        .map_err(failed)?
}

//! Making missing streams, and waiting until they can be used.

use std::time::Duration;

use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::types::StreamStatus;

use crate::client::{Client, StreamDescription};
use crate::names::StreamRef;

/// How long a stream may take to become ACTIVE.
const PATIENCE: Duration = Duration::from_secs(180);
/// The first wait between two looks at it, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Waits until `stream` can be written to and read.
///
/// # Errors
/// [`Trouble`]: of kind `Missing` if it is not there or is being deleted, `Unavailable` if it takes longer than three
/// minutes.
pub async fn wait_active(
    client: &Client,
    stream: &StreamRef,
) -> Result<StreamDescription, Trouble> {
    let until = client.clock().now().plus(PATIENCE);
    let mut wait = LOOKS.0;
    loop {
        let described = client.describe(stream).await?.answer;
        match described.status {
            // A stream that is being changed takes and gives records all the same.
            StreamStatus::Active | StreamStatus::Updating => return Ok(described),
            StreamStatus::Deleting => {
                let text = format!("stream {stream} in {} is being deleted", client.region());
                return Err(Trouble::new(TroubleKind::Missing, text));
            }
            StreamStatus::Creating => {}
            StreamStatus::Other(status) => {
                let text = format!(
                    "stream {stream} has the status {status:?}, which this program does not know"
                );
                return Err(Trouble::new(TroubleKind::Unintelligible, text));
            }
        }
        if client.clock().now() >= until {
            let text = format!(
                "stream {stream} is still being created after {} s",
                PATIENCE.as_secs()
            );
            return Err(Trouble::new(TroubleKind::Unavailable, text));
        }
        client.clock().sleep(wait).await;
        wait = (wait * 2).min(LOOKS.1);
    }
}

/// Makes `stream` with as many shards as `like` has open ones, and in its mode, if it is not there; waits until it can be
/// used. `true` if it was made.
///
/// # Errors
/// [`Trouble`].
pub async fn ensure(
    client: &Client,
    stream: &StreamRef,
    like: &StreamDescription,
) -> Result<(StreamDescription, bool), Trouble> {
    let made = match client.describe(stream).await {
        Ok(_) => false,
        Err(trouble) if trouble.kind == TroubleKind::Missing => {
            client.create(stream, like.open_shards, &like.mode).await?;
            tracing::info!(%stream, shards = like.open_shards, mode = %like.mode, "created the stream");
            true
        }
        Err(trouble) => return Err(trouble),
    };
    Ok((wait_active(client, stream).await?, made))
}

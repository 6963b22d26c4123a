//! Creating missing streams, and waiting until a stream can be used.

use std::time::Duration;

use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::types::StreamStatus;

use crate::client::{Client, StreamDescription};
use crate::names::StreamRef;
use crate::retry::with_retries;

/// The time that a stream may take to become ACTIVE.
const PATIENCE: Duration = Duration::from_secs(180);
/// The first wait between two descriptions; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two descriptions.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Waits until `stream` can be written to and read.
///
/// # Errors
/// [`Trouble`]: of kind `Missing` if the stream does not exist or is being deleted, `Unavailable`
/// if its creation takes longer than three minutes.
pub async fn wait_active(
    client: &Client,
    stream: &StreamRef,
) -> Result<StreamDescription, Trouble> {
    let described = describe(client, stream).await?;
    wait_from(client, stream, described).await
}

/// Waits until `stream` can be used; creates the stream first if `stream` does not exist, with as
/// many shards as `like` has open ones, and in the mode of `like`.
///
/// # Errors
/// [`Trouble`], as [`wait_active`].
pub async fn ensure(
    client: &Client,
    stream: &StreamRef,
    like: &StreamDescription,
) -> Result<Ensured, Trouble> {
    let (described, created) = match describe(client, stream).await {
        Ok(described) => (described, false),
        Err(trouble) if trouble.kind == TroubleKind::Missing => {
            create_like(client, stream, like).await?;
            (describe(client, stream).await?, true)
        }
        Err(trouble) => return Err(trouble),
    };

    Ok(Ensured {
        description: wait_from(client, stream, described).await?,
        created,
    })
}

/// A stream that can be used.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// The stream.
    pub description: StreamDescription,
    /// True if the stream was created by this call.
    pub created: bool,
}

async fn create_like(
    client: &Client,
    stream: &StreamRef,
    like: &StreamDescription,
) -> Result<(), Trouble> {
    let shards = like.open_shards;
    let mode = &like.mode;
    with_retries(client.clock(), || client.create(stream, shards, mode)).await?;
    tracing::info!(%stream, shards, %mode, "created the stream");
    Ok(())
}

async fn describe(client: &Client, stream: &StreamRef) -> Result<StreamDescription, Trouble> {
    let answered = with_retries(client.clock(), || client.describe(stream)).await?;
    Ok(answered.answer)
}

/// Waits until a stream that was just described can be used.
async fn wait_from(
    client: &Client,
    stream: &StreamRef,
    mut described: StreamDescription,
) -> Result<StreamDescription, Trouble> {
    let until = client.clock().now().plus(PATIENCE);
    let mut wait = FIRST_WAIT;
    while !is_usable(client, stream, &described)? {
        if client.clock().now() >= until {
            let seconds = PATIENCE.as_secs();
            let text = format!("stream {stream} is still being created after {seconds} s");
            return Err(Trouble::new(TroubleKind::Unavailable, text));
        }
        client.clock().sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        described = describe(client, stream).await?;
    }
    Ok(described)
}

/// True if the stream can be written to and read; false while the stream is being created.
fn is_usable(
    client: &Client,
    stream: &StreamRef,
    described: &StreamDescription,
) -> Result<bool, Trouble> {
    match &described.status {
        // A stream that is being changed takes and returns records all the same.
        StreamStatus::Active | StreamStatus::Updating => Ok(true),
        StreamStatus::Creating => Ok(false),
        StreamStatus::Deleting => {
            let text = format!("stream {stream} in {} is being deleted", client.region());
            Err(Trouble::new(TroubleKind::Missing, text))
        }
        StreamStatus::Other(status) => {
            let text = format!(
                "stream {stream} has the status {status:?}, which this program does not know"
            );
            Err(Trouble::new(TroubleKind::Unintelligible, text))
        }
    }
}

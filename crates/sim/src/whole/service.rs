//! A service of a run: a stream that an output writes to.

use std::sync::Arc;

use distributary_core::output::TroubleKind;
use distributary_core::testing::Mood;
use distributary_wire::types::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamSummaryRequest, ScalingType,
    UpdateShardCountRequest,
};

use super::client::ClientOptions;
use super::link::Link;
use super::server::call;

/// A stream that an output writes to, and the link to it.
pub(super) struct Service {
    pub(super) link: Arc<Link>,
    pub(super) options: ClientOptions,
    /// The stream is deleted for now.
    pub(super) deleted: bool,
}

impl Service {
    /// Sets the mood of the link, and deletes or creates the stream to match. A new stream has
    /// `shards` shards.
    pub(super) async fn set_mood(&mut self, mood: Mood, shards: i32) {
        self.link.set_mood(mood);
        let missing = mood == Mood::Rejects(TroubleKind::Missing);
        if missing == self.deleted {
            return;
        }

        let done = if missing {
            self.delete().await
        } else {
            self.create(shards).await
        };
        if done {
            self.deleted = missing;
            self.link.clear();
        }
    }

    fn stream_name(&self) -> Option<String> {
        Some(self.link.stream().to_owned())
    }

    async fn delete(&self) -> bool {
        let request = DeleteStreamRequest {
            stream_name: self.stream_name(),
            ..Default::default()
        };
        call(&self.link.server, &request).await.is_ok()
    }

    async fn create(&self, shards: i32) -> bool {
        let request = CreateStreamRequest {
            stream_name: self.stream_name(),
            shard_count: Some(shards),
            ..Default::default()
        };
        call(&self.link.server, &request).await.is_ok()
    }

    /// Changes the number of open shards as far as one `UpdateShardCount` can.
    pub(super) async fn reshard(&self, shards: usize) {
        let request = DescribeStreamSummaryRequest {
            stream_name: self.stream_name(),
            ..Default::default()
        };
        let Ok(answer) = call(&self.link.server, &request).await else {
            return;
        };

        let open = answer.stream_description_summary.open_shard_count;
        let wanted = i32::try_from(shards).unwrap_or(1);
        let request = UpdateShardCountRequest {
            stream_name: self.stream_name(),
            target_shard_count: Some(wanted.clamp((open + 1) / 2, open * 2)),
            scaling_type: Some(ScalingType::UniformScaling),
            ..Default::default()
        };
        // The server refuses while the stream is UPDATING, and after too many changes.
        _ = call(&self.link.server, &request).await;
    }
}

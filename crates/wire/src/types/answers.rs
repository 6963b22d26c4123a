//! One answer per operation.

// The API reference documents the members; see the docs of `types`.
#![allow(missing_docs)]

use super::shapes;
use super::shared::*;

shapes! {
    /// The answer to [`super::AddTagsToStreamRequest`].
    pub struct AddTagsToStreamResponse {
    }

    /// The answer to [`super::CreateStreamRequest`].
    pub struct CreateStreamResponse {
    }

    /// The answer to [`super::DecreaseStreamRetentionPeriodRequest`].
    pub struct DecreaseStreamRetentionPeriodResponse {
    }

    /// The answer to [`super::DeleteResourcePolicyRequest`].
    pub struct DeleteResourcePolicyResponse {
    }

    /// The answer to [`super::DeleteStreamRequest`].
    pub struct DeleteStreamResponse {
    }

    /// The answer to [`super::DeregisterStreamConsumerRequest`].
    pub struct DeregisterStreamConsumerResponse {
    }

    /// The answer to [`super::DescribeAccountSettingsRequest`].
    pub struct DescribeAccountSettingsResponse {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    }

    /// The answer to [`super::DescribeLimitsRequest`].
    pub struct DescribeLimitsResponse {
        pub shard_limit: i32,
        pub open_shard_count: i32,
        pub on_demand_stream_count: i32,
        pub on_demand_stream_count_limit: i32,
        pub channel_count: Option<i32>,
        pub channel_count_limit: Option<i32>,
    }

    /// The answer to [`super::DescribeStreamRequest`].
    pub struct DescribeStreamResponse {
        pub stream_description: StreamDescription,
    }

    /// The answer to [`super::DescribeStreamConsumerRequest`].
    pub struct DescribeStreamConsumerResponse {
        pub consumer_description: ConsumerDescription,
    }

    /// The answer to [`super::DescribeStreamSummaryRequest`].
    pub struct DescribeStreamSummaryResponse {
        pub stream_description_summary: StreamDescriptionSummary,
    }

    /// The answer to [`super::DisableEnhancedMonitoringRequest`].
    pub struct DisableEnhancedMonitoringResponse {
        pub stream_name: Option<String>,
        pub current_shard_level_metrics: Option<Vec<MetricsName>>,
        pub desired_shard_level_metrics: Option<Vec<MetricsName>>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`super::EnableEnhancedMonitoringRequest`].
    pub struct EnableEnhancedMonitoringResponse {
        pub stream_name: Option<String>,
        pub current_shard_level_metrics: Option<Vec<MetricsName>>,
        pub desired_shard_level_metrics: Option<Vec<MetricsName>>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`super::GetRecordsRequest`].
    pub struct GetRecordsResponse {
        pub records: Vec<Record>,
        /// Absent at the end of a closed shard.
        pub next_shard_iterator: Option<String>,
        /// Milliseconds from the last record to the tip of the shard.
        pub millis_behind_latest: Option<i64>,
        /// Present once: in the last answer of a closed shard.
        pub child_shards: Option<Vec<ChildShard>>,
    }

    /// The answer to [`super::GetResourcePolicyRequest`].
    pub struct GetResourcePolicyResponse {
        pub policy: String,
    }

    /// The answer to [`super::GetShardIteratorRequest`].
    pub struct GetShardIteratorResponse {
        pub shard_iterator: Option<String>,
    }

    /// The answer to [`super::IncreaseStreamRetentionPeriodRequest`].
    pub struct IncreaseStreamRetentionPeriodResponse {
    }

    /// The answer to [`super::ListShardsRequest`].
    pub struct ListShardsResponse {
        pub shards: Option<Vec<Shard>>,
        pub next_token: Option<String>,
    }

    /// The answer to [`super::ListStreamConsumersRequest`].
    pub struct ListStreamConsumersResponse {
        pub consumers: Option<Vec<Consumer>>,
        pub next_token: Option<String>,
    }

    /// The answer to [`super::ListStreamsRequest`].
    pub struct ListStreamsResponse {
        pub stream_names: Vec<String>,
        pub has_more_streams: bool,
        pub next_token: Option<String>,
        pub stream_summaries: Option<Vec<StreamSummary>>,
    }

    /// The answer to [`super::ListTagsForResourceRequest`].
    pub struct ListTagsForResourceResponse {
        pub tags: Option<Vec<Tag>>,
    }

    /// The answer to [`super::ListTagsForStreamRequest`].
    pub struct ListTagsForStreamResponse {
        pub tags: Vec<Tag>,
        pub has_more_tags: bool,
    }

    /// The answer to [`super::MergeShardsRequest`].
    pub struct MergeShardsResponse {
    }

    /// The answer to [`super::PutRecordRequest`].
    pub struct PutRecordResponse {
        pub shard_id: String,
        pub sequence_number: String,
        pub encryption_type: Option<EncryptionType>,
    }

    /// The answer to [`super::PutRecordsRequest`].
    pub struct PutRecordsResponse {
        /// The number of entries in `records` with an `error_code`.
        pub failed_record_count: Option<i32>,
        pub records: Vec<PutRecordsResultEntry>,
        pub encryption_type: Option<EncryptionType>,
    }

    /// The answer to [`super::PutResourcePolicyRequest`].
    pub struct PutResourcePolicyResponse {
    }

    /// The answer to [`super::RegisterStreamConsumerRequest`].
    pub struct RegisterStreamConsumerResponse {
        pub consumer: Consumer,
    }

    /// The answer to [`super::RemoveTagsFromStreamRequest`].
    pub struct RemoveTagsFromStreamResponse {
    }

    /// The answer to [`super::SplitShardRequest`].
    pub struct SplitShardResponse {
    }

    /// The answer to [`super::StartStreamEncryptionRequest`].
    pub struct StartStreamEncryptionResponse {
    }

    /// The answer to [`super::StopStreamEncryptionRequest`].
    pub struct StopStreamEncryptionResponse {
    }

    /// The answer to [`super::SubscribeToShardRequest`].
    pub struct SubscribeToShardResponse {
    }

    /// The answer to [`super::TagResourceRequest`].
    pub struct TagResourceResponse {
    }

    /// The answer to [`super::UntagResourceRequest`].
    pub struct UntagResourceResponse {
    }

    /// The answer to [`super::UpdateAccountSettingsRequest`].
    pub struct UpdateAccountSettingsResponse {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    }

    /// The answer to [`super::UpdateMaxRecordSizeRequest`].
    pub struct UpdateMaxRecordSizeResponse {
    }

    /// The answer to [`super::UpdateShardCountRequest`].
    pub struct UpdateShardCountResponse {
        pub stream_name: Option<String>,
        pub current_shard_count: Option<i32>,
        pub target_shard_count: Option<i32>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`super::UpdateStreamModeRequest`].
    pub struct UpdateStreamModeResponse {
    }

    /// The answer to [`super::UpdateStreamRecordDistributionStrategyRequest`].
    pub struct UpdateStreamRecordDistributionStrategyResponse {
    }

    /// The answer to [`super::UpdateStreamWarmThroughputRequest`].
    pub struct UpdateStreamWarmThroughputResponse {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_name: Option<String>,
        pub warm_throughput: Option<WarmThroughputObject>,
    }
}

//! One answer per operation.

// Members are AWS's; see the module's page.
#![allow(missing_docs)]

use super::shapes;
use super::shared::*;

shapes! {
    /// The answer to [`AddTagsToStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_AddTagsToStream.html).
    pub struct AddTagsToStreamResponse {
    }

    /// The answer to [`CreateStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html).
    pub struct CreateStreamResponse {
    }

    /// The answer to [`DecreaseStreamRetentionPeriod`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DecreaseStreamRetentionPeriod.html).
    pub struct DecreaseStreamRetentionPeriodResponse {
    }

    /// The answer to [`DeleteResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteResourcePolicy.html).
    pub struct DeleteResourcePolicyResponse {
    }

    /// The answer to [`DeleteStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteStream.html).
    pub struct DeleteStreamResponse {
    }

    /// The answer to [`DeregisterStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeregisterStreamConsumer.html).
    pub struct DeregisterStreamConsumerResponse {
    }

    /// The answer to [`DescribeAccountSettings`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeAccountSettings.html).
    pub struct DescribeAccountSettingsResponse {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    }

    /// The answer to [`DescribeLimits`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeLimits.html).
    pub struct DescribeLimitsResponse {
        pub shard_limit: i32,
        pub open_shard_count: i32,
        pub on_demand_stream_count: i32,
        pub on_demand_stream_count_limit: i32,
        pub channel_count: Option<i32>,
        pub channel_count_limit: Option<i32>,
    }

    /// The answer to [`DescribeStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStream.html).
    pub struct DescribeStreamResponse {
        pub stream_description: StreamDescription,
    }

    /// The answer to [`DescribeStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamConsumer.html).
    pub struct DescribeStreamConsumerResponse {
        pub consumer_description: ConsumerDescription,
    }

    /// The answer to [`DescribeStreamSummary`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html).
    pub struct DescribeStreamSummaryResponse {
        pub stream_description_summary: StreamDescriptionSummary,
    }

    /// The answer to [`DisableEnhancedMonitoring`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DisableEnhancedMonitoring.html).
    pub struct DisableEnhancedMonitoringResponse {
        pub stream_name: Option<String>,
        pub current_shard_level_metrics: Option<Vec<MetricsName>>,
        pub desired_shard_level_metrics: Option<Vec<MetricsName>>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`EnableEnhancedMonitoring`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_EnableEnhancedMonitoring.html).
    pub struct EnableEnhancedMonitoringResponse {
        pub stream_name: Option<String>,
        pub current_shard_level_metrics: Option<Vec<MetricsName>>,
        pub desired_shard_level_metrics: Option<Vec<MetricsName>>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`GetRecords`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html).
    pub struct GetRecordsResponse {
        pub records: Vec<Record>,
        /// Absent when the shard is closed and read to its end.
        pub next_shard_iterator: Option<String>,
        /// How far behind the tip the last record is, in milliseconds.
        pub millis_behind_latest: Option<i64>,
        /// There once, when the shard is closed and read to its end.
        pub child_shards: Option<Vec<ChildShard>>,
    }

    /// The answer to [`GetResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetResourcePolicy.html).
    pub struct GetResourcePolicyResponse {
        pub policy: String,
    }

    /// The answer to [`GetShardIterator`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html).
    pub struct GetShardIteratorResponse {
        pub shard_iterator: Option<String>,
    }

    /// The answer to [`IncreaseStreamRetentionPeriod`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html).
    pub struct IncreaseStreamRetentionPeriodResponse {
    }

    /// The answer to [`ListShards`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html).
    pub struct ListShardsResponse {
        pub shards: Option<Vec<Shard>>,
        pub next_token: Option<String>,
    }

    /// The answer to [`ListStreamConsumers`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html).
    pub struct ListStreamConsumersResponse {
        pub consumers: Option<Vec<Consumer>>,
        pub next_token: Option<String>,
    }

    /// The answer to [`ListStreams`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreams.html).
    pub struct ListStreamsResponse {
        pub stream_names: Vec<String>,
        pub has_more_streams: bool,
        pub next_token: Option<String>,
        pub stream_summaries: Option<Vec<StreamSummary>>,
    }

    /// The answer to [`ListTagsForResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForResource.html).
    pub struct ListTagsForResourceResponse {
        pub tags: Option<Vec<Tag>>,
    }

    /// The answer to [`ListTagsForStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForStream.html).
    pub struct ListTagsForStreamResponse {
        pub tags: Vec<Tag>,
        pub has_more_tags: bool,
    }

    /// The answer to [`MergeShards`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_MergeShards.html).
    pub struct MergeShardsResponse {
    }

    /// The answer to [`PutRecord`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html).
    pub struct PutRecordResponse {
        pub shard_id: String,
        pub sequence_number: String,
        pub encryption_type: Option<EncryptionType>,
    }

    /// The answer to [`PutRecords`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html).
    pub struct PutRecordsResponse {
        /// How many entries of `records` have an `error_code`.
        pub failed_record_count: Option<i32>,
        pub records: Vec<PutRecordsResultEntry>,
        pub encryption_type: Option<EncryptionType>,
    }

    /// The answer to [`PutResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutResourcePolicy.html).
    pub struct PutResourcePolicyResponse {
    }

    /// The answer to [`RegisterStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html).
    pub struct RegisterStreamConsumerResponse {
        pub consumer: Consumer,
    }

    /// The answer to [`RemoveTagsFromStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RemoveTagsFromStream.html).
    pub struct RemoveTagsFromStreamResponse {
    }

    /// The answer to [`SplitShard`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SplitShard.html).
    pub struct SplitShardResponse {
    }

    /// The answer to [`StartStreamEncryption`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StartStreamEncryption.html).
    pub struct StartStreamEncryptionResponse {
    }

    /// The answer to [`StopStreamEncryption`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StopStreamEncryption.html).
    pub struct StopStreamEncryptionResponse {
    }

    /// The answer to [`SubscribeToShard`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html).
    pub struct SubscribeToShardResponse {
    }

    /// The answer to [`TagResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_TagResource.html).
    pub struct TagResourceResponse {
    }

    /// The answer to [`UntagResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UntagResource.html).
    pub struct UntagResourceResponse {
    }

    /// The answer to [`UpdateAccountSettings`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateAccountSettings.html).
    pub struct UpdateAccountSettingsResponse {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    }

    /// The answer to [`UpdateMaxRecordSize`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateMaxRecordSize.html).
    pub struct UpdateMaxRecordSizeResponse {
    }

    /// The answer to [`UpdateShardCount`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html).
    pub struct UpdateShardCountResponse {
        pub stream_name: Option<String>,
        pub current_shard_count: Option<i32>,
        pub target_shard_count: Option<i32>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
    }

    /// The answer to [`UpdateStreamMode`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamMode.html).
    pub struct UpdateStreamModeResponse {
    }

    /// The answer to [`UpdateStreamRecordDistributionStrategy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html).
    pub struct UpdateStreamRecordDistributionStrategyResponse {
    }

    /// The answer to [`UpdateStreamWarmThroughput`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html).
    pub struct UpdateStreamWarmThroughputResponse {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_name: Option<String>,
        pub warm_throughput: Option<WarmThroughputObject>,
    }
}

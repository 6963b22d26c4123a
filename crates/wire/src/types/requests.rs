//! One request per operation.

// Members are AWS's; see the module's page.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use super::answers::*;
use super::shared::*;
use super::{Blob, Request, Timestamp, shapes};
use crate::op::Operation;

shapes! {
    /// [`AddTagsToStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_AddTagsToStream.html): adds or replaces up to 50 tags of a stream.
    pub struct AddTagsToStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`CreateStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html): creates a stream; its state is CREATING until it is ACTIVE.
    pub struct CreateStreamRequest {
        pub stream_name: Option<String>,
        pub shard_count: Option<i32>,
        pub stream_mode_details: Option<StreamModeDetails>,
        pub tags: Option<BTreeMap<String, String>>,
        /// MiB a second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
        /// 1,024 to 10,240.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
    }

    /// [`DecreaseStreamRetentionPeriod`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DecreaseStreamRetentionPeriod.html): shortens how long a stream keeps records.
    pub struct DecreaseStreamRetentionPeriodRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 24 to 8,760.
        pub retention_period_hours: Option<i32>,
    }

    /// [`DeleteResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteResourcePolicy.html): deletes the policy of a stream or consumer.
    pub struct DeleteResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DeleteStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteStream.html): deletes a stream and its records.
    pub struct DeleteStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub enforce_consumer_deletion: Option<bool>,
    }

    /// [`DeregisterStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeregisterStreamConsumer.html): removes a consumer, by its ARN or by its name and the stream's ARN.
    pub struct DeregisterStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DescribeAccountSettings`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeAccountSettings.html): shows the account's settings in the region.
    pub struct DescribeAccountSettingsRequest {
    }

    /// [`DescribeLimits`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeLimits.html): shows the account's shard and stream limits in the region.
    pub struct DescribeLimitsRequest {
    }

    /// [`DescribeStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStream.html): shows a stream with a page of its shards.
    pub struct DescribeStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub limit: Option<i32>,
        pub exclusive_start_shard_id: Option<String>,
    }

    /// [`DescribeStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamConsumer.html): shows a consumer, by its ARN or by its name and the stream's ARN.
    pub struct DescribeStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DescribeStreamSummary`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html): shows a stream without its shards.
    pub struct DescribeStreamSummaryRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DisableEnhancedMonitoring`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DisableEnhancedMonitoring.html): stops shard-level metrics.
    pub struct DisableEnhancedMonitoringRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// [`EnableEnhancedMonitoring`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_EnableEnhancedMonitoring.html): starts shard-level metrics.
    pub struct EnableEnhancedMonitoringRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// [`GetRecords`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html): reads from where a shard iterator stands.
    pub struct GetRecordsRequest {
        pub shard_iterator: Option<String>,
        pub limit: Option<i32>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub dry_run: Option<bool>,
    }

    /// [`GetResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetResourcePolicy.html): shows the policy of a stream or consumer.
    pub struct GetResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`GetShardIterator`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html): makes an iterator, good for 5 minutes.
    pub struct GetShardIteratorRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_id: Option<String>,
        pub shard_iterator_type: Option<ShardIteratorType>,
        pub starting_sequence_number: Option<String>,
        pub timestamp: Option<Timestamp>,
        pub dry_run: Option<bool>,
    }

    /// [`IncreaseStreamRetentionPeriod`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html): lengthens how long a stream keeps records.
    pub struct IncreaseStreamRetentionPeriodRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 24 to 8,760.
        pub retention_period_hours: Option<i32>,
    }

    /// [`ListShards`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html): lists a page of shards.
    pub struct ListShardsRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub next_token: Option<String>,
        pub exclusive_start_shard_id: Option<String>,
        pub max_results: Option<i32>,
        pub stream_creation_timestamp: Option<Timestamp>,
        pub shard_filter: Option<ShardFilter>,
    }

    /// [`ListStreamConsumers`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html): lists a page of a stream's consumers.
    pub struct ListStreamConsumersRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub next_token: Option<String>,
        pub max_results: Option<i32>,
        pub stream_creation_timestamp: Option<Timestamp>,
        pub stream_id: Option<String>,
    }

    /// [`ListStreams`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreams.html): lists a page of the account's streams in the region.
    pub struct ListStreamsRequest {
        pub limit: Option<i32>,
        pub exclusive_start_stream_name: Option<String>,
        pub next_token: Option<String>,
    }

    /// [`ListTagsForResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForResource.html): lists the tags of a stream or consumer.
    pub struct ListTagsForResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`ListTagsForStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForStream.html): lists a page of a stream's tags.
    pub struct ListTagsForStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub exclusive_start_tag_key: Option<String>,
        pub limit: Option<i32>,
    }

    /// [`MergeShards`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_MergeShards.html): merges two adjacent shards into one.
    pub struct MergeShardsRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_to_merge: Option<String>,
        pub adjacent_shard_to_merge: Option<String>,
    }

    /// [`PutRecord`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html): writes one record.
    pub struct PutRecordRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// Up to 1 MiB with the partition key, or what the stream allows (up to 10 MiB).
        pub data: Option<Blob>,
        /// Up to 256 Unicode characters. Optional in today's API.
        pub partition_key: Option<String>,
        /// A decimal number below 2^128, in place of the MD5 of the partition key.
        pub explicit_hash_key: Option<String>,
        pub sequence_number_for_ordering: Option<String>,
        pub dry_run: Option<bool>,
    }

    /// [`PutRecords`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html): writes up to 500 records and 10 MiB, partition keys included; each may fail by itself.
    pub struct PutRecordsRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub records: Option<Vec<PutRecordsRequestEntry>>,
        pub dry_run: Option<bool>,
    }

    /// [`PutResourcePolicy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutResourcePolicy.html): sets the policy of a stream or consumer.
    pub struct PutResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub policy: Option<String>,
    }

    /// [`RegisterStreamConsumer`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html): registers a consumer for enhanced fan-out.
    pub struct RegisterStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`RemoveTagsFromStream`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RemoveTagsFromStream.html): removes tags from a stream.
    pub struct RemoveTagsFromStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tag_keys: Option<Vec<String>>,
    }

    /// [`SplitShard`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SplitShard.html): splits a shard in two.
    pub struct SplitShardRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_to_split: Option<String>,
        pub new_starting_hash_key: Option<String>,
    }

    /// [`StartStreamEncryption`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StartStreamEncryption.html): encrypts what is written from now on.
    pub struct StartStreamEncryptionRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
    }

    /// [`StopStreamEncryption`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StopStreamEncryption.html): stops encrypting what is written from now on.
    pub struct StopStreamEncryptionRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
    }

    /// [`SubscribeToShard`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html): has a shard's records pushed to a consumer for 5 minutes.
    pub struct SubscribeToShardRequest {
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_id: Option<String>,
        pub starting_position: Option<StartingPosition>,
        pub dry_run: Option<bool>,
    }

    /// [`TagResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_TagResource.html): adds or replaces tags of a stream or consumer.
    pub struct TagResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`UntagResource`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UntagResource.html): removes tags from a stream or consumer.
    pub struct UntagResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tag_keys: Option<Vec<String>>,
    }

    /// [`UpdateAccountSettings`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateAccountSettings.html): changes the account's settings in the region.
    pub struct UpdateAccountSettingsRequest {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentInput>,
    }

    /// [`UpdateMaxRecordSize`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateMaxRecordSize.html): changes how large a record of the stream may be.
    pub struct UpdateMaxRecordSizeRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 1,024 to 10,240.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
    }

    /// [`UpdateShardCount`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html): splits and merges to a number of shards of even size.
    pub struct UpdateShardCountRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub target_shard_count: Option<i32>,
        pub scaling_type: Option<ScalingType>,
    }

    /// [`UpdateStreamMode`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamMode.html): turns a provisioned stream into an on-demand one, or back.
    pub struct UpdateStreamModeRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub stream_mode_details: Option<StreamModeDetails>,
        /// MiB a second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
    }

    /// [`UpdateStreamRecordDistributionStrategy`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html): chooses whether partition keys or Kinesis place the records.
    pub struct UpdateStreamRecordDistributionStrategyRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
    }

    /// [`UpdateStreamWarmThroughput`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html): changes how much an on-demand stream takes at once.
    pub struct UpdateStreamWarmThroughputRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_name: Option<String>,
        pub stream_id: Option<String>,
        /// MiB a second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
    }
}

macro_rules! requests {
    ($($request:ident: $operation:ident -> $answer:ident;)*) => {$(
        impl Request for $request {
            const OPERATION: Operation = Operation::$operation;
            type Answer = $answer;
        }
    )*

        #[cfg(test)]
        pub(super) mod tests {
            use crate::op::Operation;
            use crate::types::fill::Rng;
            use crate::types::tests::there_and_back;

            /// Sends a random request and a random answer of every operation there and back.
            pub(in crate::types) fn for_each_operation(rng: &mut Rng, seen: &mut Vec<Operation>) {
                $(
                    there_and_back::<crate::types::$request>(rng);
                    there_and_back::<crate::types::$answer>(rng);
                    seen.push(<crate::types::$request as crate::types::Request>::OPERATION);
                )*
            }
        }
    };
}

requests! {
    AddTagsToStreamRequest: AddTagsToStream -> AddTagsToStreamResponse;
    CreateStreamRequest: CreateStream -> CreateStreamResponse;
    DecreaseStreamRetentionPeriodRequest: DecreaseStreamRetentionPeriod -> DecreaseStreamRetentionPeriodResponse;
    DeleteResourcePolicyRequest: DeleteResourcePolicy -> DeleteResourcePolicyResponse;
    DeleteStreamRequest: DeleteStream -> DeleteStreamResponse;
    DeregisterStreamConsumerRequest: DeregisterStreamConsumer -> DeregisterStreamConsumerResponse;
    DescribeAccountSettingsRequest: DescribeAccountSettings -> DescribeAccountSettingsResponse;
    DescribeLimitsRequest: DescribeLimits -> DescribeLimitsResponse;
    DescribeStreamRequest: DescribeStream -> DescribeStreamResponse;
    DescribeStreamConsumerRequest: DescribeStreamConsumer -> DescribeStreamConsumerResponse;
    DescribeStreamSummaryRequest: DescribeStreamSummary -> DescribeStreamSummaryResponse;
    DisableEnhancedMonitoringRequest: DisableEnhancedMonitoring -> DisableEnhancedMonitoringResponse;
    EnableEnhancedMonitoringRequest: EnableEnhancedMonitoring -> EnableEnhancedMonitoringResponse;
    GetRecordsRequest: GetRecords -> GetRecordsResponse;
    GetResourcePolicyRequest: GetResourcePolicy -> GetResourcePolicyResponse;
    GetShardIteratorRequest: GetShardIterator -> GetShardIteratorResponse;
    IncreaseStreamRetentionPeriodRequest: IncreaseStreamRetentionPeriod -> IncreaseStreamRetentionPeriodResponse;
    ListShardsRequest: ListShards -> ListShardsResponse;
    ListStreamConsumersRequest: ListStreamConsumers -> ListStreamConsumersResponse;
    ListStreamsRequest: ListStreams -> ListStreamsResponse;
    ListTagsForResourceRequest: ListTagsForResource -> ListTagsForResourceResponse;
    ListTagsForStreamRequest: ListTagsForStream -> ListTagsForStreamResponse;
    MergeShardsRequest: MergeShards -> MergeShardsResponse;
    PutRecordRequest: PutRecord -> PutRecordResponse;
    PutRecordsRequest: PutRecords -> PutRecordsResponse;
    PutResourcePolicyRequest: PutResourcePolicy -> PutResourcePolicyResponse;
    RegisterStreamConsumerRequest: RegisterStreamConsumer -> RegisterStreamConsumerResponse;
    RemoveTagsFromStreamRequest: RemoveTagsFromStream -> RemoveTagsFromStreamResponse;
    SplitShardRequest: SplitShard -> SplitShardResponse;
    StartStreamEncryptionRequest: StartStreamEncryption -> StartStreamEncryptionResponse;
    StopStreamEncryptionRequest: StopStreamEncryption -> StopStreamEncryptionResponse;
    SubscribeToShardRequest: SubscribeToShard -> SubscribeToShardResponse;
    TagResourceRequest: TagResource -> TagResourceResponse;
    UntagResourceRequest: UntagResource -> UntagResourceResponse;
    UpdateAccountSettingsRequest: UpdateAccountSettings -> UpdateAccountSettingsResponse;
    UpdateMaxRecordSizeRequest: UpdateMaxRecordSize -> UpdateMaxRecordSizeResponse;
    UpdateShardCountRequest: UpdateShardCount -> UpdateShardCountResponse;
    UpdateStreamModeRequest: UpdateStreamMode -> UpdateStreamModeResponse;
    UpdateStreamRecordDistributionStrategyRequest: UpdateStreamRecordDistributionStrategy -> UpdateStreamRecordDistributionStrategyResponse;
    UpdateStreamWarmThroughputRequest: UpdateStreamWarmThroughput -> UpdateStreamWarmThroughputResponse;
}

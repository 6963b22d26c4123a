//! One request per operation.

// The API reference documents the members; see the docs of `types`.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use super::answers::*;
use super::shared::*;
use super::{Blob, Request, Timestamp, shapes};
use crate::op::Operation;

shapes! {
    /// [`AddTagsToStream`](Operation::AddTagsToStream): adds or replaces up to 50 tags of a stream.
    pub struct AddTagsToStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`CreateStream`](Operation::CreateStream): creates a stream; its state is CREATING until it
    /// is ACTIVE.
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

    /// [`DecreaseStreamRetentionPeriod`](Operation::DecreaseStreamRetentionPeriod): shortens how
    /// long a stream keeps records.
    pub struct DecreaseStreamRetentionPeriodRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 24 to 8,760.
        pub retention_period_hours: Option<i32>,
    }

    /// [`DeleteResourcePolicy`](Operation::DeleteResourcePolicy): deletes the policy of a stream or
    /// consumer.
    pub struct DeleteResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DeleteStream`](Operation::DeleteStream): deletes a stream and its records.
    pub struct DeleteStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub enforce_consumer_deletion: Option<bool>,
    }

    /// [`DeregisterStreamConsumer`](Operation::DeregisterStreamConsumer): removes a consumer, by
    /// its ARN or by its name and the stream's ARN.
    pub struct DeregisterStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DescribeAccountSettings`](Operation::DescribeAccountSettings): shows the account's
    /// settings in the region.
    pub struct DescribeAccountSettingsRequest {
    }

    /// [`DescribeLimits`](Operation::DescribeLimits): shows the account's shard and stream limits
    /// in the region.
    pub struct DescribeLimitsRequest {
    }

    /// [`DescribeStream`](Operation::DescribeStream): shows a stream with a page of its shards.
    pub struct DescribeStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub limit: Option<i32>,
        pub exclusive_start_shard_id: Option<String>,
    }

    /// [`DescribeStreamConsumer`](Operation::DescribeStreamConsumer): shows a consumer, by its ARN
    /// or by its name and the stream's ARN.
    pub struct DescribeStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DescribeStreamSummary`](Operation::DescribeStreamSummary): shows a stream without its
    /// shards.
    pub struct DescribeStreamSummaryRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`DisableEnhancedMonitoring`](Operation::DisableEnhancedMonitoring): stops shard-level
    /// metrics.
    pub struct DisableEnhancedMonitoringRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// [`EnableEnhancedMonitoring`](Operation::EnableEnhancedMonitoring): starts shard-level
    /// metrics.
    pub struct EnableEnhancedMonitoringRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// [`GetRecords`](Operation::GetRecords): reads the records after a shard iterator.
    pub struct GetRecordsRequest {
        pub shard_iterator: Option<String>,
        pub limit: Option<i32>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub dry_run: Option<bool>,
    }

    /// [`GetResourcePolicy`](Operation::GetResourcePolicy): shows the policy of a stream or
    /// consumer.
    pub struct GetResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`GetShardIterator`](Operation::GetShardIterator): creates an iterator that expires
    /// after 5 minutes.
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

    /// [`IncreaseStreamRetentionPeriod`](Operation::IncreaseStreamRetentionPeriod): lengthens how
    /// long a stream keeps records.
    pub struct IncreaseStreamRetentionPeriodRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 24 to 8,760.
        pub retention_period_hours: Option<i32>,
    }

    /// [`ListShards`](Operation::ListShards): lists a page of shards.
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

    /// [`ListStreamConsumers`](Operation::ListStreamConsumers): lists a page of a stream's
    /// consumers.
    pub struct ListStreamConsumersRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub next_token: Option<String>,
        pub max_results: Option<i32>,
        pub stream_creation_timestamp: Option<Timestamp>,
        pub stream_id: Option<String>,
    }

    /// [`ListStreams`](Operation::ListStreams): lists a page of the account's streams in the
    /// region.
    pub struct ListStreamsRequest {
        pub limit: Option<i32>,
        pub exclusive_start_stream_name: Option<String>,
        pub next_token: Option<String>,
    }

    /// [`ListTagsForResource`](Operation::ListTagsForResource): lists the tags of a stream or
    /// consumer.
    pub struct ListTagsForResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
    }

    /// [`ListTagsForStream`](Operation::ListTagsForStream): lists a page of a stream's tags.
    pub struct ListTagsForStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub exclusive_start_tag_key: Option<String>,
        pub limit: Option<i32>,
    }

    /// [`MergeShards`](Operation::MergeShards): merges two adjacent shards into one.
    pub struct MergeShardsRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_to_merge: Option<String>,
        pub adjacent_shard_to_merge: Option<String>,
    }

    /// [`PutRecord`](Operation::PutRecord): writes one record.
    pub struct PutRecordRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// Up to 1 MiB with the partition key; a stream can allow up to 10 MiB.
        pub data: Option<Blob>,
        /// Up to 256 Unicode characters. Optional in the API.
        pub partition_key: Option<String>,
        /// A decimal number below 2^128, in place of the MD5 of the partition key.
        pub explicit_hash_key: Option<String>,
        pub sequence_number_for_ordering: Option<String>,
        pub dry_run: Option<bool>,
    }

    /// [`PutRecords`](Operation::PutRecords): writes up to 500 records and 10 MiB, partition keys
    /// included; each record may fail by itself.
    pub struct PutRecordsRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub records: Option<Vec<PutRecordsRequestEntry>>,
        pub dry_run: Option<bool>,
    }

    /// [`PutResourcePolicy`](Operation::PutResourcePolicy): sets the policy of a stream or
    /// consumer.
    pub struct PutResourcePolicyRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub policy: Option<String>,
    }

    /// [`RegisterStreamConsumer`](Operation::RegisterStreamConsumer): registers a consumer for
    /// enhanced fan-out.
    pub struct RegisterStreamConsumerRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub consumer_name: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`RemoveTagsFromStream`](Operation::RemoveTagsFromStream): removes tags from a stream.
    pub struct RemoveTagsFromStreamRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tag_keys: Option<Vec<String>>,
    }

    /// [`SplitShard`](Operation::SplitShard): splits a shard in two.
    pub struct SplitShardRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_to_split: Option<String>,
        pub new_starting_hash_key: Option<String>,
    }

    /// [`StartStreamEncryption`](Operation::StartStreamEncryption): encrypts what is written from
    /// now on.
    pub struct StartStreamEncryptionRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
    }

    /// [`StopStreamEncryption`](Operation::StopStreamEncryption): stops encrypting what is written
    /// from now on.
    pub struct StopStreamEncryptionRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
    }

    /// [`SubscribeToShard`](Operation::SubscribeToShard): has a shard's records pushed to a
    /// consumer for 5 minutes.
    pub struct SubscribeToShardRequest {
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: Option<String>,
        pub stream_id: Option<String>,
        pub shard_id: Option<String>,
        pub starting_position: Option<StartingPosition>,
        pub dry_run: Option<bool>,
    }

    /// [`TagResource`](Operation::TagResource): adds or replaces tags of a stream or consumer.
    pub struct TagResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tags: Option<BTreeMap<String, String>>,
    }

    /// [`UntagResource`](Operation::UntagResource): removes tags from a stream or consumer.
    pub struct UntagResourceRequest {
        #[serde(rename = "ResourceARN")]
        pub resource_arn: Option<String>,
        pub stream_id: Option<String>,
        pub tag_keys: Option<Vec<String>>,
    }

    /// [`UpdateAccountSettings`](Operation::UpdateAccountSettings): changes the account's settings
    /// in the region.
    pub struct UpdateAccountSettingsRequest {
        pub minimum_throughput_billing_commitment: Option<MinimumThroughputBillingCommitmentInput>,
    }

    /// [`UpdateMaxRecordSize`](Operation::UpdateMaxRecordSize): changes how large a record of the
    /// stream may be.
    pub struct UpdateMaxRecordSizeRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        /// 1,024 to 10,240.
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
    }

    /// [`UpdateShardCount`](Operation::UpdateShardCount): splits and merges to a number of shards
    /// of even size.
    pub struct UpdateShardCountRequest {
        pub stream_name: Option<String>,
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub target_shard_count: Option<i32>,
        pub scaling_type: Option<ScalingType>,
    }

    /// [`UpdateStreamMode`](Operation::UpdateStreamMode): turns a provisioned stream into an
    /// on-demand one, or back.
    pub struct UpdateStreamModeRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub stream_mode_details: Option<StreamModeDetails>,
        /// MiB a second.
        #[serde(rename = "WarmThroughputMiBps")]
        pub warm_throughput_mibps: Option<i32>,
    }

    /// [`Operation::UpdateStreamRecordDistributionStrategy`]: selects between placement by
    /// partition key and by Kinesis.
    pub struct UpdateStreamRecordDistributionStrategyRequest {
        #[serde(rename = "StreamARN")]
        pub stream_arn: Option<String>,
        pub stream_id: Option<String>,
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
    }

    /// [`UpdateStreamWarmThroughput`](Operation::UpdateStreamWarmThroughput): changes how much an
    /// on-demand stream takes at once.
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

/// Joins each operation with the request and the answer, and lists all for a test.
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

            /// Encodes and decodes a random request and a random answer of every operation.
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
    DecreaseStreamRetentionPeriodRequest: DecreaseStreamRetentionPeriod
        -> DecreaseStreamRetentionPeriodResponse;
    DeleteResourcePolicyRequest: DeleteResourcePolicy -> DeleteResourcePolicyResponse;
    DeleteStreamRequest: DeleteStream -> DeleteStreamResponse;
    DeregisterStreamConsumerRequest: DeregisterStreamConsumer -> DeregisterStreamConsumerResponse;
    DescribeAccountSettingsRequest: DescribeAccountSettings -> DescribeAccountSettingsResponse;
    DescribeLimitsRequest: DescribeLimits -> DescribeLimitsResponse;
    DescribeStreamRequest: DescribeStream -> DescribeStreamResponse;
    DescribeStreamConsumerRequest: DescribeStreamConsumer -> DescribeStreamConsumerResponse;
    DescribeStreamSummaryRequest: DescribeStreamSummary -> DescribeStreamSummaryResponse;
    DisableEnhancedMonitoringRequest: DisableEnhancedMonitoring
        -> DisableEnhancedMonitoringResponse;
    EnableEnhancedMonitoringRequest: EnableEnhancedMonitoring -> EnableEnhancedMonitoringResponse;
    GetRecordsRequest: GetRecords -> GetRecordsResponse;
    GetResourcePolicyRequest: GetResourcePolicy -> GetResourcePolicyResponse;
    GetShardIteratorRequest: GetShardIterator -> GetShardIteratorResponse;
    IncreaseStreamRetentionPeriodRequest: IncreaseStreamRetentionPeriod
        -> IncreaseStreamRetentionPeriodResponse;
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
    UpdateStreamRecordDistributionStrategyRequest: UpdateStreamRecordDistributionStrategy
        -> UpdateStreamRecordDistributionStrategyResponse;
    UpdateStreamWarmThroughputRequest: UpdateStreamWarmThroughput
        -> UpdateStreamWarmThroughputResponse;
}

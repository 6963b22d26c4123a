//! Which stream each request is about.

use distributary_wire::types::*;

use crate::ops::Names;

/// A request that says which stream it is about.
pub(crate) trait Addressed {
    fn names(&self) -> Names<'_>;
}

macro_rules! addressed {
    ($($request:ident { $($part:ident: $field:ident),* })*) => {$(
        impl Addressed for $request {
            fn names(&self) -> Names<'_> {
                Names { $($part: self.$field.as_deref(),)* ..Names::default() }
            }
        }
    )*};
}

addressed! {
    AddTagsToStreamRequest { name: stream_name, arn: stream_arn }
    CreateStreamRequest { name: stream_name }
    DecreaseStreamRetentionPeriodRequest { name: stream_name, arn: stream_arn }
    DeleteResourcePolicyRequest { arn: resource_arn }
    DeleteStreamRequest { name: stream_name, arn: stream_arn }
    DescribeAccountSettingsRequest {}
    DescribeLimitsRequest {}
    DescribeStreamRequest { name: stream_name, arn: stream_arn }
    DescribeStreamSummaryRequest { name: stream_name, arn: stream_arn }
    DisableEnhancedMonitoringRequest { name: stream_name, arn: stream_arn }
    EnableEnhancedMonitoringRequest { name: stream_name, arn: stream_arn }
    GetResourcePolicyRequest { arn: resource_arn }
    GetShardIteratorRequest { name: stream_name, arn: stream_arn, shard: shard_id }
    IncreaseStreamRetentionPeriodRequest { name: stream_name, arn: stream_arn }
    ListShardsRequest { name: stream_name, arn: stream_arn }
    ListStreamConsumersRequest { arn: stream_arn }
    ListStreamsRequest {}
    ListTagsForResourceRequest { arn: resource_arn }
    ListTagsForStreamRequest { name: stream_name, arn: stream_arn }
    MergeShardsRequest { name: stream_name, arn: stream_arn, shard: shard_to_merge }
    PutRecordRequest { name: stream_name, arn: stream_arn }
    PutResourcePolicyRequest { arn: resource_arn }
    RegisterStreamConsumerRequest { arn: stream_arn, consumer: consumer_name }
    RemoveTagsFromStreamRequest { name: stream_name, arn: stream_arn }
    SplitShardRequest { name: stream_name, arn: stream_arn, shard: shard_to_split }
    StartStreamEncryptionRequest { name: stream_name, arn: stream_arn }
    StopStreamEncryptionRequest { name: stream_name, arn: stream_arn }
    TagResourceRequest { arn: resource_arn }
    UntagResourceRequest { arn: resource_arn }
    UpdateAccountSettingsRequest {}
    UpdateMaxRecordSizeRequest { arn: stream_arn }
    UpdateShardCountRequest { name: stream_name, arn: stream_arn }
    UpdateStreamModeRequest { arn: stream_arn }
    UpdateStreamRecordDistributionStrategyRequest { arn: stream_arn }
    UpdateStreamWarmThroughputRequest { name: stream_name, arn: stream_arn }
}

impl Addressed for DescribeStreamConsumerRequest {
    fn names(&self) -> Names<'_> {
        let arn = self.consumer_arn.as_deref().or(self.stream_arn.as_deref());
        Names {
            arn,
            consumer: self.consumer_name.as_deref(),
            ..Names::default()
        }
    }
}

impl Addressed for DeregisterStreamConsumerRequest {
    fn names(&self) -> Names<'_> {
        let arn = self.consumer_arn.as_deref().or(self.stream_arn.as_deref());
        Names {
            arn,
            consumer: self.consumer_name.as_deref(),
            ..Names::default()
        }
    }
}

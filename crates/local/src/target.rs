//! The stream, shard and consumer that each request is about.

use distributary_wire::hot::PutRecordsParsed;
use distributary_wire::types::*;

/// The resource that a request is about, as far as the request names the resource.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Target<'a> {
    pub(crate) stream_name: Option<&'a str>,
    /// The ARN of a stream or of a consumer.
    pub(crate) arn: Option<&'a str>,
    pub(crate) shard_id: Option<&'a str>,
    pub(crate) consumer_name: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The stream's name, given directly or in the ARN.
    pub(crate) fn stream(&self) -> Option<&'a str> {
        let resource = self.arn.and_then(|arn| arn.split(":stream/").nth(1));
        self.stream_name
            .or(resource.and_then(|r| r.split('/').next()))
    }

    /// The region in the ARN.
    pub(crate) fn region(&self) -> Option<&'a str> {
        self.arn.and_then(|arn| arn.split(':').nth(3))
    }

    /// The consumer's name, given directly or in the ARN.
    pub(crate) fn consumer(&self) -> Option<&'a str> {
        let resource = self.arn.and_then(|arn| arn.split("/consumer/").nth(1));
        self.consumer_name
            .or(resource.and_then(|r| r.split(':').next()))
    }
}

/// A request with a [`Target`].
pub(crate) trait Targeted {
    fn target(&self) -> Target<'_>;
}

/// Implements [`Targeted`] from fields of the request.
macro_rules! targeted {
    ($($request:ident { $($part:ident: $field:ident),* })*) => {$(
        impl Targeted for $request {
            fn target(&self) -> Target<'_> {
                Target { $($part: self.$field.as_deref(),)* ..Target::default() }
            }
        }
    )*};
}

targeted! {
    AddTagsToStreamRequest { stream_name: stream_name, arn: stream_arn }
    CreateStreamRequest { stream_name: stream_name }
    DecreaseStreamRetentionPeriodRequest { stream_name: stream_name, arn: stream_arn }
    DeleteResourcePolicyRequest { arn: resource_arn }
    DeleteStreamRequest { stream_name: stream_name, arn: stream_arn }
    DescribeAccountSettingsRequest {}
    DescribeLimitsRequest {}
    DescribeStreamRequest { stream_name: stream_name, arn: stream_arn }
    DescribeStreamSummaryRequest { stream_name: stream_name, arn: stream_arn }
    DisableEnhancedMonitoringRequest { stream_name: stream_name, arn: stream_arn }
    EnableEnhancedMonitoringRequest { stream_name: stream_name, arn: stream_arn }
    GetResourcePolicyRequest { arn: resource_arn }
    GetShardIteratorRequest { stream_name: stream_name, arn: stream_arn, shard_id: shard_id }
    IncreaseStreamRetentionPeriodRequest { stream_name: stream_name, arn: stream_arn }
    ListShardsRequest { stream_name: stream_name, arn: stream_arn }
    ListStreamConsumersRequest { arn: stream_arn }
    ListStreamsRequest {}
    ListTagsForResourceRequest { arn: resource_arn }
    ListTagsForStreamRequest { stream_name: stream_name, arn: stream_arn }
    MergeShardsRequest { stream_name: stream_name, arn: stream_arn, shard_id: shard_to_merge }
    PutRecordRequest { stream_name: stream_name, arn: stream_arn }
    PutResourcePolicyRequest { arn: resource_arn }
    RegisterStreamConsumerRequest { arn: stream_arn, consumer_name: consumer_name }
    RemoveTagsFromStreamRequest { stream_name: stream_name, arn: stream_arn }
    SplitShardRequest { stream_name: stream_name, arn: stream_arn, shard_id: shard_to_split }
    StartStreamEncryptionRequest { stream_name: stream_name, arn: stream_arn }
    StopStreamEncryptionRequest { stream_name: stream_name, arn: stream_arn }
    TagResourceRequest { arn: resource_arn }
    UntagResourceRequest { arn: resource_arn }
    UpdateAccountSettingsRequest {}
    UpdateMaxRecordSizeRequest { arn: stream_arn }
    UpdateShardCountRequest { stream_name: stream_name, arn: stream_arn }
    UpdateStreamModeRequest { arn: stream_arn }
    UpdateStreamRecordDistributionStrategyRequest { arn: stream_arn }
    UpdateStreamWarmThroughputRequest { stream_name: stream_name, arn: stream_arn }
}

impl Targeted for PutRecordsParsed {
    fn target(&self) -> Target<'_> {
        Target {
            stream_name: self.stream_name.as_deref(),
            arn: self.stream_arn.as_deref(),
            ..Target::default()
        }
    }
}

impl Targeted for DescribeStreamConsumerRequest {
    fn target(&self) -> Target<'_> {
        Target {
            arn: self.consumer_arn.as_deref().or(self.stream_arn.as_deref()),
            consumer_name: self.consumer_name.as_deref(),
            ..Target::default()
        }
    }
}

impl Targeted for DeregisterStreamConsumerRequest {
    fn target(&self) -> Target<'_> {
        Target {
            arn: self.consumer_arn.as_deref().or(self.stream_arn.as_deref()),
            consumer_name: self.consumer_name.as_deref(),
            ..Target::default()
        }
    }
}

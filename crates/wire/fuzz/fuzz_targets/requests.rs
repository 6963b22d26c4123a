//! The generic codec with every request and answer: a value that is read can be written and read
//! again the same.
#![no_main]

use distributary_wire::codec::{self, Format};
use distributary_wire::types::*;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn there_and_back<T: Serialize + DeserializeOwned + std::fmt::Debug>(format: Format, body: &[u8]) {
    let Ok(value) = codec::decode::<T>(format, body) else {
        return;
    };
    for format in Format::ALL {
        let again: T = codec::decode(format, &codec::encode(format, &value))
            .expect("a written body can be read");
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
    }
}

fn request<R: Request>(format: Format, body: &[u8]) {
    there_and_back::<R>(format, body);
    there_and_back::<R::Answer>(format, body);
}

// The first byte chooses an operation, the rest is its body.
fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    for format in Format::ALL {
        match choice {
            0 => request::<AddTagsToStreamRequest>(format, body),
            1 => request::<CreateStreamRequest>(format, body),
            2 => request::<DecreaseStreamRetentionPeriodRequest>(format, body),
            3 => request::<DeleteResourcePolicyRequest>(format, body),
            4 => request::<DeleteStreamRequest>(format, body),
            5 => request::<DeregisterStreamConsumerRequest>(format, body),
            6 => request::<DescribeAccountSettingsRequest>(format, body),
            7 => request::<DescribeLimitsRequest>(format, body),
            8 => request::<DescribeStreamRequest>(format, body),
            9 => request::<DescribeStreamConsumerRequest>(format, body),
            10 => request::<DescribeStreamSummaryRequest>(format, body),
            11 => request::<DisableEnhancedMonitoringRequest>(format, body),
            12 => request::<EnableEnhancedMonitoringRequest>(format, body),
            13 => request::<GetRecordsRequest>(format, body),
            14 => request::<GetResourcePolicyRequest>(format, body),
            15 => request::<GetShardIteratorRequest>(format, body),
            16 => request::<IncreaseStreamRetentionPeriodRequest>(format, body),
            17 => request::<ListShardsRequest>(format, body),
            18 => request::<ListStreamConsumersRequest>(format, body),
            19 => request::<ListStreamsRequest>(format, body),
            20 => request::<ListTagsForResourceRequest>(format, body),
            21 => request::<ListTagsForStreamRequest>(format, body),
            22 => request::<MergeShardsRequest>(format, body),
            23 => request::<PutRecordRequest>(format, body),
            24 => request::<PutRecordsRequest>(format, body),
            25 => request::<PutResourcePolicyRequest>(format, body),
            26 => request::<RegisterStreamConsumerRequest>(format, body),
            27 => request::<RemoveTagsFromStreamRequest>(format, body),
            28 => request::<SplitShardRequest>(format, body),
            29 => request::<StartStreamEncryptionRequest>(format, body),
            30 => request::<StopStreamEncryptionRequest>(format, body),
            31 => request::<SubscribeToShardRequest>(format, body),
            32 => request::<TagResourceRequest>(format, body),
            33 => request::<UntagResourceRequest>(format, body),
            34 => request::<UpdateAccountSettingsRequest>(format, body),
            35 => request::<UpdateMaxRecordSizeRequest>(format, body),
            36 => request::<UpdateShardCountRequest>(format, body),
            37 => request::<UpdateStreamModeRequest>(format, body),
            38 => request::<UpdateStreamRecordDistributionStrategyRequest>(format, body),
            39 => request::<UpdateStreamWarmThroughputRequest>(format, body),
            _ => {}
        }
    }
});

//! The limits of Kinesis Data Streams, each with the AWS page that states the limit in brackets.
//!
//! "PutRecords" means [API_PutRecords][put-records], and so on for the other operations; "quotas"
//! means [Quotas and limits][quotas].
//!
//! [put-records]: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
//! [quotas]: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html

use crate::op::Operation;

/// Records of one `PutRecords` request. (`PutRecords`)
pub const PUT_RECORDS_ENTRIES: usize = 500;

/// Bytes of one `PutRecords` request: data and partition keys of all its records. (`PutRecords`)
pub const PUT_RECORDS_BYTES: usize = 10 * 1024 * 1024;

/// As [`PUT_RECORDS_BYTES`], on servers that still enforce AWS's older limit.
pub const PUT_RECORDS_BYTES_OLD: usize = 5 * 1024 * 1024;

/// Bytes of one record, data and partition key, unless the stream allows more. (`PutRecord`,
/// quotas)
pub const RECORD_BYTES_DEFAULT: usize = 1024 * 1024;

/// Bytes of one record, data and partition key, at the largest setting of a stream.
/// (`UpdateMaxRecordSize`, quotas)
pub const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The range of `MaxRecordSizeInKiB`. (`UpdateMaxRecordSize`)
pub const MAX_RECORD_SIZE_KIB: std::ops::RangeInclusive<i32> = 1024..=10_240;

/// Unicode characters of a partition key. (`PutRecord`)
pub const PARTITION_KEY_CHARS: usize = 256;

/// Records of one `GetRecords` answer, also the largest `Limit`. (`GetRecords`)
pub const GET_RECORDS_ENTRIES: usize = 10_000;

/// Bytes of data of one `GetRecords` answer. (`GetRecords`)
pub const GET_RECORDS_BYTES: usize = 10 * 1024 * 1024;

/// Milliseconds until a shard iterator expires. (`GetShardIterator`)
pub const ITERATOR_MILLIS: i64 = 5 * 60 * 1000;

/// Milliseconds until a `NextToken` expires. (`ListShards`, `ListStreamConsumers`)
pub const NEXT_TOKEN_MILLIS: i64 = 300 * 1000;

/// Bytes a second that can be written to a shard, partition keys included. (quotas)
pub const SHARD_WRITE_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// Records a second that can be written to a shard. (quotas)
pub const SHARD_WRITE_RECORDS_PER_SECOND: u64 = 1000;

/// Bytes a second that can be read from a shard: by all pollers together, and again by each
/// enhanced fan-out consumer. (quotas)
pub const SHARD_READ_BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;

/// `GetRecords` calls a second and shard, all pollers together. (quotas)
pub const GET_RECORDS_PER_SECOND: u32 = 5;

/// `GetShardIterator` calls a second and shard. (quotas)
pub const GET_SHARD_ITERATOR_PER_SECOND: u32 = 5;

/// `SubscribeToShard` calls a second for one consumer and shard. (`SubscribeToShard`)
pub const SUBSCRIBE_PER_SECOND: u32 = 1;

/// Milliseconds after a successful subscription in which a new one for the same consumer and shard
/// is refused with `ResourceInUseException`. (`SubscribeToShard`)
pub const RESUBSCRIBE_MILLIS: i64 = 5000;

/// Milliseconds until a subscription ends. (`SubscribeToShard`)
pub const SUBSCRIPTION_MILLIS: i64 = 5 * 60 * 1000;

/// Consumers of one stream. (quotas)
pub const CONSUMERS_PER_STREAM: usize = 20;

/// Consumers of one stream in On-demand Advantage mode. (quotas)
pub const CONSUMERS_PER_STREAM_ADVANTAGE: usize = 50;

/// Consumers of one stream that may be in the state CREATING together. (`RegisterStreamConsumer`)
pub const CONSUMERS_CREATING: usize = 5;

/// Streams of an account and region that may be in the state CREATING together. (`CreateStream`)
pub const STREAMS_CREATING: usize = 5;

/// `CreateStream`, `DeleteStream`, `SplitShard`, `MergeShards`, `RegisterStreamConsumer` and
/// `DeregisterStreamConsumer` calls a second and account. (quotas)
pub const CONTROL_PER_SECOND: u32 = 5;

/// `DescribeStream` calls a second and account. (quotas)
pub const DESCRIBE_STREAM_PER_SECOND: u32 = 10;

/// `DescribeStreamSummary` and `DescribeStreamConsumer` calls a second and account. (quotas)
pub const DESCRIBE_SUMMARY_PER_SECOND: u32 = 20;

/// `ListStreams` calls a second and account. (quotas)
pub const LIST_STREAMS_PER_SECOND: u32 = 5;

/// `ListShards` calls a second and stream. (quotas)
pub const LIST_SHARDS_PER_SECOND: u32 = 1000;

/// Shards of one `ListShards` answer, at most and by default. (`ListShards`)
pub const LIST_SHARDS_MAX: usize = 1000;

/// Shards of one `DescribeStream` answer by default; the maximum is 10,000. (`DescribeStream`)
pub const DESCRIBE_STREAM_SHARDS: usize = 100;

/// Streams of one `ListStreams` answer by default; the maximum is 10,000. (`ListStreams`)
pub const LIST_STREAMS: usize = 100;

/// Retention of a new stream in hours. (`IncreaseStreamRetentionPeriod`)
pub const RETENTION_HOURS_DEFAULT: i32 = 24;

/// Allowed retention in hours. (`IncreaseStreamRetentionPeriod`)
pub const RETENTION_HOURS: std::ops::RangeInclusive<i32> = 24..=8760;

/// Tags of a stream. (`AddTagsToStream`)
pub const TAGS: usize = 50;

/// Largest answer body that is read, in bytes. Our own limit: 10 MiB of data are 13.4 MiB of
/// base64, and the keys and sequence numbers of 10,000 records take less than 20 MiB even with
/// every character escaped.
pub const ANSWER_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Largest answer to an operation, in bytes. Our own limits, each several times the largest answer
/// that AWS documents: 500 entries of a `PutRecords`, 10,000 shards of a `DescribeStream`.
pub const fn answer_bytes(operation: Operation) -> usize {
    match operation {
        Operation::GetRecords => ANSWER_BODY_BYTES,
        Operation::DescribeStream | Operation::ListShards => 16 * 1024 * 1024,
        _ => 1024 * 1024,
    }
}

/// Largest request body that is read, in bytes. Our own limit: 10 MiB of data and keys take less,
/// in base64, with every key escaped and an explicit hash key for each record.
pub const REQUEST_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Longest list that is read, in items. Our own limit: ten times the longest list of the API.
pub const LIST_ITEMS: usize = 100_000;

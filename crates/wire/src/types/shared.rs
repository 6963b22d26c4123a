//! Shapes and enums that several requests and answers have in common.

// The API reference documents the members and values; see the docs of `types`.
#![allow(missing_docs)]

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Blob, Timestamp, shapes};
use crate::codec::member::Member;

/// Declares enums of the protocol. A value that is not in the list is kept unchanged.
macro_rules! values {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $($variant:ident = $text:literal,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A value that is not in this list; empty if the member is absent.
            Other(String),
        }

        impl $name {
            /// Every value of the list, as the protocol spells the value.
            pub const KNOWN: &'static [&'static str] = &[$($text,)*];

            /// The value as the protocol spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// True if the value is in the list.
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Other(_))
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl Member for $name {
            fn missing() -> Self {
                Self::default()
            }

            fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::present(deserializer).map(|text| Self::from(text.as_str()))
            }
        }

        #[cfg(test)]
        impl crate::types::fill::Fill for $name {
            fn fill(rng: &mut crate::types::fill::Rng) -> Self {
                let choice = rng.below(Self::KNOWN.len() as u64 + 1);
                Self::from(Self::KNOWN.get(choice).copied().unwrap_or("NEW"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::present(deserializer)
            }
        }
    )*};
}

values! {
    /// The state of a consumer.
    pub enum ConsumerStatus {
        Active = "ACTIVE",
        Creating = "CREATING",
        Deleting = "DELETING",
    }

    /// How records are encrypted at rest.
    pub enum EncryptionType {
        Kms = "KMS",
        None = "NONE",
    }

    /// A shard-level metric.
    pub enum MetricsName {
        All = "ALL",
        IncomingBytes = "IncomingBytes",
        IncomingRecords = "IncomingRecords",
        IteratorAgeMilliseconds = "IteratorAgeMilliseconds",
        OutgoingBytes = "OutgoingBytes",
        OutgoingRecords = "OutgoingRecords",
        ReadProvisionedThroughputExceeded = "ReadProvisionedThroughputExceeded",
        WriteProvisionedThroughputExceeded = "WriteProvisionedThroughputExceeded",
    }

    /// The requested state of the commitment.
    pub enum MinimumThroughputBillingCommitmentInputStatus {
        Disabled = "DISABLED",
        Enabled = "ENABLED",
    }

    /// The state of the commitment.
    pub enum MinimumThroughputBillingCommitmentOutputStatus {
        Disabled = "DISABLED",
        Enabled = "ENABLED",
        EnabledUntilEarliestAllowedEnd = "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
    }

    /// The rule that selects the shard of a record.
    pub enum RecordDistributionStrategy {
        Auto = "AUTO",
        UserPartitionKey = "USER_PARTITION_KEY",
    }

    /// The way in which `UpdateShardCount` scales.
    pub enum ScalingType {
        UniformScaling = "UNIFORM_SCALING",
    }

    /// A kind of filter on the shards that `ListShards` lists.
    pub enum ShardFilterType {
        AfterShardId = "AFTER_SHARD_ID",
        AtLatest = "AT_LATEST",
        AtTimestamp = "AT_TIMESTAMP",
        AtTrimHorizon = "AT_TRIM_HORIZON",
        FromTimestamp = "FROM_TIMESTAMP",
        FromTrimHorizon = "FROM_TRIM_HORIZON",
    }

    /// The start of an iterator or a subscription.
    pub enum ShardIteratorType {
        AfterSequenceNumber = "AFTER_SEQUENCE_NUMBER",
        AtSequenceNumber = "AT_SEQUENCE_NUMBER",
        AtTimestamp = "AT_TIMESTAMP",
        Latest = "LATEST",
        TrimHorizon = "TRIM_HORIZON",
    }

    /// Whether the user (provisioned) or AWS (on demand) manages the shards.
    pub enum StreamMode {
        OnDemand = "ON_DEMAND",
        Provisioned = "PROVISIONED",
    }

    /// The state of a stream.
    pub enum StreamStatus {
        Active = "ACTIVE",
        Creating = "CREATING",
        Deleting = "DELETING",
        Updating = "UPDATING",
    }
}

shapes! {
    /// A child of a closed shard, with all parents of the child.
    pub struct ChildShard {
        pub shard_id: String,
        pub parent_shards: Vec<String>,
        pub hash_key_range: Option<HashKeyRange>,
    }

    /// An enhanced fan-out consumer.
    pub struct Consumer {
        pub consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: String,
        pub consumer_status: ConsumerStatus,
        pub consumer_creation_timestamp: Timestamp,
    }

    /// An enhanced fan-out consumer with its stream.
    pub struct ConsumerDescription {
        pub consumer_name: String,
        #[serde(rename = "ConsumerARN")]
        pub consumer_arn: String,
        pub consumer_status: ConsumerStatus,
        pub consumer_creation_timestamp: Timestamp,
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
    }

    /// The shard-level metrics that are on.
    pub struct EnhancedMetrics {
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// A range of hash keys: both ends inclusive, decimal, below 2^128.
    pub struct HashKeyRange {
        pub starting_hash_key: String,
        pub ending_hash_key: String,
    }

    /// Turns the commitment of On-demand Advantage on or off.
    pub struct MinimumThroughputBillingCommitmentInput {
        pub status: MinimumThroughputBillingCommitmentInputStatus,
    }

    /// The commitment of On-demand Advantage.
    pub struct MinimumThroughputBillingCommitmentOutput {
        pub status: MinimumThroughputBillingCommitmentOutputStatus,
        pub started_at: Option<Timestamp>,
        pub ended_at: Option<Timestamp>,
        pub earliest_allowed_end_at: Option<Timestamp>,
    }

    /// One record of a `PutRecords` request.
    pub struct PutRecordsRequestEntry {
        /// Up to 1 MiB with the partition key; a stream can allow up to 10 MiB.
        pub data: Option<Blob>,
        /// Up to 256 Unicode characters. Optional in the API.
        pub partition_key: Option<String>,
        /// A decimal number below 2^128, in place of the MD5 of the partition key.
        pub explicit_hash_key: Option<String>,
    }

    /// The result of one record of a `PutRecords` request: a sequence number and a shard, or an
    /// error.
    pub struct PutRecordsResultEntry {
        pub sequence_number: Option<String>,
        pub shard_id: Option<String>,
        pub error_code: Option<String>,
        pub error_message: Option<String>,
    }

    /// A record as read.
    pub struct Record {
        pub sequence_number: String,
        pub approximate_arrival_timestamp: Option<Timestamp>,
        pub data: Blob,
        pub partition_key: Option<String>,
        pub encryption_type: Option<EncryptionType>,
    }

    /// The sequence numbers of a shard; the end is absent while the shard is open.
    pub struct SequenceNumberRange {
        pub starting_sequence_number: String,
        pub ending_sequence_number: Option<String>,
    }

    /// A shard: its parents, hash range and sequence numbers.
    pub struct Shard {
        pub shard_id: String,
        pub parent_shard_id: Option<String>,
        pub adjacent_parent_shard_id: Option<String>,
        pub hash_key_range: Option<HashKeyRange>,
        pub sequence_number_range: Option<SequenceNumberRange>,
    }

    /// A filter on the shards that `ListShards` lists.
    pub struct ShardFilter {
        /// `Type` in the protocol.
        #[serde(rename = "Type")]
        pub kind: Option<ShardFilterType>,
        pub shard_id: Option<String>,
        pub timestamp: Option<Timestamp>,
    }

    /// The start of a subscription.
    pub struct StartingPosition {
        /// `Type` in the protocol.
        #[serde(rename = "Type")]
        pub kind: Option<ShardIteratorType>,
        pub sequence_number: Option<String>,
        pub timestamp: Option<Timestamp>,
    }

    /// A stream with a page of its shards.
    pub struct StreamDescription {
        pub stream_name: String,
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        pub stream_status: StreamStatus,
        pub stream_mode_details: Option<StreamModeDetails>,
        pub shards: Vec<Shard>,
        pub has_more_shards: bool,
        pub retention_period_hours: i32,
        pub stream_creation_timestamp: Timestamp,
        pub enhanced_monitoring: Vec<EnhancedMetrics>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
    }

    /// A stream without its shards.
    pub struct StreamDescriptionSummary {
        pub stream_name: String,
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        pub stream_id: Option<String>,
        pub stream_status: StreamStatus,
        pub stream_mode_details: Option<StreamModeDetails>,
        pub retention_period_hours: i32,
        pub stream_creation_timestamp: Timestamp,
        pub enhanced_monitoring: Vec<EnhancedMetrics>,
        pub encryption_type: Option<EncryptionType>,
        pub key_id: Option<String>,
        pub open_shard_count: i32,
        pub consumer_count: Option<i32>,
        pub warm_throughput: Option<WarmThroughputObject>,
        #[serde(rename = "MaxRecordSizeInKiB")]
        pub max_record_size_in_kib: Option<i32>,
        pub channel_count: Option<i32>,
        pub record_distribution_strategy: Option<RecordDistributionStrategy>,
    }

    /// The mode of a stream.
    pub struct StreamModeDetails {
        pub stream_mode: Option<StreamMode>,
    }

    /// A stream as `ListStreams` lists it.
    pub struct StreamSummary {
        pub stream_name: String,
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        pub stream_status: StreamStatus,
        pub stream_mode_details: Option<StreamModeDetails>,
        pub stream_creation_timestamp: Option<Timestamp>,
    }

    /// An event that is pushed to a subscriber.
    pub struct SubscribeToShardEvent {
        pub records: Vec<Record>,
        /// Null at the end of a closed shard.
        pub continuation_sequence_number: Option<String>,
        /// Milliseconds from the last record to the tip of the shard.
        pub millis_behind_latest: i64,
        /// Present once: in the last event of a closed shard.
        pub child_shards: Option<Vec<ChildShard>>,
    }

    /// A tag; the value may be absent.
    pub struct Tag {
        pub key: String,
        pub value: Option<String>,
    }

    /// The write rate that an on-demand stream accepts without scaling first, in MiB a second.
    pub struct WarmThroughputObject {
        #[serde(rename = "TargetMiBps")]
        pub target_mibps: Option<i32>,
        #[serde(rename = "CurrentMiBps")]
        pub current_mibps: Option<i32>,
    }
}

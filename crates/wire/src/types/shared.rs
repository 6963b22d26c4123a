//! What requests and answers share.

// Members and values are AWS's; see the module's page.
#![allow(missing_docs)]

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Blob, Timestamp, shapes};
use crate::codec::member::Member;

/// Declares enums of the protocol. A value that is not in the list is kept as it came.
macro_rules! values {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $($variant:ident = $text:literal,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A value that this version does not know; empty if the member was left out.
            Other(String),
        }

        impl $name {
            /// The values that this version knows, as the protocol spells them.
            pub const KNOWN: &'static [&'static str] = &[$($text,)*];

            /// As the protocol spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// True if this version knows the value.
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
                Self::from(Self::KNOWN.get(rng.below(Self::KNOWN.len() as u64 + 1)).copied().unwrap_or("NEW"))
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

    /// What the commitment shall be.
    pub enum MinimumThroughputBillingCommitmentInputStatus {
        Disabled = "DISABLED",
        Enabled = "ENABLED",
    }

    /// What the commitment is.
    pub enum MinimumThroughputBillingCommitmentOutputStatus {
        Disabled = "DISABLED",
        Enabled = "ENABLED",
        EnabledUntilEarliestAllowedEnd = "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
    }

    /// What places a record in a shard.
    pub enum RecordDistributionStrategy {
        Auto = "AUTO",
        UserPartitionKey = "USER_PARTITION_KEY",
    }

    /// How `UpdateShardCount` scales.
    pub enum ScalingType {
        UniformScaling = "UNIFORM_SCALING",
    }

    /// Which shards `ListShards` lists.
    pub enum ShardFilterType {
        AfterShardId = "AFTER_SHARD_ID",
        AtLatest = "AT_LATEST",
        AtTimestamp = "AT_TIMESTAMP",
        AtTrimHorizon = "AT_TRIM_HORIZON",
        FromTimestamp = "FROM_TIMESTAMP",
        FromTrimHorizon = "FROM_TRIM_HORIZON",
    }

    /// Where an iterator or a subscription starts.
    pub enum ShardIteratorType {
        AfterSequenceNumber = "AFTER_SEQUENCE_NUMBER",
        AtSequenceNumber = "AT_SEQUENCE_NUMBER",
        AtTimestamp = "AT_TIMESTAMP",
        Latest = "LATEST",
        TrimHorizon = "TRIM_HORIZON",
    }

    /// Who manages the shards.
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
    /// What a closed shard became: a child with all its parents.
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

    /// Which shard-level metrics are on.
    pub struct EnhancedMetrics {
        pub shard_level_metrics: Option<Vec<MetricsName>>,
    }

    /// Both ends inclusive, decimal, below 2^128.
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
        /// Up to 1 MiB with the partition key, or what the stream allows (up to 10 MiB).
        pub data: Option<Blob>,
        /// Up to 256 Unicode characters. Optional in today's API.
        pub partition_key: Option<String>,
        /// A decimal number below 2^128, in place of the MD5 of the partition key.
        pub explicit_hash_key: Option<String>,
    }

    /// What became of one record of a `PutRecords` request: a sequence number and a shard, or an error.
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

    /// The end is absent while the shard is open.
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

    /// Which shards `ListShards` lists.
    pub struct ShardFilter {
        /// `Type` in the protocol.
        #[serde(rename = "Type")]
        pub kind: Option<ShardFilterType>,
        pub shard_id: Option<String>,
        pub timestamp: Option<Timestamp>,
    }

    /// Where a subscription starts.
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

    /// Provisioned or on demand.
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

    /// What is pushed to a subscriber.
    pub struct SubscribeToShardEvent {
        pub records: Vec<Record>,
        /// Null at the end of a shard.
        pub continuation_sequence_number: Option<String>,
        /// How far behind the tip the last record is, in milliseconds.
        pub millis_behind_latest: i64,
        /// There once, when the shard is closed and read to its end.
        pub child_shards: Option<Vec<ChildShard>>,
    }

    /// A tag; its value may be absent.
    pub struct Tag {
        pub key: String,
        pub value: Option<String>,
    }

    /// How much an on-demand stream takes at once, in MiB a second.
    pub struct WarmThroughputObject {
        #[serde(rename = "TargetMiBps")]
        pub target_mibps: Option<i32>,
        #[serde(rename = "CurrentMiBps")]
        pub current_mibps: Option<i32>,
    }
}

//! The operations of `Kinesis_20131202` by name.

use std::fmt;

/// The service and version before the dot in an `X-Amz-Target` header.
pub const TARGET_PREFIX: &str = "Kinesis_20131202";

macro_rules! operations {
    ($($name:ident,)*) => {
        /// An operation of the Kinesis API, as the `X-Amz-Target` header names it.
        ///
        /// Source: [API reference][operations]. The channel operations are left out: they
        /// configure deliveries to S3, not streams.
        ///
        /// [operations]: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $(
                #[doc = concat!(
                    "[`", stringify!($name), "`]",
                    "(https://docs.aws.amazon.com/kinesis/latest/APIReference/API_",
                    stringify!($name), ".html)"
                )]
                $name,
            )*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The bare name, such as `PutRecords`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The value of the `X-Amz-Target` header, such as `Kinesis_20131202.PutRecords`.
            pub const fn target(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("Kinesis_20131202.", stringify!($name)),)*
                }
            }

            /// The operation with the bare name `name`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    AddTagsToStream,
    CreateStream,
    DecreaseStreamRetentionPeriod,
    DeleteResourcePolicy,
    DeleteStream,
    DeregisterStreamConsumer,
    DescribeAccountSettings,
    DescribeLimits,
    DescribeStream,
    DescribeStreamConsumer,
    DescribeStreamSummary,
    DisableEnhancedMonitoring,
    EnableEnhancedMonitoring,
    GetRecords,
    GetResourcePolicy,
    GetShardIterator,
    IncreaseStreamRetentionPeriod,
    ListShards,
    ListStreamConsumers,
    ListStreams,
    ListTagsForResource,
    ListTagsForStream,
    MergeShards,
    PutRecord,
    PutRecords,
    PutResourcePolicy,
    RegisterStreamConsumer,
    RemoveTagsFromStream,
    SplitShard,
    StartStreamEncryption,
    StopStreamEncryption,
    SubscribeToShard,
    TagResource,
    UntagResource,
    UpdateAccountSettings,
    UpdateMaxRecordSize,
    UpdateShardCount,
    UpdateStreamMode,
    UpdateStreamRecordDistributionStrategy,
    UpdateStreamWarmThroughput,
}

impl Operation {
    /// The operation that an `X-Amz-Target` header asks for; `None` if the service, the version or
    /// the name is unknown.
    pub fn from_target(target: &str) -> Option<Self> {
        let (service, name) = target.split_once('.')?;

        if service == TARGET_PREFIX {
            Self::from_name(name)
        } else {
            None
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_back() {
        for &op in Operation::ALL {
            assert_eq!(Operation::from_target(op.target()), Some(op));
        }

        assert_eq!(
            Operation::from_target("Kinesis_20131202.CreateChannel"),
            None
        );
        assert_eq!(Operation::from_target("DynamoDB_20120810.PutRecords"), None);
        assert_eq!(Operation::from_target("PutRecords"), None);
        assert_eq!(Operation::from_target(""), None);
    }
}

//! Settings of an embedded Kinesis.

use std::time::Duration;

use distributary_wire::limits;

/// The answer to a position whose next record has been dropped. AWS is known to give either answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimmedPosition {
    /// `GetShardIterator` and `SubscribeToShard` refuse the position with
    /// `InvalidArgumentException`.
    Refuse,
    /// The position is accepted. This many `GetRecords` answers are empty and as far behind as the
    /// retention period; then the oldest record follows.
    EmptyPages(u8),
}

/// Duration of the states of streams and consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// CREATING of a stream.
    pub create: Duration,
    /// DELETING of a stream.
    pub delete: Duration,
    /// UPDATING of a stream. The change is made at the end.
    pub update: Duration,
    /// CREATING and DELETING of a consumer.
    pub consumer: Duration,
}

impl Delays {
    /// No state lasts; every change is made at once.
    pub const NONE: Self = Self::all(Duration::ZERO);

    /// Every state lasts for `delay`.
    pub const fn all(delay: Duration) -> Self {
        Self {
            create: delay,
            delete: delay,
            update: delay,
            consumer: delay,
        }
    }
}

impl Default for Delays {
    fn default() -> Self {
        Self::NONE
    }
}

/// Settings of an embedded Kinesis. The defaults are AWS's, with two exceptions: states have no
/// delay, and limits are not enforced.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Account of requests without an account (12 digits).
    pub account: String,
    /// Region of requests without a signature.
    pub region: String,
    /// Duration of states.
    pub delays: Delays,
    /// True to enforce AWS's limits of shards and of calls.
    pub enforce_limits: bool,
    /// Byte budget: bytes of data and keys kept in all streams together. Above the budget the
    /// oldest records are dropped, about 1 MiB at a time. `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// Answer to a position whose next record has been dropped.
    pub trimmed_position: TrimmedPosition,
    /// Time after which a shard iterator expires.
    pub iterator_age: Duration,
    /// Time after which a page token expires.
    pub page_token_age: Duration,
    /// Time after which a subscription ends.
    pub subscription_length: Duration,
    /// Time between events without records on an idle subscription.
    pub heartbeat: Duration,
    /// Time after a subscription in which another of the same consumer and shard is refused.
    pub resubscribe_after: Duration,
    /// Consumers of one stream; `None` for AWS's limit, which depends on the account's settings.
    pub consumers_per_stream: Option<usize>,
    /// Open shards of all provisioned streams of an account and region.
    pub shard_limit: u32,
    /// On-demand streams of an account and region.
    pub on_demand_stream_limit: u32,
    /// Bytes of data and keys of one `GetRecords` answer or one event of a subscription. The first
    /// record always fits.
    pub answer_bytes: usize,
    /// Seed of the faults; `None` for a random seed.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let millis = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            delays: Delays::NONE,
            enforce_limits: false,
            retention_bytes: None,
            trimmed_position: TrimmedPosition::Refuse,
            iterator_age: millis(limits::ITERATOR_MILLIS),
            page_token_age: millis(limits::NEXT_TOKEN_MILLIS),
            subscription_length: millis(limits::SUBSCRIPTION_MILLIS),
            heartbeat: Duration::from_secs(5),
            resubscribe_after: millis(limits::RESUBSCRIBE_MILLIS),
            consumers_per_stream: None,
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
            answer_bytes: limits::GET_RECORDS_BYTES,
            seed: None,
        }
    }
}

/// A duration as whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

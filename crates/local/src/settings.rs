//! How an embedded Kinesis is set up.

use std::time::Duration;

use distributary_wire::limits;

/// What happens at a checkpoint older than retention: AWS is known to answer in either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimmedPosition {
    /// `GetShardIterator` and `SubscribeToShard` refuse it with `InvalidArgumentException`.
    Refuse,
    /// It is taken, and this many `GetRecords` answers are empty and far behind before the oldest record comes.
    EmptyPages(u8),
}

/// How long the states of a stream or a consumer last before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// CREATING until ACTIVE.
    pub create: Duration,
    /// DELETING until it is gone.
    pub delete: Duration,
    /// UPDATING until the change is made and ACTIVE again.
    pub update: Duration,
    /// CREATING or DELETING of a consumer.
    pub consumer: Duration,
}

impl Delays {
    /// Every change is made at once.
    pub const NONE: Self = Self::all(Duration::ZERO);

    /// Every state lasts as long.
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

/// Settings of an embedded Kinesis; the defaults are AWS's, but for delays, which are none, and rates, which are not
/// enforced.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account of requests that do not name one.
    pub account: String,
    /// The region of requests that do not name one.
    pub region: String,
    /// How long states last.
    pub delays: Delays,
    /// Throughput of shards and rates of calls are limited as AWS limits them.
    pub enforce_limits: bool,
    /// Bytes of data and keys kept in all streams together; the oldest chunks (about 1 MiB) are dropped first. `None`:
    /// only their age counts.
    pub retention_bytes: Option<u64>,
    /// What a checkpoint older than retention gets.
    pub trimmed_position: TrimmedPosition,
    /// How long a shard iterator is good.
    pub iterator_age: Duration,
    /// How long a page token is good.
    pub page_token_age: Duration,
    /// How long a subscription lasts.
    pub subscription_length: Duration,
    /// How long an idle subscription is silent before an event without records.
    pub heartbeat: Duration,
    /// How soon after a subscription the next for the same consumer and shard is refused.
    pub resubscribe_after: Duration,
    /// Consumers of one stream; `None`: as AWS has it, by the account's settings.
    pub consumers_per_stream: Option<usize>,
    /// Open shards of all provisioned streams of an account and region.
    pub shard_limit: u32,
    /// On-demand streams of an account and region.
    pub on_demand_stream_limit: u32,
    /// Bytes of data and keys of one `GetRecords` answer or one pushed event; the first record always fits.
    pub answer_bytes: usize,
    /// The seed of the misbehaviour; `None`: a random one.
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

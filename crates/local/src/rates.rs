//! AWS's limits of shards and of calls, as token buckets.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_wire::limits;
use distributary_wire::op::Operation;

/// A token bucket that holds the tokens of one second. The level may become negative: a shard that
/// has returned an answer of 10 MiB returns nothing for five seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Tokens a second.
    rate: f64,
    /// Tokens at the time of the last use.
    level: f64,
    last_use: Duration,
}

impl Bucket {
    pub(crate) fn full(rate: f64) -> Self {
        Self {
            rate,
            level: rate,
            last_use: Duration::ZERO,
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.last_use).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.rate);
        self.last_use = now;
    }

    /// Takes `amount` tokens if the bucket has as many.
    pub(crate) fn take(&mut self, now: Duration, amount: f64) -> bool {
        self.fill(now);
        let is_enough = self.level >= amount;
        if is_enough {
            self.level -= amount;
        }
        is_enough
    }

    /// True if the level is positive.
    pub(crate) fn is_open(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.level > 0.0
    }

    /// Takes `amount` tokens; the level may become negative.
    pub(crate) fn spend(&mut self, now: Duration, amount: f64) {
        self.fill(now);
        self.level -= amount;
    }

    /// The time until the level is no longer negative.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        Duration::from_secs_f64((-self.level / self.rate).max(0.0))
    }
}

/// The limits of one shard.
#[derive(Debug)]
pub(crate) struct ShardRates {
    write_bytes: Bucket,
    write_records: Bucket,
    read_bytes: Bucket,
    reads: Bucket,
    iterators: Bucket,
}

impl Default for ShardRates {
    fn default() -> Self {
        Self {
            write_bytes: Bucket::full(limits::SHARD_WRITE_BYTES_PER_SECOND as f64),
            write_records: Bucket::full(limits::SHARD_WRITE_RECORDS_PER_SECOND as f64),
            read_bytes: Bucket::full(limits::SHARD_READ_BYTES_PER_SECOND as f64),
            reads: Bucket::full(f64::from(limits::GET_RECORDS_PER_SECOND)),
            iterators: Bucket::full(f64::from(limits::GET_SHARD_ITERATOR_PER_SECOND)),
        }
    }
}

impl ShardRates {
    /// True if a record of `size` bytes is within the write limits, and counts the record. A record
    /// larger than one second's bytes needs a full bucket.
    pub(crate) fn admit_write(&mut self, now: Duration, size: usize) -> bool {
        let full = limits::SHARD_WRITE_BYTES_PER_SECOND as f64;
        let needed = (size as f64).min(full);
        self.write_bytes.fill(now);
        if self.write_bytes.level < needed || !self.write_records.take(now, 1.0) {
            return false;
        }

        self.write_bytes.spend(now, size as f64);
        true
    }

    /// True if a `GetRecords` call is within the read limits, and counts the call.
    pub(crate) fn admit_read(&mut self, now: Duration) -> bool {
        self.read_bytes.is_open(now) && self.reads.take(now, 1.0)
    }

    /// Counts the bytes of a `GetRecords` answer.
    pub(crate) fn count_read(&mut self, now: Duration, bytes: usize) {
        self.read_bytes.spend(now, bytes as f64);
    }

    /// True if a `GetShardIterator` call is within the limit, and counts the call.
    pub(crate) fn admit_iterator(&mut self, now: Duration) -> bool {
        self.iterators.take(now, 1.0)
    }
}

/// The scope of a limit of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Account,
    Stream,
}

/// The calls a second of an operation, and the scope of the limit; `None` for an operation that is
/// limited by shard. Source: Kinesis Data Streams Developer Guide, "Quotas and limits".
fn call_rate(operation: Operation) -> Option<(u32, Scope)> {
    use Operation::*;
    match operation {
        CreateStream
        | DeleteStream
        | SplitShard
        | MergeShards
        | RegisterStreamConsumer
        | DeregisterStreamConsumer
        | AddTagsToStream
        | RemoveTagsFromStream
        | ListTagsForStream
        | ListTagsForResource
        | TagResource
        | UntagResource
        | IncreaseStreamRetentionPeriod
        | DecreaseStreamRetentionPeriod
        | EnableEnhancedMonitoring
        | DisableEnhancedMonitoring
        | StartStreamEncryption
        | StopStreamEncryption
        | UpdateShardCount
        | UpdateStreamMode
        | UpdateMaxRecordSize
        | UpdateStreamWarmThroughput
        | UpdateStreamRecordDistributionStrategy
        | UpdateAccountSettings
        | PutResourcePolicy
        | DeleteResourcePolicy
        | GetResourcePolicy
        | ListStreamConsumers => Some((limits::CONTROL_PER_SECOND, Scope::Account)),
        ListStreams => Some((limits::LIST_STREAMS_PER_SECOND, Scope::Account)),
        DescribeStream => Some((limits::DESCRIBE_STREAM_PER_SECOND, Scope::Account)),
        DescribeStreamSummary | DescribeStreamConsumer => {
            Some((limits::DESCRIBE_SUMMARY_PER_SECOND, Scope::Account))
        }
        DescribeLimits | DescribeAccountSettings => Some((1, Scope::Account)),
        ListShards => Some((limits::LIST_SHARDS_PER_SECOND, Scope::Stream)),
        GetRecords | GetShardIterator | PutRecord | PutRecords | SubscribeToShard => None,
    }
}

/// Buckets of one account and region. At this number all buckets are dropped and start full.
const BUCKETS_MAX: usize = 10_000;

/// The limits of calls of one account and region.
#[derive(Debug, Default)]
pub(crate) struct CallRates {
    /// By operation and stream; the stream is empty for a limit of the account.
    buckets: BTreeMap<(Operation, String), Bucket>,
}

impl CallRates {
    /// True if a call is within the limit, and counts the call. `stream` is the name of the stream
    /// that the call is about.
    pub(crate) fn admit(&mut self, operation: Operation, stream: &str, now: Duration) -> bool {
        let Some((rate, scope)) = call_rate(operation) else {
            return true;
        };
        let stream = match scope {
            Scope::Account => String::new(),
            Scope::Stream => stream.to_owned(),
        };

        if self.buckets.len() >= BUCKETS_MAX {
            self.buckets.clear();
        }
        self.buckets
            .entry((operation, stream))
            .or_insert_with(|| Bucket::full(f64::from(rate)))
            .take(now, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_shard_takes_a_thousand_records_or_a_megabyte_a_second() {
        let mut small = ShardRates::default();
        assert_eq!(
            (0..1500).filter(|_| small.admit_write(at(0), 10)).count(),
            1000
        );
        assert_eq!(
            (0..1500).filter(|_| small.admit_write(at(500), 10)).count(),
            500
        );
        let mut large = ShardRates::default();
        assert_eq!(
            (0..100)
                .filter(|_| large.admit_write(at(0), 100 * 1024))
                .count(),
            10
        );
        // A record of 10 MiB is written, and blocks the shard for ten seconds.
        let mut huge = ShardRates::default();
        assert!(huge.admit_write(at(0), 10 << 20));
        assert!(!huge.admit_write(at(9000), 1));
        assert!(huge.admit_write(at(9100), 1));
    }

    #[test]
    fn a_large_answer_blocks_the_shard_for_five_seconds() {
        let mut rates = ShardRates::default();
        assert!(rates.admit_read(at(0)));
        rates.count_read(at(0), 10 << 20);
        assert!(!rates.admit_read(at(3900)));
        assert!(rates.admit_read(at(4100)));
        let mut empty = ShardRates::default();
        assert_eq!((0..9).filter(|_| empty.admit_read(at(0))).count(), 5);
    }

    #[test]
    fn calls_are_counted_by_operation() {
        let mut rates = CallRates::default();
        let admitted =
            |rates: &mut CallRates, op| (0..50).filter(|_| rates.admit(op, "s", at(0))).count();
        assert_eq!(admitted(&mut rates, Operation::ListStreams), 5);
        assert_eq!(admitted(&mut rates, Operation::DescribeStream), 10);
        assert_eq!(admitted(&mut rates, Operation::PutRecords), 50);
        assert_eq!(admitted(&mut rates, Operation::ListShards), 50);
    }
}

//! AWS's rates, where they are enforced.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_wire::limits;
use distributary_wire::op::Operation;

/// A bucket that fills at `rate` a second and holds one second's worth. It may go into debt: what does not fit at once is
/// paid by waiting, as a shard that gave a 10 MiB answer gives nothing for five seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn full(rate: f64) -> Self {
        Self {
            rate,
            level: rate,
            at: Duration::ZERO,
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.rate);
        self.at = now;
    }

    /// Takes `amount` if it is there.
    pub(crate) fn take(&mut self, now: Duration, amount: f64) -> bool {
        self.fill(now);
        let enough = self.level >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }

    /// True unless in debt.
    pub(crate) fn is_open(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.level > 0.0
    }

    /// Takes `amount`, also into debt.
    pub(crate) fn spend(&mut self, now: Duration, amount: f64) {
        self.fill(now);
        self.level -= amount;
    }

    /// How long until it is out of debt.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        Duration::from_secs_f64((-self.level / self.rate).max(0.0))
    }
}

/// The rates of one shard.
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
    /// Admits a record of `size` bytes, or throttles it. One larger than a second's worth is admitted when nothing else is
    /// owed.
    pub(crate) fn write(&mut self, now: Duration, size: usize) -> bool {
        let full = limits::SHARD_WRITE_BYTES_PER_SECOND as f64;
        let needed = (size as f64).min(full);
        self.write_bytes.fill(now);
        if self.write_bytes.level < needed || !self.write_records.take(now, 1.0) {
            return false;
        }
        self.write_bytes.spend(now, size as f64);
        true
    }

    /// Admits a `GetRecords` call, or throttles it.
    pub(crate) fn read(&mut self, now: Duration) -> bool {
        self.read_bytes.is_open(now) && self.reads.take(now, 1.0)
    }

    /// Counts what a `GetRecords` call gave.
    pub(crate) fn has_read(&mut self, now: Duration, bytes: usize) {
        self.read_bytes.spend(now, bytes as f64);
    }

    /// Admits a `GetShardIterator` call, or throttles it.
    pub(crate) fn iterator(&mut self, now: Duration) -> bool {
        self.iterators.take(now, 1.0)
    }
}

/// What an operation is counted against, and how many a second are allowed.
fn call_rate(operation: Operation) -> Option<(u32, bool)> {
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
        | ListStreamConsumers => Some((limits::CONTROL_PER_SECOND, false)),
        ListStreams => Some((limits::LIST_STREAMS_PER_SECOND, false)),
        DescribeStream => Some((limits::DESCRIBE_STREAM_PER_SECOND, false)),
        DescribeStreamSummary | DescribeStreamConsumer => {
            Some((limits::DESCRIBE_SUMMARY_PER_SECOND, false))
        }
        DescribeLimits | DescribeAccountSettings => Some((1, false)),
        ListShards => Some((limits::LIST_SHARDS_PER_SECOND, true)),
        // Limited by shard.
        GetRecords | GetShardIterator | PutRecord | PutRecords | SubscribeToShard => None,
    }
}

/// Buckets kept for one account and region; beyond it they start anew.
const BUCKETS_MAX: usize = 10_000;

/// The rates of calls of one account and region.
#[derive(Debug, Default)]
pub(crate) struct CallRates {
    buckets: BTreeMap<(Operation, String), Bucket>,
}

impl CallRates {
    /// Admits a call, or throttles it. `stream` is the name of the stream it is for.
    pub(crate) fn admit(&mut self, operation: Operation, stream: &str, now: Duration) -> bool {
        let Some((rate, per_stream)) = call_rate(operation) else {
            return true;
        };
        let scope = if per_stream {
            stream.to_owned()
        } else {
            String::new()
        };
        if self.buckets.len() >= BUCKETS_MAX {
            self.buckets.clear();
        }
        let bucket = self.buckets.entry((operation, scope));
        bucket
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
        assert_eq!((0..1500).filter(|_| small.write(at(0), 10)).count(), 1000);
        assert_eq!((0..1500).filter(|_| small.write(at(500), 10)).count(), 500);
        let mut large = ShardRates::default();
        assert_eq!(
            (0..100).filter(|_| large.write(at(0), 100 * 1024)).count(),
            10
        );
        // A record of 10 MiB goes through, and blocks the shard for ten seconds.
        let mut huge = ShardRates::default();
        assert!(huge.write(at(0), 10 << 20));
        assert!(!huge.write(at(9000), 1));
        assert!(huge.write(at(9100), 1));
    }

    #[test]
    fn a_large_answer_blocks_the_shard_for_five_seconds() {
        let mut rates = ShardRates::default();
        assert!(rates.read(at(0)));
        rates.has_read(at(0), 10 << 20);
        assert!(!rates.read(at(3900)));
        assert!(rates.read(at(4100)));
        let mut empty = ShardRates::default();
        assert_eq!((0..9).filter(|_| empty.read(at(0))).count(), 5);
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

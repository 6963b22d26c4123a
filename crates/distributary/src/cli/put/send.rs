//! Sends records in order until each one is acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::limits::{PUT_RECORDS_BYTES_OLD, PUT_RECORDS_ENTRIES};
use distributary_wire::transport::TransportError;
use distributary_wire::types::{PutRecordsRequestEntry, PutRecordsResultEntry};

use crate::patience::backoff;
use crate::screen;

/// Time without an acknowledgement after which `put` fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Wait after the first response without a new acknowledgement; doubled with each further one.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Failures in a row after which the user gets a message.
const REPORT_AFTER: u32 = 3;

/// The seam to a stream: one `PutRecords` call.
pub(super) trait PutRecords {
    /// One call. Returns one result for each entry, in the same order.
    async fn put(
        &self,
        entries: Vec<PutRecordsRequestEntry>,
    ) -> Result<Vec<PutRecordsResultEntry>, Trouble>;
}

/// The reason why records were not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The stream refused a request, and would refuse it again.
    #[error("the stream refused {records}")]
    Refused {
        /// The numbers of the records.
        records: String,
        #[source]
        source: Trouble,
    },
    /// No server answered, not even once.
    #[error(transparent)]
    Unreached(Trouble),
    /// The stream acknowledged no record for too long.
    #[error("no record was acknowledged for {} seconds", PATIENCE.as_secs())]
    GaveUp {
        #[source]
        source: Trouble,
    },
}

/// The work done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Records acknowledged, each counted once.
    pub(super) records: u64,
    /// Their data and keys, in bytes.
    pub(super) bytes: u64,
    /// Acknowledged records that were sent again to keep the order of their keys.
    pub(super) repeated: u64,
    /// Shard and sequence number of the last acknowledged record.
    pub(super) last: Option<(String, String)>,
}

/// A record of the request in progress.
struct Pending {
    entry: PutRecordsRequestEntry,
    /// True if the record is acknowledged and is sent again for the sake of order.
    acknowledged: bool,
}

impl Pending {
    fn new(entry: PutRecordsRequestEntry) -> Self {
        Self {
            entry,
            acknowledged: false,
        }
    }
}

/// Sends records, one request at a time.
pub(super) struct Sender<'a, P> {
    to: &'a P,
    clock: &'a Clock,
    pub(super) tally: Tally,
}

/// Bytes that Kinesis counts for a record.
pub(super) fn size(entry: &PutRecordsRequestEntry) -> usize {
    let data = entry.data.as_ref();
    let key = entry.partition_key.as_ref();
    data.map_or(0, |data| data.0.len()) + key.map_or(0, String::len)
}

/// True if `entry` fits into a request that holds `count` records with `bytes` in all.
pub(super) fn fits(entry: &PutRecordsRequestEntry, count: usize, bytes: usize) -> bool {
    // Every server takes 5 MiB; AWS takes twice that, for no gain here. A larger record is sent
    // alone.
    count == 0 || count < PUT_RECORDS_ENTRIES && bytes + size(entry) <= PUT_RECORDS_BYTES_OLD
}

impl Tally {
    /// Counts an acknowledgement. True if the record was acknowledged for the first time.
    fn add(&mut self, pending: &mut Pending) -> bool {
        if pending.acknowledged {
            self.repeated += 1;
            return false;
        }

        pending.acknowledged = true;
        self.records += 1;
        self.bytes += size(&pending.entry) as u64;
        true
    }
}

impl<'a, P: PutRecords> Sender<'a, P> {
    pub(super) fn new(to: &'a P, clock: &'a Clock) -> Self {
        Self {
            to,
            clock,
            tally: Tally::default(),
        }
    }

    /// Sends `entries`, which fit into one request, until each is acknowledged.
    pub(super) async fn send(
        &mut self,
        entries: Vec<PutRecordsRequestEntry>,
    ) -> Result<(), SendError> {
        let mut pending: Vec<Pending> = entries.into_iter().map(Pending::new).collect();
        let mut failures: u32 = 0;
        let mut since = self.clock.now();
        while !pending.is_empty() {
            let (trouble, is_new) = self.try_send(&mut pending).await;
            if is_new {
                failures = 0;
                since = self.clock.now();
            }
            if let Some(trouble) = trouble {
                self.wait(trouble, failures, since, &pending).await?;
                failures += 1;
            }
        }
        Ok(())
    }

    /// Sends one request. Returns the failure of the request or of a record, and true if a record
    /// was acknowledged for the first time.
    async fn try_send(&mut self, pending: &mut Vec<Pending>) -> (Option<Trouble>, bool) {
        let request = pending.iter().map(|p| p.entry.clone()).collect();
        match self.to.put(request).await {
            Ok(results) => {
                let trouble = results.iter().find_map(entry_trouble);
                (trouble, self.acknowledge(pending, &results))
            }
            Err(trouble) => (Some(trouble), false),
        }
    }

    /// Counts the acknowledged records, and leaves in `pending` the records to send again. True if
    /// a record was acknowledged for the first time.
    fn acknowledge(
        &mut self,
        pending: &mut Vec<Pending>,
        results: &[PutRecordsResultEntry],
    ) -> bool {
        let mut is_new = false;
        // Keys of failed records. Later records of such a key are sent again, or they would
        // stand before the failed one.
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut results = results.iter();
        pending.retain_mut(|p| {
            let result = results.next().and_then(acknowledged);
            let key = p.entry.partition_key.clone().unwrap_or_default();
            let Some((shard, sequence)) = result else {
                failed.insert(key);
                return true;
            };

            is_new |= self.tally.add(p);
            let last = (shard.to_owned(), sequence.to_owned());
            self.tally.last = Some(last);
            failed.contains(&key)
        });
        is_new
    }

    /// Waits before the next try, or fails if another try is useless.
    async fn wait(
        &self,
        trouble: Trouble,
        failures: u32,
        since: Instant,
        pending: &[Pending],
    ) -> Result<(), SendError> {
        if !may_pass(trouble.kind) {
            return Err(self.refused(trouble, pending));
        }
        // A wrong endpoint is more likely than a server that returns.
        if self.tally.records == 0 && is_unreached(&trouble) {
            return Err(SendError::Unreached(trouble));
        }
        if self.clock.now().since(since) >= PATIENCE {
            return Err(SendError::GaveUp { source: trouble });
        }
        if failures == REPORT_AFTER {
            let seconds = PATIENCE.as_secs();
            screen::say(&format!("{trouble}; retrying for {seconds} s"));
        }

        let wait = backoff(self.clock, &trouble, failures, BACKOFF, BACKOFF_MAX);
        self.clock.sleep(wait).await;
        Ok(())
    }

    fn refused(&self, source: Trouble, pending: &[Pending]) -> SendError {
        let first = self.tally.records + 1;
        let missing = pending.iter().filter(|p| !p.acknowledged).count();
        let last = self.tally.records + missing as u64;
        let records = if first == last {
            format!("record {first}")
        } else {
            format!("records {first} to {last}")
        };
        SendError::Refused { records, source }
    }
}

/// True for failures that can pass without a change by the user.
fn may_pass(kind: TroubleKind) -> bool {
    match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable | TroubleKind::Unintelligible => true,
        TroubleKind::Unauthenticated
        | TroubleKind::Denied
        | TroubleKind::Missing
        | TroubleKind::Invalid => false,
    }
}

/// True if no server was reached.
fn is_unreached(trouble: &Trouble) -> bool {
    let source = trouble
        .source
        .as_ref()
        .and_then(|source| source.downcast_ref::<TransportError>());
    source.is_some_and(TransportError::not_sent)
}

/// Shard and sequence number, if the record was acknowledged.
fn acknowledged(result: &PutRecordsResultEntry) -> Option<(&str, &str)> {
    match (
        &result.error_code,
        &result.shard_id,
        &result.sequence_number,
    ) {
        (None, Some(shard), Some(sequence)) => Some((shard, sequence)),
        _ => None,
    }
}

/// The reason why one record was not acknowledged. The server may accept the record next time.
fn entry_trouble(result: &PutRecordsResultEntry) -> Option<Trouble> {
    if acknowledged(result).is_some() {
        return None;
    }
    let code = result
        .error_code
        .as_deref()
        .unwrap_or("the response has neither an error nor a sequence number");
    let message = match result.error_message.as_deref() {
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    };
    Some(Trouble::new(TroubleKind::Unavailable, message))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::patience::jumping;

    /// A stream that answers by a script, then takes all.
    struct Scripted {
        script: RefCell<Vec<Result<u64, TroubleKind>>>,
        taken: RefCell<Vec<(String, u8)>>,
    }

    impl PutRecords for Scripted {
        async fn put(
            &self,
            entries: Vec<PutRecordsRequestEntry>,
        ) -> Result<Vec<PutRecordsResultEntry>, Trouble> {
            let lost = match self.script.borrow_mut().pop() {
                Some(Ok(lost)) => lost,
                Some(Err(kind)) => return Err(Trouble::new(kind, "scripted")),
                None => 0,
            };
            Ok(entries
                .into_iter()
                .enumerate()
                .map(|(i, entry)| {
                    if lost >> (i % 64) & 1 == 1 {
                        let error_code = Some("ProvisionedThroughputExceededException".to_owned());
                        return PutRecordsResultEntry {
                            error_code,
                            ..Default::default()
                        };
                    }
                    let mut taken = self.taken.borrow_mut();
                    taken.push((entry.partition_key.unwrap(), entry.data.unwrap().0[0]));
                    PutRecordsResultEntry {
                        shard_id: Some("shardId-000000000000".to_owned()),
                        sequence_number: Some(taken.len().to_string()),
                        ..Default::default()
                    }
                })
                .collect())
        }
    }

    fn entry(key: &str, value: u8) -> PutRecordsRequestEntry {
        PutRecordsRequestEntry {
            data: Some(vec![value].into()),
            partition_key: Some(key.to_owned()),
            explicit_hash_key: None,
        }
    }

    fn send(
        keys: &[u8],
        script: Vec<Result<u64, TroubleKind>>,
    ) -> (Result<(), SendError>, Tally, Vec<(String, u8)>) {
        let to = Scripted {
            script: RefCell::new(script),
            taken: RefCell::default(),
        };
        let clock = jumping();
        let mut sender = Sender::new(&to, &clock);
        let entries = (0..)
            .zip(keys)
            .map(|(i, key)| entry(&format!("k{key}"), i))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let done = runtime.block_on(sender.send(entries));
        (done, sender.tally, to.taken.into_inner())
    }

    proptest! {
        /// Contract line 3, mode resend: all there, and each record's last occurrence in order within its key.
        #[test]
        fn all_get_through_in_order(
            keys in prop::collection::vec(0u8..4, 1..60), lost in prop::collection::vec(any::<u64>(), 0..5),
        ) {
            let (done, tally, taken) = send(&keys, lost.into_iter().map(Ok).collect());
            done.unwrap();
            prop_assert_eq!(tally.records, keys.len() as u64);
            prop_assert_eq!(tally.repeated, (taken.len() - keys.len()) as u64);
            let mut last: BTreeMap<&(String, u8), usize> = BTreeMap::new();
            for (at, record) in taken.iter().enumerate() {
                last.insert(record, at);
            }
            prop_assert_eq!(last.len(), keys.len());
            // Sorted by key and number: within a key the places must rise.
            let places: Vec<_> = last.iter().map(|((key, _), at)| (key, at)).collect();
            prop_assert!(places.windows(2).all(|w| w[0].0 != w[1].0 || w[0].1 < w[1].1), "{:?}", taken);
        }
    }

    #[test]
    fn only_what_order_needs_is_repeated() {
        // b0 fails: b2 follows it and goes again; a1 does not.
        let (_, tally, taken) = send(&[1, 0, 1], vec![Ok(0b001)]);
        assert_eq!(
            taken,
            [
                ("k0".into(), 1),
                ("k1".into(), 2),
                ("k1".into(), 0),
                ("k1".into(), 2)
            ]
        );
        assert_eq!((tally.records, tally.repeated, tally.bytes), (3, 1, 9));
    }

    #[test]
    fn failures_of_the_way_are_retried_and_refusals_are_not() {
        let (done, tally, _) = send(
            &[0, 1],
            vec![Err(TroubleKind::Unavailable), Err(TroubleKind::Throttled)],
        );
        done.unwrap();
        assert_eq!(tally.records, 2);
        for kind in [
            TroubleKind::Invalid,
            TroubleKind::Denied,
            TroubleKind::Missing,
            TroubleKind::Unauthenticated,
        ] {
            let (done, tally, _) = send(&[0, 1], vec![Err(kind)]);
            assert!(
                matches!(done, Err(SendError::Refused { ref records, .. }) if records == "records 1 to 2")
            );
            assert_eq!(tally.records, 0);
        }
    }

    #[test]
    fn it_gives_up_in_the_end() {
        // The first request gets one record through, no other any.
        let mut script = vec![Ok(u64::MAX); 1000];
        script.push(Ok(0b10));
        let (done, tally, _) = send(&[0, 1], script);
        assert!(matches!(done, Err(SendError::GaveUp { .. })), "{done:?}");
        assert_eq!(tally.records, 1);
    }

    #[test]
    fn requests_stay_within_the_limits() {
        let large = |n: usize| PutRecordsRequestEntry {
            data: Some(vec![0; n].into()),
            partition_key: Some("k".into()),
            ..Default::default()
        };
        assert!(fits(&large(10_000_000), 0, 0), "a large record goes alone");
        assert!(!fits(&large(10_000_000), 1, 1));
        assert!(fits(&large(PUT_RECORDS_BYTES_OLD - 11), 1, 10));
        assert!(!fits(&large(PUT_RECORDS_BYTES_OLD - 10), 1, 10));
        assert!(fits(&large(1), 499, 10) && !fits(&large(1), 500, 10));
    }
}

//! The records of all shards, merged by arrival time.
//!
//! A record may be processed when no other shard can still bring an older one. A shard that neither
//! brings records nor is read holds the others for a limited time only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Instant, Millis};
use distributary_core::stateful::ShardPosition;

use super::tips::Tips;

/// Bytes of a waiting record besides the data.
const RECORD_OVERHEAD: usize = 200;

/// A record that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) data: Bytes,
    pub(crate) key: String,
    pub(crate) sequence: String,
    pub(crate) arrival: Millis,
}

impl Waiting {
    fn size(&self) -> usize {
        self.data.len() + self.key.len() + self.sequence.len() + RECORD_OVERHEAD
    }
}

/// The queues of all shards.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    shards: BTreeMap<ShardId, Queue>,
    bytes: usize,
}

#[derive(Debug)]
struct Queue {
    records: VecDeque<Waiting>,
    /// After the last record that was taken into the queue.
    taken: Position,
    /// The shard is closed, and its last record is in the queue or processed.
    is_closed: bool,
    /// The moment of the last record, or of the beginning.
    active: Instant,
}

/// The next step of a merge.
#[derive(Debug)]
pub(crate) enum Next {
    /// The oldest record of all shards.
    Record(ShardId, Waiting),
    /// Every record of this shard has been processed, and the shard is closed.
    End(ShardId),
    /// A record has to wait until this moment, or until more is known about the other shards.
    Hold(Instant),
    /// No records wait. Every record that arrived before this moment has been processed; `None`: no
    /// such moment is known.
    Empty(Option<Millis>),
}

impl Merge {
    /// Queues of shards at their starts.
    pub(crate) fn new(positions: &[ShardPosition], now: Instant) -> Self {
        let open = positions
            .iter()
            .filter(|at| at.position != Position::Closed);
        let queues = open.map(|at| (at.shard.clone(), Queue::new(at.position.clone(), now)));
        Self {
            shards: queues.collect(),
            bytes: 0,
        }
    }

    /// Bytes of all records that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if a record of `shard` waits.
    pub(crate) fn is_waiting(&self, shard: &ShardId) -> bool {
        let queue = self.shards.get(shard);
        queue.is_some_and(|queue| !queue.records.is_empty())
    }

    /// Takes a record, unless that record was taken before. `position` is the place after it.
    pub(crate) fn take(
        &mut self,
        shard: &ShardId,
        position: Position,
        now: Instant,
        record: impl FnOnce() -> Waiting,
    ) {
        let new = || Queue::new(Position::TrimHorizon, now);
        let queue = self.shards.entry(shard.clone()).or_insert_with(new);
        let is_known = queue.taken.rank().is_some() && queue.taken.covers(&position);
        if is_known || queue.is_closed {
            return;
        }

        let record = record();
        self.bytes += record.size();
        queue.taken = position;
        queue.active = now;
        queue.records.push_back(record);
    }

    /// The shard brings no more records.
    pub(crate) fn close(&mut self, shard: &ShardId, now: Instant) {
        let new = || Queue::new(Position::TrimHorizon, now);
        let queue = self.shards.entry(shard.clone()).or_insert_with(new);
        queue.is_closed = true;
    }

    /// The next step, taken out of the queues.
    pub(crate) fn next(&mut self, tips: &Tips, now: Instant, wait: Duration) -> Next {
        let ended = self.shards.iter().find(|(_, queue)| queue.has_ended());
        if let Some(shard) = ended.map(|(shard, _)| shard.clone()) {
            self.shards.remove(&shard);
            self.expect(tips.children(&shard), now);
            return Next::End(shard);
        }

        let Some((arrival, shard)) = self.oldest() else {
            return Next::Empty(self.complete_until(tips, now, wait));
        };
        if let Some(until) = self.held_until(arrival, tips, now, wait) {
            return Next::Hold(until);
        }
        match self.pop(&shard) {
            Some(record) => Next::Record(shard, record),
            None => Next::Empty(None),
        }
    }

    /// Shards that will bring records from now on.
    fn expect(&mut self, shards: Vec<ShardId>, now: Instant) {
        for shard in shards {
            let new = || Queue::new(Position::TrimHorizon, now);
            self.shards.entry(shard).or_insert_with(new).active = now;
        }
    }

    /// The shard with the oldest record that waits; of equal ones the first by name.
    fn oldest(&self) -> Option<(Millis, ShardId)> {
        let heads = self.shards.iter().filter_map(|(shard, queue)| {
            let head = queue.records.front()?;
            Some((head.arrival, shard))
        });
        heads.min().map(|(arrival, shard)| (arrival, shard.clone()))
    }

    fn pop(&mut self, shard: &ShardId) -> Option<Waiting> {
        let record = self.shards.get_mut(shard)?.records.pop_front()?;
        self.bytes -= record.size();
        Some(record)
    }

    /// The moment until which a record of `arrival` waits for shards that may bring an older one;
    /// `None`: no longer.
    fn held_until(
        &self,
        arrival: Millis,
        tips: &Tips,
        now: Instant,
        wait: Duration,
    ) -> Option<Instant> {
        let silent = self
            .shards
            .iter()
            .filter(|(_, queue)| queue.records.is_empty());
        let ends = silent
            .filter(|(shard, queue)| {
                let until = tips.complete_until(shard, &queue.taken);
                until.is_none_or(|until| until <= arrival)
            })
            .map(|(shard, queue)| queue.patience_ends(shard, tips, wait));
        ends.filter(|end| *end > now).max()
    }

    /// The moment before which every record has been processed, as far as reads tell.
    fn complete_until(&self, tips: &Tips, now: Instant, wait: Duration) -> Option<Millis> {
        let mut earliest: Option<Millis> = None;
        for (shard, queue) in &self.shards {
            match tips.complete_until(shard, &queue.taken) {
                Some(until) => earliest = Some(earliest.map_or(until, |known| known.min(until))),
                None if queue.patience_ends(shard, tips, wait) > now => return None,
                None => {}
            }
        }
        earliest
    }
}

impl Queue {
    fn new(taken: Position, now: Instant) -> Self {
        Self {
            records: VecDeque::new(),
            taken,
            is_closed: false,
            active: now,
        }
    }

    fn has_ended(&self) -> bool {
        self.is_closed && self.records.is_empty()
    }

    /// The moment from which the shard holds the others no longer. A read counts as well as a
    /// record: a shard that is being read is behind, not silent.
    fn patience_ends(&self, shard: &ShardId, tips: &Tips, wait: Duration) -> Instant {
        let read = tips.last_read(shard).unwrap_or_default();
        self.active.max(read).plus(wait)
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::testing::TestClock;

    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    struct Bench {
        clock: TestClock,
        tips: Tips,
        merge: Merge,
    }

    impl Bench {
        fn new(shards: &[&str]) -> Self {
            let clock = TestClock::new(1);
            let positions: Vec<ShardPosition> = shards
                .iter()
                .map(|shard| ShardPosition {
                    shard: ShardId::new(shard),
                    position: Position::TrimHorizon,
                    arrival: None,
                })
                .collect();
            Self {
                tips: Tips::new(clock.clock()),
                merge: Merge::new(&positions, clock.clock().now()),
                clock,
            }
        }

        fn now(&self) -> Instant {
            self.clock.clock().now()
        }

        fn take(&mut self, shard: &str, sequence: &str, arrival: i64) {
            let now = self.now();
            let record = || Waiting {
                data: Bytes::new(),
                key: String::new(),
                sequence: sequence.to_owned(),
                arrival: Millis(arrival),
            };
            let position = Position::after(sequence);
            self.merge.take(&ShardId::new(shard), position, now, record);
        }

        /// The sequence number of the next record, or the kind of another step.
        fn next(&mut self) -> String {
            let now = self.now();
            match self.merge.next(&self.tips, now, WAIT) {
                Next::Record(_, record) => record.sequence,
                Next::End(shard) => format!("end of {shard}"),
                Next::Hold(_) => "hold".to_owned(),
                Next::Empty(until) => format!("empty {:?}", until.map(|until| until.0)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_two_shards_are_in_order_of_arrival() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.take("a", "1", 10);
        bench.take("a", "2", 30);
        assert_eq!(
            bench.next(),
            "hold",
            "the shard b may bring an older record"
        );
        bench.take("b", "3", 20);
        assert_eq!(bench.next(), "1");
        assert_eq!(bench.next(), "3");
        assert_eq!(bench.next(), "hold");
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_comes_twice_is_taken_once() {
        let mut bench = Bench::new(&["a"]);
        bench.take("a", "1", 10);
        bench.take("a", "1", 10);
        assert_eq!(bench.next(), "1");
        assert_eq!(bench.next(), "empty None");
        assert_eq!(bench.merge.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_shard_holds_the_others_for_a_limited_time() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.take("a", "1", 10);
        assert_eq!(bench.next(), "hold");
        tokio::time::advance(WAIT).await;
        assert_eq!(bench.next(), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_shard_that_was_read_holds_nobody() {
        let mut bench = Bench::new(&["a", "b"]);
        bench.take("a", "1", 10);
        bench.tips.note(&ShardId::new("b"), None, Millis(10));
        assert_eq!(bench.next(), "hold", "a record of 10 may still come");
        bench.tips.note(&ShardId::new("b"), None, Millis(11));
        assert_eq!(bench.next(), "1");

        bench.tips.note(&ShardId::new("a"), Some("2"), Millis(50));
        assert_eq!(bench.next(), "empty None", "the record 2 was not taken yet");
        bench.tips.note(&ShardId::new("a"), Some("1"), Millis(20));
        assert_eq!(bench.next(), "empty Some(11)");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_shard_ends_after_the_last_record_and_its_children_are_waited_for() {
        let mut bench = Bench::new(&["a", "c"]);
        let (parent, child) = (ShardId::new("a"), ShardId::new("b"));
        bench.take("a", "1", 10);
        bench.take("c", "2", 20);
        let now = bench.now();
        bench.merge.close(&parent, now);
        bench.tips.end(&parent, &[child]);

        assert_eq!(bench.next(), "1");
        assert_eq!(bench.next(), "end of a");
        assert_eq!(bench.next(), "hold", "the child may bring an older record");
        bench.take("b", "3", 15);
        assert_eq!(bench.next(), "3");
    }
}

//! Model tests of the log: under `shuttle`, which runs the threads in many orders, and against a
//! plain list of records.

use std::sync::Arc;

use proptest::prelude::*;
use shuttle::future::block_on;
use shuttle::thread;

use self::log::{Log, NewRecord, Page};

mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

// Compiles `log.rs` a second time, with the locks of `shuttle` instead of the standard library's.
// Some functions are unused here.
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "log.rs"]
mod log;

const ORDERS: usize = 1000;

fn record(data: &[u8]) -> NewRecord<'_> {
    NewRecord {
        key: Some("k"),
        data,
        flags: 0,
    }
}

/// The offset, writer and number of each record of a page.
fn contents(page: &Page) -> Vec<(u64, [u8; 2])> {
    page.records()
        .map(|item| (item.offset, [item.data[0], item.data[1]]))
        .collect()
}

/// Reads to the end of a closed log, waiting for records, and returns all of them.
fn tail(log: &Log, waiter: u64) -> Vec<(u64, [u8; 2])> {
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        let page = log.read(from, 2, usize::MAX);
        seen.extend(contents(&page));
        from = page.next;
        if page.bounds.ended && from >= page.bounds.tail {
            return seen;
        }
        block_on(std::future::poll_fn(|cx| {
            log.poll_readable(waiter, from, cx)
        }));
    }
}

#[test]
fn no_reader_ever_skips_a_record() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::new());
            let writers: Vec<_> = (0..2_u8)
                .map(|writer| {
                    let log = Arc::clone(&log);
                    thread::spawn(move || {
                        let mut acknowledged = Vec::new();
                        for batch in 0..2_u8 {
                            let data = [[writer, batch * 2], [writer, batch * 2 + 1]];
                            let done =
                                log.append(u64::from(batch), data.iter().map(|d| record(d)), None);
                            let first = done.unwrap().first;
                            acknowledged.extend([(first, data[0]), (first + 1, data[1])]);
                        }
                        acknowledged
                    })
                })
                .collect();
            let readers: Vec<_> = (0..2)
                .map(|waiter| {
                    let log = Arc::clone(&log);
                    thread::spawn(move || tail(&log, waiter))
                })
                .collect();
            let mut acknowledged: Vec<_> = writers
                .into_iter()
                .flat_map(|w| w.join().unwrap())
                .collect();
            log.close(9);
            acknowledged.sort_unstable();
            for reader in readers {
                assert_eq!(reader.join().unwrap(), acknowledged);
            }
        },
        ORDERS,
    );
}

/// No close wakes a reader here: after a lost wake-up a reader waits for ever, which shuttle
/// reports.
#[test]
fn an_append_wakes_waiting_readers() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::new());
            let readers: Vec<_> = (0..2)
                .map(|waiter| {
                    let log = Arc::clone(&log);
                    thread::spawn(move || {
                        let mut from = 0;
                        while from < 2 {
                            block_on(std::future::poll_fn(|cx| {
                                log.poll_readable(waiter, from, cx)
                            }));
                            from = log.read(from, 1, usize::MAX).next;
                        }
                    })
                })
                .collect();
            for n in 0..2 {
                log.append(0, [record(&[0, n])].into_iter(), None).unwrap();
            }
            readers.into_iter().for_each(|r| r.join().unwrap());
        },
        ORDERS,
    );
}

#[test]
fn a_close_comes_after_every_appended_record() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::new());
            let writer = {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    (0..3_u8)
                        .filter(|n| log.append(0, [record(&[0, *n])].into_iter(), None).is_ok())
                        .count()
                })
            };
            let closer = {
                let log = Arc::clone(&log);
                thread::spawn(move || log.close(5))
            };
            let taken = writer.join().unwrap();
            closer.join().unwrap();
            assert_eq!(tail(&log, 1).len(), taken);
        },
        ORDERS,
    );
}

#[test]
fn records_are_read_only_after_they_are_stored() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::new());
            let queue = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
            let writers: Vec<_> = (0..2_u8)
                .map(|writer| {
                    let (log, queue) = (Arc::clone(&log), Arc::clone(&queue));
                    thread::spawn(move || {
                        let mut keep = |piece: log::StoredPiece| queue.lock().unwrap().push(piece);
                        log.append(0, [record(&[writer, 0])].into_iter(), Some(&mut keep))
                            .unwrap();
                    })
                })
                .collect();
            let storing = {
                let (log, queue) = (Arc::clone(&log), Arc::clone(&queue));
                thread::spawn(move || {
                    let mut stored = 0;
                    while stored < 2 {
                        let pieces = std::mem::take(&mut *queue.lock().unwrap());
                        for piece in pieces {
                            // The store is given pieces in the order of their offsets.
                            assert_eq!(piece.first, stored);
                            assert!(log.bounds().tail <= stored);
                            stored += piece.entries.len() as u64;
                            log.publish(stored);
                        }
                        thread::yield_now();
                    }
                })
            };
            writers.into_iter().for_each(|w| w.join().unwrap());
            storing.join().unwrap();
            assert_eq!(log.read(0, 9, 9).len(), 2);
        },
        ORDERS,
    );
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Append {
        passed_ms: u64,
        sizes: Vec<usize>,
    },
    DropBefore {
        back_ms: u64,
    },
    DropOldestSegment,
    Read {
        from: u64,
        records: usize,
        bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0..200_usize, 1 => 10_000..40_000_usize];
    prop_oneof![
        6 => (0..50_u64, prop::collection::vec(size, 1..8))
            .prop_map(|(passed_ms, sizes)| Step::Append { passed_ms, sizes }),
        1 => (0..300_u64).prop_map(|back_ms| Step::DropBefore { back_ms }),
        1 => Just(Step::DropOldestSegment),
        4 => (0..100_u64, 1..20_usize, 0..60_000_usize)
            .prop_map(|(from, records, bytes)| Step::Read { from, records, bytes }),
    ]
}

/// The history of a log as a plain list: the arrival and the data of every record.
#[derive(Default)]
struct Model {
    records: Vec<(u64, Vec<u8>)>,
    head: usize,
    now_ms: u64,
}

impl Model {
    fn run(&mut self, log: &Log, step: &Step) {
        match step {
            Step::Append { passed_ms, sizes } => {
                self.now_ms += passed_ms;
                let first = self.records.len();
                for (i, size) in sizes.iter().enumerate() {
                    self.records
                        .push((self.now_ms, vec![(first + i) as u8; *size]));
                }
                let new = self.records[first..].iter().map(|(_, data)| NewRecord {
                    key: (!data.is_empty()).then_some("key"),
                    data,
                    flags: 0,
                });
                let done = log.append(self.now_ms, new, None).unwrap();
                assert_eq!((done.first, done.arrival_ms), (first as u64, self.now_ms));
            }
            Step::DropBefore { back_ms } => {
                let horizon_ms = self.now_ms.saturating_sub(*back_ms);
                log.drop_before(horizon_ms);
                self.head = self
                    .head
                    .max(self.records.partition_point(|(ms, _)| *ms < horizon_ms));
                assert_eq!(log.bounds().head, self.head as u64);
            }
            Step::DropOldestSegment => {
                let before = log.held_bytes();
                let dropped = log.drop_oldest_segment();
                assert_eq!(before - log.held_bytes(), dropped.freed_bytes);
                self.head = usize::try_from(log.bounds().head).unwrap();
                assert_eq!(log.bounds().lost_before, log.bounds().head);
            }
            Step::Read {
                from,
                records,
                bytes,
            } => self.read(log, *from, *records, *bytes),
        }
    }

    fn read(&self, log: &Log, from: u64, records: usize, bytes: usize) {
        let page = log.read(from, records, bytes);
        let start = usize::try_from(from).unwrap().max(self.head);
        let mut total = 0;
        let due: Vec<_> = (start..self.records.len())
            .take(records)
            .take_while(|at| {
                let data = &self.records[*at].1;
                let size = data.len() + if data.is_empty() { 0 } else { 3 };
                total += size;
                *at == start || total <= bytes
            })
            .collect();
        let got: Vec<_> = page.records().collect();
        assert_eq!(got.len(), due.len());
        assert_eq!(page.records().len(), due.len());
        for (item, at) in got.iter().zip(due) {
            let (arrival_ms, data) = &self.records[at];
            assert_eq!(
                (item.offset, item.arrival_ms, item.data),
                (at as u64, *arrival_ms, &data[..])
            );
            assert_eq!(item.key.is_none(), data.is_empty());
            assert_eq!(log.arrival_ms(item.offset), Some(*arrival_ms));
        }
        for ms in [
            self.now_ms.saturating_sub(100),
            self.now_ms,
            self.now_ms + 1,
        ] {
            let first = self
                .records
                .partition_point(|(at, _)| *at < ms)
                .max(self.head);
            assert_eq!(log.offset_at_time(ms), first as u64);
        }
        let held: usize = self.records[self.head..]
            .iter()
            .map(|(_, data)| data.len())
            .sum();
        assert!(log.held_bytes() >= held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_log_is_like_a_plain_list(steps in prop::collection::vec(step(), 1..60)) {
        shuttle::check_random(
            move || {
                let (log, mut model) = (Log::new(), Model::default());
                for step in &steps {
                    model.run(&log, step);
                }
            },
            1,
        );
    }
}

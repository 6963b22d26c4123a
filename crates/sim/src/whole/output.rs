//! The Kinesis output under observation: the engine's writes, their requests on the network and
//! their outcomes.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Chunk, Demand, EncodingKey, Outcome, Output, Picks, Profile, RequestLimits, Room, Trouble,
    TroubleKind, Weight,
};
use distributary_core::record::{DataForm, Record};
use distributary_core::sync::lock;
use distributary_core::testing::{Entry, Event, Observer};
use distributary_kinesis::output::{KinesisOutput, Route};
use distributary_wire::hot;

use super::link::Link;
use super::records::{SourceRecords, digest};

tokio::task_local! {
    /// The write that a call on this task belongs to.
    pub(super) static CURRENT_WRITE: Arc<Write>;
}

/// One write of the engine, from the call to the outcome.
pub(super) struct Write {
    pub(super) request: u64,
    /// The records that the engine writes.
    pub(super) entries: Arc<Vec<Entry>>,
    /// The route of these records.
    pub(super) route: Route,
    /// The engine has the outcome, or dropped the write.
    pub(super) ended: AtomicBool,
    /// The outcome that the last unspoiled answer tells; `None` while there is none.
    pub(super) last_answer: Mutex<Option<Outcome>>,
}

/// The Kinesis output, with smaller limits and with an observer.
pub(super) struct ObservedOutput {
    pub(super) inner: KinesisOutput,
    pub(super) link: Arc<Link>,
    pub(super) limits: RequestLimits,
    pub(super) route: Route,
    pub(super) records: Arc<Mutex<SourceRecords>>,
    /// Bytes of encoded requests that are still held in memory.
    pub(super) live: Arc<AtomicUsize>,
}

struct Body {
    inner: Chunk,
    entries: Arc<Vec<Entry>>,
    live: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.inner)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.live
            .fetch_sub(self.inner.allocation, Ordering::Relaxed);
    }
}

/// Reports the end of a write to the observer, also if the engine drops the write.
struct WriteGuard<'a> {
    link: &'a Link,
    write: &'a Write,
}

impl WriteGuard<'_> {
    fn answered(self) {
        let unknown = || {
            let trouble = Trouble::new(TroubleKind::Unavailable, "no whole answer arrived");
            Outcome::Unknown(trouble)
        };
        let outcome = lock(&self.write.last_answer).take().unwrap_or_else(unknown);

        self.write.ended.store(true, Ordering::Relaxed);
        self.link.observer().on(&Event::Answered {
            service: self.link.name(),
            request: self.write.request,
            outcome: &outcome,
        });
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if self.write.ended.swap(true, Ordering::Relaxed) {
            return;
        }

        self.link.observer().on(&Event::Abandoned {
            service: self.link.name(),
            request: self.write.request,
        });
    }
}

impl ObservedOutput {
    fn entry(&self, record: &Record<'_>) -> Entry {
        let number = lock(&self.records).number(record.sequence);
        let digest = match record.form {
            DataForm::Raw => digest(record.data),
            DataForm::Base64 => hot::Data::new(hot::DataForm::Base64, record.data)
                .decode()
                .map_or(0, |data| digest(&data)),
        };

        Entry {
            sequence: number.map_or(u128::MAX, |n| n as u128),
            key: record.key.map(Box::from),
            digest,
            size: record.size(),
        }
    }

    /// Starts a write of these entries and reports the write to the observer.
    fn start_write(&self, entries: &Arc<Vec<Entry>>) -> Arc<Write> {
        let write = Arc::new(Write {
            request: self.link.next_request(),
            entries: Arc::clone(entries),
            route: self.route,
            ended: AtomicBool::new(false),
            last_answer: Mutex::new(None),
        });

        self.link.observer().on(&Event::Arrived {
            service: self.link.name(),
            request: write.request,
            entries: &write.entries,
            limits: self.profile().request,
            in_flight: NonZeroUsize::MIN,
        });
        write
    }
}

#[async_trait]
impl Output for ObservedOutput {
    fn encoding(&self) -> EncodingKey {
        let inner = self.inner.encoding();
        let RequestLimits { entries, bytes } = self.limits;
        let form = format!("{}, at most {entries} and {bytes}", inner.form());
        EncodingKey::new(inner.kind(), form)
    }

    fn profile(&self) -> Profile {
        let inner = self.inner.profile();
        Profile {
            request: RequestLimits {
                entries: self.limits.entries.min(inner.request.entries),
                bytes: self.limits.bytes.min(inner.request.bytes),
            },
            ..inner
        }
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        self.inner.weigh(record)
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        self.inner.encoded_bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let entries = Arc::new(picks.iter().map(|i| self.entry(&batch.record(i))).collect());
        let inner = self.inner.encode(batch, picks.clone());
        let allocation = inner.allocation;

        self.live.fetch_add(allocation, Ordering::Relaxed);
        let body = Body {
            inner,
            entries,
            live: Arc::clone(&self.live),
        };
        Chunk {
            picks,
            payload: Box::new(body),
            allocation,
        }
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(body) = (*chunk.payload).as_any().downcast_ref::<Body>() else {
            return Outcome::Rejected(Trouble::new(
                TroubleKind::Invalid,
                "this chunk is of another output",
            ));
        };

        let write = self.start_write(&body.entries);
        let guard = WriteGuard {
            link: &self.link,
            write: &write,
        };
        let inner = self.inner.write(batch, &body.inner, deadline);
        let outcome = CURRENT_WRITE.scope(Arc::clone(&write), inner).await;

        guard.answered();
        outcome
    }

    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        self.inner.room(batch, picks)
    }

    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        self.inner.advice(demand)
    }
}

//! The Kinesis output, watched: what the engine asks of it, what it makes of that on the wire, and what it says came of it.

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
use super::records::{Records, digest};

tokio::task_local! {
    /// The write that a call on this task belongs to.
    pub(super) static WRITING: Arc<Writing>;
}

/// One write, from when the engine asks for it until it has an answer.
pub(super) struct Writing {
    pub(super) request: u64,
    /// What the engine asks for.
    pub(super) entries: Arc<Vec<Entry>>,
    /// How its records are routed.
    pub(super) route: Route,
    /// Whoever asked has an answer, or is gone.
    pub(super) over: AtomicBool,
    /// What the last answer said that came whole; `None` while there is none.
    pub(super) said: Mutex<Option<Outcome>>,
}

/// See the module.
pub(super) struct Watched {
    pub(super) inner: KinesisOutput,
    pub(super) link: Arc<Link>,
    pub(super) limits: RequestLimits,
    pub(super) route: Route,
    pub(super) records: Arc<Mutex<Records>>,
    /// Bytes of encoded requests that somebody still holds.
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

/// The engine's side of a write.
struct Asked<'a>(&'a Link, &'a Writing);

impl Asked<'_> {
    fn answered(self) {
        let said = lock(&self.1.said).take();
        let unknown = || {
            Outcome::Unknown(Trouble::new(
                TroubleKind::Unavailable,
                "no answer came whole",
            ))
        };
        let outcome = said.unwrap_or_else(unknown);
        let (service, request) = (self.0.name.as_str(), self.1.request);
        self.1.over.store(true, Ordering::Relaxed);
        self.0.eye.on(&Event::Answered {
            service,
            request,
            outcome: &outcome,
        });
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.1.over.swap(true, Ordering::Relaxed) {
            self.0.eye.on(&Event::Abandoned {
                service: &self.0.name,
                request: self.1.request,
            });
        }
    }
}

impl Watched {
    fn entry(&self, record: &Record<'_>) -> Entry {
        let number = lock(&self.records).number(record.sequence);
        let form = match record.form {
            DataForm::Raw => hot::DataForm::Raw,
            DataForm::Base64 => hot::DataForm::Base64,
        };
        let digest = match form {
            hot::DataForm::Raw => digest(record.data),
            hot::DataForm::Base64 => hot::Data::new(form, record.data)
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
}

#[async_trait]
impl Output for Watched {
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
                "this chunk is another output's",
            ));
        };
        let writing = Arc::new(Writing {
            request: self.link.number(),
            entries: Arc::clone(&body.entries),
            route: self.route,
            over: AtomicBool::new(false),
            said: Mutex::new(None),
        });
        let (service, request) = (self.link.name.as_str(), writing.request);
        let limits = self.profile().request;
        self.link.eye.on(&Event::Arrived {
            service,
            request,
            entries: &writing.entries,
            limits,
            in_flight: std::num::NonZeroUsize::MIN,
        });
        let asked = Asked(&self.link, &writing);
        let outcome = WRITING
            .scope(
                Arc::clone(&writing),
                self.inner.write(batch, &body.inner, deadline),
            )
            .await;
        asked.answered();
        outcome
    }

    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        self.inner.room(batch, picks)
    }

    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        self.inner.advice(demand)
    }
}

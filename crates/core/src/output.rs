//! The seam to one place that a fan-out writes to. It answers per record; it does no retrying and no ordering of its
//! own: that is written once, in [`crate::engine`].

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::Batch;
use crate::record::Record;

/// What went wrong, as far as it decides what to do next. The retry policy is one `match` over this, without a
/// wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// Over a limit of rate; less will go through. Retried, slower.
    Throttled,
    /// The server or the way to it failed; nothing is wrong with what was asked. Retried.
    Unavailable,
    /// No or expired credentials, a wrong signature. Retried (they may be renewed), and said to the user.
    Unauthenticated,
    /// Access denied. Retried slowly (a policy may be mended), and said to the user.
    Denied,
    /// The stream, queue, function … does not exist or is being deleted. Retried slowly, and said to the user.
    Missing,
    /// The server says that the request is wrong, and would say so again.
    Invalid,
    /// The server said something that this program does not understand; never taken for success nor for failure.
    Unintelligible,
}

/// Why something did not succeed.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What decides about what to do next.
    pub kind: TroubleKind,
    /// One sentence for the user: what happened, with the server's own code and message where there is one.
    pub message: String,
    /// The server's wish as to when to try again.
    pub retry_after: Option<Duration>,
    /// What it came from.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Trouble {
    /// Trouble of `kind`, said in `message`.
    pub fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// The same, with what it came from.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// Names a way of encoding: lanes whose outputs have equal keys share the chunks made of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncodingKey(pub Arc<str>);

/// What one request to an output may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Entries.
    pub entries: usize,
    /// Sum of the weights in bytes.
    pub bytes: usize,
}

/// What one record counts against an output's [`RequestLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Entries that it becomes.
    pub entries: usize,
    /// Bytes that the output's limit counts for it.
    pub bytes: usize,
}

/// Which records of a batch a chunk holds, in source order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picks {
    /// A run.
    Run(Range<usize>),
    /// Chosen ones, ascending.
    Some(Vec<usize>),
}

impl Picks {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Run(range) => range.len(),
            Self::Some(picked) => picked.len(),
        }
    }

    /// True if none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index in the batch of the `i`th.
    pub fn get(&self, i: usize) -> Option<usize> {
        match self {
            Self::Run(range) => (i < range.len()).then(|| range.start + i),
            Self::Some(picked) => picked.get(i).copied(),
        }
    }

    /// Indices in the batch, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

/// One request's worth of records, encoded by an output. Immutable, shared by all lanes with the same encoding key.
#[derive(Debug)]
pub struct Chunk {
    /// Which records of the batch it holds.
    pub picks: Picks,
    /// The encoded form; only the output that made it (or one with the same key) knows its type.
    pub payload: Box<dyn Payload>,
    /// Bytes that stay allocated as long as it lives.
    pub allocation: usize,
}

/// What an output keeps in a chunk.
pub trait Payload: Any + Send + Sync + fmt::Debug {
    /// For the output's downcast.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + Send + Sync + fmt::Debug> Payload for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What became of one record of a chunk.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The output has it: it said so for this very record.
    Durable,
    /// The output says that it did not take it now.
    Retry(Trouble),
    /// The output says that it will never take it (too large, malformed …).
    Refused(String),
}

/// What became of a chunk.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every record is durable, each acknowledged.
    Durable,
    /// Answered record by record, in the order of the chunk's picks; as many as it has.
    PerRecord(Vec<Verdict>),
    /// Nothing of it was written, for certain.
    Rejected(Trouble),
    /// Nobody knows what was written: a timeout, a broken connection, an answer cut in the middle or not understood.
    Unknown(Trouble),
}

/// What an output has room for now, as far as it knows the limits of what it writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// All that was asked for.
    All,
    /// Not these, for now.
    Less {
        /// Their indices in the batch, ascending. The engine holds back what stands behind them in the order, too.
        held: Vec<usize>,
        /// If nothing is left to be sent: when to ask again.
        wait: Duration,
    },
}

/// What the source brings, whatever the output takes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Records a second.
    pub records: f64,
    /// Bytes of data and keys a second.
    pub bytes: f64,
}

/// One place that a fan-out writes to.
#[async_trait]
pub trait Output: Send + Sync + 'static {
    /// How it encodes. Equal keys mean: chunks may be exchanged. May change (an output that learns a server's limits
    /// gets another key); chunks made under the old key stay valid for `write`.
    fn encoding(&self) -> EncodingKey;

    /// What one request may hold. A function of what [`Output::encoding`] names, never of a lane's state, or sharing
    /// vanishes: the engine cuts a batch into the same chunks for every lane with the same encoding key.
    fn limits(&self) -> RequestLimits;

    /// What `record` counts against [`RequestLimits`]; by default one entry, and the length of its data and key.
    fn weigh(&self, record: &Record<'_>) -> Weight {
        Weight {
            entries: 1,
            bytes: record.size(),
        }
    }

    /// Upper bound of a chunk's allocation, in bytes, for records whose allocation in the batch is `bytes`. Reserved
    /// in the memory budget before anything is encoded.
    fn encoded_bound(&self, records: usize, bytes: usize) -> usize;

    /// Encodes the records that `picks` names: within the limits, or one record alone that exceeds them. A record
    /// that can never be written is still part of the chunk; `write` answers `Refused` for it.
    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk;

    /// Writes `chunk` once and says what became of it. Answers within `deadline` (`Unknown` if the server does not).
    /// Dropping the future abandons the request; what it held may still be written, late.
    async fn write(&self, chunk: &Chunk, deadline: Duration) -> Outcome;

    /// What of the records that `picks` names may be sent now without being throttled. Asked once before each request;
    /// what is let through counts against the limits. By default there are none: everything.
    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        let (_, _) = (batch, picks);
        Room::All
    }

    /// What the user should know about how it copes with `demand` (`None` while that is not known), such as that it has
    /// too few shards; `None` if all is well.
    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        let _ = demand;
        None
    }
}

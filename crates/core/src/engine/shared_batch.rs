//! A batch that lanes share, and its encoded chunks: each chunk is made once for all lanes that
//! encode alike.

use std::ops::Range;
use std::sync::atomic::{self, AtomicBool};
use std::sync::{Arc, OnceLock};

use crate::batch::Batch;
use crate::checkpoint::{Position, Sequence};
use crate::output::{Chunk, EncodingKey, Output, Picks, Weight};
use crate::pump::{BadRow, Pump, PumpRef};

use super::budget::Permit;
use super::encoders::{Encoders, Form};
use super::mutation::{Mutation, on};
use super::rows::Rows;

/// A batch with its share of the budget, and with what was encoded of it: each chunk made once.
pub(crate) struct SharedBatch {
    pub(crate) batch: Batch,
    sets: Vec<ChunkSet>,
    pumped: Vec<Pumped>,
    permit: Permit,
    /// The batch is in no window; only lanes that deliver it keep it in memory.
    loose: AtomicBool,
}

/// The rows of one pump, made by the first lane that needs them.
struct Pumped {
    pump: Arc<dyn Pump>,
    /// The streams and encoding keys that room was reserved for.
    keys: Vec<(usize, EncodingKey)>,
    streams: OnceLock<Result<Vec<Arc<Rows>>, Arc<BadRow>>>,
}

impl Pumped {
    /// The rows of `pump`, with room for their encodings by `encoders`.
    fn new(pump: &Arc<dyn Pump>, encoders: &Encoders) -> Self {
        let key_of = |form: &Form| {
            let (of, stream) = form.rows_of.as_ref()?;
            (of == pump.id()).then(|| (*stream, form.key.clone()))
        };
        Self {
            pump: Arc::clone(pump),
            keys: encoders.forms().filter_map(key_of).collect(),
            streams: OnceLock::new(),
        }
    }

    fn streams(&self, batch: &Batch) -> &Result<Vec<Arc<Rows>>, Arc<BadRow>> {
        self.streams.get_or_init(|| {
            let derived = self.pump.apply(batch).map_err(Arc::new)?;
            let mut streams = Vec::new();
            for (stream, rows) in derived.into_iter().enumerate() {
                let keys = self.keys_of(stream);
                streams.push(Arc::new(Rows::new(rows, keys)));
            }
            Ok(streams)
        })
    }

    fn keys_of(&self, stream: usize) -> Vec<EncodingKey> {
        let mut keys = Vec::new();
        for (of, key) in &self.keys {
            if *of == stream {
                keys.push(key.clone());
            }
        }
        keys
    }
}

/// The reason why a lane has no rows.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoRows {
    /// The pump failed.
    #[error("the pump failed")]
    Failed(#[source] Arc<BadRow>),
    /// The pump returned fewer streams than the output names.
    #[error("the pump has no stream {stream}")]
    NoStream {
        /// The stream that the output names.
        stream: usize,
    },
}

/// The rows of one stream alone, for a lane whose batch has no room for them.
pub(crate) fn make_rows(pump: &PumpRef, batch: &Batch) -> Result<Rows, NoRows> {
    let stream = pump.stream;
    let derived = match pump.pump.apply(batch) {
        Ok(derived) => derived,
        Err(error) => return Err(NoRows::Failed(Arc::new(error))),
    };
    match derived.into_iter().nth(stream) {
        Some(rows) => Ok(Rows::new(rows, [])),
        None => Err(NoRows::NoStream { stream }),
    }
}

/// The chunks of a batch under one encoding key.
pub(crate) struct ChunkSet {
    key: EncodingKey,
    cuts: OnceLock<Cuts>,
}

struct Cuts {
    ranges: Vec<Range<usize>>,
    chunks: Vec<OnceLock<Chunk>>,
}

impl ChunkSet {
    pub(crate) fn new(key: EncodingKey) -> Self {
        Self {
            key,
            cuts: OnceLock::new(),
        }
    }

    /// The encoding key of the chunks.
    pub(crate) fn key(&self) -> &EncodingKey {
        &self.key
    }

    fn cuts(&self, batch: &Batch, output: &dyn Output) -> &Cuts {
        self.cuts.get_or_init(|| {
            let ranges = cut(batch, output);
            let chunks = ranges.iter().map(|_| OnceLock::new()).collect();
            Cuts { ranges, chunks }
        })
    }

    /// Where the batch is cut: the same for every lane with this key.
    pub(crate) fn ranges(&self, batch: &Batch, output: &dyn Output) -> &[Range<usize>] {
        &self.cuts(batch, output).ranges
    }

    /// The chunk of exactly `range`, made now if nobody did before; `None` if the batch is not cut
    /// there.
    pub(crate) fn chunk(
        &self,
        batch: &Batch,
        output: &dyn Output,
        range: &Range<usize>,
    ) -> Option<&Chunk> {
        let cuts = self.cuts(batch, output);
        let i = cuts
            .ranges
            .binary_search_by_key(&range.start, |r| r.start)
            .ok()?;
        if cuts.ranges.get(i) != Some(range) {
            return None;
        }
        // A lane that comes while another one encodes waits for it: it could do nothing else
        // meanwhile.
        Some(
            cuts.chunks
                .get(i)?
                .get_or_init(|| output.encode(batch, Picks::Run(range.clone()))),
        )
    }
}

/// Cuts `batch` into runs that each fit one request; a record that exceeds the limits stands alone.
fn cut(batch: &Batch, output: &dyn Output) -> Vec<Range<usize>> {
    let limits = output.profile().request;
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut sum = Weight::default();
    for (i, record) in batch.iter().enumerate() {
        let weight = output.weigh(&record);
        let with_record = sum.plus(weight);
        if i > start && !with_record.fits(limits) {
            ranges.push(start..i);
            start = i;
            sum = weight;
        } else {
            sum = with_record;
        }
    }

    if start < batch.len() {
        ranges.push(start..batch.len());
    }
    ranges
}

impl SharedBatch {
    /// `permit` covers the batch, and its rows and shared encodings by `encoders`.
    pub(crate) fn new(batch: Batch, encoders: &Encoders, permit: Permit) -> Self {
        let plain = encoders.forms().filter(|form| form.rows_of.is_none());
        let sets = plain.map(|form| ChunkSet::new(form.key.clone()));
        let pumps = encoders.pumps().values();
        let pumped = pumps.map(|pump| Pumped::new(pump, encoders));

        Self {
            batch,
            sets: sets.collect(),
            pumped: pumped.collect(),
            permit,
            loose: AtomicBool::new(true),
        }
    }

    /// The chunks under `key`, if room was reserved for them.
    pub(crate) fn set(&self, key: &EncodingKey) -> Option<&ChunkSet> {
        self.sets.iter().find(|s| s.key == *key)
    }

    /// True if room was reserved for the chunks of `form`.
    pub(crate) fn has_room_for(&self, form: &Form) -> bool {
        let Some((pump, stream)) = &form.rows_of else {
            return self.set(&form.key).is_some();
        };
        let Some(pumped) = self.pumped.iter().find(|of| of.pump.id() == pump) else {
            return false;
        };
        for (of, key) in &pumped.keys {
            if of == stream && *key == form.key {
                return true;
            }
        }
        false
    }

    /// The rows of `pump`, made now if no lane did before; `None` if no room was reserved for them.
    pub(crate) fn rows(&self, pump: &PumpRef) -> Option<Result<Arc<Rows>, NoRows>> {
        let id = pump.pump.id();
        let pumped = self.pumped.iter().find(|of| of.pump.id() == id)?;
        let streams = match pumped.streams(&self.batch) {
            Ok(streams) => streams,
            Err(error) => return Some(Err(NoRows::Failed(Arc::clone(error)))),
        };

        let stream = pump.stream;
        Some(match streams.get(stream) {
            Some(rows) => Ok(Arc::clone(rows)),
            None => Err(NoRows::NoStream { stream }),
        })
    }

    /// True if `position` lies before the first record, and not within the record.
    pub(crate) fn is_behind(&self, position: &Position) -> bool {
        self.first_after(position) == 0 && self.rows_settled(0, position) == 0
    }

    /// The number of rows of the record at `record` that are settled at `position`.
    pub(crate) fn rows_settled(&self, record: usize, position: &Position) -> usize {
        if on(Mutation::RowsStartOver) {
            return 0;
        }
        match position {
            Position::After {
                sequence,
                sub: Some(sub),
            } if record < self.batch.len()
                && self.batch.record(record).sequence == sequence.as_str() =>
            {
                (*sub as usize).saturating_add(1)
            }
            _ => 0,
        }
    }

    /// Its share of the budget in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.permit.bytes()
    }

    /// True if no window has it.
    pub(crate) fn is_loose(&self) -> bool {
        self.loose.load(atomic::Ordering::Relaxed)
    }

    pub(super) fn set_loose(&self, loose: bool) {
        self.loose.store(loose, atomic::Ordering::Relaxed);
    }

    /// The sequence number of its last record; empty if it has none.
    pub(crate) fn last(&self) -> &str {
        self.batch
            .len()
            .checked_sub(1)
            .map_or("", |i| self.batch.record(i).sequence)
    }

    /// The index of its first record that is not covered by `position`; its length if all are.
    pub(crate) fn first_after(&self, position: &Position) -> usize {
        match position {
            Position::TrimHorizon | Position::At(_) => 0,
            Position::Closed => self.batch.len(),
            Position::After { sequence, sub } => {
                let after = index_after(&self.batch, sequence.as_str());
                let partly = sub.is_some()
                    && after > 0
                    && self.batch.record(after - 1).sequence == sequence.as_str();
                after - usize::from(partly)
            }
        }
    }
}

/// The index of the first record of `batch` with a sequence number above `sequence`.
pub(crate) fn index_after(batch: &Batch, sequence: &str) -> usize {
    let above = |i: usize| Sequence::compare(batch.record(i).sequence, sequence).is_gt();
    // Nearly always the batch follows just where the lane is.
    if batch.is_empty() || above(0) {
        return 0;
    }
    let (mut low, mut high) = (0, batch.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if above(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
pub(crate) mod testing {
    use std::time::Duration;

    use super::*;
    use crate::clock::Millis;
    use crate::engine::budget::Budget;
    use crate::output::{Outcome, Profile, RequestLimits};
    use crate::record::{DataForm, RecordIndex, Span};

    /// A batch of records with these sequence numbers, which are their data too.
    pub(crate) fn batch(sequences: &[&str]) -> SharedBatch {
        let mut buffer = Vec::new();
        let mut records = Vec::new();
        for s in sequences {
            let start = u32::try_from(buffer.len()).unwrap();
            buffer.extend_from_slice(s.as_bytes());
            let span = Span {
                start,
                len: u32::try_from(s.len()).unwrap(),
            };
            records.push(RecordIndex {
                sequence: span,
                key: None,
                data: span,
                arrival: Millis(0),
            });
        }
        let permit = Budget::new(1 << 20).try_reserve(buffer.len()).unwrap();
        SharedBatch::new(
            Batch::new(
                crate::batch::test_origin(),
                buffer.into(),
                DataForm::Raw,
                records,
            )
            .unwrap(),
            &Encoders::default(),
            permit,
        )
    }

    /// An output that takes five records at once.
    pub(crate) struct Five;

    #[async_trait::async_trait]
    impl Output for Five {
        fn encoding(&self) -> EncodingKey {
            EncodingKey::new("five", "")
        }
        fn profile(&self) -> Profile {
            Profile::new(RequestLimits {
                entries: 5,
                bytes: 1 << 20,
            })
        }
        fn encoded_bound(&self, _: usize, bytes: usize) -> usize {
            bytes
        }
        fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
            Chunk {
                picks,
                payload: Box::new(()),
                allocation: 0,
            }
        }
        async fn write(&self, _: &Batch, _: &Chunk, _: Duration) -> Outcome {
            Outcome::Durable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Five, batch};
    use super::*;

    #[test]
    fn the_first_record_after_a_sequence_number() {
        let shared = batch(&["9", "10", "100", "101"]);
        for (position, index) in [
            ("1", 0),
            ("9", 1),
            ("50", 2),
            ("100", 3),
            ("101", 4),
            ("9999", 4),
        ] {
            assert_eq!(
                shared.first_after(&Position::after(position)),
                index,
                "{position}"
            );
        }
    }

    #[test]
    fn chunks_are_cut_at_the_limits_and_made_once() {
        let shared = batch(&["1", "2", "3", "4", "5", "6", "7"]);
        let set = ChunkSet::new(EncodingKey::new("five", ""));
        assert_eq!(set.ranges(&shared.batch, &Five), [0..5, 5..7]);
        let chunk = set.chunk(&shared.batch, &Five, &(5..7)).unwrap();
        assert!(std::ptr::eq(
            chunk,
            set.chunk(&shared.batch, &Five, &(5..7)).unwrap()
        ));
        assert!(
            set.chunk(&shared.batch, &Five, &(5..6)).is_none(),
            "not cut there"
        );
    }
}

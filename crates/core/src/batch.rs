//! A batch: a run of consecutive records of one shard, as read, immutable and shared by all lanes.

use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::Position;
use crate::id::id_type;
use crate::record::{DataForm, Record, RecordIndex, Span};
use crate::source::HashRange;

id_type! {
    /// The id of a shard, `shardId-…`.
    ShardId
}

/// Digits of a sequence number: AWS's pattern allows 129 and no more (API reference, `PutRecord`).
const LONGEST_SEQUENCE: usize = 129;

/// The shard that a batch was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source's ARN, or its name where the server knows no ARNs.
    pub source: Arc<str>,
    /// The shard.
    pub shard: ShardId,
    /// The shard's part of the hash space, where the source returns that.
    pub hash_range: Option<HashRange>,
}

/// A run of consecutive records of one shard: an index into the answer that brought them.
#[derive(Debug)]
pub struct Batch {
    buffer: Bytes,
    form: DataForm,
    records: Box<[RecordIndex]>,
    /// For records with an explicit hash key: index and hash key, ascending.
    hash_keys: Box<[(usize, u128)]>,
    origin: Arc<Origin>,
}

/// The reason why an answer makes no batch: the server sent a malformed record.
#[derive(Debug, thiserror::Error)]
#[error("record {record} of the answer is malformed: {what}")]
pub struct BadBatch {
    /// The record's index in the answer.
    pub record: usize,
    /// The defect.
    pub what: &'static str,
}

impl Batch {
    /// A batch over `buffer`. Checks that every span lies inside the buffer, that sequence numbers
    /// are decimal and that keys are UTF-8, so that later steps need no checks. An empty batch is
    /// allowed.
    pub fn new(
        origin: Arc<Origin>,
        buffer: Bytes,
        form: DataForm,
        records: Vec<RecordIndex>,
    ) -> Result<Self, BadBatch> {
        for (record, index) in records.iter().enumerate() {
            check(&buffer, index).map_err(|what| BadBatch { record, what })?;
        }

        Ok(Self {
            buffer,
            form,
            records: records.into(),
            hash_keys: Box::default(),
            origin,
        })
    }

    /// The same batch with explicit hash keys: indices of records, ascending, and hash keys.
    #[must_use]
    pub fn with_hash_keys(mut self, hash_keys: Vec<(usize, u128)>) -> Self {
        self.hash_keys = hash_keys.into();
        self
    }

    /// True if a record has an explicit hash key.
    pub fn has_hash_keys(&self) -> bool {
        !self.hash_keys.is_empty()
    }

    /// The explicit hash key of the record at `i`, known only for records taken out of an
    /// aggregate.
    pub fn explicit_hash_key(&self, i: usize) -> Option<u128> {
        let at = self
            .hash_keys
            .binary_search_by_key(&i, |(of, _)| *of)
            .ok()?;
        self.hash_keys.get(at).map(|(_, hash_key)| *hash_key)
    }

    /// The shard that the records were read from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The shard's part of the hash space, where the source returns that.
    pub fn hash_range(&self) -> Option<HashRange> {
        self.origin.hash_range
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record at `i`. Panics only if `i` is not below [`Batch::len`], as slices do.
    pub fn record(&self, i: usize) -> Record<'_> {
        let r = &self.records[i];
        // Both texts were checked when the batch was made, so the empty default is never used.
        let text = |s: Span| std::str::from_utf8(s.of(&self.buffer)).unwrap_or_default();
        Record {
            sequence: text(r.sequence),
            key: r.key.map(text),
            data: r.data.of(&self.buffer),
            form: self.form,
            arrival: r.arrival,
        }
    }

    /// All records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> + '_ {
        (0..self.len()).map(|i| self.record(i))
    }

    /// The form of the data of all records in the buffer.
    pub fn form(&self) -> DataForm {
        self.form
    }

    /// The position just after the record at `i`.
    pub fn after(&self, i: usize) -> Position {
        Position::after(self.record(i).sequence)
    }

    /// Bytes that stay allocated as long as this batch lives: the whole answer and the index.
    pub fn allocation(&self) -> usize {
        self.buffer.len() + size_of_val(&*self.records) + size_of_val(&*self.hash_keys)
    }

    /// [`Record::size`] of the record at `i`, without looking at the record otherwise. Panics only
    /// if `i` is not below [`Batch::len`], as slices do.
    pub fn size(&self, i: usize) -> usize {
        let r = &self.records[i];
        self.form.data_len(r.data.of(&self.buffer)) + r.key.map_or(0, |k| k.len as usize)
    }

    /// Bytes that the record at `i` takes in this batch, index included. Panics only if `i` is not
    /// below [`Batch::len`], as slices do.
    pub fn footprint(&self, i: usize) -> usize {
        let r = &self.records[i];
        let parts =
            r.sequence.len as usize + r.key.map_or(0, |k| k.len as usize) + r.data.len as usize;
        parts + size_of::<RecordIndex>()
    }

    /// The same records in a new buffer of just their size, for a small remainder that would keep a
    /// large answer allocated.
    pub fn compact(&self, range: std::ops::Range<usize>) -> Self {
        Self::copy(&self.origin, self.form, &[(self, range)])
    }

    /// Records of several batches as one batch, so that many small answers fit in one request.
    /// `None` if the batches have data of different forms, or too much data for one buffer.
    pub fn join(parts: &[(&Self, std::ops::Range<usize>)]) -> Option<Self> {
        let (first, _) = parts.first()?;
        let mut size = 0;
        for (batch, _) in parts {
            if batch.form != first.form {
                return None;
            }
            size += batch.buffer.len();
        }

        // The index counts in u32.
        u32::try_from(size).ok()?;
        Some(Self::copy(&first.origin, first.form, parts))
    }

    /// The records at `picks`, which share this batch's buffer. An index that is not below
    /// [`Batch::len`] is left out.
    pub(crate) fn pick(&self, picks: &[u32]) -> Self {
        let records = picks.iter();
        let records = records.filter_map(|i| self.records.get(*i as usize).copied());
        Self {
            buffer: self.buffer.clone(),
            form: self.form,
            records: records.collect(),
            hash_keys: self.hash_keys_of(picks),
            origin: Arc::clone(&self.origin),
        }
    }

    /// The explicit hash keys of the records at `picks`, by index in `picks`.
    fn hash_keys_of(&self, picks: &[u32]) -> Box<[(usize, u128)]> {
        if !self.has_hash_keys() {
            return Box::default();
        }
        let picks = picks.iter().enumerate();
        let keys = picks.filter_map(|(at, i)| Some((at, self.explicit_hash_key(*i as usize)?)));
        keys.collect()
    }

    fn copy(
        origin: &Arc<Origin>,
        form: DataForm,
        parts: &[(&Self, std::ops::Range<usize>)],
    ) -> Self {
        let mut bytes = 0;
        let mut count = 0;
        for (batch, range) in parts {
            let records = batch.indices(range);
            bytes += lengths(records);
            count += records.len();
        }

        let mut buffer = Vec::with_capacity(bytes);
        let mut index = Vec::with_capacity(count);
        for (batch, range) in parts {
            for record in batch.indices(range) {
                let copied = copy_record(&mut buffer, &batch.buffer, record);
                index.push(copied);
            }
        }
        Self {
            buffer: buffer.into(),
            form,
            records: index.into(),
            // A batch as read has none.
            hash_keys: Box::default(),
            origin: Arc::clone(origin),
        }
    }

    fn indices(&self, range: &std::ops::Range<usize>) -> &[RecordIndex] {
        self.records.get(range.clone()).unwrap_or_default()
    }
}

/// The defect of a record, if there is one.
fn check(buffer: &Bytes, record: &RecordIndex) -> Result<(), &'static str> {
    for span in [Some(record.sequence), record.key, Some(record.data)] {
        if span.is_some_and(|span| !is_inside(span, buffer)) {
            return Err("it lies outside the answer");
        }
    }
    if !is_number(record.sequence.of(buffer)) {
        return Err("its sequence number is not decimal");
    }

    let Some(key) = record.key else {
        return Ok(());
    };
    match std::str::from_utf8(key.of(buffer)) {
        Ok(_) => Ok(()),
        Err(_) => Err("its partition key is not UTF-8"),
    }
}

fn is_inside(span: Span, buffer: &Bytes) -> bool {
    let end = span.start as usize + span.len as usize;
    end <= buffer.len()
}

fn is_number(text: &[u8]) -> bool {
    let has_length = !text.is_empty() && text.len() <= LONGEST_SEQUENCE;
    has_length && text.iter().all(u8::is_ascii_digit)
}

/// Bytes of the texts and data of `records`.
fn lengths(records: &[RecordIndex]) -> usize {
    let mut sum = 0;
    for record in records {
        sum += record.sequence.len as usize;
        sum += record.key.map_or(0, |key| key.len as usize);
        sum += record.data.len as usize;
    }
    sum
}

/// Copies a record of `from` behind the end of `buffer`.
fn copy_record(buffer: &mut Vec<u8>, from: &Bytes, record: &RecordIndex) -> RecordIndex {
    let mut copy = |span: Span| {
        // The lengths of all buffers together fit u32, so their parts do.
        #[allow(clippy::cast_possible_truncation)]
        let start = buffer.len() as u32;
        buffer.extend_from_slice(span.of(from));
        Span {
            start,
            len: span.len,
        }
    };
    RecordIndex {
        sequence: copy(record.sequence),
        key: record.key.map(&mut copy),
        data: copy(record.data),
        arrival: record.arrival,
    }
}

/// An origin for unit tests.
#[cfg(test)]
pub(crate) fn test_origin() -> Arc<Origin> {
    Arc::new(Origin {
        source: "arn:aws:kinesis:eu-west-1:1:stream/input".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    })
}

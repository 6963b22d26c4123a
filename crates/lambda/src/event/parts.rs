//! Collects the records of an event by shard, queue or topic.

use std::sync::Arc;

use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::record::{DataForm, RecordIndex, Span};

use super::{BadEvent, Group};

/// The groups of an event so far.
#[derive(Default)]
pub(super) struct Groups(Vec<Collecting>);

/// One record.
pub(super) struct Part<'a> {
    /// The ARN of the stream, queue or topic.
    pub(super) source: &'a str,
    pub(super) shard: &'a str,
    /// Decimal.
    pub(super) sequence: &'a str,
    pub(super) key: &'a str,
    pub(super) form: DataForm,
    pub(super) data: &'a [u8],
    pub(super) arrival: Millis,
    /// The record's identifier in an answer.
    pub(super) id: &'a str,
}

struct Collecting {
    origin: Arc<Origin>,
    form: DataForm,
    buffer: Vec<u8>,
    records: Vec<RecordIndex>,
    ids: Vec<String>,
}

impl Groups {
    /// Adds a record behind the others of the group.
    pub(super) fn push(&mut self, part: &Part<'_>) -> Result<(), BadEvent> {
        let group = self.group(part);
        group.ids.push(part.id.to_owned());
        let index = RecordIndex {
            sequence: group.append(part.sequence.as_bytes())?,
            key: Some(group.append(part.key.as_bytes())?),
            data: group.append(part.data)?,
            arrival: part.arrival,
        };
        group.records.push(index);
        Ok(())
    }

    fn group(&mut self, part: &Part<'_>) -> &mut Collecting {
        let mut groups = self.0.iter();
        let found = groups.position(|group| group.is_of(part));
        let place = found.unwrap_or_else(|| {
            self.0.push(Collecting::new(part));
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// The groups, in the order of the first records.
    pub(super) fn finish(self) -> Result<Vec<Group>, BadEvent> {
        let groups = self.0.into_iter();
        groups.map(Collecting::finish).collect()
    }
}

impl Collecting {
    fn new(part: &Part<'_>) -> Self {
        let origin = Origin {
            source: part.source.into(),
            shard: ShardId::new(part.shard),
            hash_range: None,
        };
        Self {
            origin: Arc::new(origin),
            form: part.form,
            buffer: Vec::new(),
            records: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn is_of(&self, part: &Part<'_>) -> bool {
        let origin = &self.origin;
        origin.shard.as_str() == part.shard && *origin.source == *part.source
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Span, BadEvent> {
        let span = Span {
            start: u32::try_from(self.buffer.len())?,
            len: u32::try_from(bytes.len())?,
        };
        self.buffer.extend_from_slice(bytes);
        Ok(span)
    }

    fn finish(self) -> Result<Group, BadEvent> {
        let source = Arc::clone(&self.origin.source);
        let buffer = self.buffer.into();
        let batch = Batch::new(self.origin, buffer, self.form, self.records)?;
        Ok(Group {
            source,
            batch: Arc::new(batch),
            ids: self.ids,
        })
    }
}

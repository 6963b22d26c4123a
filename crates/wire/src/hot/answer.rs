//! Reading a `GetRecords` answer or a `SubscribeToShard` event.

use bytes::Bytes;

use super::cbor::Cbor;
use super::json::Json;
use super::pull::{Hot, Miss, Pull, once, span};
use super::{Data, DataForm, Span};
use crate::codec::{self, CodecError, Format};
use crate::limits;
use crate::types::{ChildShard, Record, shapes};

/// Where the parts of one record lie in [`GetRecordsAnswer::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordIndex {
    /// The sequence number: text.
    pub sequence: Span,
    /// The partition key: text. A record may have none.
    pub key: Option<Span>,
    /// The data, in the answer's [`form`](GetRecordsAnswer::form).
    pub data: Span,
    /// When Kinesis took the record, in milliseconds since 1970; 0 if the server did not say.
    pub arrival_ms: i64,
}

/// A `GetRecords` answer or a `SubscribeToShard` event: an index over its body.
#[derive(Clone, Debug)]
pub struct GetRecordsAnswer {
    /// The body that the spans of `records` point into: the one that was parsed or, if some text in it was escaped or cut
    /// in chunks, one with that text appended.
    pub body: Bytes,
    /// The form that the data have in `body`.
    pub form: DataForm,
    /// The records, in the order of the answer.
    pub records: Vec<RecordIndex>,
    /// Where to read on; `None` when the shard is closed and this is its end (and in a push event).
    pub next_shard_iterator: Option<String>,
    /// Where to subscribe again; only in a push event, and `None` there at the end of a shard.
    pub continuation_sequence_number: Option<String>,
    /// How far behind the tip the answer ends, in milliseconds.
    pub millis_behind_latest: Option<i64>,
    /// The children of a closed shard, with its last answer.
    pub child_shards: Vec<ChildShard>,
}

impl GetRecordsAnswer {
    /// Reads a body. Sequence numbers and keys are checked to be text; base64 is not looked into.
    ///
    /// # Errors
    /// [`CodecError`], for anything that is not such an answer or larger than
    /// [`ANSWER_BODY_BYTES`](crate::limits::ANSWER_BODY_BYTES). An object without `Records` is not one: without
    /// `NextShardIterator` it would say that the shard has ended.
    pub fn parse(format: Format, body: Bytes) -> Result<Self, CodecError> {
        if body.len() > limits::ANSWER_BODY_BYTES {
            return Err(CodecError::TooLarge {
                size: body.len(),
                limit: limits::ANSWER_BODY_BYTES,
            });
        }
        let page = match format {
            Format::Json => Page::walk(&mut Json::new(&body)),
            Format::Cbor => Page::walk(&mut Cbor::new(&body)),
        };
        match page {
            Ok(page) => Ok(page.over(format, body)),
            Err(Miss) => Self::from_generic(codec::decode(format, &body)?),
        }
    }

    /// An index over a buffer of its own.
    fn from_generic(page: AnyPage) -> Result<Self, CodecError> {
        let mut buffer = Vec::new();
        let mut put = |bytes: &[u8]| {
            let start = buffer.len();
            buffer.extend_from_slice(bytes);
            span(start, buffer.len())
                .map_err(|Miss| CodecError::shape("the records do not fit 32 bits"))
        };
        let list = page
            .records
            .ok_or_else(|| CodecError::shape("the answer has no Records"))?;
        let mut records = Vec::with_capacity(list.len());
        for record in &list {
            if record.sequence_number.is_empty() {
                return Err(CodecError::shape("a record has no sequence number"));
            }
            records.push(RecordIndex {
                sequence: put(record.sequence_number.as_bytes())?,
                key: record
                    .partition_key
                    .as_ref()
                    .map(|key| put(key.as_bytes()))
                    .transpose()?,
                data: put(&record.data.0)?,
                arrival_ms: record.approximate_arrival_timestamp.unwrap_or_default().0,
            });
        }
        Ok(Self {
            body: buffer.into(),
            form: DataForm::Raw,
            records,
            next_shard_iterator: page.next_shard_iterator,
            continuation_sequence_number: page.continuation_sequence_number,
            millis_behind_latest: page.millis_behind_latest,
            child_shards: page.child_shards.unwrap_or_default(),
        })
    }

    /// The data of a record of this answer.
    pub fn data(&self, record: &RecordIndex) -> Data<'_> {
        Data::new(self.form, record.data.of(&self.body))
    }
}

shapes! {
    /// The members of both a `GetRecords` answer and a `SubscribeToShard` event.
    struct AnyPage {
        pub records: Option<Vec<Record>>,
        pub next_shard_iterator: Option<String>,
        pub continuation_sequence_number: Option<String>,
        pub millis_behind_latest: Option<i64>,
        pub child_shards: Option<Vec<ChildShard>>,
    }
}

/// What a walk over such a body has found.
#[derive(Default)]
struct Page {
    extra: Vec<u8>,
    records: Option<Vec<RecordIndex>>,
    next_shard_iterator: Option<Span>,
    continuation_sequence_number: Option<Span>,
    millis_behind_latest: Option<i64>,
    child_shards: Option<Vec<ChildShard>>,
}

impl Page {
    fn walk<'b, P: Pull<'b>>(walk: &mut P) -> Hot<Self> {
        let mut page = Self::default();
        walk.object(|walk, name| match name {
            b"Records" => once(walk, &mut page.records, |walk| {
                walk.list(|walk| record(walk, &mut page.extra))
            }),
            b"NextShardIterator" => once(walk, &mut page.next_shard_iterator, |walk| {
                walk.text(&mut page.extra)
            }),
            b"ContinuationSequenceNumber" => {
                once(walk, &mut page.continuation_sequence_number, |walk| {
                    walk.text(&mut page.extra)
                })
            }
            b"MillisBehindLatest" => once(walk, &mut page.millis_behind_latest, P::int),
            b"ChildShards" => once(walk, &mut page.child_shards, P::generic),
            _ => walk.skip(),
        })?;
        walk.end()?;
        if page.records.is_none() {
            Err(Miss)
        } else {
            Ok(page)
        }
    }

    /// The answer over the body that was walked over; what was not a slice of it is appended.
    fn over(self, format: Format, body: Bytes) -> GetRecordsAnswer {
        let body = if self.extra.is_empty() {
            body
        } else {
            Bytes::from([&body[..], &self.extra].concat())
        };
        let text = |span: Option<Span>| span.map(|span| span.text(&body).to_owned());
        GetRecordsAnswer {
            form: match format {
                Format::Json => DataForm::Base64,
                Format::Cbor => DataForm::Raw,
            },
            records: self.records.unwrap_or_default(),
            next_shard_iterator: text(self.next_shard_iterator),
            continuation_sequence_number: text(self.continuation_sequence_number),
            millis_behind_latest: self.millis_behind_latest,
            child_shards: self.child_shards.unwrap_or_default(),
            body,
        }
    }
}

fn record<'b, P: Pull<'b>>(walk: &mut P, extra: &mut Vec<u8>) -> Hot<RecordIndex> {
    let (mut sequence, mut key, mut data, mut arrival, mut encryption) =
        (None, None, None, None, None);
    walk.object(|walk, name| match name {
        b"SequenceNumber" => once(walk, &mut sequence, |walk| walk.text(extra)),
        b"PartitionKey" => once(walk, &mut key, |walk| walk.text(extra)),
        b"Data" => once(walk, &mut data, P::data),
        b"ApproximateArrivalTimestamp" => once(walk, &mut arrival, P::time_ms),
        // Not used, but it must be what the protocol says.
        b"EncryptionType" => once(walk, &mut encryption, |walk| walk.text(extra)),
        _ => walk.skip(),
    })?;
    match sequence {
        Some(sequence) if !sequence.is_empty() => Ok(RecordIndex {
            sequence,
            key,
            data: data.unwrap_or_default(),
            arrival_ms: arrival.unwrap_or_default(),
        }),
        _ => Err(Miss),
    }
}

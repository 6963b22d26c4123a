//! Reading a `GetRecords` answer or a `SubscribeToShard` event.

use bytes::Bytes;

use super::cbor::CborReader;
use super::json::JsonReader;
use super::reader::{BodyReader, Expected, Unexpected, append, read_once, read_text};
use super::{Data, DataForm, Span};
use crate::codec::{self, CodecError, Format};
use crate::limits;
use crate::types::{ChildShard, Record, shapes};

/// The places of one record's parts in [`GetRecordsAnswer::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordIndex {
    /// The sequence number: text.
    pub sequence: Span,
    /// The partition key: text; optional in the API.
    pub key: Option<Span>,
    /// The data, in the answer's [`form`](GetRecordsAnswer::form).
    pub data: Span,
    /// The time of arrival at Kinesis, in milliseconds since 1970; 0 if the answer has none.
    pub arrival_ms: i64,
}

impl RecordIndex {
    /// Appends the parts of a record to `buffer`.
    fn from_generic(record: &Record, buffer: &mut Vec<u8>) -> Result<Self, CodecError> {
        if record.sequence_number.is_empty() {
            return Err(CodecError::shape("a record has no sequence number"));
        }

        let key = record.partition_key.as_ref();
        Ok(Self {
            sequence: append(buffer, record.sequence_number.as_bytes())?,
            key: key.map(|key| append(buffer, key.as_bytes())).transpose()?,
            data: append(buffer, &record.data.0)?,
            arrival_ms: record.approximate_arrival_timestamp.unwrap_or_default().0,
        })
    }
}

/// A `GetRecords` answer or a `SubscribeToShard` event: an index over the body.
#[derive(Clone, Debug)]
pub struct GetRecordsAnswer {
    /// The body of all spans in `records`: the received body or, if a text was escaped or in
    /// chunks, a copy with the plain text.
    pub body: Bytes,
    /// The form of the data in `body`.
    pub form: DataForm,
    /// The records, in the order of the answer.
    pub records: Vec<RecordIndex>,
    /// The iterator of the next read; `None` at the end of a closed shard, and in a push event.
    pub next_shard_iterator: Option<String>,
    /// The sequence number to subscribe from again; only in a push event, and there `None` at the
    /// end of a closed shard.
    pub continuation_sequence_number: Option<String>,
    /// Milliseconds from the end of the answer to the tip of the shard.
    pub millis_behind_latest: Option<i64>,
    /// The children of a closed shard; only in the last answer of the shard.
    pub child_shards: Vec<ChildShard>,
}

impl GetRecordsAnswer {
    /// Reads a body. Sequence numbers and keys are checked to be text; base64 is not checked.
    ///
    /// # Errors
    /// [`CodecError`], if the body is not such an answer, has more than
    /// [`ANSWER_BODY_BYTES`](crate::limits::ANSWER_BODY_BYTES), or has no `Records`. An object
    /// without `Records` could otherwise pass for the end of a shard, as `NextShardIterator` is
    /// absent there too.
    pub fn parse(format: Format, body: Bytes) -> Result<Self, CodecError> {
        codec::check_size(&body, limits::ANSWER_BODY_BYTES)?;

        let page = match format {
            Format::Json => PageIndex::read(&mut JsonReader::new(&body)),
            Format::Cbor => PageIndex::read(&mut CborReader::new(&body)),
        };
        match page {
            Ok(page) => Ok(page.into_answer(format, body)),
            Err(Unexpected) => Self::from_generic(codec::decode(format, &body)?),
        }
    }

    /// An index over a new buffer, for a body read by the generic codec.
    fn from_generic(page: GenericPage) -> Result<Self, CodecError> {
        let list = page
            .records
            .ok_or_else(|| CodecError::shape("the answer has no Records"))?;
        let mut buffer = Vec::new();
        let records = list
            .iter()
            .map(|record| RecordIndex::from_generic(record, &mut buffer))
            .collect::<Result<Vec<_>, _>>()?;

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
    /// The members of a `GetRecords` answer and of a `SubscribeToShard` event together.
    struct GenericPage {
        pub records: Option<Vec<Record>>,
        pub next_shard_iterator: Option<String>,
        pub continuation_sequence_number: Option<String>,
        pub millis_behind_latest: Option<i64>,
        pub child_shards: Option<Vec<ChildShard>>,
    }
}

/// The members of an answer or event, as spans of the body.
#[derive(Default)]
struct PageIndex {
    /// See [`BodyReader`].
    unescaped: Vec<u8>,
    records: Option<Vec<RecordIndex>>,
    next_shard_iterator: Option<Span>,
    continuation_sequence_number: Option<Span>,
    millis_behind_latest: Option<i64>,
    child_shards: Option<Vec<ChildShard>>,
}

impl PageIndex {
    fn read<'b, R: BodyReader<'b>>(reader: &mut R) -> Expected<Self> {
        let mut page = Self::default();
        reader.object(|reader, name| match name {
            b"Records" => read_once(reader, &mut page.records, |reader| {
                reader.list(|reader| record(reader, &mut page.unescaped))
            }),
            b"NextShardIterator" => {
                read_text(reader, &mut page.next_shard_iterator, &mut page.unescaped)
            }
            b"ContinuationSequenceNumber" => read_text(
                reader,
                &mut page.continuation_sequence_number,
                &mut page.unescaped,
            ),
            b"MillisBehindLatest" => read_once(reader, &mut page.millis_behind_latest, R::int),
            b"ChildShards" => read_once(reader, &mut page.child_shards, R::generic),
            _ => reader.skip(),
        })?;
        reader.end()?;

        if page.records.is_none() {
            Err(Unexpected)
        } else {
            Ok(page)
        }
    }

    /// The answer over `body`, or over a copy with the unescaped texts appended.
    fn into_answer(self, format: Format, body: Bytes) -> GetRecordsAnswer {
        let body = if self.unescaped.is_empty() {
            body
        } else {
            Bytes::from([&body[..], &self.unescaped].concat())
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

fn record<'b, R: BodyReader<'b>>(reader: &mut R, unescaped: &mut Vec<u8>) -> Expected<RecordIndex> {
    let (mut sequence, mut key, mut data, mut arrival, mut encryption) =
        (None, None, None, None, None);
    reader.object(|reader, name| match name {
        b"SequenceNumber" => read_text(reader, &mut sequence, unescaped),
        b"PartitionKey" => read_text(reader, &mut key, unescaped),
        b"Data" => read_once(reader, &mut data, R::data),
        b"ApproximateArrivalTimestamp" => read_once(reader, &mut arrival, R::time_ms),
        // Checked to be a text, so that exactly the answers of the generic codec are accepted.
        b"EncryptionType" => read_text(reader, &mut encryption, unescaped),
        _ => reader.skip(),
    })?;

    match sequence {
        Some(sequence) if !sequence.is_empty() => Ok(RecordIndex {
            sequence,
            key,
            data: data.unwrap_or_default(),
            arrival_ms: arrival.unwrap_or_default(),
        }),
        _ => Err(Unexpected),
    }
}

//! Reading a `PutRecords` request, as a server.

use bytes::Bytes;

use super::Span;
use super::cbor::CborReader;
use super::json::JsonReader;
use super::reader::{BodyReader, Expected, Unexpected, append, new_span, read_once, read_text};
use crate::codec::{self, CodecError, Format};
use crate::limits;
use crate::types::{PutRecordsRequest, PutRecordsRequestEntry};

/// The places of one record's parts in [`PutRecordsParsed::buffer`]. Every part may be absent: the
/// server decides about the refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryIndex {
    /// The data, decoded.
    pub data: Option<Span>,
    /// The partition key: text.
    pub key: Option<Span>,
    /// The explicit hash key: text.
    pub explicit_hash_key: Option<Span>,
}

impl EntryIndex {
    /// Appends the parts of an entry to `buffer`.
    fn from_generic(
        entry: &PutRecordsRequestEntry,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, CodecError> {
        let data = entry.data.as_ref().map(|data| &data.0[..]);
        let key = entry.partition_key.as_deref().map(str::as_bytes);
        let explicit_hash_key = entry.explicit_hash_key.as_deref().map(str::as_bytes);

        let mut append =
            |bytes: Option<&[u8]>| bytes.map(|bytes| append(buffer, bytes)).transpose();
        Ok(Self {
            data: append(data)?,
            key: append(key)?,
            explicit_hash_key: append(explicit_hash_key)?,
        })
    }
}

/// A `PutRecords` request: an index over one buffer.
#[derive(Clone, Debug)]
pub struct PutRecordsParsed {
    /// The buffer of all spans in `records`: with CBOR the body; with JSON a new buffer with
    /// decoded data, partition key and explicit hash key of one record after the other.
    pub buffer: Bytes,
    /// The records; `None` if the member is absent.
    pub records: Option<Vec<EntryIndex>>,
    /// `StreamName`.
    pub stream_name: Option<String>,
    /// `StreamARN`.
    pub stream_arn: Option<String>,
    /// `StreamId`.
    pub stream_id: Option<String>,
    /// `DryRun`.
    pub dry_run: Option<bool>,
}

impl PutRecordsParsed {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`CodecError`]; in AWS's words if a member has the wrong type or data are not base64.
    pub fn parse(format: Format, body: &Bytes) -> Result<Self, CodecError> {
        codec::check_size(body, limits::REQUEST_BODY_BYTES)?;

        let parsed = match format {
            Format::Json => {
                RequestIndex::read(&mut JsonReader::new(body)).and_then(|index| index.decoded(body))
            }
            Format::Cbor => {
                RequestIndex::read(&mut CborReader::new(body)).map(|index| index.in_place(body))
            }
        };
        match parsed {
            Ok(parsed) => Ok(parsed),
            Err(Unexpected) => Self::from_generic(codec::decode(format, body)?),
        }
    }

    /// An index over a new buffer, for a request read by the generic codec.
    fn from_generic(request: PutRecordsRequest) -> Result<Self, CodecError> {
        let mut buffer = Vec::new();
        let entries = request.records.as_ref();
        let records = entries
            .map(|entries| {
                let index = |entry| EntryIndex::from_generic(entry, &mut buffer);
                entries.iter().map(index).collect()
            })
            .transpose()?;

        Ok(Self {
            records,
            buffer: buffer.into(),
            stream_name: request.stream_name,
            stream_arn: request.stream_arn,
            stream_id: request.stream_id,
            dry_run: request.dry_run,
        })
    }
}

/// The members of a request as spans of the body; data are not decoded yet.
#[derive(Default)]
struct RequestIndex {
    /// See [`BodyReader`].
    unescaped: Vec<u8>,
    records: Option<Vec<EntryIndex>>,
    stream_name: Option<Span>,
    stream_arn: Option<Span>,
    stream_id: Option<Span>,
    dry_run: Option<bool>,
}

impl RequestIndex {
    fn read<'b, R: BodyReader<'b>>(reader: &mut R) -> Expected<Self> {
        let mut index = Self::default();
        let unescaped = &mut index.unescaped;
        reader.object(|reader, name| match name {
            b"Records" => read_once(reader, &mut index.records, |reader| {
                reader.list(|reader| entry(reader, unescaped))
            }),
            b"StreamName" => read_text(reader, &mut index.stream_name, unescaped),
            b"StreamARN" => read_text(reader, &mut index.stream_arn, unescaped),
            b"StreamId" => read_text(reader, &mut index.stream_id, unescaped),
            b"DryRun" => read_once(reader, &mut index.dry_run, R::boolean),
            _ => reader.skip(),
        })?;
        reader.end()?;
        Ok(index)
    }

    /// The bytes of a span of the body or, after the end of the body, of `unescaped`.
    fn bytes<'a>(&'a self, body: &'a [u8], span: Span) -> &'a [u8] {
        match (span.start as usize).checked_sub(body.len()) {
            Some(start) => self
                .unescaped
                .get(start..start + span.len())
                .unwrap_or_default(),
            None => span.of(body),
        }
    }

    fn text(&self, body: &[u8], span: Option<Span>) -> Option<String> {
        span.map(|span| String::from_utf8_lossy(self.bytes(body, span)).into_owned())
    }

    /// The request over a CBOR body: data are raw, and `unescaped` is empty as CBOR has no escapes.
    fn in_place(mut self, body: &Bytes) -> PutRecordsParsed {
        let records = self.records.take();
        self.finish(body, records, body.clone())
    }

    /// The request over a new buffer with the data decoded.
    fn decoded(mut self, body: &[u8]) -> Expected<PutRecordsParsed> {
        let mut buffer = Vec::with_capacity(body.len() / 4 * 3);
        let mut records = self.records.take();
        for entry in records.iter_mut().flatten() {
            if let Some(data) = &mut entry.data {
                let start = buffer.len();
                base64_simd::STANDARD
                    .decode_append(data.of(body), &mut buffer)
                    .map_err(|_| Unexpected)?;
                *data = new_span(start, buffer.len())?;
            }

            let texts = [&mut entry.key, &mut entry.explicit_hash_key];
            for text in texts.into_iter().flatten() {
                let start = buffer.len();
                buffer.extend_from_slice(self.bytes(body, *text));
                *text = new_span(start, buffer.len())?;
            }
        }
        Ok(self.finish(body, records, buffer.into()))
    }

    fn finish(
        self,
        body: &[u8],
        records: Option<Vec<EntryIndex>>,
        buffer: Bytes,
    ) -> PutRecordsParsed {
        PutRecordsParsed {
            buffer,
            records,
            stream_name: self.text(body, self.stream_name),
            stream_arn: self.text(body, self.stream_arn),
            stream_id: self.text(body, self.stream_id),
            dry_run: self.dry_run,
        }
    }
}

fn entry<'b, R: BodyReader<'b>>(reader: &mut R, unescaped: &mut Vec<u8>) -> Expected<EntryIndex> {
    let mut entry = EntryIndex::default();
    reader.object(|reader, name| match name {
        b"Data" => read_once(reader, &mut entry.data, R::data),
        b"PartitionKey" => read_text(reader, &mut entry.key, unescaped),
        b"ExplicitHashKey" => read_text(reader, &mut entry.explicit_hash_key, unescaped),
        _ => reader.skip(),
    })?;
    Ok(entry)
}

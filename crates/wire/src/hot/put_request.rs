//! Reading a `PutRecords` request, as a server.

use bytes::Bytes;

use super::Span;
use super::cbor::Cbor;
use super::json::Json;
use super::pull::{Hot, Miss, Pull, once, span};
use crate::codec::{self, CodecError, Format};
use crate::limits;
use crate::types::PutRecordsRequest;

/// Where the parts of one record lie in [`PutRecordsParsed::buffer`]. All may be absent, for the server to refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryIndex {
    /// The data, decoded.
    pub data: Option<Span>,
    /// The partition key: text.
    pub key: Option<Span>,
    /// The explicit hash key: text.
    pub explicit_hash_key: Option<Span>,
}

/// A `PutRecords` request: an index over one buffer.
#[derive(Clone, Debug)]
pub struct PutRecordsParsed {
    /// What the spans point into. With CBOR the body itself; with JSON a buffer with the decoded data and the keys one
    /// after the other, record by record: first the data, then the key, then the explicit hash key.
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
    /// [`CodecError`], with AWS's text where it is well-formed but of another shape (or its data are no base64).
    pub fn parse(format: Format, body: &Bytes) -> Result<Self, CodecError> {
        if body.len() > limits::REQUEST_BODY_BYTES {
            return Err(CodecError::TooLarge {
                size: body.len(),
                limit: limits::REQUEST_BODY_BYTES,
            });
        }
        let parsed = match format {
            Format::Json => {
                Walked::walk(&mut Json::new(body)).and_then(|walked| walked.decoded(body))
            }
            Format::Cbor => Walked::walk(&mut Cbor::new(body)).map(|walked| walked.over(body)),
        };
        match parsed {
            Ok(parsed) => Ok(parsed),
            Err(Miss) => Self::from_generic(codec::decode(format, body)?),
        }
    }

    /// An index over a buffer of its own.
    fn from_generic(request: PutRecordsRequest) -> Result<Self, CodecError> {
        let mut buffer = Vec::new();
        let mut put = |bytes: Option<&[u8]>| {
            bytes
                .map(|bytes| {
                    let start = buffer.len();
                    buffer.extend_from_slice(bytes);
                    span(start, buffer.len())
                        .map_err(|Miss| CodecError::shape("the records do not fit 32 bits"))
                })
                .transpose()
        };
        let mut entry = |entry: &crate::types::PutRecordsRequestEntry| {
            Ok(EntryIndex {
                data: put(entry.data.as_ref().map(|data| &data.0[..]))?,
                key: put(entry.partition_key.as_ref().map(|key| key.as_bytes()))?,
                explicit_hash_key: put(entry.explicit_hash_key.as_ref().map(|key| key.as_bytes()))?,
            })
        };
        let records = request
            .records
            .as_ref()
            .map(|list| list.iter().map(&mut entry).collect())
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

/// What a walk over a request has found; data are still as they stand in the body.
#[derive(Default)]
struct Walked {
    extra: Vec<u8>,
    records: Option<Vec<EntryIndex>>,
    stream_name: Option<Span>,
    stream_arn: Option<Span>,
    stream_id: Option<Span>,
    dry_run: Option<bool>,
}

impl Walked {
    fn walk<'b, P: Pull<'b>>(walk: &mut P) -> Hot<Self> {
        let mut found = Self::default();
        let extra = &mut found.extra;
        walk.object(|walk, name| match name {
            b"Records" => once(walk, &mut found.records, |walk| {
                walk.list(|walk| entry(walk, extra))
            }),
            b"StreamName" => once(walk, &mut found.stream_name, |walk| walk.text(extra)),
            b"StreamARN" => once(walk, &mut found.stream_arn, |walk| walk.text(extra)),
            b"StreamId" => once(walk, &mut found.stream_id, |walk| walk.text(extra)),
            b"DryRun" => once(walk, &mut found.dry_run, P::boolean),
            _ => walk.skip(),
        })?;
        walk.end()?;
        Ok(found)
    }

    /// The bytes of a span of the body or of what follows it.
    fn bytes<'a>(&'a self, body: &'a [u8], span: Span) -> &'a [u8] {
        match (span.start as usize).checked_sub(body.len()) {
            Some(start) => self
                .extra
                .get(start..start + span.len())
                .unwrap_or_default(),
            None => span.of(body),
        }
    }

    fn text(&self, body: &[u8], span: Option<Span>) -> Option<String> {
        span.map(|span| String::from_utf8_lossy(self.bytes(body, span)).into_owned())
    }

    /// The request over the body itself, whose data are raw. CBOR has no escapes, so nothing is in `extra`.
    fn over(mut self, body: &Bytes) -> PutRecordsParsed {
        let records = self.records.take();
        self.finish(body, records, body.clone())
    }

    /// The request over a buffer with the data decoded.
    fn decoded(mut self, body: &[u8]) -> Hot<PutRecordsParsed> {
        let mut buffer = Vec::with_capacity(body.len() / 4 * 3);
        let mut records = self.records.take();
        for entry in records.iter_mut().flatten() {
            if let Some(data) = &mut entry.data {
                let start = buffer.len();
                base64_simd::STANDARD
                    .decode_append(data.of(body), &mut buffer)
                    .map_err(|_| Miss)?;
                *data = span(start, buffer.len())?;
            }
            for text in [&mut entry.key, &mut entry.explicit_hash_key]
                .into_iter()
                .flatten()
            {
                let start = buffer.len();
                buffer.extend_from_slice(self.bytes(body, *text));
                *text = span(start, buffer.len())?;
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

fn entry<'b, P: Pull<'b>>(walk: &mut P, extra: &mut Vec<u8>) -> Hot<EntryIndex> {
    let mut entry = EntryIndex::default();
    walk.object(|walk, name| match name {
        b"Data" => once(walk, &mut entry.data, P::data),
        b"PartitionKey" => once(walk, &mut entry.key, |walk| walk.text(extra)),
        b"ExplicitHashKey" => once(walk, &mut entry.explicit_hash_key, |walk| walk.text(extra)),
        _ => walk.skip(),
    })?;
    Ok(entry)
}

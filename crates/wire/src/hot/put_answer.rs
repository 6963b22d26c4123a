//! Reading a `PutRecords` answer.

use bytes::Bytes;

use super::Span;
use super::cbor::CborReader;
use super::json::JsonReader;
use super::reader::{BodyReader, Expected, Unexpected, read_once, read_text};
use crate::codec::{self, CodecError, Format};
use crate::error::ErrorCode;
use crate::limits;
use crate::types::{PutRecordsResponse, PutRecordsResultEntry};

/// The result of one record of a `PutRecords` request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// The record is durable in the stream.
    Durable {
        /// The sequence number of the record in the stream.
        sequence_number: String,
        /// The shard of the record.
        shard_id: String,
    },
    /// The record was not written.
    Failed {
        /// The reason.
        code: ErrorCode,
        /// The explanation for people; may be empty.
        message: String,
    },
}

/// A checked `PutRecords` answer: each entry is either durable or failed, and the number of failed
/// entries is `FailedRecordCount`.
#[derive(Clone, Debug)]
pub enum PutRecordsAnswer {
    /// Every entry is durable.
    AllDurable {
        /// The number of entries. The caller must compare the number with the records sent.
        entries: usize,
        /// The answer, for [`PutRecordsAnswer::results`].
        body: Bytes,
        /// The format of `body`.
        format: Format,
    },
    /// At least one entry failed, or the answer has an unusual form: one result per entry, in the
    /// order sent.
    PerEntry(Vec<EntryResult>),
}

impl PutRecordsAnswer {
    /// Reads an answer. If `FailedRecordCount` is 0, the entries are checked and counted but not
    /// turned into results.
    ///
    /// # Errors
    /// [`CodecError`]: the outcome of the request is unknown. That includes an entry with neither a
    /// sequence number nor an error code, and a count that does not fit the entries.
    pub fn parse(format: Format, body: &Bytes) -> Result<Self, CodecError> {
        codec::check_size(body, limits::ANSWER_BODY_BYTES)?;

        let durable = match format {
            Format::Json => count_durable(&mut JsonReader::new(body)),
            Format::Cbor => count_durable(&mut CborReader::new(body)),
        };
        match durable {
            Ok(entries) => Ok(Self::AllDurable {
                entries,
                body: body.clone(),
                format,
            }),
            Err(Unexpected) => read_results(format, body).map(Self::PerEntry),
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::AllDurable { entries, .. } => *entries,
            Self::PerEntry(results) => results.len(),
        }
    }

    /// True if the answer has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One result per entry, in the order sent. If every entry is durable, the body is read again.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn results(self) -> Result<Vec<EntryResult>, CodecError> {
        match self {
            Self::PerEntry(results) => Ok(results),
            Self::AllDurable { body, format, .. } => read_results(format, &body),
        }
    }
}

/// Counts the entries of an answer in which none failed and each entry has a sequence number, a
/// shard and no error.
fn count_durable<'b, R: BodyReader<'b>>(reader: &mut R) -> Expected<usize> {
    let (mut failed, mut entries, mut encryption) = (None, None, None);
    let mut unescaped = Vec::new();
    reader.object(|reader, name| match name {
        b"FailedRecordCount" => {
            read_once(reader, &mut failed, R::int)?;
            if failed == Some(0) {
                Ok(())
            } else {
                Err(Unexpected)
            }
        }
        b"Records" => read_once(reader, &mut entries, |reader| {
            reader.count(|reader| durable_entry(reader, &mut unescaped))
        }),
        // Checked to be a text, so that exactly the answers of the generic codec are accepted.
        b"EncryptionType" => read_text(reader, &mut encryption, &mut unescaped),
        _ => reader.skip(),
    })?;
    reader.end()?;

    match (failed, entries) {
        (Some(0), Some(entries)) => Ok(entries),
        _ => Err(Unexpected),
    }
}

/// Reads a durable entry; returns the spans of the sequence number and the shard.
fn durable_entry<'b, R: BodyReader<'b>>(
    reader: &mut R,
    unescaped: &mut Vec<u8>,
) -> Expected<[Span; 2]> {
    let (mut sequence, mut shard) = (None, None);
    reader.object(|reader, name| match name {
        b"SequenceNumber" => read_text(reader, &mut sequence, unescaped),
        b"ShardId" => read_text(reader, &mut shard, unescaped),
        b"ErrorCode" | b"ErrorMessage" if !reader.null()? => Err(Unexpected),
        b"ErrorCode" | b"ErrorMessage" => Ok(()),
        _ => reader.skip(),
    })?;

    match (sequence, shard) {
        (Some(sequence), Some(shard)) if !sequence.is_empty() && !shard.is_empty() => {
            Ok([sequence, shard])
        }
        _ => Err(Unexpected),
    }
}

/// Reads every entry with the generic codec.
///
/// # Errors
/// [`CodecError`], also for an entry that is neither durable nor failed and for a wrong count.
fn read_results(format: Format, body: &[u8]) -> Result<Vec<EntryResult>, CodecError> {
    let answer: PutRecordsResponse = codec::decode(format, body)?;
    let announced = answer.failed_record_count;
    let results = answer
        .records
        .into_iter()
        .map(result_of)
        .collect::<Result<Vec<_>, _>>()?;
    let failed = results
        .iter()
        .filter(|r| matches!(r, EntryResult::Failed { .. }))
        .count();

    match announced {
        Some(count) if usize::try_from(count) != Ok(failed) => Err(CodecError::Inconsistent {
            reason: format!("FailedRecordCount is {count}, but {failed} entries have an error"),
        }),
        _ => Ok(results),
    }
}

/// The result of one entry; an empty text counts as absent.
fn result_of(entry: PutRecordsResultEntry) -> Result<EntryResult, CodecError> {
    let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (
        not_empty(entry.sequence_number),
        not_empty(entry.shard_id),
        not_empty(entry.error_code),
    ) {
        (Some(sequence_number), Some(shard_id), None) => Ok(EntryResult::Durable {
            sequence_number,
            shard_id,
        }),
        (None, _, Some(code)) => Ok(EntryResult::Failed {
            code: ErrorCode::from(code.as_str()),
            message: entry.error_message.unwrap_or_default(),
        }),
        (sequence, _, code) => Err(CodecError::Inconsistent {
            reason: format!(
                "an entry has the sequence number {sequence:?} and the error code {code:?}"
            ),
        }),
    }
}

//! Reading a `PutRecords` answer.

use bytes::Bytes;

use super::Span;
use super::cbor::Cbor;
use super::json::Json;
use super::pull::{Hot, Miss, Pull, once};
use crate::codec::{self, CodecError, Format};
use crate::error::ErrorCode;
use crate::limits;
use crate::types::{PutRecordsResponse, PutRecordsResultEntry};

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// Durable at the stream.
    Durable {
        /// Its sequence number there.
        sequence_number: String,
        /// The shard it went to.
        shard_id: String,
    },
    /// Not written.
    Failed {
        /// Why.
        code: ErrorCode,
        /// For people; may be empty.
        message: String,
    },
}

/// A `PutRecords` answer that has been checked: each of its entries is either durable or failed, and there are as many
/// failed ones as `FailedRecordCount` says.
#[derive(Clone, Debug)]
pub enum PutRecordsAnswer {
    /// Every entry is durable.
    AllDurable {
        /// How many entries the answer has. The caller must compare it with what was sent.
        entries: usize,
        /// The answer, for [`PutRecordsAnswer::results`].
        body: Bytes,
        /// Its format.
        format: Format,
    },
    /// Some are not: one result per entry, in the order sent.
    PerEntry(Vec<EntryResult>),
}

impl PutRecordsAnswer {
    /// Reads an answer. `FailedRecordCount` is looked at first: if it is 0, entries are checked and counted without
    /// parsing them into results.
    ///
    /// # Errors
    /// [`CodecError`]: the outcome of the request is unknown then. That includes an entry that has neither a sequence
    /// number nor an error code, and a count that does not fit the entries.
    pub fn parse(format: Format, body: &Bytes) -> Result<Self, CodecError> {
        if body.len() > limits::ANSWER_BODY_BYTES {
            return Err(CodecError::TooLarge {
                size: body.len(),
                limit: limits::ANSWER_BODY_BYTES,
            });
        }
        let durable = match format {
            Format::Json => count_durable(&mut Json::new(body)),
            Format::Cbor => count_durable(&mut Cbor::new(body)),
        };
        match durable {
            Ok(entries) => Ok(Self::AllDurable {
                entries,
                body: body.clone(),
                format,
            }),
            Err(Miss) => read_results(format, body).map(Self::PerEntry),
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match self {
            Self::AllDurable { entries, .. } => *entries,
            Self::PerEntry(results) => results.len(),
        }
    }

    /// True if it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One result per entry, in the order sent; parsed now if every entry is durable.
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

/// How many entries an answer has, if it says that none failed and each has a sequence number, a shard and no error.
fn count_durable<'b, P: Pull<'b>>(walk: &mut P) -> Hot<usize> {
    let (mut failed, mut entries, mut encryption) = (None, None, None);
    let mut extra = Vec::new();
    walk.object(|walk, name| match name {
        b"FailedRecordCount" => {
            once(walk, &mut failed, P::int)?;
            if failed == Some(0) { Ok(()) } else { Err(Miss) }
        }
        b"Records" => once(walk, &mut entries, |walk| {
            walk.count(|walk| durable_entry(walk, &mut extra))
        }),
        // Not used, but it must be what the protocol says.
        b"EncryptionType" => once(walk, &mut encryption, |walk| walk.text(&mut extra)),
        _ => walk.skip(),
    })?;
    walk.end()?;
    match (failed, entries) {
        (Some(0), Some(entries)) => Ok(entries),
        _ => Err(Miss),
    }
}

/// Takes an entry that is durable, and says where its sequence number and shard lie.
fn durable_entry<'b, P: Pull<'b>>(walk: &mut P, extra: &mut Vec<u8>) -> Hot<[Span; 2]> {
    let (mut sequence, mut shard) = (None, None);
    walk.object(|walk, name| match name {
        b"SequenceNumber" => once(walk, &mut sequence, |walk| walk.text(extra)),
        b"ShardId" => once(walk, &mut shard, |walk| walk.text(extra)),
        b"ErrorCode" | b"ErrorMessage" => {
            if walk.null()? {
                Ok(())
            } else {
                Err(Miss)
            }
        }
        _ => walk.skip(),
    })?;
    match (sequence, shard) {
        (Some(sequence), Some(shard)) if !sequence.is_empty() && !shard.is_empty() => {
            Ok([sequence, shard])
        }
        _ => Err(Miss),
    }
}

/// Reads every entry by the generic codec, and believes only what is whole.
fn read_results(format: Format, body: &[u8]) -> Result<Vec<EntryResult>, CodecError> {
    let answer: PutRecordsResponse = codec::decode(format, body)?;
    let said = answer.failed_record_count;
    let results = answer
        .records
        .into_iter()
        .map(result_of)
        .collect::<Result<Vec<_>, _>>()?;
    let failed = results
        .iter()
        .filter(|r| matches!(r, EntryResult::Failed { .. }))
        .count();
    match said {
        Some(said) if usize::try_from(said) != Ok(failed) => Err(CodecError::Inconsistent {
            reason: format!("FailedRecordCount is {said}, but {failed} entries have an error"),
        }),
        _ => Ok(results),
    }
}

fn result_of(entry: PutRecordsResultEntry) -> Result<EntryResult, CodecError> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (
        some(entry.sequence_number),
        some(entry.shard_id),
        some(entry.error_code),
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

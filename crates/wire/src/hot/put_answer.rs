//! Reading a `PutRecords` answer.

use bytes::Bytes;

use crate::codec::{CodecError, Format};
use crate::error::ErrorCode;

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
        todo!()
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
        todo!()
    }
}

//! The encoding of records as `PutRecords` requests.

use bytes::BytesMut;
use distributary_core::batch::Batch;
use distributary_core::output::{EncodingKey, Outcome, Picks, Refusal, Verdict};
use distributary_core::record::{DataForm, Record};
use distributary_wire::codec::Format;
use distributary_wire::error::ErrorCode;
use distributary_wire::hashkey;
use distributary_wire::hot::{Data, Entry, PutRecordsBuilder, SharedBody};
use distributary_wire::limits;

use super::Route;
use super::load::Routed;

/// Upper bound in bytes of the names, lengths, quotes and commas around one entry, in each format.
const AROUND_ENTRY: usize = 64;
/// Upper bound in bytes of a request without its entries.
const AROUND_BODY: usize = 64;
/// Upper bound in bytes of an explicit hash key with its name and quotes: 39 digits.
const HASH_KEY_BYTES: usize = 64;
/// JSON may write one character of a key as six (`\u001f`).
const ESCAPED_BYTES: usize = 6;
/// The longest sequence number, which stands in for an absent partition key.
const SEQUENCE_BYTES: usize = 129;
/// The longest partition key in bytes: 256 characters of up to 4 bytes.
const KEY_BYTES: usize = limits::PARTITION_KEY_CHARS * 4;

/// The settings that decide how records are cut into requests and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) format: Format,
    pub(super) route: Route,
    /// Bytes that a request may have.
    pub(super) request_bytes: usize,
    /// Bytes that a record may have.
    pub(super) record_bytes: usize,
    /// True if the stream takes records without a partition key.
    pub(super) keyless: bool,
}

/// The encoded records of a chunk.
pub(super) struct PutPayload {
    pub(super) body: SharedBody,
    /// Records that no request can hold: places in the chunk's picks, ascending, and reasons.
    refused: Vec<(usize, Refusal)>,
}

impl std::fmt::Debug for PutPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SharedBody {
            format, entries, ..
        } = &self.body;
        write!(f, "PutPayload({format:?}, {entries} entries)")
    }
}

impl Encoding {
    /// The name of this encoding.
    pub(super) fn key(&self) -> EncodingKey {
        let Self {
            format,
            route,
            request_bytes,
            record_bytes,
            keyless,
        } = self;
        let text = format!("{format:?} {route:?} {request_bytes} {record_bytes} keyless={keyless}");
        EncodingKey::new("kinesis", text)
    }

    /// Upper bound in bytes of a request with `records` records that have `bytes` bytes in a batch.
    pub(super) fn bound(&self, records: usize, bytes: usize) -> usize {
        let (data, keys) = match self.format {
            Format::Cbor => (bytes, 0),
            // Data as base64. Keys have no more bytes than the batch, nor than the longest keys.
            Format::Json => (
                bytes.div_ceil(3) * 4 + records * 4,
                bytes.min(records * KEY_BYTES) * (ESCAPED_BYTES - 1),
            ),
        };
        let each = AROUND_ENTRY + SEQUENCE_BYTES + self.hash_key_bytes();
        AROUND_BODY + data + keys + records * each
    }

    fn hash_key_bytes(&self) -> usize {
        match self.route {
            Route::SourceShard => HASH_KEY_BYTES,
            Route::PartitionKey => 0,
        }
    }

    /// The partition key that `record` is written with.
    fn partition_key<'a>(&self, record: &Record<'a>) -> Option<&'a str> {
        match record.key {
            None if self.keyless => None,
            None => Some(record.sequence),
            some => some,
        }
    }

    /// The explicit hash key of the records of `batch`.
    fn explicit_hash_key(&self, batch: &Batch) -> Option<u128> {
        match self.route {
            Route::PartitionKey => None,
            Route::SourceShard => batch.hash_range().map(|range| range.start),
        }
    }

    /// The record at `index` of `batch`, with the hash key that decides on the output's shard.
    pub(super) fn routed(&self, batch: &Batch, index: usize) -> Routed {
        let record = batch.record(index);
        let key = self.partition_key(&record);
        let hash_key = match self.keyless {
            true => None,
            false => self
                .explicit_hash_key(batch)
                .or_else(|| key.map(hashkey::of_partition_key)),
        };
        Routed {
            index,
            hash_key,
            bytes: (record.data_len() + key.map_or(0, str::len)) as u64,
        }
    }

    /// The reason why no request can hold `record`. The codes are those of AWS.
    fn refusal(&self, record: &Record<'_>, key: Option<&str>) -> Option<Refusal> {
        let limit = self.record_bytes;
        let size = record.data_len() + key.map_or(0, str::len);
        if size > limit {
            let code = match record.data_len() > limit {
                true => ErrorCode::Validation,
                false => ErrorCode::InvalidArgument,
            };
            let message = format!(
                "the record has {size} bytes with its partition key, and the stream takes {limit} \
                 a record (UpdateMaxRecordSize raises that, up to 10 MiB)"
            );
            return Some(Refusal::new(code.as_str(), message));
        }

        let characters = key.map_or(0, |key| match key.len() {
            // No more characters than bytes.
            bytes @ ..=limits::PARTITION_KEY_CHARS => bytes,
            _ => key.chars().count(),
        });
        (characters > limits::PARTITION_KEY_CHARS).then(|| {
            let message =
                format!("the partition key has {characters} characters; Kinesis takes 256");
            Refusal::new(ErrorCode::Validation.as_str(), message)
        })
    }

    /// Upper bound in bytes of the entry of `record`.
    fn entry_bound(&self, record: &Record<'_>, key: Option<&str>) -> usize {
        let data = match (self.format, record.form) {
            (Format::Cbor, _) => record.data_len(),
            (Format::Json, DataForm::Base64) => record.data.len(),
            (Format::Json, DataForm::Raw) => record.data.len().div_ceil(3) * 4,
        };
        let key = key.map_or(0, |key| self.key_bound(key));
        data + key + self.hash_key_bytes() + AROUND_ENTRY
    }

    fn key_bound(&self, key: &str) -> usize {
        let escaped = |byte: u8| match byte {
            0..0x20 | b'"' | b'\\' => ESCAPED_BYTES,
            _ => 1,
        };
        match self.format {
            Format::Cbor => key.len(),
            Format::Json => key.bytes().map(escaped).sum(),
        }
    }

    /// Encodes the records of `picks`.
    pub(super) fn encode(&self, batch: &Batch, picks: &Picks) -> PutPayload {
        let mut bound = AROUND_BODY;
        let mut writable = Vec::with_capacity(picks.len());
        let mut refused = Vec::new();
        for (place, index) in picks.iter().enumerate() {
            let record = batch.record(index);
            let key = self.partition_key(&record);
            match self.refusal(&record, key) {
                Some(refusal) => refused.push((place, refusal)),
                None => {
                    bound += self.entry_bound(&record, key);
                    writable.push((place, record, key));
                }
            }
        }

        let hash_key = self.explicit_hash_key(batch).map(|key| key.to_string());
        let buffer = BytesMut::with_capacity(bound);
        let mut body = PutRecordsBuilder::new(self.format, buffer, writable.len());
        for (place, record, key) in writable {
            if body
                .push(&entry(&record, key, hash_key.as_deref()))
                .is_err()
            {
                refused.push((place, not_base64()));
            }
        }

        refused.sort_unstable_by_key(|(place, _)| *place);
        PutPayload {
            body: body.finish(),
            refused,
        }
    }
}

fn entry<'a>(record: &Record<'a>, key: Option<&'a str>, hash_key: Option<&'a str>) -> Entry<'a> {
    let data = match record.form {
        DataForm::Raw => Data::Raw(record.data),
        DataForm::Base64 => Data::Base64(record.data),
    };
    Entry {
        key,
        explicit_hash_key: hash_key,
        data,
    }
}

fn not_base64() -> Refusal {
    Refusal::new(
        ErrorCode::Serialization.as_str(),
        "the source returned data that are not base64",
    )
}

impl PutPayload {
    /// The indices in the batch of the records that the body holds, where the chunk holds `picks`.
    pub(super) fn sent<'a>(&'a self, picks: &'a Picks) -> impl Iterator<Item = usize> + 'a {
        let mut refused = self.refused.iter().map(|(place, _)| *place).peekable();
        let places = picks.iter().enumerate();
        places
            .filter(move |(place, _)| refused.next_if_eq(place).is_none())
            .map(|(_, index)| index)
    }

    /// The outcome where every record of the body is durable.
    pub(super) fn all_durable(&self) -> Outcome {
        match self.refused.is_empty() {
            true => Outcome::Durable,
            false => self.outcome(vec![Verdict::Durable; self.body.entries]),
        }
    }

    /// The outcome for all picks of the chunk; `sent` has the verdicts on the records of the body.
    pub(super) fn outcome(&self, sent: Vec<Verdict>) -> Outcome {
        if self.refused.is_empty() {
            return Outcome::PerRecord(sent);
        }

        let mut all = Vec::with_capacity(sent.len() + self.refused.len());
        let mut sent = sent.into_iter();
        for (place, refusal) in &self.refused {
            let before = place.saturating_sub(all.len());
            all.extend(sent.by_ref().take(before));
            all.push(Verdict::Refused(refusal.clone()));
        }
        all.extend(sent);
        Outcome::PerRecord(all)
    }
}

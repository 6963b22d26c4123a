//! The encoding of records as `PutRecords` requests.

use bytes::BytesMut;
use distributary_core::batch::Batch;
use distributary_core::output::{EncodingKey, Picks, Refusal};
use distributary_core::record::Record;
use distributary_wire::codec::Format;
use distributary_wire::error::ErrorCode;
use distributary_wire::hashkey;
use distributary_wire::hot::{Data, Entry, PutRecordsBuilder};
use distributary_wire::limits;

use super::draft::{Draft, NewEntry};
use super::load::Routed;
use super::packing::Packing;
use super::payload::{Entries, PutPayload};
use super::pieces::bytes_of;
use super::shard_map::Layout;
use super::{Aggregates, Route};
use crate::kpl::{data_of, is_aggregate};

/// Upper bound in bytes of the names, lengths, quotes and commas around one entry, in each format.
const AROUND_ENTRY: usize = 64;
/// Upper bound in bytes of an explicit hash key with its name and quotes: 39 digits.
const HASH_KEY_BYTES: usize = 64;
/// JSON may write one character of a key as six (`\u001f`).
const ESCAPED_BYTES: usize = 6;
/// The longest sequence number, which stands in for an absent partition key.
const SEQUENCE_BYTES: usize = 129;
/// The longest partition key in bytes: 256 characters of up to 4 bytes.
const KEY_BYTES: usize = limits::PARTITION_KEY_CHARS * 4;

/// The settings that decide how records are cut into requests and encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) format: Format,
    pub(super) route: Route,
    pub(super) aggregates: Aggregates,
    /// The output's shards, known from the first aggregate on.
    pub(super) layout: Option<Layout>,
    /// Bytes that a request may have.
    pub(super) request_bytes: usize,
    /// Bytes that a record may have.
    pub(super) record_bytes: usize,
    /// True if the stream takes records without a partition key.
    pub(super) keyless: bool,
}

/// Bytes of an aggregate behind which a further entry is expected at most: the reserve for pieces.
const BYTES_A_PIECE: usize = 64;

impl Encoding {
    /// Upper bound in bytes of a request without its entries.
    pub(super) const AROUND_BODY: usize = 64;

    /// The name of this encoding.
    pub(super) fn key(&self) -> EncodingKey {
        let Self {
            format,
            route,
            aggregates,
            layout,
            request_bytes,
            record_bytes,
            keyless,
        } = self;
        let shards = layout.as_ref().map(Layout::name).unwrap_or_default();
        let text = format!(
            "{format:?} {route:?} {aggregates:?} {request_bytes} {record_bytes} keyless={keyless} \
             {shards}"
        );
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
        // A piece repeats the key, and the frame of an aggregate.
        let pieces = self.most_pieces(records, bytes) * (each + KEY_BYTES / 4);
        Self::AROUND_BODY + data + keys + records * each + pieces
    }

    /// The entries that aggregates are expected to become at most, besides one for each record.
    fn most_pieces(&self, records: usize, bytes: usize) -> usize {
        let shards = self.layout.as_ref().map_or(1, Layout::len);
        match self.aggregates {
            Aggregates::PassOn => (records * (shards - 1)).min(bytes / BYTES_A_PIECE),
            Aggregates::TakeApart | Aggregates::Pack => 0,
        }
    }

    fn hash_key_bytes(&self) -> usize {
        match (self.route, self.aggregates, &self.layout) {
            (Route::PartitionKey, Aggregates::PassOn, None) => 0,
            _ => HASH_KEY_BYTES,
        }
    }

    /// The partition key that `record` is written with.
    pub(super) fn partition_key<'a>(&self, record: &Record<'a>) -> Option<&'a str> {
        match record.key {
            None if self.keyless => None,
            None => Some(record.sequence),
            some => some,
        }
    }

    /// The explicit hash key of the record at `index` of `batch`.
    pub(super) fn explicit_hash_key(&self, batch: &Batch, index: usize) -> Option<u128> {
        match self.route {
            Route::PartitionKey => batch.explicit_hash_key(index),
            Route::SourceShard => batch.hash_range().map(|range| range.start),
        }
    }

    /// The hash key that decides on the output's shard; `None` if the stream decides by itself.
    pub(super) fn hash_key(&self, batch: &Batch, index: usize) -> Option<u128> {
        if self.keyless {
            return None;
        }
        let explicit = self.explicit_hash_key(batch, index);
        let of_key = || {
            self.partition_key(&batch.record(index))
                .map(hashkey::of_partition_key)
        };
        explicit.or_else(of_key)
    }

    /// The record at `index` of `batch`, with the hash key that decides on the output's shard.
    pub(super) fn routed(&self, batch: &Batch, index: usize) -> Routed {
        let record = batch.record(index);
        let key = self.partition_key(&record);
        Routed {
            index,
            hash_key: self.hash_key(batch, index),
            bytes: (record.data_len() + key.map_or(0, str::len)) as u64,
        }
    }

    /// The entries that the record at `index` of `batch` becomes, as far as the shards are known.
    pub(super) fn routed_entries(&self, batch: &Batch, index: usize) -> Vec<Routed> {
        let whole = self.routed(batch, index);
        let Some(hash_keys) = self.hash_keys_of_pieces(&batch.record(index)) else {
            return vec![whole];
        };

        let pieces = hash_keys.len() as u64;
        let of_piece = |hash_key| Routed {
            index,
            hash_key: Some(hash_key),
            bytes: whole.bytes / pieces,
        };
        hash_keys.into_iter().map(of_piece).collect()
    }

    /// A hash key for each piece of an aggregate that is passed on.
    fn hash_keys_of_pieces(&self, record: &Record<'_>) -> Option<Vec<u128>> {
        if self.aggregates != Aggregates::PassOn || !is_aggregate(data_of(record)) {
            return None;
        }

        let bytes = bytes_of(record).ok()?;
        let divided = self.divided(&bytes)?;
        let pieces = divided.pieces.iter();
        Some(pieces.map(|piece| piece.extent.start).collect())
    }

    /// The reason why no request can hold `record`. The codes are those of AWS.
    pub(super) fn refusal(&self, record: &Record<'_>, key: Option<&str>) -> Option<Refusal> {
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

    /// Upper bound in bytes of an entry.
    fn entry_bound(&self, data: Data<'_>, key: Option<&str>) -> usize {
        let data = match (self.format, data) {
            (Format::Cbor, _) => data.decoded_len(),
            (Format::Json, Data::Base64(text)) => text.len(),
            (Format::Json, Data::Raw(bytes)) => {
                let groups = bytes.len().div_ceil(3);
                groups * 4
            }
        };
        let key = match key {
            Some(key) => self.key_bound(key),
            None => 0,
        };
        data + key + self.hash_key_bytes() + AROUND_ENTRY
    }

    /// Upper bound in bytes of a new entry.
    pub(super) fn new_entry_bound(&self, entry: &NewEntry<'_>) -> usize {
        self.entry_bound(entry.data.as_data(), entry.key)
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
        let has_aggregates = || {
            let mut records = picks.iter().map(|i| batch.record(i));
            records.any(|record| is_aggregate(data_of(&record)))
        };
        let by_shard = match self.aggregates {
            _ if self.keyless => false,
            Aggregates::PassOn => has_aggregates(),
            Aggregates::TakeApart => false,
            Aggregates::Pack => true,
        };
        match &self.layout {
            _ if !by_shard => self.encode_records(batch, picks),
            None => self.encode_nothing(),
            Some(layout) => self.encode_by_shard(batch, picks, layout),
        }
    }

    /// Encodes aggregates for the shards of `layout`.
    fn encode_by_shard(&self, batch: &Batch, picks: &Picks, layout: &Layout) -> PutPayload {
        let mut draft = Draft::new(self, layout);
        match self.aggregates {
            Aggregates::Pack => {
                let packing = Packing::new(self, batch, layout);
                packing.pack(picks, &mut draft);
            }
            Aggregates::PassOn | Aggregates::TakeApart => draft.divide(batch, picks),
        }
        draft.finish()
    }

    /// The payload of a chunk whose encoding has to wait for the shards.
    fn encode_nothing(&self) -> PutPayload {
        PutPayload {
            body: PutRecordsBuilder::new(self.format, BytesMut::new(), 0).finish(),
            refused: Vec::new(),
            entries: Entries::NeedLayout,
        }
    }

    /// Encodes each record as an entry.
    fn encode_records(&self, batch: &Batch, picks: &Picks) -> PutPayload {
        let mut bound = Self::AROUND_BODY;
        let mut writable = Vec::with_capacity(picks.len());
        let mut refused = Vec::new();
        for (place, index) in picks.iter().enumerate() {
            let record = batch.record(index);
            let key = self.partition_key(&record);
            match self.refusal(&record, key) {
                Some(refusal) => refused.push((place, refusal)),
                None => {
                    bound += self.entry_bound(data_of(&record), key);
                    writable.push((place, index, key));
                }
            }
        }

        let buffer = BytesMut::with_capacity(bound);
        let body = PutRecordsBuilder::new(self.format, buffer, writable.len());
        self.write_records(batch, writable, (body, refused))
    }

    /// Writes records: places in the picks, indices in the batch, and keys.
    fn write_records(
        &self,
        batch: &Batch,
        writable: Vec<(usize, usize, Option<&str>)>,
        (mut body, mut refused): (PutRecordsBuilder, Vec<(usize, Refusal)>),
    ) -> PutPayload {
        let mut hash_key = HashKeyText::default();
        for (place, index, key) in writable {
            let entry = Entry {
                key,
                explicit_hash_key: hash_key.of(self.explicit_hash_key(batch, index)),
                data: data_of(&batch.record(index)),
            };
            if body.push(&entry).is_err() {
                refused.push((place, not_base64()));
            }
        }

        refused.sort_unstable_by_key(|(place, _)| *place);
        PutPayload {
            body: body.finish(),
            refused,
            entries: Entries::Records,
        }
    }
}

/// The text of the last explicit hash key: the records of one shard share a key.
#[derive(Default)]
struct HashKeyText {
    of: Option<u128>,
    text: String,
}

impl HashKeyText {
    fn of(&mut self, hash_key: Option<u128>) -> Option<&str> {
        let number = hash_key?;
        if self.of != hash_key {
            self.text = number.to_string();
            self.of = hash_key;
        }
        Some(&self.text)
    }
}

pub(super) fn not_base64() -> Refusal {
    Refusal::new(
        ErrorCode::Serialization.as_str(),
        "the source returned data that are not base64",
    )
}

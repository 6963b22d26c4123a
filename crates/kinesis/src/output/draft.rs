//! Chunks whose entries are not simply their records: aggregates are divided among the output's
//! shards, or records are packed into aggregates.

use bytes::BytesMut;
use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Refusal};
use distributary_core::record::Record;
use distributary_wire::error::ErrorCode;
use distributary_wire::hashkey::HashRange;
use distributary_wire::hot::{Data, Entry, PutRecordsBuilder};
use distributary_wire::limits;

use super::encoding::{Encoding, not_base64};
use super::payload::{Content, Entries, Grouped, Placed, PutPayload};
use super::pieces::{Divided, Piece, bytes_of};
use super::shard_map::Layout;
use crate::kpl::{Aggregate, Damage, data_of, is_aggregate};

/// An entry to be written.
pub(super) struct NewEntry<'a> {
    pub(super) key: Option<&'a str>,
    /// Written if the entry is routed by another hash key than the key's.
    pub(super) explicit_hash_key: Option<u128>,
    /// The hash key that decides on the shard.
    pub(super) hash_key: u128,
    /// For an aggregate the hash keys that have to be in the shard.
    pub(super) extent: Option<HashRange>,
    pub(super) data: EntryData<'a>,
}

/// The data of an entry: a record's, or those of a new aggregate.
pub(super) enum EntryData<'a> {
    Read(Data<'a>),
    Made(Vec<u8>),
}

impl EntryData<'_> {
    pub(super) fn as_data(&self) -> Data<'_> {
        match self {
            Self::Read(data) => *data,
            Self::Made(bytes) => Data::Raw(bytes),
        }
    }
}

/// A group, before its entries are written.
pub(super) struct NewGroup<'a> {
    pub(super) places: Vec<usize>,
    pub(super) entries: Vec<NewEntry<'a>>,
    pub(super) content: Content,
}

/// A chunk of groups, before the body is written.
pub(super) struct Draft<'a> {
    encoding: &'a Encoding,
    layout: &'a Layout,
    groups: Vec<NewGroup<'a>>,
    refused: Vec<(usize, Refusal)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(encoding: &'a Encoding, layout: &'a Layout) -> Self {
        Self {
            encoding,
            layout,
            groups: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The records of `picks`, with aggregates divided among the shards.
    pub(super) fn divide(&mut self, batch: &'a Batch, picks: &Picks) {
        for (place, index) in picks.iter().enumerate() {
            let record = batch.record(index);
            let key = self.encoding.partition_key(&record);
            if let Some(refusal) = self.encoding.refusal(&record, key) {
                self.refuse(place, refusal);
                continue;
            }

            let divided = match is_aggregate(data_of(&record)) {
                true => self.aggregate(place, &record, key),
                false => Err(Content::Record),
            };
            if let Err(content) = divided {
                self.record(place, (batch, index), content);
            }
        }
    }

    pub(super) fn refuse(&mut self, place: usize, refusal: Refusal) {
        self.refused.push((place, refusal));
    }

    pub(super) fn add(&mut self, group: NewGroup<'a>) {
        self.groups.push(group);
    }

    /// Adds a record as read.
    pub(super) fn record(
        &mut self,
        place: usize,
        (batch, index): (&'a Batch, usize),
        content: Content,
    ) {
        let record = batch.record(index);
        let key = self.encoding.partition_key(&record);
        let entry = NewEntry {
            key,
            explicit_hash_key: self.encoding.explicit_hash_key(batch, index),
            hash_key: self.encoding.hash_key(batch, index).unwrap_or_default(),
            extent: None,
            data: EntryData::Read(data_of(&record)),
        };
        self.add(NewGroup {
            places: vec![place],
            entries: vec![entry],
            content,
        });
    }

    /// Adds an aggregate; the content of the record if there is no aggregate in it.
    fn aggregate(
        &mut self,
        place: usize,
        record: &Record<'a>,
        key: Option<&'a str>,
    ) -> Result<(), Content> {
        let damaged = |_: Damage| Content::Damaged;
        let bytes = bytes_of(record).map_err(damaged)?;
        let aggregate = Aggregate::parse(&bytes).map_err(damaged)?;
        let divided = Divided::new(aggregate, self.layout);
        if let Some(refusal) = self.encoding.too_wide(&divided) {
            self.refuse(place, refusal);
            return Ok(());
        }

        let (entries, content) = match divided.is_whole() {
            true => {
                let read = |_: &Piece| EntryData::Read(data_of(record));
                (entries(&divided, key, read), Content::Whole)
            }
            false => {
                let made = |piece: &Piece| EntryData::Made(divided.pack(piece));
                (entries(&divided, key, made), Content::Divided)
            }
        };
        self.add(NewGroup {
            places: vec![place],
            entries,
            content,
        });
        Ok(())
    }

    /// Writes the body.
    pub(super) fn finish(mut self) -> PutPayload {
        let all = self.groups.iter().flat_map(|group| &group.entries);
        let bounds = all
            .clone()
            .map(|entry| self.encoding.new_entry_bound(entry));
        let bound = Encoding::AROUND_BODY + bounds.sum::<usize>();
        let buffer = BytesMut::with_capacity(bound);
        let mut body = PutRecordsBuilder::new(self.encoding.format, buffer, all.count());

        let mut grouped = Grouped::new(self.layout.clone());
        for group in std::mem::take(&mut self.groups) {
            // Only a record as read can be no base64, and such a group has no other entry.
            if group.entries.iter().all(|entry| write(&mut body, entry)) {
                let placed = group.entries.iter().map(placed_entry);
                grouped.add(group.places, placed, group.content);
            } else {
                let places = group.places.into_iter();
                self.refused
                    .extend(places.map(|place| (place, not_base64())));
            }
        }

        self.refused.sort_unstable_by_key(|(place, _)| *place);
        PutPayload {
            body: body.finish(),
            refused: self.refused,
            entries: Entries::Grouped(grouped),
        }
    }
}

/// One entry for each piece, with the data that `data` gives.
fn entries<'a>(
    divided: &Divided<'_>,
    key: Option<&'a str>,
    data: impl Fn(&Piece) -> EntryData<'a>,
) -> Vec<NewEntry<'a>> {
    let entry = |piece: &Piece| NewEntry {
        key,
        explicit_hash_key: Some(piece.extent.start),
        hash_key: piece.extent.start,
        extent: Some(piece.extent),
        data: data(piece),
    };
    divided.pieces.iter().map(entry).collect()
}

fn placed_entry(entry: &NewEntry<'_>) -> Placed {
    let data = entry.data.as_data().decoded_len();
    Placed {
        hash_key: entry.hash_key,
        extent: entry.extent,
        bytes: (data + entry.key.map_or(0, str::len)) as u64,
    }
}

fn write(body: &mut PutRecordsBuilder, entry: &NewEntry<'_>) -> bool {
    let hash_key = entry.explicit_hash_key.map(|key| key.to_string());
    let entry = Entry {
        key: entry.key,
        explicit_hash_key: hash_key.as_deref(),
        data: entry.data.as_data(),
    };
    body.push(&entry).is_ok()
}

impl Encoding {
    /// The reason why no request can hold the pieces of an aggregate.
    fn too_wide(&self, divided: &Divided<'_>) -> Option<Refusal> {
        let pieces = divided.pieces.len();
        if divided.is_whole() {
            return None;
        }
        let fits = pieces <= limits::PUT_RECORDS_ENTRIES && divided.size() <= self.request_bytes;
        (!fits).then(|| {
            let message = format!(
                "the user records of the aggregate belong to {pieces} shards, and their pieces are \
                 more than one request can hold; set deaggregate = true"
            );
            Refusal::new(ErrorCode::InvalidArgument.as_str(), message)
        })
    }

    /// The entries and bytes that the pieces of an aggregate take; `None` if `record` is one entry.
    pub(super) fn pieces_weight(&self, record: &Record<'_>) -> Option<(usize, usize)> {
        let bytes = bytes_of(record).ok()?;
        let divided = self.divided(&bytes)?;
        if divided.is_whole() {
            return None;
        }

        let pieces = divided.pieces.len();
        let key = self.partition_key(record);
        let keys = pieces * key.map_or(0, str::len);
        Some((pieces, divided.size() + keys))
    }

    /// The aggregate in `bytes`, divided. The MD5 is not compared.
    pub(super) fn divided<'b>(&self, bytes: &'b [u8]) -> Option<Divided<'b>> {
        let layout = self.layout.as_ref()?;
        let aggregate = Aggregate::index(bytes).ok()?;
        Some(Divided::new(aggregate, layout))
    }
}

//! Packing of records into aggregates: the records of one output shard, up to a size.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Refusal};
use distributary_wire::hashkey::HashRange;

use super::draft::{Draft, EntryData, NewEntry, NewGroup};
use super::encoding::{Encoding, not_base64};
use super::payload::Content;
use super::pieces::bytes_of;
use super::shard_map::Layout;
use crate::kpl::Packer;

/// Bytes of an aggregate, at most: the default of the KPL's `AggregationMaxSize`, which is the size
/// of two PUT payload units.
const PACK_BYTES: usize = 51_200;
/// Bytes of a request of packed records, at most: with [`MANY_SHARDS`] shards and records of any
/// size the aggregates are fewer than the entries that a request takes.
pub(super) const REQUEST_BYTES: usize = 2 << 20;
/// The most shards with which records are not counted as entries of their own.
const MANY_SHARDS: usize = 200;

/// The partition key of an aggregate, as the KPL sets the key: routed by the explicit hash key.
const PACK_KEY: &str = "a";

/// Packs records of one batch for the shards of a layout.
pub(super) struct Packing<'a> {
    encoding: &'a Encoding,
    batch: &'a Batch,
    layout: &'a Layout,
}

/// The records of one aggregate, while more may be added.
struct Pack<'a> {
    packer: Packer<'a>,
    /// Places in the picks, and indices in the batch.
    records: Vec<(usize, usize)>,
    extent: HashRange,
}

/// A record that may be packed.
struct Candidate<'a> {
    place: usize,
    index: usize,
    key: &'a str,
    hash_key: u128,
    explicit_hash_key: Option<u128>,
    data: Cow<'a, [u8]>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(encoding: &'a Encoding, batch: &'a Batch, layout: &'a Layout) -> Self {
        Self {
            encoding,
            batch,
            layout,
        }
    }

    /// Adds the records of `picks` to `draft`: per shard in order, packed where two or more fit.
    pub(super) fn pack(&self, picks: &Picks, draft: &mut Draft<'a>) {
        let mut open: BTreeMap<Option<usize>, Pack<'a>> = BTreeMap::new();
        for (place, index) in picks.iter().enumerate() {
            let candidate = match self.candidate(place, index) {
                Ok(candidate) => candidate,
                Err(refusal) => {
                    draft.refuse(place, refusal);
                    continue;
                }
            };

            let pack = open.entry(self.shard_of(index));
            let pack = pack.or_insert_with(|| Pack::at(candidate.hash_key));
            if !pack.fits(&candidate, self.encoding.record_bytes) {
                let full = std::mem::replace(pack, Pack::at(candidate.hash_key));
                self.close(full, draft);
            }
            pack.add(&candidate);
        }
        open.into_values().for_each(|pack| self.close(pack, draft));
    }

    /// The records of `open` that are in the first aggregate of their shard. A record that no
    /// request can hold ends the aggregate: its refusal comes first.
    pub(super) fn first_of_each_shard(&self, open: &[usize]) -> Vec<usize> {
        let mut packs: BTreeMap<Option<usize>, Pack<'a>> = BTreeMap::new();
        let mut full = BTreeSet::new();
        let mut first = Vec::new();
        for index in open {
            let shard = self.shard_of(*index);
            if full.contains(&shard) {
                continue;
            }

            let fits = self.candidate(0, *index).is_ok_and(|candidate| {
                let pack = packs.entry(shard);
                let pack = pack.or_insert_with(|| Pack::at(candidate.hash_key));
                pack.try_add(&candidate, self.encoding.record_bytes)
            });
            if fits || !packs.contains_key(&shard) {
                first.push(*index);
            }
            if !fits {
                full.insert(shard);
            }
        }
        first
    }

    /// The place of the shard that takes the record.
    fn shard_of(&self, index: usize) -> Option<usize> {
        let hash_key = self.encoding.hash_key(self.batch, index)?;
        self.layout.shard_of(hash_key)
    }

    fn candidate(&self, place: usize, index: usize) -> Result<Candidate<'a>, Refusal> {
        let record = self.batch.record(index);
        let key = self.encoding.partition_key(&record);
        if let Some(refusal) = self.encoding.refusal(&record, key) {
            return Err(refusal);
        }
        Ok(Candidate {
            place,
            index,
            key: key.unwrap_or_default(),
            hash_key: self
                .encoding
                .hash_key(self.batch, index)
                .unwrap_or_default(),
            explicit_hash_key: self.encoding.explicit_hash_key(self.batch, index),
            data: bytes_of(&record).map_err(|_| not_base64())?,
        })
    }

    fn close(&self, pack: Pack<'a>, draft: &mut Draft<'a>) {
        match pack.records[..] {
            [(place, index)] => draft.record(place, (self.batch, index), Content::Record),
            _ => draft.add(pack.finish()),
        }
    }
}

impl<'a> Pack<'a> {
    fn at(hash_key: u128) -> Self {
        Self {
            packer: Packer::default(),
            records: Vec::new(),
            extent: HashRange {
                start: hash_key,
                end: hash_key,
            },
        }
    }

    /// True if the aggregate has room for the record. One record always fits.
    fn fits(&self, candidate: &Candidate<'_>, record_bytes: usize) -> bool {
        let Candidate {
            key,
            explicit_hash_key,
            data,
            ..
        } = candidate;
        let size = self.packer.size_with(key, *explicit_hash_key, data);
        self.packer.is_empty() || size <= PACK_BYTES.min(record_bytes - PACK_KEY.len())
    }

    /// The entry of the records.
    fn finish(self) -> NewGroup<'a> {
        let places = self.records.into_iter().map(|(place, _)| place);
        let entry = NewEntry {
            key: Some(PACK_KEY),
            explicit_hash_key: Some(self.extent.start),
            hash_key: self.extent.start,
            extent: Some(self.extent),
            data: EntryData::Made(self.packer.finish()),
        };
        NewGroup {
            places: places.collect(),
            entries: vec![entry],
            content: Content::Packed,
        }
    }

    /// Adds the record if there is room.
    fn try_add(&mut self, candidate: &Candidate<'a>, record_bytes: usize) -> bool {
        let fits = self.fits(candidate, record_bytes);
        if fits {
            self.add(candidate);
        }
        fits
    }

    fn add(&mut self, candidate: &Candidate<'a>) {
        let Candidate {
            key,
            explicit_hash_key,
            hash_key,
            ..
        } = candidate;
        self.packer.push(key, *explicit_hash_key, &candidate.data);
        self.records.push((candidate.place, candidate.index));
        self.extent.start = self.extent.start.min(*hash_key);
        self.extent.end = self.extent.end.max(*hash_key);
    }
}

impl Encoding {
    /// The entries that a record of `bytes` bytes counts as.
    pub(super) fn packed_entries(&self, bytes: usize) -> usize {
        let shards = self.layout.as_ref().map_or(0, Layout::len);
        usize::from(bytes > PACK_BYTES / 2 || shards > MANY_SHARDS)
    }
}

//! Aggregates on their way to the output: whole where one shard takes every user record, else one
//! piece a shard.

use std::borrow::Cow;
use std::collections::BTreeMap;

use distributary_core::engine::mutation::{Mutation, on};
use distributary_core::record::Record;
use distributary_wire::hashkey::HashRange;
use distributary_wire::hot::Data;

use super::shard_map::Layout;
use crate::kpl::{Aggregate, Damage, Packer, data_of};

/// A piece of an aggregate: the user records of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The least and the greatest hash key of the user records.
    pub(super) extent: HashRange,
    /// Indices in the aggregate, ascending.
    records: Vec<usize>,
}

/// An aggregate, divided.
pub(super) struct Divided<'a> {
    aggregate: Aggregate<'a>,
    pub(super) pieces: Vec<Piece>,
}

/// The bytes of a record.
pub(super) fn bytes_of<'a>(record: &Record<'a>) -> Result<Cow<'a, [u8]>, Damage> {
    match data_of(record) {
        Data::Raw(bytes) => Ok(Cow::Borrowed(bytes)),
        text @ Data::Base64(_) => Ok(Cow::Owned(text.decode()?)),
    }
}

/// The partition keys of the user records of an aggregate, each once. Empty for damaged aggregates.
pub(super) fn keys_within(record: &Record<'_>) -> Vec<Box<str>> {
    let Ok(bytes) = bytes_of(record) else {
        return Vec::new();
    };
    let Ok(aggregate) = Aggregate::index(&bytes) else {
        return Vec::new();
    };

    let keys = aggregate.keys().iter();
    keys.map(|key| Box::from(*key)).collect()
}

impl<'a> Divided<'a> {
    /// Divides `aggregate` for the shards of `layout`. The pieces are in the order of their first
    /// user records.
    pub(super) fn new(aggregate: Aggregate<'a>, layout: &Layout) -> Self {
        let mut pieces = pieces(&aggregate.hash_keys(), layout);
        if on(Mutation::ForgetsPiece) && pieces.len() > 1 {
            pieces.pop();
        }
        Self { aggregate, pieces }
    }

    /// True if one shard takes the whole aggregate.
    pub(super) fn is_whole(&self) -> bool {
        self.pieces.len() == 1
    }

    fn packer(&self, piece: &Piece) -> Packer<'a> {
        let records = self.aggregate.records();
        let mut packer = Packer::default();
        for i in &piece.records {
            packer.push_again(&records[*i]);
        }
        packer
    }

    /// The aggregate that holds the user records of `piece`.
    pub(super) fn pack(&self, piece: &Piece) -> Vec<u8> {
        self.packer(piece).finish()
    }

    /// Bytes of all pieces together.
    pub(super) fn size(&self) -> usize {
        let sizes = self.pieces.iter().map(|piece| self.packer(piece).size());
        sizes.sum()
    }
}

/// The pieces of an aggregate whose user records have these hash keys.
fn pieces(hash_keys: &[u128], layout: &Layout) -> Vec<Piece> {
    let mut places: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for (i, hash_key) in hash_keys.iter().enumerate() {
        let shard = layout.shard_of(*hash_key);
        let new_place = pieces.len();
        let place = *places.entry(shard).or_insert(new_place);

        match pieces.get_mut(place) {
            Some(piece) => piece.add(i, *hash_key),
            None => pieces.push(Piece::of(i, *hash_key)),
        }
    }
    pieces
}

impl Piece {
    fn of(record: usize, hash_key: u128) -> Self {
        Self {
            extent: HashRange {
                start: hash_key,
                end: hash_key,
            },
            records: vec![record],
        }
    }

    fn add(&mut self, record: usize, hash_key: u128) {
        self.extent.start = self.extent.start.min(hash_key);
        self.extent.end = self.extent.end.max(hash_key);
        self.records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_user_record_is_in_the_piece_of_its_shard(
            records in prop::collection::vec(("[a-z]{1,3}", any::<Option<u128>>()), 1..80),
            shards in 1u32..9,
        ) {
            let mut packer = Packer::default();
            let numbered: Vec<_> = records.iter().enumerate().collect();
            for (i, (key, hash_key)) in &numbered {
                packer.push(key, *hash_key, &i.to_be_bytes());
            }
            let data = packer.finish();
            let layout = Layout::even(shards);
            let divided = Divided::new(Aggregate::parse(&data).unwrap(), &layout);

            let pieces: Vec<Vec<u8>> = divided.pieces.iter().map(|piece| divided.pack(piece)).collect();
            prop_assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), divided.size());
            let mut found = Vec::new();
            for (bytes, piece) in pieces.iter().zip(&divided.pieces) {
                let shard = layout.shard_of(piece.extent.start);
                prop_assert!(shard.is_some() && shard == layout.shard_of(piece.extent.end));
                let read = Aggregate::parse(bytes).unwrap();
                for (record, hash_key) in read.records().iter().zip(read.hash_keys()) {
                    prop_assert!(piece.extent.contains(hash_key));
                    let number = usize::from_be_bytes(record.data.try_into().unwrap());
                    prop_assert_eq!(record.key, &records[number].0);
                    prop_assert_eq!(record.explicit_hash_key, records[number].1);
                    found.push((shard, number));
                }
            }
            prop_assert!(found.is_sorted_by_key(|(shard, _)| pieces_order(&found, *shard)));
            let mut numbers: Vec<usize> = found.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..records.len()), "each once");
            for pair in found.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                prop_assert!(pair[0].1 < pair[1].1, "in order");
            }
        }
    }

    /// The place of the first user record of a shard.
    fn pieces_order(found: &[(Option<usize>, usize)], shard: Option<usize>) -> Option<usize> {
        found.iter().position(|(of, _)| *of == shard)
    }
}

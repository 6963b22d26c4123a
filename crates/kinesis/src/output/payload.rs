//! The encoded records of a chunk, and the verdicts on records where entries are not records: an
//! aggregate may become several entries, and several records may become one.

use std::ops::Range;

use distributary_core::engine::mutation::{Mutation, on};
use distributary_core::output::{Outcome, Picks, Refusal, Verdict};
use distributary_wire::hashkey::HashRange;
use distributary_wire::hot::SharedBody;

use super::load::Routed;
use super::shard_map::Layout;

/// The encoded records of a chunk.
pub(super) struct PutPayload {
    pub(super) body: SharedBody,
    /// Records that no request can hold: places in the chunk's picks, ascending, and reasons.
    pub(super) refused: Vec<(usize, Refusal)>,
    pub(super) entries: Entries,
}

/// The records behind the entries of a body.
pub(super) enum Entries {
    /// Each record that is not refused is one entry.
    Records,
    /// Entries and records are mapped by groups, made for the shards of a layout.
    Grouped(Grouped),
    /// Nothing was encoded: the chunk has aggregates, and the output's shards are not known.
    NeedLayout,
}

/// Groups of records and entries.
pub(super) struct Grouped {
    pub(super) layout: Layout,
    pub(super) groups: Vec<Group>,
    /// One for each entry of the body.
    pub(super) placed: Vec<Placed>,
}

/// Records whose data are in the same entries. A group has one record or one entry.
pub(super) struct Group {
    /// Places in the chunk's picks, ascending.
    pub(super) places: Vec<usize>,
    /// Indices of entries of the body.
    pub(super) entries: Range<usize>,
    pub(super) content: Content,
}

/// The content of a group, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An ordinary record.
    Record,
    /// A record that starts as an aggregate and is none.
    Damaged,
    /// An aggregate that is passed on as read.
    Whole,
    /// An aggregate in several pieces.
    Divided,
    /// Records that were packed into an aggregate.
    Packed,
}

/// The routing of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// The hash key that decides on the shard.
    pub(super) hash_key: u128,
    /// For an aggregate the hash keys that have to be in the shard.
    pub(super) extent: Option<HashRange>,
    /// Data and key in bytes.
    pub(super) bytes: u64,
}

impl std::fmt::Debug for PutPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SharedBody {
            format, entries, ..
        } = &self.body;
        write!(f, "PutPayload({format:?}, {entries} entries)")
    }
}

impl PutPayload {
    /// Bytes that stay allocated as long as the payload lives.
    pub(super) fn allocation(&self) -> usize {
        self.body.bytes.len()
    }

    /// The groups, where entries are not records.
    pub(super) fn grouped(&self) -> Option<&Grouped> {
        match &self.entries {
            Entries::Grouped(grouped) => Some(grouped),
            Entries::Records | Entries::NeedLayout => None,
        }
    }

    /// The indices in the batch of the records that the body holds, where the chunk holds `picks`
    /// and each record is an entry.
    pub(super) fn sent<'a>(&'a self, picks: &'a Picks) -> impl Iterator<Item = usize> + 'a {
        let mut refused = self.refused.iter().map(|(place, _)| *place).peekable();
        let places = picks.iter().enumerate();
        places
            .filter(move |(place, _)| refused.next_if_eq(place).is_none())
            .map(|(_, index)| index)
    }

    /// The outcome where every entry of the body is durable.
    pub(super) fn all_durable(&self, picks: usize) -> Outcome {
        match self.refused.is_empty() {
            true => Outcome::Durable,
            false => self.outcome(vec![Verdict::Durable; self.body.entries], picks),
        }
    }

    /// The outcome for all `picks` of the chunk; `sent` has the verdicts on the body's entries.
    pub(super) fn outcome(&self, sent: Vec<Verdict>, picks: usize) -> Outcome {
        let verdicts = match self.grouped() {
            Some(grouped) => grouped.verdicts(&sent, picks),
            None => sent,
        };
        Outcome::PerRecord(self.with_refused(verdicts))
    }

    /// The verdicts on all picks, where `sent` has those on the records that are not refused.
    fn with_refused(&self, sent: Vec<Verdict>) -> Vec<Verdict> {
        let mut all = Vec::with_capacity(sent.len() + self.refused.len());
        let mut sent = sent.into_iter();
        for (place, refusal) in &self.refused {
            let before = place.saturating_sub(all.len());
            all.extend(sent.by_ref().take(before));
            all.push(Verdict::Refused(refusal.clone()));
        }
        all.extend(sent);
        all
    }
}

impl Grouped {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            groups: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// Adds a group whose entries are the next ones of the body.
    pub(super) fn add(
        &mut self,
        places: Vec<usize>,
        placed: impl Iterator<Item = Placed>,
        content: Content,
    ) {
        let start = self.placed.len();
        self.placed.extend(placed);
        self.groups.push(Group {
            places,
            entries: start..self.placed.len(),
            content,
        });
    }

    /// The entries, in order, with the first record of each.
    pub(super) fn routed(&self, picks: &Picks) -> Vec<Routed> {
        let mut routed = Vec::with_capacity(self.placed.len());
        for group in &self.groups {
            let first = group.places.first();
            let index = first.and_then(|place| picks.get(*place));
            for placed in &self.placed[group.entries.clone()] {
                routed.push(Routed {
                    index: index.unwrap_or_default(),
                    hash_key: Some(placed.hash_key),
                    bytes: placed.bytes,
                });
            }
        }
        routed
    }

    /// The verdict on each record that is not refused, in the order of the picks.
    fn verdicts(&self, entries: &[Verdict], picks: usize) -> Vec<Verdict> {
        let mut of_places: Vec<Option<Verdict>> = vec![None; picks];
        for group in &self.groups {
            let verdict = group.verdict(entries);
            for place in &group.places {
                if let Some(of_place) = of_places.get_mut(*place) {
                    *of_place = Some(verdict.clone());
                }
            }
        }
        of_places.into_iter().flatten().collect()
    }
}

impl Group {
    /// The verdict on the records of the group: durable when every entry is.
    pub(super) fn verdict(&self, entries: &[Verdict]) -> Verdict {
        let of_group = entries.get(self.entries.clone());
        let of_group = of_group.unwrap_or_default();
        match of_group.first() {
            Some(first) if on(Mutation::AcksFirstPiece) => first.clone(),
            _ => together(of_group),
        }
    }
}

/// The verdict on a record with these entries.
fn together(entries: &[Verdict]) -> Verdict {
    let mut some_durable = false;
    let mut open = None;
    for verdict in entries {
        match verdict {
            Verdict::Durable => some_durable = true,
            other => open = open.or(Some(other)),
        }
    }

    match open {
        None => Verdict::Durable,
        Some(Verdict::Retry(trouble)) if some_durable => Verdict::Partly(trouble.clone()),
        Some(other) => other.clone(),
    }
}

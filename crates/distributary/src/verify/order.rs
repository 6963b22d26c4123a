//! Judges the order of each key's records, by the rule in [`super`].

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::ancestry::Ancestry;
use super::compare::{Difference, Progress};
use super::rows::{CopyRow, Place, SourceRow};
use super::sort::{Sorted, Tape};

/// Judges the order of all keys.
pub(super) fn judge(
    (source, source_shards): (&Sorted<SourceRow>, &Ancestry),
    (copy, copy_shards): (&Sorted<CopyRow>, &Ancestry),
    examples: usize,
    progress: &mut Progress<'_>,
) -> io::Result<Difference> {
    let mut source = source.iter()?;
    let mut copy = copy.iter()?;
    let mut found = Difference::default();
    while let Some(key) = copy.peek().map(|row| row.key) {
        let line = Line::new(key, &mut source, source_shards, examples)?;
        let judged = judge_key(line, &mut copy, copy_shards, progress)?;
        judged.add_to(&mut found, examples);
    }
    Ok(found)
}

/// Judges the order of the key of `line`.
fn judge_key(
    mut line: Line<'_, '_>,
    copy: &mut Tape<'_, CopyRow>,
    copy_shards: &Ancestry,
    progress: &mut Progress<'_>,
) -> io::Result<Found> {
    let key = line.key;
    let mut side_by_side = SideBySide::new(line.found.examples);
    let mut one_line = OneLine::new(copy_shards);
    while let Some(row) = copy.take_if(|row| row.key == key)? {
        one_line.add(row.place.0);
        line.take(&row)?;
        side_by_side.take(&row);
        progress.add(1);
    }

    line.finish()?;
    progress.add(line.taken);
    if line.one_line.holds && one_line.holds {
        Ok(line.found)
    } else {
        Ok(side_by_side.found)
    }
}

/// Whether the records of a key stand in one line: each in the shard of the one before, in an
/// ancestor or in a descendant.
struct OneLine<'a> {
    shards: &'a Ancestry,
    last: Option<usize>,
    holds: bool,
}

impl<'a> OneLine<'a> {
    fn new(shards: &'a Ancestry) -> Self {
        Self {
            shards,
            last: None,
            holds: true,
        }
    }

    fn add(&mut self, place: Place) {
        let shard = place.shard();
        self.holds &= self
            .last
            .is_none_or(|last| self.shards.ordered(last, shard));
        self.last = Some(shard);
    }
}

/// The records of one key that are out of order, found from the end backwards.
struct Found {
    count: u64,
    /// The places found last, which are the first in the copy.
    places: VecDeque<Place>,
    examples: usize,
}

impl Found {
    fn new(examples: usize) -> Self {
        Self {
            count: 0,
            places: VecDeque::new(),
            examples,
        }
    }

    fn add(&mut self, place: Option<Place>) {
        self.count += 1;
        self.places.extend(place);
        if self.places.len() > self.examples {
            self.places.pop_front();
        }
    }

    fn add_to(self, all: &mut Difference, examples: usize) {
        all.count += self.count;
        for place in self.places {
            all.keep(place, examples);
        }
    }
}

/// A key, judged as if all its records stood in one line.
struct Line<'a, 'b> {
    key: u64,
    source: &'a mut Tape<'b, SourceRow>,
    one_line: OneLine<'a>,
    /// The last record of the source that is not found yet.
    next: Option<SourceRow>,
    /// Records of the source that were taken.
    taken: u64,
    found: Found,
}

impl<'a, 'b> Line<'a, 'b> {
    fn new(
        key: u64,
        source: &'a mut Tape<'b, SourceRow>,
        shards: &'a Ancestry,
        examples: usize,
    ) -> io::Result<Self> {
        let mut line = Self {
            key,
            source,
            one_line: OneLine::new(shards),
            next: None,
            taken: 0,
            found: Found::new(examples),
        };
        line.advance()?;
        Ok(line)
    }

    fn advance(&mut self) -> io::Result<()> {
        let key = self.key;
        self.next = self.source.take_if(|row| row.key == key)?;
        if let Some(row) = self.next {
            self.taken += 1;
            self.one_line.add(row.place.0);
        }
        Ok(())
    }

    fn take(&mut self, row: &CopyRow) -> io::Result<()> {
        let Some(place) = row.stands_for else {
            // A repeat, or one of several equal records in order.
            return if self.next.is_some_and(|next| next.print == row.print) {
                self.advance()
            } else {
                Ok(())
            };
        };
        // A skipped record comes earlier in the copy. The last of equal records is counted there.
        while let Some(next) = self.next.filter(|next| next.place.0 > place) {
            self.skip(&next)?;
        }
        if self.next.is_some_and(|next| next.place.0 == place) {
            self.advance()
        } else {
            self.found.add(Some(row.place.0));
            Ok(())
        }
    }

    fn skip(&mut self, next: &SourceRow) -> io::Result<()> {
        if !next.last {
            self.found.add(None);
        }
        self.advance()
    }

    fn finish(&mut self) -> io::Result<()> {
        while let Some(next) = self.next {
            self.skip(&next)?;
        }
        Ok(())
    }
}

/// A key whose records lie in shards side by side. Each pair of a shard of the source and a shard
/// of the copy is judged by itself.
struct SideBySide {
    /// By pair, the earliest record of the source so far.
    first: BTreeMap<(usize, usize), Place>,
    found: Found,
}

impl SideBySide {
    fn new(examples: usize) -> Self {
        Self {
            first: BTreeMap::new(),
            found: Found::new(examples),
        }
    }

    fn take(&mut self, row: &CopyRow) {
        let Some(place) = row.stands_for.filter(|_| row.unique) else {
            return;
        };
        let first = self
            .first
            .entry((place.shard(), row.place.0.shard()))
            .or_insert(place);
        if *first < place {
            self.found.add(Some(row.place.0));
        }
        *first = place.min(*first);
    }
}

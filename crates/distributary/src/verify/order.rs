//! The order of each key's records, by the rule in [`super`].

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::ancestry::Ancestry;
use super::compare::{Difference, PROGRESS_EVERY};
use super::rows::{OutputRow, Place, SourceRow};
use super::sort::{Sorted, Tape};

/// Judges all keys. `progress` is called now and then with the number of rows done.
pub(super) fn judge(
    (source, source_shards): (&Sorted<SourceRow>, &Ancestry),
    (copy, copy_shards): (&Sorted<OutputRow>, &Ancestry),
    examples: usize,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Difference> {
    let (mut source, mut copy) = (source.iter()?, copy.iter()?);
    let mut found = Difference::default();
    let (mut done, mut said) = (0, 0);
    while let Some(key) = copy.peek().map(|row| row.key) {
        let mut line = Line {
            key,
            source: &mut source,
            shards: source_shards,
            shard: None,
            next: None,
            ordered: true,
            taken: 0,
            found: Found::new(examples),
        };
        line.advance()?;
        let mut side_by_side = SideBySide {
            first: BTreeMap::new(),
            found: Found::new(examples),
        };
        let mut copy_ordered = true;
        let mut shard = None;
        while let Some(row) = copy.take_if(|row| row.key == key)? {
            done += 1;
            let here = row.place.0.shard();
            copy_ordered &= shard.is_none_or(|s| copy_shards.ordered(s, here));
            shard = Some(here);
            line.take(&row)?;
            side_by_side.take(&row);
        }
        line.finish()?;
        done += line.taken;
        let judged = if line.ordered && copy_ordered {
            line.found
        } else {
            side_by_side.found
        };
        judged.add_to(&mut found, examples);
        if done - said >= PROGRESS_EVERY {
            progress(done);
            said = done;
        }
    }
    Ok(found)
}

/// What is out of order within one key, found from its end backwards.
struct Found {
    count: u64,
    /// The last found, which are the first in the copy.
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

/// A key whose records stand in one line.
struct Line<'a, 'b> {
    key: u64,
    source: &'a mut Tape<'b, SourceRow>,
    shards: &'a Ancestry,
    shard: Option<usize>,
    /// The last record of the source that is not found yet.
    next: Option<SourceRow>,
    /// The source's records of this key do stand in one line.
    ordered: bool,
    taken: u64,
    found: Found,
}

impl Line<'_, '_> {
    fn advance(&mut self) -> io::Result<()> {
        let key = self.key;
        self.next = self.source.take_if(|row| row.key == key)?;
        if let Some(row) = self.next {
            self.taken += 1;
            let here = row.place.0.shard();
            self.ordered &= self.shard.is_none_or(|s| self.shards.ordered(s, here));
            self.shard = Some(here);
        }
        Ok(())
    }

    fn take(&mut self, row: &OutputRow) -> io::Result<()> {
        let Some(place) = row.stands_for else {
            // A repeat, or one of several equals in its place.
            return if self.next.is_some_and(|next| next.print == row.print) {
                self.advance()
            } else {
                Ok(())
            };
        };
        // What is skipped comes earlier in the copy: found out of order there, if it is the last of its equals.
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

/// A key whose records lie in shards side by side: each pair of a shard of the source and one of the copy by itself.
struct SideBySide {
    /// By pair, the first record of the source seen so far.
    first: BTreeMap<(usize, usize), Place>,
    found: Found,
}

impl SideBySide {
    fn take(&mut self, row: &OutputRow) {
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

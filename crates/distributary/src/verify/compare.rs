//! Source and copy, joined by fingerprint.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::ancestry::Ancestry;
use super::order;
use super::rows::{OutputRow, Place, RecordRow, SourceRow};
use super::sort::{Sorted, Sorter, Tape};

/// What a comparison may use.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of rows held in memory at a time.
    pub(crate) memory: usize,
    /// Where the rest goes.
    pub(crate) dir: PathBuf,
    /// Examples kept of each kind of difference.
    pub(crate) examples: usize,
}

/// Kinds of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// In the source, and not as often in the copy.
    Missing,
    /// In the copy, and not in the source.
    Extra,
    /// More often in the copy than in the source.
    Repeated,
    /// In the copy before a record of its key that comes first in the source.
    OutOfOrder,
}

/// All records with one kind of difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// How many.
    pub(crate) count: u64,
    /// The first of them: in the source if they are missing, otherwise in the copy.
    pub(crate) first: BTreeSet<Place>,
}

impl Difference {
    pub(super) fn add(&mut self, place: Place, examples: usize) {
        self.count += 1;
        self.keep(place, examples);
    }

    pub(super) fn keep(&mut self, place: Place, examples: usize) {
        self.first.insert(place);
        if self.first.len() > examples {
            self.first.pop_last();
        }
    }
}

/// What the comparison of a source with one copy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Records of the source.
    pub(crate) source: u64,
    /// Records of the copy.
    pub(crate) copy: u64,
    missing: Difference,
    extra: Difference,
    repeated: Difference,
    out_of_order: Difference,
}

impl Comparison {
    /// What it found of one kind.
    pub(crate) fn of(&self, kind: Kind) -> &Difference {
        match kind {
            Kind::Missing => &self.missing,
            Kind::Extra => &self.extra,
            Kind::Repeated => &self.repeated,
            Kind::OutOfOrder => &self.out_of_order,
        }
    }
}

/// Compares. `progress` is called now and then with the number of rows done, of twice the rows of both streams in all.
pub(crate) fn compare(
    source: (&Sorted<RecordRow>, &Ancestry),
    copy: (&Sorted<RecordRow>, &Ancestry),
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Comparison> {
    let mut found = Comparison {
        source: source.0.len(),
        copy: copy.0.len(),
        ..Comparison::default()
    };
    let mut join = Join {
        limits,
        in_source: Sorter::new(limits.memory / 2, &limits.dir),
        in_copy: Sorter::new(limits.memory / 2, &limits.dir),
    };
    // Two readings side by side: the first counts equals, so that the second knows what to make of each. A group of
    // equals may be too large to be held.
    let (mut counted, mut rows) = (Pair::new(source.0, copy.0)?, Pair::new(source.0, copy.0)?);
    let mut done = 0;
    let mut said = 0;
    while let Some(print) = counted.next_print() {
        let group = counted.count(print)?;
        join.group(&group, &mut rows, &mut found)?;
        done += group.in_source + group.in_copy;
        if done - said >= PROGRESS_EVERY {
            progress(done);
            said = done;
        }
    }
    let (in_source, in_copy) = (join.in_source.finish()?, join.in_copy.finish()?);
    let disorder = order::judge(
        (&in_source, source.1),
        (&in_copy, copy.1),
        limits.examples,
        &mut |n| {
            progress(done + n);
        },
    )?;
    found.out_of_order = disorder;
    progress(2 * done);
    Ok(found)
}

/// Rows between two reports of progress.
pub(super) const PROGRESS_EVERY: u64 = 1 << 16;

/// Source and copy, read side by side.
struct Pair<'a> {
    source: Tape<'a, RecordRow>,
    copy: Tape<'a, RecordRow>,
}

/// Equal records.
struct Group {
    print: u128,
    in_source: u64,
    in_copy: u64,
    /// The last of them in the source.
    last: Option<Place>,
}

impl<'a> Pair<'a> {
    fn new(source: &'a Sorted<RecordRow>, copy: &'a Sorted<RecordRow>) -> io::Result<Self> {
        Ok(Self {
            source: source.iter()?,
            copy: copy.iter()?,
        })
    }

    fn next_print(&self) -> Option<u128> {
        let (a, b) = (
            self.source.peek().map(|r| r.print),
            self.copy.peek().map(|r| r.print),
        );
        a.into_iter().chain(b).min()
    }

    fn count(&mut self, print: u128) -> io::Result<Group> {
        let mut group = Group {
            print,
            in_source: 0,
            in_copy: 0,
            last: None,
        };
        while let Some(row) = self.source.take_if(|r| r.print == print)? {
            group.in_source += 1;
            group.last = Some(row.place);
        }
        while self.copy.take_if(|r| r.print == print)?.is_some() {
            group.in_copy += 1;
        }
        Ok(group)
    }
}

/// What the join makes for the judgement of order.
struct Join<'a> {
    limits: &'a Limits,
    in_source: Sorter<SourceRow>,
    in_copy: Sorter<OutputRow>,
}

impl Join<'_> {
    fn group(
        &mut self,
        group: &Group,
        rows: &mut Pair<'_>,
        found: &mut Comparison,
    ) -> io::Result<()> {
        let examples = self.limits.examples;
        let complete = group.in_source > 0 && group.in_copy >= group.in_source;
        let mut i = 0;
        while let Some(row) = rows.source.take_if(|r| r.print == group.print)? {
            i += 1;
            if i > group.in_copy {
                found.missing.add(row.place, examples);
            }
            if complete && row.key != 0 {
                let last = i == group.in_source;
                self.in_source.push(SourceRow {
                    key: row.key,
                    place: Reverse(row.place),
                    print: row.print,
                    last,
                })?;
            }
        }
        let mut i = 0;
        while let Some(row) = rows.copy.take_if(|r| r.print == group.print)? {
            i += 1;
            if group.in_source == 0 {
                found.extra.add(row.place, examples);
            } else if i > group.in_source {
                found.repeated.add(row.place, examples);
            }
            if complete && row.key != 0 {
                self.in_copy.push(OutputRow {
                    key: row.key,
                    place: Reverse(row.place),
                    print: row.print,
                    stands_for: group.last.filter(|_| i == group.in_copy),
                    unique: group.in_source == 1,
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;

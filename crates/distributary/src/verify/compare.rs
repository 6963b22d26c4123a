//! Joins source and copy by fingerprint.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::ancestry::Ancestry;
use super::order;
use super::rows::{CopyRow, Place, RecordRow, SourceRow};
use super::sort::{Sorted, Sorter, Tape};

/// The limits of a comparison.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of rows held in memory at a time.
    pub(crate) memory: usize,
    /// Directory for the other rows.
    pub(crate) dir: PathBuf,
    /// Examples kept of each kind of difference.
    pub(crate) examples: usize,
}

/// The kinds of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The copy has fewer of the record than the source.
    Missing,
    /// The copy has a record that the source has not.
    Extra,
    /// The copy has more of the record than the source.
    Repeated,
    /// In the copy, the record comes before one of the same key that is earlier in the source.
    OutOfOrder,
}

/// The records with one kind of difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The number of the records.
    pub(crate) count: u64,
    /// The places of the first of the records: in the source for missing records, else in the copy.
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

/// The result of comparing a source with one copy.
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
    /// The differences of one kind.
    pub(crate) fn of(&self, kind: Kind) -> &Difference {
        match kind {
            Kind::Missing => &self.missing,
            Kind::Extra => &self.extra,
            Kind::Repeated => &self.repeated,
            Kind::OutOfOrder => &self.out_of_order,
        }
    }
}

/// Compares `copy` with `source`. Calls `progress` with the number of rows done; in all, each row
/// of both streams counts twice.
pub(crate) fn compare(
    source: (&Sorted<RecordRow>, &Ancestry),
    copy: (&Sorted<RecordRow>, &Ancestry),
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Comparison> {
    let mut join = Join::new(source.0, copy.0, limits)?;
    let mut progress = Progress::new(progress);
    while let Some(rows) = join.next_group()? {
        progress.add(rows);
    }

    let Join {
        mut found,
        in_source,
        in_copy,
        ..
    } = join;
    found.out_of_order = order::judge(
        (&in_source.finish()?, source.1),
        (&in_copy.finish()?, copy.1),
        limits.examples,
        &mut progress,
    )?;
    progress.finish(2 * (found.source + found.copy));
    Ok(found)
}

/// Rows between two reports of progress.
const PROGRESS_EVERY: u64 = 1 << 16;

/// Counts rows, and reports the count now and then.
pub(super) struct Progress<'a> {
    report: &'a mut dyn FnMut(u64),
    done: u64,
    reported: u64,
}

impl<'a> Progress<'a> {
    fn new(report: &'a mut dyn FnMut(u64)) -> Self {
        Self {
            report,
            done: 0,
            reported: 0,
        }
    }

    pub(super) fn add(&mut self, rows: u64) {
        self.done += rows;
        if self.done - self.reported >= PROGRESS_EVERY {
            (self.report)(self.done);
            self.reported = self.done;
        }
    }

    fn finish(self, rows: u64) {
        (self.report)(rows);
    }
}

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
    /// The place of the last of the records in the source.
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
        let source = self.source.peek().map(|row| row.print);
        let copy = self.copy.peek().map(|row| row.print);
        source.into_iter().chain(copy).min()
    }

    fn count(&mut self, print: u128) -> io::Result<Group> {
        let mut group = Group {
            print,
            in_source: 0,
            in_copy: 0,
            last: None,
        };
        while let Some(row) = self.source.take_if(|row| row.print == print)? {
            group.in_source += 1;
            group.last = Some(row.place);
        }
        while self.copy.take_if(|row| row.print == print)?.is_some() {
            group.in_copy += 1;
        }
        Ok(group)
    }
}

impl Group {
    /// True if the copy has all of the records.
    fn is_complete(&self) -> bool {
        self.in_source > 0 && self.in_copy >= self.in_source
    }
}

/// The join, with the rows for the judgement of order.
struct Join<'a> {
    examples: usize,
    /// Counts equal records before `rows` has them, since a group can be too large to be held.
    counted: Pair<'a>,
    rows: Pair<'a>,
    found: Comparison,
    in_source: Sorter<SourceRow>,
    in_copy: Sorter<CopyRow>,
}

impl<'a> Join<'a> {
    fn new(
        source: &'a Sorted<RecordRow>,
        copy: &'a Sorted<RecordRow>,
        limits: &Limits,
    ) -> io::Result<Self> {
        Ok(Self {
            examples: limits.examples,
            counted: Pair::new(source, copy)?,
            rows: Pair::new(source, copy)?,
            found: Comparison {
                source: source.len(),
                copy: copy.len(),
                ..Comparison::default()
            },
            in_source: Sorter::new(limits.memory / 2, &limits.dir),
            in_copy: Sorter::new(limits.memory / 2, &limits.dir),
        })
    }

    /// Compares the next group of equal records. Returns the number of rows; `None` at the end.
    fn next_group(&mut self) -> io::Result<Option<u64>> {
        let Some(print) = self.counted.next_print() else {
            return Ok(None);
        };
        let group = self.counted.count(print)?;
        self.take_source(&group)?;
        self.take_copy(&group)?;
        Ok(Some(group.in_source + group.in_copy))
    }

    fn take_source(&mut self, group: &Group) -> io::Result<()> {
        let mut i = 0;
        while let Some(row) = self.rows.source.take_if(|row| row.print == group.print)? {
            i += 1;
            if i > group.in_copy {
                self.found.missing.add(row.place, self.examples);
            }
            if group.is_complete() && row.key != 0 {
                self.in_source.push(SourceRow {
                    key: row.key,
                    place: Reverse(row.place),
                    print: row.print,
                    last: i == group.in_source,
                })?;
            }
        }
        Ok(())
    }

    fn take_copy(&mut self, group: &Group) -> io::Result<()> {
        let mut i = 0;
        while let Some(row) = self.rows.copy.take_if(|row| row.print == group.print)? {
            i += 1;
            if group.in_source == 0 {
                self.found.extra.add(row.place, self.examples);
            } else if i > group.in_source {
                self.found.repeated.add(row.place, self.examples);
            }

            if group.is_complete() && row.key != 0 {
                self.in_copy.push(CopyRow {
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

//! Sorts more rows than fit in memory: sorted runs in temporary files, merged when they are read.
//!
//! Own code, since little is needed for rows of a fixed size, and two readers at the same time are
//! a requirement. The files never have a name in the file system, so nothing is left behind in any
//! case.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs of one level that are merged into one run of the next level. Also the most runs of one
/// level that are read side by side.
const FAN_IN: usize = 64;
/// Bytes of each run that a reader holds in memory.
const READ_BUFFER: usize = 32 * 1024;
/// Bytes that are collected before a write.
const WRITE_BUFFER: usize = 256 * 1024;

/// A row of a fixed size on disk.
pub(crate) trait Row: Copy + Ord {
    /// Bytes that [`Row::write`] appends.
    const BYTES: usize;
    /// Appends the row.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads a row from `bytes`, which `write` has made.
    fn read(bytes: &[u8]) -> Self;
}

/// A sorted stretch of a file.
#[derive(Clone, Debug)]
struct Run {
    file: Arc<File>,
    start: u64,
    end: u64,
}

/// Takes rows in any order, and sorts them.
pub(crate) struct Sorter<R> {
    buffer: Vec<R>,
    capacity: usize,
    dir: PathBuf,
    /// The file to which the runs of level 0 are appended, and its length.
    file: Option<(Arc<File>, u64)>,
    /// Runs by level; a run of level n + 1 was merged from runs of level n.
    levels: Vec<Vec<Run>>,
    rows: u64,
}

impl<R: Row> Sorter<R> {
    /// A sorter that holds at most `memory` bytes of rows, at least one row, and writes the other
    /// rows to files in `dir`.
    pub(crate) fn new(memory: usize, dir: &Path) -> Self {
        let capacity = (memory / size_of::<R>()).max(1);
        Self {
            buffer: Vec::new(),
            capacity,
            dir: dir.to_owned(),
            file: None,
            levels: Vec::new(),
            rows: 0,
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: R) -> io::Result<()> {
        if self.buffer.len() >= self.capacity {
            self.spill()?;
        }
        self.buffer.push(row);
        self.rows += 1;
        Ok(())
    }

    /// Ends the input.
    pub(crate) fn finish(mut self) -> io::Result<Sorted<R>> {
        self.buffer.sort_unstable();
        self.buffer.shrink_to_fit();
        let runs = self.levels.into_iter().flatten().collect();
        Ok(Sorted {
            held: self.buffer,
            runs,
            rows: self.rows,
        })
    }

    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        let (file, start) = match self.file.take() {
            Some(open) => open,
            None => (self.new_file()?, 0),
        };

        let mut out = Writer::new(&file, start);
        for row in self.buffer.drain(..) {
            out.push(row)?;
        }
        let end = out.finish()?;
        self.file = Some((Arc::clone(&file), end));
        self.add(0, Run { file, start, end })
    }

    fn add(&mut self, level: usize, run: Run) -> io::Result<()> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        self.levels[level].push(run);
        if self.levels[level].len() < FAN_IN {
            return Ok(());
        }

        let runs = std::mem::take(&mut self.levels[level]);
        if level == 0 {
            // The file's space is freed with the last of its runs.
            self.file = None;
        }
        let merged = self.merge(&runs)?;
        drop(runs);
        self.add(level + 1, merged)
    }

    /// One run with the rows of `runs`, in a file of its own.
    fn merge(&self, runs: &[Run]) -> io::Result<Run> {
        let file = self.new_file()?;
        let mut out = Writer::new(&file, 0);
        for row in Merge::<R>::new(runs, &[])? {
            out.push(row?)?;
        }

        let end = out.finish()?;
        Ok(Run {
            file,
            start: 0,
            end,
        })
    }

    fn new_file(&self) -> io::Result<Arc<File>> {
        let file = tempfile::tempfile_in(&self.dir)?;
        Ok(Arc::new(file))
    }
}

/// Sorted rows, for any number of readers at the same time.
pub(crate) struct Sorted<R> {
    held: Vec<R>,
    runs: Vec<Run>,
    rows: u64,
}

impl<R: Row> Sorted<R> {
    /// Number of rows.
    pub(crate) fn len(&self) -> u64 {
        self.rows
    }

    /// The rows, in order.
    pub(crate) fn iter(&self) -> io::Result<Tape<'_, R>> {
        let mut rows = Merge::new(&self.runs, &self.held)?;
        let head = rows.next().transpose()?;
        Ok(Tape { rows, head })
    }
}

/// A reader of sorted rows that shows the next row.
pub(crate) struct Tape<'a, R> {
    rows: Merge<'a, R>,
    head: Option<R>,
}

impl<R: Row> Tape<'_, R> {
    /// The next row, which is not taken.
    pub(crate) fn peek(&self) -> Option<R> {
        self.head
    }

    /// Takes the next row.
    pub(crate) fn take(&mut self) -> io::Result<Option<R>> {
        let row = self.head;
        if row.is_some() {
            self.head = self.rows.next().transpose()?;
        }
        Ok(row)
    }

    /// Takes the next row if `wanted` holds for the row.
    pub(crate) fn take_if(&mut self, wanted: impl FnOnce(&R) -> bool) -> io::Result<Option<R>> {
        if self.head.as_ref().is_some_and(wanted) {
            self.take()
        } else {
            Ok(None)
        }
    }
}

struct Writer<'a> {
    file: &'a File,
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File, at: u64) -> Self {
        Self {
            file,
            at,
            buffer: Vec::with_capacity(WRITE_BUFFER),
        }
    }

    fn push<R: Row>(&mut self, row: R) -> io::Result<()> {
        if self.buffer.len() + R::BYTES > WRITE_BUFFER {
            self.flush()?;
        }
        row.write(&mut self.buffer);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.at)
    }
}

/// Reads one run in pieces.
struct RunReader {
    run: Run,
    buffer: Vec<u8>,
    at: usize,
}

impl RunReader {
    fn next<R: Row>(&mut self) -> io::Result<Option<R>> {
        if self.at == self.buffer.len() {
            if self.run.start == self.run.end {
                return Ok(None);
            }
            self.fill(READ_BUFFER / R::BYTES * R::BYTES)?;
        }
        let row = R::read(&self.buffer[self.at..self.at + R::BYTES]);
        self.at += R::BYTES;
        Ok(Some(row))
    }

    /// Reads the next piece, of at most `bytes`.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        let left = self.run.end - self.run.start;
        let bytes = usize::try_from(left).map_or(bytes, |left| left.min(bytes));
        self.buffer.resize(bytes, 0);
        self.run
            .file
            .read_exact_at(&mut self.buffer, self.run.start)?;

        self.run.start += bytes as u64;
        self.at = 0;
        Ok(())
    }
}

/// Merges sorted runs and a sorted slice.
struct Merge<'a, R> {
    runs: Vec<RunReader>,
    held: std::slice::Iter<'a, R>,
    /// The next row of each run that has one; `runs.len()` stands for the slice.
    heads: BinaryHeap<Reverse<(R, usize)>>,
}

impl<'a, R: Row> Merge<'a, R> {
    fn new(runs: &[Run], held: &'a [R]) -> io::Result<Self> {
        let runs = runs
            .iter()
            .map(|run| RunReader {
                run: run.clone(),
                buffer: Vec::new(),
                at: 0,
            })
            .collect();
        let mut merge = Self {
            runs,
            held: held.iter(),
            heads: BinaryHeap::new(),
        };
        for i in 0..=merge.runs.len() {
            merge.refill(i)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, i: usize) -> io::Result<()> {
        let row = match self.runs.get_mut(i) {
            Some(run) => run.next()?,
            None => self.held.next().copied(),
        };
        self.heads.extend(row.map(|row| Reverse((row, i))));
        Ok(())
    }
}

impl<R: Row> Iterator for Merge<'_, R> {
    type Item = io::Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((row, i)) = self.heads.pop()?;
        Some(self.refill(i).map(|()| row))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Row for u32 {
        const BYTES: usize = 4;
        fn write(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.to_be_bytes());
        }
        fn read(bytes: &[u8]) -> Self {
            bytes.try_into().map_or(0, Self::from_be_bytes)
        }
    }

    fn sorted(rows: &[u32], memory: usize) -> (Vec<u32>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(memory, dir.path());
        for row in rows {
            sorter.push(*row).unwrap();
        }
        let sorted = sorter.finish().unwrap();
        assert_eq!(sorted.len(), rows.len() as u64);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left in the directory"
        );
        let mut tape = sorted.iter().unwrap();
        let mut all = Vec::new();
        while let Some(row) = tape.take().unwrap() {
            all.push(row);
        }
        (all, sorted.runs.len())
    }

    proptest! {
        #[test]
        fn rows_are_sorted_with_any_memory(mut rows in prop::collection::vec(any::<u32>(), 0..2000), memory in 1usize..4000) {
            let (got, _) = sorted(&rows, memory);
            rows.sort_unstable();
            prop_assert_eq!(got, rows);
        }
    }

    #[test]
    fn many_runs_are_merged_in_levels() {
        // One row a run: three levels.
        let rows: Vec<u32> = (0..5000u32)
            .map(|i| i.wrapping_mul(2_654_435_761))
            .collect();
        let (got, runs) = sorted(&rows, 1);
        let mut expected = rows;
        expected.sort_unstable();
        assert_eq!(got, expected);
        assert!(runs < 3 * FAN_IN, "{runs} runs are read side by side");
    }
}

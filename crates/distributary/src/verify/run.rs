//! A whole comparison: read all streams, compare each copy, look up examples.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::clock::{Clock, Millis};
use distributary_core::source::Source;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::compare::{Comparison, Limits, compare};
use super::examples::look_up;
use super::read::{self, Held, Meter, ReadError, Reading};
use super::report::{Copy, KINDS, Report, Tolerance};
use super::rows::Prints;
use crate::walk::{RESPONSES, WalkError};

/// Bytes of rows held in memory while all streams are read, and again while they are compared.
const ROWS: usize = 64 * 1024 * 1024;
/// Of that, what each stream has at least.
const ROWS_MIN: usize = 1024 * 1024;

/// A stream to compare.
#[derive(Clone)]
pub(crate) struct Subject {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) source: Arc<dyn Source>,
}

/// How to compare.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) clock: Clock,
    pub(crate) tolerance: Tolerance,
    /// Examples of each kind of difference.
    pub(crate) examples: usize,
    /// For what does not fit in memory.
    pub(crate) dir: PathBuf,
}

/// How far a comparison is. Read by what shows it.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Of each stream.
    meters: Vec<Arc<Meter>>,
    compared: AtomicU64,
    to_compare: AtomicU64,
}

impl Progress {
    /// Of the comparison of a source with so many copies.
    pub(crate) fn new(copies: usize) -> Self {
        Self {
            meters: (0..=copies).map(|_| Arc::default()).collect(),
            compared: AtomicU64::new(0),
            to_compare: AtomicU64::new(0),
        }
    }

    /// Records and bytes read so far.
    pub(crate) fn read(&self) -> (u64, u64) {
        self.meters
            .iter()
            .fold((0, 0), |sum, m| (sum.0 + m.records(), sum.1 + m.bytes()))
    }

    /// Part done, in thousandths: reading is counted as three quarters of it.
    pub(crate) fn thousandths(&self) -> u64 {
        let all: u64 = self.meters.iter().map(|m| m.thousandths()).sum();
        let read = all / (self.meters.len() as u64).max(1);
        let (done, of) = (
            self.compared.load(Ordering::Relaxed),
            self.to_compare.load(Ordering::Relaxed),
        );
        let compared = (done * 1000).checked_div(of).unwrap_or(0);
        (read * 3 + compared) / 4
    }
}

/// Compares what `from` and `to` hold now. (`progress` is of as many copies.)
pub(crate) async fn verify(
    from: &Subject,
    to: &[Subject],
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, ReadError> {
    let subjects: Vec<&Subject> = std::iter::once(from).chain(to).collect();
    let until = moment(&subjects).await?;
    let clock = &options.clock;
    let reading = Reading {
        clock: clock.clone(),
        prints: Prints::new([
            clock.random(),
            clock.random(),
            clock.random(),
            clock.random(),
        ]),
        until,
        responses: Arc::new(Semaphore::new(RESPONSES)),
        memory: (ROWS / subjects.len()).max(ROWS_MIN),
        dir: options.dir.clone(),
    };
    let mut held = read_all(&subjects, &reading, &progress.meters)
        .await?
        .into_iter();
    let source = held.next().ok_or(ReadError::Task)?;
    let copies: Vec<Arc<Held>> = held.collect();
    let rows: u64 = copies
        .iter()
        .map(|copy| 2 * (source.rows.len() + copy.rows.len()))
        .sum();
    progress.to_compare.store(rows, Ordering::Relaxed);
    let mut report = Report {
        source: from.name.clone(),
        at: until,
        tolerance: options.tolerance,
        copies: Vec::with_capacity(to.len()),
    };
    for (subject, copy) in to.iter().zip(copies) {
        let comparison = compare_one(&source, &copy, options, progress).await?;
        let mut examples = Vec::new();
        for kind in KINDS {
            let places = comparison.of(kind).first.iter().copied();
            let (stream, held) = if kind.is_of_source() {
                (&from.source, &source)
            } else {
                (&subject.source, &copy)
            };
            examples.push((kind, look_up(stream, held, clock, places).await));
        }
        report.copies.push(Copy {
            name: subject.name.clone(),
            comparison,
            examples,
        });
    }
    Ok(report)
}

/// The moment whose contents are compared: every record acknowledged before this call arrived before it, in each stream.
/// One for all streams, so that a copy made meanwhile is not taken for an extra record.
async fn moment(subjects: &[&Subject]) -> Result<Millis, ReadError> {
    let mut until = Millis(i64::MAX);
    for subject in subjects {
        let facts = subject
            .source
            .facts()
            .await
            .map_err(|source| WalkError::Source {
                stream: subject.name.clone(),
                shard: None,
                source,
            })?;
        until = until.min(facts.time.latest);
    }
    Ok(until)
}

async fn read_all(
    subjects: &[&Subject],
    reading: &Reading,
    meters: &[Arc<Meter>],
) -> Result<Vec<Arc<Held>>, ReadError> {
    let mut tasks = JoinSet::new();
    for (i, (subject, meter)) in subjects.iter().zip(meters).enumerate() {
        let (subject, reading, meter) = ((*subject).clone(), reading.clone(), Arc::clone(meter));
        tasks.spawn(async move {
            let held = read::read(&subject.name, &subject.source, &reading, &meter).await;
            (i, held)
        });
    }
    let mut all = Vec::with_capacity(subjects.len());
    while let Some(ended) = tasks.join_next().await {
        let (i, held) = ended.map_err(|_| ReadError::Task)?;
        all.push((i, Arc::new(held?)));
    }
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, held)| held).collect())
}

async fn compare_one(
    source: &Arc<Held>,
    copy: &Arc<Held>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Comparison, ReadError> {
    let (source, copy, progress) = (Arc::clone(source), Arc::clone(copy), Arc::clone(progress));
    let limits = Limits {
        memory: ROWS,
        dir: options.dir.clone(),
        examples: options.examples,
    };
    let work = move || {
        let before = progress.compared.load(Ordering::Relaxed);
        compare(
            (&source.rows, &source.ancestry),
            (&copy.rows, &copy.ancestry),
            &limits,
            &mut |done| {
                progress.compared.store(before + done, Ordering::Relaxed);
            },
        )
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ReadError::Task)?
        .map_err(ReadError::Files)
}

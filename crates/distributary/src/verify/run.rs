//! A whole comparison: reads all streams, compares each copy, looks up examples.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::clock::{Clock, Millis};
use distributary_core::source::Source;
use distributary_kinesis::retry::with_retries;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::compare::{Comparison, Kind, Limits, compare};
use super::examples::{Example, look_up};
use super::read::{self, Held, Meter, ReadError, Reading};
use super::report::{Copy, KINDS, Report, Tolerance};
use super::rows::Prints;
use crate::walk::{RESPONSES, WalkError};

/// Bytes of rows held in memory while the streams are read, and again during the comparison.
const ROWS: usize = 64 * 1024 * 1024;
/// The least part of that for each stream.
const ROWS_MIN: usize = 1024 * 1024;

/// A stream to compare.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The name as the user wrote it.
    pub(crate) name: String,
    pub(crate) source: Arc<dyn Source>,
}

/// The settings of a comparison.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) clock: Clock,
    pub(crate) tolerance: Tolerance,
    /// Examples of each kind of difference.
    pub(crate) examples: usize,
    /// Directory for the rows that do not fit in memory.
    pub(crate) dir: PathBuf,
}

/// The progress of a comparison.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The meter of each stream.
    meters: Vec<Arc<Meter>>,
    compared: AtomicU64,
    to_compare: AtomicU64,
}

impl Progress {
    /// The progress of a comparison of a source with this number of copies.
    pub(crate) fn new(copies: usize) -> Self {
        let mut meters = Vec::new();
        meters.resize_with(copies + 1, Arc::default);
        Self {
            meters,
            compared: AtomicU64::new(0),
            to_compare: AtomicU64::new(0),
        }
    }

    /// Sets the number of rows to compare: each row of both streams counts twice.
    fn expect(&self, source: &Held, copies: &[Arc<Held>]) {
        let mut rows = 0;
        for copy in copies {
            rows += source.rows.len();
            rows += copy.rows.len();
        }
        self.to_compare.store(2 * rows, Ordering::Relaxed);
    }

    /// Records and bytes read so far.
    pub(crate) fn read(&self) -> (u64, u64) {
        let mut records = 0;
        let mut bytes = 0;
        for meter in &self.meters {
            records += meter.records();
            bytes += meter.bytes();
        }
        (records, bytes)
    }

    /// Part done, in thousandths; reading counts as three quarters.
    pub(crate) fn thousandths(&self) -> u64 {
        let streams = self.meters.len() as u64;
        let mut all = 0;
        for meter in &self.meters {
            all += meter.thousandths();
        }

        let read = all / streams.max(1);
        let done = self.compared.load(Ordering::Relaxed);
        let of = self.to_compare.load(Ordering::Relaxed);
        let compared = (done * 1000).checked_div(of).unwrap_or(0);
        (read * 3 + compared) / 4
    }
}

/// Compares the contents of `from` and `to`. `progress` must be for as many copies.
pub(crate) async fn verify(
    from: &Subject,
    to: &[Subject],
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Report, ReadError> {
    let mut subjects = vec![from];
    subjects.extend(to);
    let until = moment(&subjects, &options.clock).await?;
    let reading = reading(until, subjects.len(), options);

    let held = read_all(&subjects, &reading, &progress.meters).await?;
    let (source, held_copies) = held.split_first().ok_or(ReadError::Task)?;
    progress.expect(source, held_copies);

    let mut report = Report {
        source: from.name.clone(),
        at: until,
        tolerance: options.tolerance,
        copies: Vec::with_capacity(to.len()),
    };
    for (subject, held) in to.iter().zip(held_copies) {
        let streams = [(from, source), (subject, held)];
        let copy = copy(streams, options, progress).await?;
        report.copies.push(copy);
    }
    Ok(report)
}

/// The comparison of the source and a copy, with examples of the differences.
async fn copy(
    [(from, source), (subject, held)]: [(&Subject, &Arc<Held>); 2],
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Copy, ReadError> {
    let comparison = compare_one(source, held, options, progress).await?;
    let streams = [(&from.source, source), (&subject.source, held)];
    let examples = examples(&comparison, streams, &options.clock).await;
    let name = subject.name.clone();
    Ok(Copy {
        name,
        examples,
        comparison,
    })
}

fn reading(until: Millis, streams: usize, options: &Options) -> Reading {
    let clock = &options.clock;
    Reading {
        clock: clock.clone(),
        prints: Prints::new(std::array::from_fn(|_| clock.random())),
        until,
        responses: Arc::new(Semaphore::new(RESPONSES)),
        memory: (ROWS / streams).max(ROWS_MIN),
        dir: options.dir.clone(),
    }
}

/// The first records of each kind of difference. `streams` are the source and the copy.
async fn examples(
    comparison: &Comparison,
    streams: [(&Arc<dyn Source>, &Arc<Held>); 2],
    clock: &Clock,
) -> Vec<(Kind, Vec<Example>)> {
    let mut examples = Vec::with_capacity(KINDS.len());
    for kind in KINDS {
        let first = &comparison.of(kind).first;
        let places = first.iter().copied();
        let (stream, held) = if kind.is_of_source() {
            streams[0]
        } else {
            streams[1]
        };
        let found = look_up(stream, held, clock, places).await;
        examples.push((kind, found));
    }
    examples
}

/// The moment whose contents are compared: every record acknowledged before this call arrived
/// before the moment, in each stream. One moment for all streams, so that a record that is copied
/// meanwhile does not count as extra.
async fn moment(subjects: &[&Subject], clock: &Clock) -> Result<Millis, ReadError> {
    let mut until = Millis(i64::MAX);
    for subject in subjects {
        let facts = with_retries(clock, || subject.source.facts()).await;
        let facts = facts.map_err(|source| WalkError::Source {
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
        let subject = (*subject).clone();
        let reading = reading.clone();
        let meter = Arc::clone(meter);
        let task = read_one(i, subject, reading, meter);
        tasks.spawn(task);
    }

    let all = in_order(tasks).await?;
    Ok(all.into_values().collect())
}

/// The results of all tasks, by the number of the subject.
async fn in_order(
    mut tasks: JoinSet<Result<(usize, Held), ReadError>>,
) -> Result<BTreeMap<usize, Arc<Held>>, ReadError> {
    let mut all = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        let read = ended.map_err(|_| ReadError::Task)?;
        let (i, held) = read?;
        let held = Arc::new(held);
        all.insert(i, held);
    }
    Ok(all)
}

async fn read_one(
    i: usize,
    subject: Subject,
    reading: Reading,
    meter: Arc<Meter>,
) -> Result<(usize, Held), ReadError> {
    let held = read::read(&subject.name, &subject.source, &reading, &meter).await?;
    Ok((i, held))
}

async fn compare_one(
    source: &Arc<Held>,
    copy: &Arc<Held>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Comparison, ReadError> {
    let source = Arc::clone(source);
    let copy = Arc::clone(copy);
    let progress = Arc::clone(progress);
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

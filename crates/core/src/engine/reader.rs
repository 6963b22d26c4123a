//! A shard's reader task: the one place that reads a shard. The task carries out the commands of
//! [`super::shard`]: at most one read of the head and one for laggards at a time, each after its
//! memory was reserved.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::Instant;
use crate::output::{Trouble, TroubleKind};
use crate::source::{Credit, Read, ShardReader, SourceError};
use crate::store::OutputId;

use super::Shared;
use super::budget::{Permit, Turn};
use super::encoders::Encoders;
use super::retry::{Backoff, policy};
use super::shard::{Arrived, FeedId, KeepReader, NextVisit, PlannedRead, ShardCell};

/// A read that is under way.
struct Job {
    feed: FeedId,
    encoders: Encoders,
    run: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// The result of a read.
struct Done {
    reader: Box<dyn ShardReader>,
    /// The answer with its memory.
    result: Result<(Read, Permit), SourceError>,
}

/// Reads `cell`'s shard until no lane is left to read for.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>) {
    let mut task = Task {
        backoff: shared.settings.backoff(),
        shared,
        cell,
        readers: BTreeMap::new(),
        jobs: Vec::new(),
    };
    let budget = Arc::clone(&task.shared.budget);
    let _registered = budget.register(task.cell.wake());
    loop {
        match task.arrange() {
            NextVisit::Finished => break,
            NextVisit::OnEvent => task.wait(None).await,
            NextVisit::At(at) => task.wait(Some(at)).await,
        }
    }
}

struct Task {
    shared: Arc<Shared>,
    cell: Arc<ShardCell>,
    /// Readers that no job uses.
    readers: BTreeMap<FeedId, Box<dyn ShardReader>>,
    jobs: Vec<Job>,
    backoff: Backoff,
}

impl Task {
    /// Starts the reads that are due.
    fn arrange(&mut self) -> NextVisit {
        self.report_gaps();
        let round = self.cell.arrange(&self.shared.conditions());
        self.readers.retain(|id, _| round.feeds.contains(id));
        self.jobs.retain(|job| round.feeds.contains(&job.feed));
        for read in round.reads {
            self.start(read);
        }
        round.next
    }

    /// Logs the stretches that are gone, and the outputs that miss them.
    fn report_gaps(&self) {
        let kept = self.shared.settings.gaps_kept;
        for gap in self.cell.take_gaps(self.shared.clock.wall(), kept) {
            let names: Vec<&str> = gap.outputs.iter().map(OutputId::as_str).collect();
            tracing::error!(
                shard = %gap.shard,
                outputs = names.join(", "),
                "GAP: the source's retention deleted records before they were read: {}; these \
                 outputs miss them, and go on at the oldest record",
                gap.extent()
            );
        }
    }

    fn start(&mut self, read: PlannedRead) {
        let shard = self.cell.id();
        let open = || self.shared.source.open(shard, read.position);
        let mut reader = self.readers.remove(&read.feed).unwrap_or_else(open);
        let memory = Memory {
            bytes: read.reserve,
            turn: match read.is_head {
                true => Turn::Usual,
                false => Turn::Last,
            },
        };
        let credit = Credit {
            records: read.limit,
        };

        let shared = Arc::clone(&self.shared);
        let cell = Arc::clone(&self.cell);
        let run = Box::pin(async move {
            let result = read_once(&shared, &cell, &mut *reader, memory, credit).await;
            Done { reader, result }
        });
        self.jobs.push(Job {
            feed: read.feed,
            encoders: read.encoders,
            run,
        });
    }

    /// Waits until a read is done, a lane asks, memory is short, or the time `at` has come.
    async fn wait(&mut self, at: Option<Instant>) {
        let clock = self.shared.clock.clone();
        let finished = tokio::select! {
            // The result of a read comes before any other decision.
            biased;
            finished = poll_fn(|cx| poll_jobs(&mut self.jobs, cx)) => Some(finished),
            () = self.cell.wake().notified() => None,
            () = clock.sleep_until_some(at) => None,
        };
        if let Some((i, done)) = finished {
            let job = self.jobs.remove(i);
            self.finish(&job, done);
        }
    }

    fn finish(&mut self, job: &Job, done: Done) {
        let shared = Arc::clone(&self.shared);
        let arrived = Arrived {
            feed: job.feed,
            now: shared.clock.now(),
            settings: &shared.settings,
            limits: &shared.limits,
            goal: shared.goal,
        };
        let keep = match done.result {
            Ok((read, permit)) => {
                self.backoff.reset();
                let encoders = &job.encoders;
                self.cell.on_read(&arrived, read, encoders, permit)
            }
            Err(trouble) => self.on_trouble(&arrived, &trouble),
        };
        if keep == Some(KeepReader::Yes) {
            self.readers.insert(job.feed, done.reader);
        }
    }

    fn on_trouble(&mut self, arrived: &Arrived<'_>, trouble: &Trouble) -> Option<KeepReader> {
        let shared = &self.shared;
        if trouble.kind == TroubleKind::Missing {
            // The stream is gone, or another one, or retention has deleted the shard.
            shared.source_doubted.store(true, Ordering::Relaxed);
            shared.news.notify_one();
        }

        let class = policy(trouble.kind).class;
        let wait = self.backoff.next(&shared.clock, class, trouble.retry_after);
        self.log(trouble, wait);
        let wall = shared.clock.wall();
        self.cell.on_read_failed(arrived, trouble, wait, wall)
    }

    fn log(&self, trouble: &Trouble, wait: Duration) {
        let shard = self.cell.id();
        if trouble.kind == TroubleKind::Throttled {
            tracing::debug!(%shard, ?wait, "a read was throttled: {trouble}");
        } else if self.shared.is_news(None, trouble.kind) {
            tracing::warn!(%shard, "a read failed, and is tried again: {trouble}");
        }
    }
}

/// The first job that is done, and its result.
fn poll_jobs(jobs: &mut [Job], cx: &mut Context<'_>) -> Poll<(usize, Done)> {
    for (i, job) in jobs.iter_mut().enumerate() {
        if let Poll::Ready(done) = job.run.as_mut().poll(cx) {
            return Poll::Ready((i, done));
        }
    }
    Poll::Pending
}

/// Waits until the shard's limit allows a call. Memory may have been waited for, and other readers
/// may have read meanwhile.
pub(crate) async fn wait_for_call(shared: &Shared, cell: &ShardCell) {
    while let Some(at) = cell.call(shared.clock.now(), &shared.limits) {
        shared.clock.sleep_until(at).await;
    }
}

/// The memory to reserve for a read.
#[derive(Clone, Copy)]
struct Memory {
    bytes: usize,
    turn: Turn,
}

/// Reads once. Memory is reserved only when the reader is ready: an idle subscription of a push
/// reader takes none.
async fn read_once(
    shared: &Shared,
    cell: &ShardCell,
    reader: &mut dyn ShardReader,
    memory: Memory,
    credit: Credit,
) -> Result<(Read, Permit), SourceError> {
    reader.ready().await?;
    let Memory { bytes, turn } = memory;
    let permit = shared.budget.reserve(bytes, turn).await;
    wait_for_call(shared, cell).await;

    let read = deadline(shared, reader.next(credit)).await?;
    Ok((read, permit))
}

/// One read, within the deadline of reads.
pub(crate) async fn deadline(
    shared: &Shared,
    read: impl Future<Output = Result<Read, SourceError>>,
) -> Result<Read, SourceError> {
    let limit = shared.settings.read_deadline;
    let read = shared.clock.timeout(limit, read).await;
    read.unwrap_or_else(|| {
        let text = format!("no answer to a read within {} s", limit.as_secs_f64());
        Err(Trouble::new(TroubleKind::Unavailable, text))
    })
}

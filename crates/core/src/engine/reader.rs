//! A shard's reader task: the one place that reads a shard. It carries out what [`super::shard`] decides: at most one
//! read of the head and one for those who catch up at a time, each after its memory was reserved.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::batch::{Batch, ShardId};
use crate::clock::{Instant, Millis};
use crate::output::{EncodingKey, Output, Trouble, TroubleKind};
use crate::source::{Credit, Fetched, Read, ReadLimits, ShardReader, SourceError};
use crate::store::OutputId;

use super::budget::{Permit, Pool, Turn};
use super::mutation::{Mutation, on};
use super::retry::{Backoff, BackoffClass, policy};
use super::shard::{Plan, ShardCell, ShardState, View};
use super::shared_batch::SharedBatch;
use super::slot::Life;
use super::status::{ErrorReport, Gap};
use super::window::{Feed, FeedId};
use super::{Shared, lock};

/// A read that is under way.
struct Job {
    feed: FeedId,
    encoders: Vec<(EncodingKey, Arc<dyn Output>)>,
    run: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// What came of it.
struct Done {
    reader: Box<dyn ShardReader>,
    permit: Permit,
    result: Result<Read, SourceError>,
}

/// Reads `cell`'s shard until no lane is left to read it for.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>) {
    let mut task = Task {
        backoff: shared.settings.backoff(),
        shared,
        cell,
        readers: BTreeMap::new(),
        jobs: Vec::new(),
    };
    task.shared.budget.tell(&task.cell.wake);
    while let Some(again) = task.arrange() {
        task.wait(again).await;
    }
    task.shared.budget.leave_alone(&task.cell.wake);
}

struct Task {
    shared: Arc<Shared>,
    cell: Arc<ShardCell>,
    /// Readers that no job has.
    readers: BTreeMap<FeedId, Box<dyn ShardReader>>,
    jobs: Vec<Job>,
    backoff: Backoff,
}

impl Task {
    /// Begins what is to be read now. `None` if the shard needs no reading any more; else when to come again at the
    /// latest.
    fn arrange(&mut self) -> Option<Option<Instant>> {
        let mut state = lock(&self.cell.state);
        state.report_gaps(&self.shared, &self.cell.id);
        if state.draining || !state.lanes.values().any(|s| s.life == Life::Live) {
            state.feeds.clear();
            state.reading = false;
            return None;
        }
        let view = View {
            now: self.shared.clock.now(),
            settings: &self.shared.settings,
            limits: &self.shared.limits,
            budget: &self.shared.budget,
            share: self.shared.share(),
            free: self.shared.budget.free(),
        };
        let (plans, again) = state.arrange(&view);
        self.readers.retain(|id, _| state.feed(*id).is_some());
        self.jobs.retain(|job| state.feed(job.feed).is_some());
        drop(state);
        for plan in plans {
            self.begin(plan);
        }
        Some(again)
    }

    fn begin(&mut self, plan: Plan) {
        let Plan {
            feed,
            is_head,
            position,
            limit,
            reserve,
            encoders,
        } = plan;
        let reader = self.readers.remove(&feed);
        let mut reader = reader.unwrap_or_else(|| self.shared.source.open(&self.cell.id, position));
        let turn = if is_head { Turn::Usual } else { Turn::Last };
        let reservation = self.shared.budget.reserve(Pool::Read, reserve, turn);
        let (clock, deadline) = (
            self.shared.clock.clone(),
            self.shared.settings.read_deadline,
        );
        let (cell, limits) = (Arc::clone(&self.cell), self.shared.limits);
        let run = Box::pin(async move {
            let permit = reservation.await;
            // Memory may have been waited for, and others have read meanwhile.
            loop {
                let wait = lock(&cell.state).call(clock.now(), &limits);
                let Some(at) = wait else { break };
                clock.sleep_until(at).await;
            }
            let read = clock
                .timeout(deadline, reader.next(Credit { records: limit }))
                .await;
            let result = read.unwrap_or_else(|| {
                let text = format!("no answer to a read within {} s", deadline.as_secs_f64());
                Err(Trouble::new(TroubleKind::Unavailable, text))
            });
            Done {
                reader,
                permit,
                result,
            }
        });
        self.jobs.push(Job {
            feed,
            encoders,
            run,
        });
    }

    /// Until something happened: a read is done, a lane asks or memory is short, or time has passed.
    async fn wait(&mut self, again: Option<Instant>) {
        let clock = self.shared.clock.clone();
        let timer = async {
            match again {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let jobs = &mut self.jobs;
        let done = poll_fn(|cx| {
            for (i, job) in jobs.iter_mut().enumerate() {
                if let Poll::Ready(done) = job.run.as_mut().poll(cx) {
                    return Poll::Ready((i, done));
                }
            }
            Poll::Pending
        });
        let finished = tokio::select! {
            // What is read is taken before anything else is decided.
            biased;
            finished = done => Some(finished),
            () = self.cell.wake.notified() => None,
            () = timer => None,
        };
        if let Some((i, done)) = finished {
            let job = self.jobs.remove(i);
            self.finish(job.feed, &job.encoders, done);
        }
    }

    fn finish(&mut self, feed: FeedId, encoders: &[(EncodingKey, Arc<dyn Output>)], done: Done) {
        let Done {
            reader,
            permit,
            result,
        } = done;
        let shared = &self.shared;
        let mut state = lock(&self.cell.state);
        let state = &mut *state;
        let Some(of) = state.feed_mut(feed) else {
            return;
        };
        of.reading = false;
        let gone = state.gone;
        let context = Context {
            shared,
            shard: &self.cell.id,
            now: shared.clock.now(),
            wall: shared.clock.wall(),
        };
        let keep = match result {
            Ok(read) => {
                self.backoff.reset();
                state.on_read(&context, feed, read, encoders, permit)
            }
            // Retention has removed the shard itself.
            Err(trouble)
                if gone && matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Invalid) =>
            {
                state.on_gap(&context, feed);
                state.on_closed(&context, feed, Vec::new());
                false
            }
            Err(trouble) => {
                let wait = self.backoff.next(
                    &shared.clock,
                    policy(trouble.kind).class,
                    trouble.retry_after,
                );
                state.on_error(&context, feed, &trouble, wait);
                true
            }
        };
        if keep {
            self.readers.insert(feed, reader);
        }
    }
}

/// Where and when something was read.
struct Context<'a> {
    shared: &'a Shared,
    shard: &'a ShardId,
    now: Instant,
    wall: Millis,
}

impl ShardState {
    /// Counts a call that is made now; or says when it may be made.
    fn call(&mut self, now: Instant, limits: &ReadLimits) -> Option<Instant> {
        let at = self.pace.call_at(limits);
        if at > now {
            return Some(at);
        }
        self.pace.called(now, limits);
        None
    }

    /// Takes what a read brought; `false` if the reader must be opened again.
    fn on_read(
        &mut self,
        context: &Context<'_>,
        id: FeedId,
        read: Read,
        encoders: &[(EncodingKey, Arc<dyn Output>)],
        permit: Permit,
    ) -> bool {
        self.reads.calls += 1;
        self.lasting = None;
        let settings = &context.shared.settings;
        let is_head = self.head == Some(id);
        let limits = context.shared.limits;
        let interval = if is_head {
            limits.head_interval()
        } else {
            limits.interval()
        };
        let (mut kept, mut arrived) = (true, false);
        match read.fetched {
            Fetched::Batch(batch) if !batch.is_empty() => {
                kept = self.on_batch(id, batch, encoders, permit);
                arrived = true;
                let Some(feed) = self.feed_mut(id) else {
                    return false;
                };
                feed.idle = Duration::ZERO;
                feed.due = if kept {
                    context.now.plus(interval)
                } else {
                    context.now
                };
            }
            Fetched::Batch(_) | Fetched::Idle => {
                let Some(feed) = self.feed_mut(id) else {
                    return false;
                };
                // An empty answer far from the tip is a step on the way; at the tip, polls get rarer.
                let longest = if read.behind.is_zero() {
                    settings.idle_poll.max(interval)
                } else {
                    interval
                };
                feed.idle = (feed.idle * 2).max(interval).min(longest);
                feed.due = context.now.plus(feed.idle);
                if read.behind.is_zero() {
                    self.on_tip(id);
                }
            }
            Fetched::Closed { children } => {
                self.on_closed(context, id, children);
                return false;
            }
            // It brought nothing, so it says nothing about how far the reader is.
            Fetched::Gap => {
                self.on_gap(context, id);
                return true;
            }
        }
        if kept {
            self.server = Some((read.complete_until.plus(read.behind), context.now));
            if let Some(feed) = self.feed_mut(id) {
                feed.behind = Some(read.behind);
                feed.read_at = context.now;
                feed.complete(read.complete_until, context.shared.goal());
            }
            self.tell_followers(context, id, arrived);
        }
        kept
    }

    fn on_batch(
        &mut self,
        id: FeedId,
        batch: Batch,
        encoders: &[(EncodingKey, Arc<dyn Output>)],
        mut permit: Permit,
    ) -> bool {
        let (records, allocated) = (batch.len(), batch.allocation());
        let bytes: usize = (0..records).map(|i| batch.size(i)).sum();
        self.reads.records += records as u64;
        self.reads.bytes += bytes as u64;
        self.pace.note(records, allocated, bytes);
        if let Some(last) = records.checked_sub(1) {
            self.inflow.note(
                batch.record(0).arrival,
                batch.record(last).arrival,
                records,
                bytes,
            );
        }
        let Some(feed) = self.feed_mut(id) else {
            return false;
        };
        if !feed.is_ahead(&batch) {
            // A server that returns what it returned before: nothing is new.
            return true;
        }
        let encoded: usize = encoders
            .iter()
            .map(|(_, o)| o.encoded_bound(records, allocated))
            .sum();
        if !permit.resize(allocated + encoded) {
            // It brought more than was reserved, and there is no room for that: dropped, and read again with enough.
            feed.underestimated = true;
            return false;
        }
        feed.underestimated = false;
        let keys = encoders.iter().map(|(k, _)| k.clone()).collect();
        feed.push(SharedBatch::new(batch, keys, permit));
        true
    }

    /// Notes who is caught up; if something `arrived`, wakes the lanes that wait for it.
    fn tell_followers(&mut self, context: &Context<'_>, id: FeedId, arrived: bool) {
        let Some(feed) = self.feeds.iter().find(|f| f.id == id) else {
            return;
        };
        let (next, goal) = (feed.next(), feed.goal);
        let newest = next.saturating_sub(1);
        let joins = arrived && self.head == Some(id);
        let mut news = false;
        for slot in self.lanes.values_mut() {
            let Some(no) = slot.no_in(id) else {
                // Who has come to the end of another feed may find more here.
                if joins
                    && !slot.working
                    && self
                        .feeds
                        .iter()
                        .any(|f| slot.no_in(f.id) == Some(f.next()))
                {
                    slot.wake.notify_one();
                }
                continue;
            };
            if !slot.caught_up && goal.is_some_and(|goal| no >= goal) {
                slot.caught_up = true;
                news = true;
            }
            if arrived && no >= newest && !slot.working {
                slot.wake.notify_one();
            }
        }
        if news {
            context.shared.news.notify_one();
        }
    }

    fn on_closed(&mut self, context: &Context<'_>, id: FeedId, children: Vec<ShardId>) {
        if let Some(feed) = self.feed_mut(id) {
            feed.closed = true;
            feed.behind = Some(Duration::ZERO);
            feed.goal.get_or_insert(feed.next());
        }
        self.children.get_or_insert(children);
        self.tell_followers(context, id, true);
        context.shared.news.notify_one();
    }

    /// The feed has all there is. What a lane that follows it there still had in flight was deleted before it was read
    /// again.
    fn on_tip(&mut self, id: FeedId) {
        let Some(next) = self.feed(id).map(Feed::next) else {
            return;
        };
        let waiting = self
            .lanes
            .iter_mut()
            .filter(|(_, s)| s.no_in(id) == Some(next) && !s.working);
        for (output, slot) in waiting.filter(|(_, s)| s.counts.in_flight > 0) {
            slot.lose_in_flight();
            self.gaps_met.push((output.clone(), slot.position.clone()));
        }
    }

    /// What the feed's next record follows was deleted before it was read. A lane that is not there yet meets the gap
    /// when it is.
    fn on_gap(&mut self, context: &Context<'_>, id: FeedId) {
        let Some(feed) = self.feeds.iter_mut().find(|f| f.id == id) else {
            return;
        };
        feed.due = context.now;
        feed.note_gap();
        let next = feed.next();
        for (output, slot) in self
            .lanes
            .iter_mut()
            .filter(|(_, s)| s.no_in(id) == Some(next) && !s.working)
        {
            if let Some(from) = feed
                .gap_before(next, &slot.position)
                .filter(|from| slot.meet_gap(from))
            {
                self.gaps_met.push((output.clone(), from.clone()));
            }
        }
    }

    /// Says which stretches are gone, and who misses them.
    fn report_gaps(&mut self, shared: &Shared, shard: &ShardId) {
        let mut met = std::mem::take(&mut self.gaps_met);
        if on(Mutation::GapUnsaid) {
            return;
        }
        while let Some((_, position)) = met.first().cloned() {
            let (here, rest): (Vec<_>, Vec<_>) =
                met.into_iter().partition(|(_, from)| *from == position);
            met = rest;
            let outputs: Vec<OutputId> = here.into_iter().map(|(output, _)| output).collect();
            let names: Vec<&str> = outputs.iter().map(OutputId::as_str).collect();
            let from = position.to_string();
            tracing::warn!(
                %shard, %from, outputs = names.join(", "),
                "records were deleted by the source's retention before they were read; going on at its oldest record"
            );
            self.gap_count += 1;
            self.gaps.push(Gap {
                shard: shard.clone(),
                outputs,
                from,
                at: shared.clock.wall(),
            });
        }
        let excess = self.gaps.len().saturating_sub(shared.settings.gaps_kept);
        self.gaps.drain(..excess);
    }

    fn on_error(&mut self, context: &Context<'_>, id: FeedId, trouble: &Trouble, wait: Duration) {
        let shard = context.shard;
        self.reads.calls += 1;
        if trouble.kind == TroubleKind::Throttled {
            self.reads.throttled += 1;
            tracing::debug!(%shard, ?wait, "a read was throttled: {trouble}");
        } else {
            self.reads.failed += 1;
            if context.shared.is_news(None, trouble.kind) {
                tracing::warn!(%shard, "a read failed, and is tried again: {trouble}");
            }
            let report = ErrorReport {
                at: context.wall,
                kind: Some(trouble.kind),
                text: trouble.message.clone(),
            };
            self.reads.last_error = Some(report);
        }
        if policy(trouble.kind).class == BackoffClass::Passing {
            self.lasting = None;
        } else if self.lasting.is_none() {
            self.lasting = Some((context.now, trouble.clone()));
            context.shared.news.notify_one();
        }
        // The limit is the shard's, so all its feeds wait.
        let until = context.now.plus(wait);
        self.pace.failed(until);
        if let Some(feed) = self.feed_mut(id) {
            feed.due = until;
        }
    }
}

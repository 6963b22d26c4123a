//! Reads all shards of a stream at once, each after its parents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_core::source::{Credit, Fetched, Shard, ShardReader, Source};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::patience::{retried, wait};

/// Answers held at a time, of all shards together; each has at most 10 MiB of data.
const ANSWERS: usize = 8;
/// Wait before a shard is read again that had nothing new; doubled each time that it has nothing, up to [`IDLE_MAX`].
const IDLE: Duration = Duration::from_millis(200);
/// The longest wait: one call a second leaves four of the five that a shard allows to others.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Why a stream is not followed any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The stream did not answer, or refused.
    #[error("cannot read {stream}{}", shard.as_ref().map(|s| format!(", {s}")).unwrap_or_default())]
    Source {
        stream: String,
        shard: Option<ShardId>,
        #[source]
        source: Trouble,
    },
    /// A part of the program broke.
    #[error("a task broke; this is a bug, please report it")]
    Broken,
}

/// What is read.
pub(super) enum Event {
    /// Records of a shard.
    Records(ShardId, Batch, OwnedSemaphorePermit),
    /// Retention deleted records of this shard before they were read.
    Gap(ShardId),
}

/// What to follow, and how far.
pub(super) struct Follow {
    /// The stream's name, for messages.
    pub(super) stream: String,
    pub(super) source: Arc<dyn Source>,
    pub(super) clock: Clock,
    /// Where every shard is begun, those that come later too.
    pub(super) start: Position,
    /// The end: everything that arrived before this moment has been read. `None`: there is none.
    pub(super) until: Option<Millis>,
    /// Records that one read asks for.
    pub(super) credit: u32,
}

/// How the reading of a shard ended.
enum End {
    /// It is closed and read to its end.
    Closed,
    /// Everything up to `until` is read.
    CaughtUp,
    /// Nobody takes what is read.
    Deaf,
}

/// What is known of a shard.
enum State {
    Waiting(Vec<ShardId>),
    Reading,
    /// Its children may be read.
    Closed,
    CaughtUp,
}

impl Follow {
    /// Reads until the end, or until `send` is closed.
    pub(super) async fn run(self, send: mpsc::Sender<Event>) -> Result<(), FollowError> {
        let follow = Arc::new(self);
        let answers = Arc::new(Semaphore::new(ANSWERS));
        let mut states: BTreeMap<ShardId, State> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        follow.learn(&mut states).await?;
        loop {
            for shard in startable(&mut states) {
                let task = ShardTask {
                    reader: follow.source.open(&shard, follow.start.clone()),
                    shard,
                    follow: Arc::clone(&follow),
                    answers: Arc::clone(&answers),
                    send: send.clone(),
                };
                tasks.spawn(task.run());
            }
            let Some(ended) = tasks.join_next().await else {
                return Ok(());
            };
            let (shard, end) = ended.map_err(|_| FollowError::Broken)??;
            match end {
                End::Closed => {
                    states.insert(shard, State::Closed);
                    follow.learn(&mut states).await?;
                }
                End::CaughtUp => {
                    states.insert(shard, State::CaughtUp);
                }
                End::Deaf => return Ok(()),
            }
        }
    }

    /// Adds the shards that are not known yet.
    async fn learn(&self, states: &mut BTreeMap<ShardId, State>) -> Result<(), FollowError> {
        let shards = retried(&self.clock, || self.source.shards())
            .await
            .map_err(|source| FollowError::Source {
                stream: self.stream.clone(),
                shard: None,
                source,
            })?;
        for Shard { id, parents, .. } in shards {
            states.entry(id).or_insert(State::Waiting(parents));
        }
        Ok(())
    }
}

/// The shards whose time has come. They count as being read from now on.
fn startable(states: &mut BTreeMap<ShardId, State>) -> Vec<ShardId> {
    // A parent that is not listed is gone with its records. One that is caught up has nothing that its children have to
    // wait for: what they hold is later than the end.
    let done = |parent: &ShardId| match states.get(parent) {
        None | Some(State::Closed | State::CaughtUp) => true,
        Some(State::Waiting(_) | State::Reading) => false,
    };
    let ready = |id: &ShardId, state: &State| match state {
        State::Waiting(parents) => parents.iter().all(|parent| parent == id || done(parent)),
        State::Reading | State::Closed | State::CaughtUp => false,
    };
    let ready: Vec<ShardId> = states
        .iter()
        .filter(|(id, s)| ready(id, s))
        .map(|(id, _)| id.clone())
        .collect();
    for id in &ready {
        states.insert(id.clone(), State::Reading);
    }
    ready
}

/// Reads one shard.
struct ShardTask {
    shard: ShardId,
    reader: Box<dyn ShardReader>,
    follow: Arc<Follow>,
    answers: Arc<Semaphore>,
    send: mpsc::Sender<Event>,
}

impl ShardTask {
    async fn run(mut self) -> Result<(ShardId, End), FollowError> {
        let end = self.read().await?;
        Ok((self.shard, end))
    }

    async fn read(&mut self) -> Result<End, FollowError> {
        let mut failures = 0;
        let mut idle = IDLE;
        while !self.send.is_closed() {
            let answers = Arc::clone(&self.answers);
            let Ok(permit) = answers.acquire_owned().await else {
                return Err(FollowError::Broken);
            };
            let read = match self
                .reader
                .next(Credit {
                    records: self.follow.credit,
                })
                .await
            {
                Ok(read) => read,
                Err(source) => {
                    drop(permit);
                    match wait(&self.follow.clock, &source, failures) {
                        Some(sleep) => sleep.await,
                        None => {
                            let (stream, shard) =
                                (self.follow.stream.clone(), Some(self.shard.clone()));
                            return Err(FollowError::Source {
                                stream,
                                shard,
                                source,
                            });
                        }
                    }
                    failures += 1;
                    continue;
                }
            };
            failures = 0;
            let event = match read.fetched {
                Fetched::Batch(batch) if !batch.is_empty() => {
                    Some(Event::Records(self.shard.clone(), batch, permit))
                }
                Fetched::Batch(_) | Fetched::Idle => {
                    drop(permit);
                    None
                }
                Fetched::Gap => Some(Event::Gap(self.shard.clone())),
                Fetched::Closed { .. } => return Ok(End::Closed),
            };
            let news = event.is_some();
            if let Some(event) = event
                && self.send.send(event).await.is_err()
            {
                break;
            }
            if self
                .follow
                .until
                .is_some_and(|until| read.complete_until >= until)
            {
                return Ok(End::CaughtUp);
            }
            if news {
                idle = IDLE;
            } else {
                tokio::select! {
                    () = self.follow.clock.sleep(idle) => {}
                    () = self.send.closed() => break,
                }
                idle = (idle * 2).min(IDLE_MAX);
            }
        }
        Ok(End::Deaf)
    }
}

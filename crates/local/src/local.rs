//! The embedded Kinesis itself: its settings and its streams.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use distributary_wire::types::{MinimumThroughputBillingCommitmentOutput, StreamMode};

use crate::dispatch::LateCall;
use crate::env::{Env, RealEnv};
use crate::errors::{Answer, stream_not_found};
use crate::faults::Faults;
use crate::log::Trimmed;
use crate::rates::CallRates;
use crate::settings::{Delays, Settings, TrimmedPosition};
use crate::store::{Change as Stored, Contents, Store, StoreError};
use crate::stream::{Namespace, Phase, Shard, State, Stream};

/// How often the age of records is looked at, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// An embedded Kinesis. Clones are the same one.
#[derive(Clone)]
pub struct Local {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) env: Arc<dyn Env>,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    streams: RwLock<Streams>,
    accounts: Mutex<BTreeMap<Namespace, Account>>,
    next_uid: AtomicU64,
    next_waiter: AtomicU64,
    swept_ms: AtomicU64,
    /// Bytes of data and keys held, as far as counted; kept only with a budget.
    held: AtomicU64,
    dropped: Mutex<Dropped>,
    pub(crate) late: Mutex<Vec<LateCall>>,
    pub(crate) store: Option<Arc<Store>>,
}

#[derive(Default)]
struct Streams {
    by_name: BTreeMap<Namespace, BTreeMap<String, Arc<Stream>>>,
    by_uid: BTreeMap<u64, Arc<Stream>>,
}

impl Streams {
    fn insert(&mut self, stream: Arc<Stream>) {
        self.by_uid.insert(stream.uid, Arc::clone(&stream));
        self.by_name
            .entry(stream.namespace.clone())
            .or_default()
            .insert(stream.name.clone(), stream);
    }
}

/// What an account has in a region apart from streams.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    pub(crate) rates: CallRates,
}

impl Account {
    /// True for On-demand Advantage.
    pub(crate) fn is_committed(&self) -> bool {
        use distributary_wire::types::MinimumThroughputBillingCommitmentOutputStatus as Status;
        self.commitment
            .as_ref()
            .is_some_and(|c| c.status != Status::Disabled)
    }
}

/// What retention has dropped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Records older than their stream's retention.
    pub records_by_age: u64,
    /// Records dropped to stay under [`Settings::retention_bytes`].
    pub records_by_budget: u64,
    /// Bytes of data and keys freed, for either reason.
    pub bytes: u64,
}

/// Why [`Local::create_stream`] did not.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one of that name.
    #[error("the stream {name} exists already; delete it first or use another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// The name is not one.
    #[error("{name:?} is no stream name: use 1 to 128 of a-z, A-Z, 0-9, '_', '.' and '-'")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Too many or no shards.
    #[error("a stream cannot have {shards} shards: use 1 to {limit}")]
    Shards {
        /// The number as given.
        shards: u32,
        /// The largest number.
        limit: u32,
    },
}

/// Sets up a [`Local`].
pub struct Builder {
    env: Option<Arc<dyn Env>>,
    settings: Settings,
}

impl Builder {
    /// Time, randomness and waiting; [`RealEnv`] if not set.
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = Some(env);
        self
    }

    /// All settings at once.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The account of requests that do not name one (12 digits).
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.settings.account = account.into();
        self
    }

    /// The region of requests that do not name one.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.settings.region = region.into();
        self
    }

    /// How long states last.
    pub fn delays(mut self, delays: Delays) -> Self {
        self.settings.delays = delays;
        self
    }

    /// Limits throughput and calls as AWS does.
    pub fn enforce_limits(mut self, enforce: bool) -> Self {
        self.settings.enforce_limits = enforce;
        self
    }

    /// Bytes kept in all streams together.
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.settings.retention_bytes = Some(bytes);
        self
    }

    /// What a checkpoint older than retention gets.
    pub fn trimmed_position(mut self, answer: TrimmedPosition) -> Self {
        self.settings.trimmed_position = answer;
        self
    }

    /// How long a subscription lasts.
    pub fn subscription_length(mut self, length: Duration) -> Self {
        self.settings.subscription_length = length;
        self
    }

    /// The seed of the misbehaviour.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// An embedded Kinesis that keeps everything in memory.
    pub fn build(self) -> Local {
        self.with(
            None,
            Contents {
                next_uid: 1,
                ..Contents::default()
            },
        )
    }

    /// One that keeps everything in memory and in a directory, with what is there already. Survives the death of the
    /// process: a write is acknowledged when the operating system has it. It has a thread of its own.
    ///
    /// # Errors
    /// [`StoreError`]; nothing in the directory has been changed then.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Local, StoreError> {
        let (store, contents) = Store::open(dir.as_ref())?;
        Ok(self.with(Some(Arc::new(store)), contents))
    }

    fn with(self, store: Option<Arc<Store>>, contents: Contents) -> Local {
        let env = self.env.unwrap_or_else(|| Arc::new(RealEnv::new()));
        let seed = self.settings.seed.unwrap_or_else(|| env.random());
        let now_ms = env.now_ms();
        let inner = Inner {
            env,
            settings: self.settings,
            faults: Faults::new(seed),
            streams: RwLock::default(),
            accounts: Mutex::default(),
            next_uid: AtomicU64::new(contents.next_uid),
            next_waiter: AtomicU64::new(1),
            swept_ms: AtomicU64::new(0),
            held: AtomicU64::new(0),
            dropped: Mutex::default(),
            late: Mutex::default(),
            store,
        };
        for (uid, found) in contents.streams {
            let store = inner.store.clone();
            let stream = Stream::new(
                uid,
                found.namespace,
                &found.name,
                found.created_ms,
                found.state,
                store,
            );
            // Works out when something is due.
            stream.write(now_ms, |_| ());
            inner.streams_mut().insert(Arc::new(stream));
        }
        for (namespace, commitment) in contents.commitments {
            inner.account(&namespace, |account| account.commitment = Some(commitment));
        }
        // A smaller budget than before counts from the start.
        inner.count_held(
            usize::try_from(inner.all_streams().iter().map(|s| s.held()).sum::<u64>())
                .unwrap_or(usize::MAX),
            now_ms,
        );
        Local {
            inner: Arc::new(inner),
        }
    }
}

impl Local {
    /// Starts to set one up.
    pub fn builder() -> Builder {
        Builder {
            env: None,
            settings: Settings::default(),
        }
    }

    /// Creates a provisioned stream in the account and region of the settings; it is ACTIVE at once.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<(), CreateError> {
        let limit = self.inner.settings.shard_limit;
        if !distributary_wire::arn::is_name(name) {
            return Err(CreateError::Name {
                name: name.to_owned(),
            });
        }
        if shards == 0 || shards > limit {
            return Err(CreateError::Shards { shards, limit });
        }
        let now_ms = self.inner.env.now_ms();
        let state = State::new(shards, Phase::Active, StreamMode::Provisioned, now_ms);
        let made = self
            .inner
            .add_stream(&self.inner.home(), name, now_ms, state);
        made.map(|_| ()).map_err(|_| CreateError::Exists {
            name: name.to_owned(),
        })
    }

    /// Misbehaviour on command.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// What retention has dropped so far.
    pub fn dropped(&self) -> Dropped {
        *lock(&self.inner.dropped)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

/// Locks without regard to a panic elsewhere.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of that name is there already.
pub(crate) struct Taken;

impl Inner {
    fn streams(&self) -> RwLockReadGuard<'_, Streams> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams_mut(&self) -> RwLockWriteGuard<'_, Streams> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account and region of requests that do not name them.
    pub(crate) fn home(&self) -> Namespace {
        Namespace {
            account: self.settings.account.clone(),
            region: self.settings.region.clone(),
        }
    }

    /// A number for somebody who waits.
    pub(crate) fn waiter(&self) -> u64 {
        self.next_waiter.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn account<R>(
        &self,
        namespace: &Namespace,
        use_it: impl FnOnce(&mut Account) -> R,
    ) -> R {
        let mut accounts = lock(&self.accounts);
        match accounts.get_mut(namespace) {
            Some(account) => use_it(account),
            None => use_it(accounts.entry(namespace.clone()).or_default()),
        }
    }

    pub(crate) fn add_stream(
        &self,
        namespace: &Namespace,
        name: &str,
        now_ms: u64,
        state: State,
    ) -> Result<Arc<Stream>, Taken> {
        let mut streams = self.streams_mut();
        let taken = streams.by_name.get(namespace).and_then(|s| s.get(name));
        if let Some(old) = taken {
            if old.read(now_ms).phase != Phase::Gone {
                return Err(Taken);
            }
            let old = Arc::clone(old);
            self.forget(&mut streams, &old);
        }
        let uid = self.next_uid.fetch_add(1, Ordering::Relaxed);
        if let Some(store) = &self.store {
            store.push(Stored::next_uid(uid + 1));
        }
        let stream = Arc::new(Stream::new(
            uid,
            namespace.clone(),
            name,
            now_ms,
            state,
            self.store.clone(),
        ));
        stream.write(now_ms, |_| ());
        streams.insert(Arc::clone(&stream));
        Ok(stream)
    }

    /// Forgets a stream whose deletion is over.
    fn remove_stream(&self, stream: &Stream) {
        self.forget(&mut self.streams_mut(), stream);
    }

    fn forget(&self, streams: &mut Streams, stream: &Stream) {
        if streams.by_uid.remove(&stream.uid).is_some()
            && let Some(store) = &self.store
        {
            store.push(Stored::RemoveStream { uid: stream.uid });
        }
        if let Some(names) = streams.by_name.get_mut(&stream.namespace)
            && names.get(&stream.name).is_some_and(|s| s.uid == stream.uid)
        {
            names.remove(&stream.name);
        }
    }

    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn stream(
        &self,
        namespace: &Namespace,
        name: &str,
        now_ms: u64,
    ) -> Answer<Arc<Stream>> {
        let found = self
            .streams()
            .by_name
            .get(namespace)
            .and_then(|s| s.get(name))
            .cloned();
        self.unless_gone(found, now_ms)
            .ok_or_else(|| stream_not_found(name, &namespace.account))
    }

    pub(crate) fn stream_by_uid(&self, uid: u64, now_ms: u64) -> Option<Arc<Stream>> {
        let found = self.streams().by_uid.get(&uid).cloned();
        self.unless_gone(found, now_ms)
    }

    fn unless_gone(&self, stream: Option<Arc<Stream>>, now_ms: u64) -> Option<Arc<Stream>> {
        let stream = stream?;
        let gone = stream.read(now_ms).phase == Phase::Gone;
        if gone {
            self.remove_stream(&stream);
        }
        (!gone).then_some(stream)
    }

    /// The streams of an account and region in order of their names.
    pub(crate) fn streams_of(&self, namespace: &Namespace, now_ms: u64) -> Vec<Arc<Stream>> {
        let all: Vec<_> = self
            .streams()
            .by_name
            .get(namespace)
            .map(|s| s.values().cloned().collect())
            .unwrap_or_default();
        all.into_iter()
            .filter_map(|s| self.unless_gone(Some(s), now_ms))
            .collect()
    }

    fn all_streams(&self) -> Vec<Arc<Stream>> {
        self.streams().by_uid.values().cloned().collect()
    }

    /// Drops what is older than its stream's retention, once a second at most.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        if now_ms < swept_ms.saturating_add(SWEEP_MS) {
            return;
        }
        self.swept_ms.store(now_ms, Ordering::Relaxed);
        for stream in self.all_streams() {
            let state = stream.read(now_ms);
            for shard in state.shards.values() {
                self.note_dropped(
                    &stream,
                    shard,
                    shard.trim(now_ms, state.retention_hours),
                    Reason::Age,
                );
            }
            let gone = state.phase == Phase::Gone;
            drop(state);
            if gone {
                self.remove_stream(&stream);
            }
        }
    }

    /// Counts bytes that came in, and drops the oldest chunks while there are more than the budget.
    pub(crate) fn count_held(&self, bytes: usize, now_ms: u64) {
        let Some(budget) = self.settings.retention_bytes else {
            return;
        };
        let held = self.held.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if held > budget {
            self.drop_oldest(budget, now_ms);
        }
    }

    fn drop_oldest(&self, budget: u64, now_ms: u64) {
        let streams = self.all_streams();
        // What was counted on the way is only an estimate: closed shards and streams have gone.
        let mut held: u64 = streams.iter().map(|s| s.held()).sum();
        while held > budget {
            let oldest = streams
                .iter()
                .flat_map(|stream| {
                    let state = stream.read(now_ms);
                    let shards: Vec<_> = state.shards.values().cloned().collect();
                    shards.into_iter().map(move |shard| (stream, shard))
                })
                .filter_map(|(stream, shard)| {
                    shard.log.oldest_arrival_ms().map(|ms| (ms, stream, shard))
                })
                .min_by_key(|(ms, _, _)| *ms);
            let Some((_, stream, shard)) = oldest else {
                break;
            };
            let trimmed = shard.log.drop_oldest_segment();
            self.note_dropped(stream, &shard, trimmed, Reason::Budget);
            if trimmed.freed_bytes == 0 {
                break;
            }
            held = held.saturating_sub(trimmed.freed_bytes as u64);
        }
        self.held.store(held, Ordering::Relaxed);
    }

    pub(crate) fn note_dropped(
        &self,
        stream: &Stream,
        shard: &Shard,
        trimmed: Trimmed,
        reason: Reason,
    ) {
        if trimmed == Trimmed::default() {
            return;
        }
        if let Some(store) = &self.store {
            let before = shard.log.bounds().head;
            store.push(Stored::Trim {
                uid: stream.uid,
                shard: shard.index,
                before,
            });
        }
        let mut dropped = lock(&self.dropped);
        dropped.bytes += trimmed.freed_bytes as u64;
        match reason {
            Reason::Age => dropped.records_by_age += trimmed.records,
            Reason::Budget => {
                dropped.records_by_budget += trimmed.records;
                tracing::warn!(
                    stream = %stream.arn,
                    records = trimmed.records,
                    "dropped the oldest records to stay under the byte budget; raise it to keep more"
                );
            }
        }
    }
}

/// Why records were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Age,
    Budget,
}

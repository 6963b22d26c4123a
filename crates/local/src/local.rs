//! The embedded Kinesis: settings, accounts and streams.

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
use crate::log::DroppedRecords;
use crate::rates::CallRates;
use crate::settings::{Delays, Settings, TrimmedPosition};
use crate::store::format::ReadStream;
use crate::store::{Change as Stored, Contents, Store, StoreError};
use crate::stream::{Namespace, Phase, Shard, State, Stream};

/// Milliseconds between two checks of the age of all records.
const DROP_INTERVAL_MS: u64 = 1000;

/// An embedded Kinesis. Clones share all streams.
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
    /// When records were last dropped by age.
    dropped_at_ms: AtomicU64,
    /// Estimated bytes of data and keys in memory. Counted only with a byte budget.
    held_bytes: AtomicU64,
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

/// State of an account in a region, other than streams.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) commitment: Option<MinimumThroughputBillingCommitmentOutput>,
    pub(crate) rates: CallRates,
}

impl Account {
    /// True for an account with On-demand Advantage.
    pub(crate) fn is_committed(&self) -> bool {
        use distributary_wire::types::MinimumThroughputBillingCommitmentOutputStatus as Status;
        self.commitment
            .as_ref()
            .is_some_and(|c| c.status != Status::Disabled)
    }
}

/// Records dropped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Records dropped at the end of the stream's retention period.
    pub records_by_age: u64,
    /// Records dropped to stay under [`Settings::retention_bytes`].
    pub records_by_budget: u64,
    /// Bytes of data and keys freed, for both reasons.
    pub bytes: u64,
}

/// Error of [`Local::create_stream`].
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A stream of this name exists.
    #[error("the stream {name} exists already; delete it first or use another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// The name has a wrong length or a wrong character.
    #[error("{name:?} is no stream name: use 1 to 128 of a-z, A-Z, 0-9, '_', '.' and '-'")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The number of shards is 0 or over the limit.
    #[error("a stream cannot have {shards} shards: use 1 to {limit}")]
    Shards {
        /// The number as given.
        shards: u32,
        /// The largest allowed number.
        limit: u32,
    },
}

/// Builds a [`Local`].
pub struct Builder {
    env: Option<Arc<dyn Env>>,
    settings: Settings,
}

impl Builder {
    /// Sets time, randomness and sleep. Default: [`RealEnv`].
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = Some(env);
        self
    }

    /// Replaces all settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the account of requests without an account (12 digits).
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.settings.account = account.into();
        self
    }

    /// Sets the region of requests without a signature.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.settings.region = region.into();
        self
    }

    /// Sets the duration of states.
    pub fn delays(mut self, delays: Delays) -> Self {
        self.settings.delays = delays;
        self
    }

    /// Enforces AWS's limits of shards and of calls.
    pub fn enforce_limits(mut self, enforce: bool) -> Self {
        self.settings.enforce_limits = enforce;
        self
    }

    /// Sets the byte budget of all streams together: [`Settings::retention_bytes`].
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.settings.retention_bytes = Some(bytes);
        self
    }

    /// Sets the answer to a position whose next record has been dropped.
    pub fn trimmed_position(mut self, answer: TrimmedPosition) -> Self {
        self.settings.trimmed_position = answer;
        self
    }

    /// Sets the time after which a subscription ends.
    pub fn subscription_length(mut self, length: Duration) -> Self {
        self.settings.subscription_length = length;
        self
    }

    /// Sets the seed of the faults.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Builds an embedded Kinesis that holds everything in memory only.
    pub fn build(self) -> Local {
        self.with(None, Contents::empty())
    }

    /// Builds an embedded Kinesis on a directory, with the streams that the directory holds.
    ///
    /// Everything is held in memory and on disk. Acknowledged writes survive the end of the
    /// process: a write is acknowledged after the operating system has the write. One thread writes
    /// to disk.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing in the directory has been changed then.
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
            dropped_at_ms: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            dropped: Mutex::default(),
            late: Mutex::default(),
            store,
        };

        inner.restore(contents.streams, now_ms);
        for (namespace, commitment) in contents.commitments {
            inner.account(&namespace, |account| account.commitment = Some(commitment));
        }

        // The byte budget may be smaller than in the process before.
        let held: u64 = inner.all_streams().iter().map(|s| s.held_bytes()).sum();
        inner.count_held(usize::try_from(held).unwrap_or(usize::MAX), now_ms);

        Local {
            inner: Arc::new(inner),
        }
    }
}

impl Local {
    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder {
            env: None,
            settings: Settings::default(),
        }
    }

    /// Creates a provisioned stream in the account and region of the settings. The stream is ACTIVE
    /// at once.
    ///
    /// # Errors
    /// [`CreateError`] for a name in use, a wrong name or a wrong number of shards.
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<(), CreateError> {
        self.check_new_stream(name, shards)?;
        let now_ms = self.inner.env.now_ms();
        let state = State::new(shards, Phase::Active, StreamMode::Provisioned, now_ms);
        let namespace = self.inner.home();
        match self.inner.add_stream(&namespace, name, now_ms, state) {
            Ok(_) => Ok(()),
            Err(NameTaken) => Err(CreateError::Exists {
                name: name.to_owned(),
            }),
        }
    }

    fn check_new_stream(&self, name: &str, shards: u32) -> Result<(), CreateError> {
        let limit = self.inner.settings.shard_limit;
        if !distributary_wire::arn::is_name(name) {
            return Err(CreateError::Name {
                name: name.to_owned(),
            });
        }
        if shards == 0 || shards > limit {
            return Err(CreateError::Shards { shards, limit });
        }
        Ok(())
    }

    /// Faults on command.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Records dropped so far.
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

/// Locks a mutex, also after a panic of another holder.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of adding a stream whose name is in use.
pub(crate) struct NameTaken;

impl Inner {
    fn streams(&self) -> RwLockReadGuard<'_, Streams> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams_mut(&self) -> RwLockWriteGuard<'_, Streams> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the streams of a store.
    fn restore(&self, streams: Vec<(u64, ReadStream)>, now_ms: u64) {
        for (uid, stored) in streams {
            let stream = Stream::new(
                uid,
                stored.namespace,
                &stored.name,
                stored.created_ms,
                stored.state,
                self.store.clone(),
            );
            // Computes when the next change is due.
            stream.write(now_ms, |_| ());
            self.streams_mut().insert(Arc::new(stream));
        }
    }

    /// The account and region of requests without a signature.
    pub(crate) fn home(&self) -> Namespace {
        Namespace {
            account: self.settings.account.clone(),
            region: self.settings.region.clone(),
        }
    }

    /// A new number, by which a log or a gate knows a waiting task.
    pub(crate) fn new_waiter(&self) -> u64 {
        self.next_waiter.fetch_add(1, Ordering::Relaxed)
    }

    /// True if positions whose next record has been dropped are refused.
    pub(crate) fn refuses_trimmed_positions(&self) -> bool {
        self.settings.trimmed_position == TrimmedPosition::Refuse
    }

    /// Calls `operation` with the state of an account.
    pub(crate) fn account<R>(
        &self,
        namespace: &Namespace,
        operation: impl FnOnce(&mut Account) -> R,
    ) -> R {
        let mut accounts = lock(&self.accounts);
        match accounts.get_mut(namespace) {
            Some(account) => operation(account),
            None => operation(accounts.entry(namespace.clone()).or_default()),
        }
    }

    /// Adds a stream.
    ///
    /// # Errors
    /// [`NameTaken`].
    pub(crate) fn add_stream(
        &self,
        namespace: &Namespace,
        name: &str,
        now_ms: u64,
        state: State,
    ) -> Result<Arc<Stream>, NameTaken> {
        let mut streams = self.streams_mut();
        let streams_of = streams.by_name.get(namespace);
        if let Some(old) = streams_of.and_then(|s| s.get(name)) {
            if old.read(now_ms).phase != Phase::Gone {
                return Err(NameTaken);
            }
            let old = Arc::clone(old);
            self.remove(&mut streams, &old);
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

    /// Removes a stream at the end of DELETING.
    fn remove_stream(&self, stream: &Stream) {
        self.remove(&mut self.streams_mut(), stream);
    }

    fn remove(&self, streams: &mut Streams, stream: &Stream) {
        if streams.by_uid.remove(&stream.uid).is_some()
            && let Some(store) = &self.store
        {
            store.push(Stored::RemoveStream { uid: stream.uid });
        }

        // A later stream of the same name stays.
        if let Some(names) = streams.by_name.get_mut(&stream.namespace)
            && names.get(&stream.name).is_some_and(|s| s.uid == stream.uid)
        {
            names.remove(&stream.name);
        }
    }

    /// The stream with a name.
    ///
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

        self.unless_gone(found, now_ms).ok_or_else(|| {
            self.report_elsewhere(namespace, name);
            stream_not_found(name, &namespace.account)
        })
    }

    /// Warns if a stream that was not found exists in another region or account: AWS's answer
    /// does not tell.
    fn report_elsewhere(&self, namespace: &Namespace, name: &str) {
        let elsewhere = {
            let streams = self.streams();
            let mut spaces = streams.by_name.iter();
            spaces
                .find(|(space, streams)| *space != namespace && streams.contains_key(name))
                .map(|(space, _)| space.clone())
        };
        let Some(elsewhere) = elsewhere else {
            return;
        };

        tracing::warn!(
            "stream {name} was asked for in region {} of account {}, and exists in region {} of \
             account {}: set AWS_REGION and AWS_DEFAULT_REGION to the region of the stream",
            namespace.region,
            namespace.account,
            elsewhere.region,
            elsewhere.account,
        );
    }

    pub(crate) fn stream_by_uid(&self, uid: u64, now_ms: u64) -> Option<Arc<Stream>> {
        let found = self.streams().by_uid.get(&uid).cloned();
        self.unless_gone(found, now_ms)
    }

    /// The stream, unless DELETING is over; then the stream is removed.
    fn unless_gone(&self, stream: Option<Arc<Stream>>, now_ms: u64) -> Option<Arc<Stream>> {
        let stream = stream?;
        if stream.read(now_ms).phase == Phase::Gone {
            self.remove_stream(&stream);
            return None;
        }
        Some(stream)
    }

    /// The streams of an account and region in the order of their names.
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

    /// Drops the records that are older than the retention period, once a second at most.
    pub(crate) fn drop_expired(&self, now_ms: u64) {
        let last_ms = self.dropped_at_ms.load(Ordering::Relaxed);
        if now_ms < last_ms.saturating_add(DROP_INTERVAL_MS) {
            return;
        }
        self.dropped_at_ms.store(now_ms, Ordering::Relaxed);

        for stream in self.all_streams() {
            let state = stream.read(now_ms);
            for shard in state.shards.values() {
                let dropped = shard.drop_expired(now_ms, state.retention_hours);
                self.note_dropped(&stream, shard, dropped, DropReason::Age);
            }

            let is_gone = state.phase == Phase::Gone;
            drop(state);
            if is_gone {
                self.remove_stream(&stream);
            }
        }
    }

    /// Adds written bytes to the estimate, and drops the oldest records while above the byte
    /// budget.
    pub(crate) fn count_held(&self, bytes: usize, now_ms: u64) {
        let Some(budget) = self.settings.retention_bytes else {
            return;
        };
        let held = self.held_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if held > budget {
            self.drop_to_budget(budget, now_ms);
        }
    }

    fn drop_to_budget(&self, budget: u64, now_ms: u64) {
        let streams = self.all_streams();
        // The estimate still counts closed shards and streams that have been removed.
        let mut held: u64 = streams.iter().map(|s| s.held_bytes()).sum();

        while held > budget {
            let Some((stream, shard)) = oldest_shard(&streams, now_ms) else {
                break;
            };
            let dropped = shard.log.drop_oldest_segment();
            self.note_dropped(stream, &shard, dropped, DropReason::ByteBudget);
            if dropped.freed_bytes == 0 {
                break;
            }
            held = held.saturating_sub(dropped.freed_bytes as u64);
        }

        self.held_bytes.store(held, Ordering::Relaxed);
    }

    /// Removes the dropped records of a shard from the store.
    fn remove_from_store(&self, stream: &Stream, shard: &Shard) {
        if let Some(store) = &self.store {
            store.push(Stored::RemoveRecords {
                uid: stream.uid,
                shard: shard.index,
                before: shard.log.bounds().head,
            });
        }
    }

    /// Counts dropped records and removes the records from the store.
    pub(crate) fn note_dropped(
        &self,
        stream: &Stream,
        shard: &Shard,
        dropped: DroppedRecords,
        reason: DropReason,
    ) {
        if dropped == DroppedRecords::default() {
            return;
        }

        self.remove_from_store(stream, shard);
        let mut totals = lock(&self.dropped);
        totals.bytes += dropped.freed_bytes as u64;
        match reason {
            DropReason::Age => totals.records_by_age += dropped.records,
            DropReason::ByteBudget => {
                totals.records_by_budget += dropped.records;
                tracing::warn!(
                    stream = %stream.arn,
                    records = dropped.records,
                    "dropped the oldest records; raise the byte budget to keep more"
                );
            }
        }
    }
}

/// The shard with the oldest record.
fn oldest_shard(streams: &[Arc<Stream>], now_ms: u64) -> Option<(&Stream, Arc<Shard>)> {
    let mut oldest: Option<(u64, &Stream, Arc<Shard>)> = None;
    for stream in streams {
        for shard in stream.read(now_ms).shards.values() {
            let Some(arrival_ms) = shard.log.oldest_arrival_ms() else {
                continue;
            };
            if oldest.as_ref().is_none_or(|(ms, _, _)| arrival_ms < *ms) {
                oldest = Some((arrival_ms, stream, Arc::clone(shard)));
            }
        }
    }

    oldest.map(|(_, stream, shard)| (stream, shard))
}

/// Reason for dropping records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    Age,
    ByteBudget,
}

//! Streams and records on disk, in one redb file.
//!
//! redb keeps the file consistent at every moment (copy on write, two headers, checksums), so the
//! process may be killed at any time. A write is acknowledged, and readable, after the operating
//! system has the transaction. Nothing is synced, so a crash of the machine may lose the last
//! seconds. One thread writes, all waiting changes in one transaction.

pub(crate) mod format;

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use distributary_wire::types::MinimumThroughputBillingCommitmentOutput as Commitment;
use redb::backends::FileBackend;
use redb::{
    BackendError, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};
use tokio::sync::watch;

use crate::local::lock;
use crate::log::StoredPiece;
use crate::stream::{Namespace, Shard};
use format::{PieceKey, ReadStream};

/// Streams by number.
const STREAMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("streams");
/// Pieces of records.
const PIECES: TableDefinition<'_, PieceKey, &[u8]> = TableDefinition::new("pieces");
/// [`NEXT_UID`] and commitments.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const FILE: &str = "kinesis.redb";
/// Name of a file that marks a directory with data. With the marker, a missing or empty data file
/// is an error instead of a new store.
const MARKER: &str = "FORMAT";
const MARKER_TEXT: &str = "distributary-local 1\n";
/// Key of the number of the next stream.
const NEXT_UID: &str = "next_uid";
/// Prefix of the key of a commitment; account, space and region follow.
const COMMITMENT: &str = "commitment ";
const META_VERSION: u8 = 1;
/// Bytes of the largest stored piece, unless the piece is one record. redb allocates pages in
/// powers of two; with redb's overhead this is just below one.
const PIECE_BYTES: usize = 60 * 1024;
/// Bytes of redb's cache. Small, because all records are in the logs' memory anyway.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Error of opening a directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in the directory cannot be used.
    #[error("cannot use the directory {}; check that the directory exists and is writable", dir.display())]
    Directory {
        /// The directory as given.
        dir: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Another process has opened the directory.
    #[error("the directory {} is in use by another process; stop it or use another directory", dir.display())]
    InUse {
        /// The directory as given.
        dir: PathBuf,
    },
    /// The directory holds other data, or data of a version that is not supported.
    #[error("the directory {} holds {found:?}, which this version cannot read; use another directory", dir.display())]
    Version {
        /// The directory as given.
        dir: PathBuf,
        /// The content of the marker.
        found: String,
    },
    /// The data are damaged. Nothing has been changed.
    #[error("the data in {} are damaged ({place}); restore them from a copy, or use an empty directory", dir.display())]
    Damaged {
        /// The directory as given.
        dir: PathBuf,
        /// The damaged part.
        place: String,
        /// The error of redb, if redb has found the damage.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// redb's file without syncing. Data survive the end of the process, not a crash of the machine.
#[derive(Debug)]
struct Unsynced(FileBackend);

type LockBound = Bound<u64>;

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: LockBound, end: LockBound) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(
        &self,
        start: LockBound,
        end: LockBound,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: LockBound, end: LockBound) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: LockBound, end: LockBound) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: LockBound, end: LockBound) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

/// A change to be stored.
pub(crate) enum Change {
    Piece {
        uid: u64,
        shard: Arc<Shard>,
        piece: StoredPiece,
    },
    Stream {
        uid: u64,
        value: Vec<u8>,
    },
    RemoveStream {
        uid: u64,
    },
    /// Removes records before an offset, as far as whole pieces can be removed.
    RemoveRecords {
        uid: u64,
        shard: u32,
        before: u64,
    },
    Meta {
        key: String,
        value: Vec<u8>,
    },
}

impl Change {
    /// Sets the number of the next stream.
    pub(crate) fn next_uid(next: u64) -> Self {
        let value = format::write_json(META_VERSION, NEXT_UID.as_bytes(), &next);
        Self::Meta {
            key: NEXT_UID.to_owned(),
            value,
        }
    }

    /// Sets the commitment of an account in a region.
    pub(crate) fn commitment(of: &Namespace, commitment: &Commitment) -> Self {
        let key = format!("{COMMITMENT}{} {}", of.account, of.region);
        let value = format::write_json(META_VERSION, key.as_bytes(), commitment);
        Self::Meta { key, value }
    }
}

/// Changes that wait for the writing thread.
#[derive(Default)]
struct Queue {
    changes: Vec<Change>,
    /// Number of the last change that was queued.
    ticket: u64,
    /// The store is being dropped.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Number of the last change that was written.
    ticket: u64,
    has_failed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled for a new change and at closing.
    queue_changed: Condvar,
    progress: watch::Sender<Progress>,
}

/// The store of one embedded Kinesis.
pub(crate) struct Store {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The error of waiting for a store that cannot write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost;

/// The content of a directory.
pub(crate) struct Contents {
    pub(crate) next_uid: u64,
    /// Sorted by number.
    pub(crate) streams: Vec<(u64, ReadStream)>,
    pub(crate) commitments: Vec<(Namespace, Commitment)>,
}

impl Contents {
    /// The content of a new directory.
    pub(crate) fn empty() -> Self {
        Self {
            next_uid: 1,
            streams: Vec::new(),
            commitments: Vec::new(),
        }
    }
}

/// Opens a directory, and makes errors that name the directory.
struct Opener<'a> {
    dir: &'a Path,
}

impl Opener<'_> {
    fn directory(&self, source: io::Error) -> StoreError {
        StoreError::Directory {
            dir: self.dir.to_owned(),
            source,
        }
    }

    fn damaged(&self, place: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            dir: self.dir.to_owned(),
            place: place.into(),
            source: None,
        }
    }

    fn redb_error(&self, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
                dir: self.dir.to_owned(),
            },
            redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                self.directory(source)
            }
            other => StoreError::Damaged {
                dir: self.dir.to_owned(),
                place: FILE.to_owned(),
                source: Some(Box::new(other)),
            },
        }
    }

    /// Damage that redb reported by a panic.
    fn panicked(&self, panic: &(dyn Any + Send)) -> StoreError {
        let text = match panic.downcast_ref::<String>() {
            Some(text) => text.as_str(),
            None => panic.downcast_ref::<&str>().copied().unwrap_or_default(),
        };
        self.damaged(format!("{FILE}: {text}"))
    }

    /// Opens the data file. Creates a new file only without a marker.
    fn file(&self) -> Result<File, StoreError> {
        std::fs::create_dir_all(self.dir).map_err(|e| self.directory(e))?;
        let path = self.dir.join(FILE);
        if self.is_marked()? {
            let length = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
            if length == 0 {
                return Err(self.damaged(format!("{FILE} is missing or empty")));
            }
        }

        open_file(&path).map_err(|e| self.directory(e))
    }

    /// True if the directory has the marker of this version.
    fn is_marked(&self) -> Result<bool, StoreError> {
        match std::fs::read_to_string(self.dir.join(MARKER)) {
            Ok(text) if text == MARKER_TEXT => Ok(true),
            Ok(text) => Err(StoreError::Version {
                dir: self.dir.to_owned(),
                found: text.trim().to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.damaged(MARKER)),
            Err(error) => Err(self.directory(error)),
        }
    }

    fn database(&self) -> Result<Database, StoreError> {
        let database = match open_database(self.file()?) {
            Ok(opened) => opened.map_err(|e| self.redb_error(e))?,
            Err(panic) => return Err(self.panicked(&*panic)),
        };

        let marker = self.dir.join(MARKER);
        std::fs::write(marker, MARKER_TEXT).map_err(|e| self.directory(e))?;
        Ok(database)
    }

    fn load(&self, database: &Database) -> Result<Contents, StoreError> {
        load(database).map_err(|error| match error {
            LoadError::Redb(error) => self.redb_error(error),
            LoadError::Damaged(place) => self.damaged(place),
        })
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Creates or opens redb's database. Some damage makes redb panic instead of returning an error.
fn open_database(file: File) -> std::thread::Result<Result<Database, redb::Error>> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let backend = Unsynced(FileBackend::new(file)?);
        let database = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)?;
        Ok(database)
    }))
}

/// Error of reading the tables.
enum LoadError {
    Redb(redb::Error),
    /// The damaged part.
    Damaged(String),
}

impl LoadError {
    fn damaged(place: impl Into<String>) -> Self {
        Self::Damaged(place.into())
    }
}

/// Converts redb's errors for `?`.
macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for LoadError {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}

from_redb! { Error StorageError TableError TransactionError }

/// Reads all tables.
fn load(database: &Database) -> Result<Contents, LoadError> {
    create_tables(database)?;
    let mut contents = Contents::empty();

    read_rows(database, META, |key, value| {
        load_meta(key, value, &mut contents)
    })?;
    read_rows(database, STREAMS, |uid, value| {
        load_stream(uid, value, &mut contents)
    })?;
    read_rows(database, PIECES, |key, value| {
        load_piece(&contents.streams, key, value)
    })?;

    for (_, stream) in &mut contents.streams {
        stream.close_shards();
    }
    Ok(contents)
}

/// Calls `read` with each row of a table.
fn read_rows<K: redb::Key + 'static>(
    database: &Database,
    table: TableDefinition<'_, K, &[u8]>,
    mut read: impl FnMut(K::SelfType<'_>, &[u8]) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(table)?;

    for row in table.iter()? {
        let (key, value) = row?;
        read(key.value(), value.value())?;
    }
    Ok(())
}

fn load_meta(key: &str, value: &[u8], contents: &mut Contents) -> Result<(), LoadError> {
    let damaged = || LoadError::damaged(format!("the entry {key:?}"));
    if key == NEXT_UID {
        let next = format::read_json(META_VERSION, key.as_bytes(), value);
        contents.next_uid = next.ok_or_else(damaged)?;
        return Ok(());
    }

    let (account, region) = key
        .strip_prefix(COMMITMENT)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(damaged)?;
    let namespace = Namespace {
        account: account.to_owned(),
        region: region.to_owned(),
    };
    let commitment = format::read_json(META_VERSION, key.as_bytes(), value);
    let commitment = commitment.ok_or_else(damaged)?;
    contents.commitments.push((namespace, commitment));
    Ok(())
}

fn load_stream(uid: u64, value: &[u8], contents: &mut Contents) -> Result<(), LoadError> {
    let stream = format::read_stream(uid, value);
    let stream = stream.ok_or_else(|| LoadError::damaged(format!("stream {uid}")))?;
    contents.streams.push((uid, stream));
    Ok(())
}

fn find_shard(streams: &[(u64, ReadStream)], uid: u64, shard: u32) -> Option<&Arc<Shard>> {
    let at = streams.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
    let (_, stream) = streams.get(at)?;
    stream.shard(shard)
}

/// Adds a piece to the log of its shard.
fn load_piece(streams: &[(u64, ReadStream)], key: PieceKey, value: &[u8]) -> Result<(), LoadError> {
    let (uid, shard, first) = key;
    let place = || format!("stream {uid}, shard {shard}, record {first}");
    let shard = find_shard(streams, uid, shard)
        .ok_or_else(|| LoadError::damaged(format!("{}: no such shard", place())))?;
    let piece = format::read_piece(key, value).ok_or_else(|| LoadError::damaged(place()))?;
    shard.log.restore(piece).map_err(|expected| {
        LoadError::damaged(format!(
            "{}: the records before, from {expected}, are missing",
            place()
        ))
    })
}

/// Creates the tables of a new file.
fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(STREAMS)?;
    write.open_table(PIECES)?;
    write.open_table(META)?;
    write.commit()?;
    Ok(())
}

impl Store {
    /// Opens or creates a directory and reads the whole content.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Contents), StoreError> {
        let opener = Opener { dir };
        let database = opener.database()?;
        let loaded =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opener.load(&database)));
        let contents = loaded.map_err(|panic| opener.panicked(&*panic))??;

        let (progress, _) = watch::channel(Progress::default());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            progress,
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run_writer(&database, &for_thread))
            .map_err(|e| opener.directory(e))?;

        let store = Self {
            shared,
            thread: Mutex::new(Some(thread)),
        };
        Ok((store, contents))
    }

    /// Queues a change.
    pub(crate) fn push(&self, change: Change) {
        let mut queue = lock(&self.shared.queue);
        queue.ticket += 1;
        queue.changes.push(change);
        self.shared.queue_changed.notify_one();
    }

    /// Completes when all changes that are queued now have been written.
    ///
    /// # Errors
    /// [`Lost`] after a write has failed.
    pub(crate) async fn settled(&self) -> Result<(), Lost> {
        let ticket = lock(&self.shared.queue).ticket;
        let mut progress = self.shared.progress.subscribe();
        let reached = progress
            .wait_for(|p| p.has_failed || p.ticket >= ticket)
            .await
            .map_err(|_| Lost)?;
        if reached.has_failed {
            Err(Lost)
        } else {
            Ok(())
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closing = true;
        self.shared.queue_changed.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // Fails only after a panic of the thread, which has been reported.
            let _ = thread.join();
        }
    }
}

/// The writing thread. Ends after the store is dropped and the queue is empty, or a write fails.
fn run_writer(database: &Database, shared: &Shared) {
    loop {
        let (changes, ticket) = {
            let mut queue = lock(&shared.queue);
            while queue.changes.is_empty() {
                if queue.is_closing {
                    return;
                }
                queue = shared
                    .queue_changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut queue.changes), queue.ticket)
        };

        if let Err(error) = write(database, &changes) {
            tracing::error!(%error, "cannot write to the store; all further writes fail, so free disk space and start again");
            shared.progress.send_modify(|p| p.has_failed = true);
            return;
        }

        for change in &changes {
            if let Change::Piece { shard, piece, .. } = change {
                shard.log.publish(piece.first + piece.entries.len() as u64);
            }
        }
        shared.progress.send_modify(|p| p.ticket = ticket);
    }
}

/// Writes changes in one transaction.
fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    apply(&write, changes)?;
    write.commit()?;
    Ok(())
}

fn apply(write: &WriteTransaction, changes: &[Change]) -> Result<(), redb::Error> {
    let mut streams = write.open_table(STREAMS)?;
    let mut pieces = write.open_table(PIECES)?;
    let mut meta = write.open_table(META)?;

    for change in changes {
        match change {
            Change::Piece { uid, shard, piece } => {
                write_piece(&mut pieces, (*uid, shard.index), piece)?;
            }
            Change::Stream { uid, value } => {
                streams.insert(uid, value.as_slice())?;
            }
            Change::RemoveStream { uid } => {
                streams.remove(uid)?;
                pieces.retain_in((*uid, 0, 0)..(uid.saturating_add(1), 0, 0), |_, _| false)?;
            }
            Change::RemoveRecords { uid, shard, before } => {
                remove_pieces(&mut pieces, (*uid, *shard), *before)?;
            }
            Change::Meta { key, value } => {
                meta.insert(key.as_str(), value.as_slice())?;
            }
        }
    }
    Ok(())
}

type PieceTable<'a> = redb::Table<'a, PieceKey, &'static [u8]>;

fn write_piece(
    pieces: &mut PieceTable<'_>,
    (uid, shard): (u64, u32),
    piece: &StoredPiece,
) -> Result<(), redb::Error> {
    for part in parts(piece) {
        let key = (uid, shard, part.first);
        let length = format::piece_len(part.entries, part.bytes);
        let mut value = pieces.insert_reserve(key, length)?;
        let base = part.entries.first().map_or(0, |e| e.start);
        format::write_piece(
            key,
            piece.arrival_ms,
            part.entries,
            base,
            part.bytes,
            value.as_mut(),
        );
    }
    Ok(())
}

/// Removes the pieces of a shard that hold only records before an offset. The last piece that
/// starts before the offset may hold later records and stays, unless the whole shard is removed.
fn remove_pieces(
    pieces: &mut PieceTable<'_>,
    (uid, shard): (u64, u32),
    before: u64,
) -> Result<(), redb::Error> {
    let start = (uid, shard, 0);
    let first_kept = match before {
        u64::MAX => Some((uid, shard, u64::MAX)),
        before => pieces
            .range(start..(uid, shard, before))?
            .next_back()
            .transpose()?
            .map(|(key, _)| key.value()),
    };

    if let Some(first_kept) = first_kept {
        pieces.retain_in(start..first_kept, |_, _| false)?;
    }
    Ok(())
}

/// Consecutive records of a piece, stored as one value.
struct Part<'a> {
    /// Offset of the first record.
    first: u64,
    entries: &'a [crate::log::Entry],
    bytes: &'a [u8],
}

/// Splits a piece between records into parts of [`PIECE_BYTES`] at most.
fn parts(piece: &StoredPiece) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut from = 0;
    let start_of = |at: usize| {
        let entry = piece.entries.get(at);
        entry.map_or(piece.bytes.len(), |e| e.start as usize)
    };

    while from < piece.entries.len() {
        let start = start_of(from);
        let mut to = from + 1;
        while to < piece.entries.len() && start_of(to + 1) - start + (to - from) * 8 <= PIECE_BYTES
        {
            to += 1;
        }
        out.push(Part {
            first: piece.first + from as u64,
            entries: piece.entries.get(from..to).unwrap_or_default(),
            bytes: piece.bytes.get(start..start_of(to)).unwrap_or_default(),
        });
        from = to;
    }
    out
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

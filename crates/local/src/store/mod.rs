//! Streams and records on disk, in one redb file.
//!
//! redb keeps its file whole at every moment (copy on write, two headers, checksums), so a process may be killed at any
//! time. A write is acknowledged, and seen by readers, only after its transaction has been handed to the operating system;
//! it is not synced to the disk, so a crash of the machine itself may lose the last seconds. One thread writes, and takes
//! everything that waits into one transaction.

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
    BackendError, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, WriteTransaction,
};
use tokio::sync::watch;

use crate::local::lock;
use crate::log::StoredPiece;
use crate::stream::{Namespace, Shard};
use format::{PieceKey, ReadStream};

const STREAMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("streams");
const PIECES: TableDefinition<'_, PieceKey, &[u8]> = TableDefinition::new("pieces");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

const FILE: &str = "kinesis.redb";
/// Says that there are data, so that a file that has gone missing or was cut to nothing is not taken for a new one.
const MARKER: &str = "FORMAT";
const MARKER_TEXT: &str = "distributary-local 1\n";
const NEXT_UID: &str = "next_uid";
/// Followed by account and region.
const COMMITMENT: &str = "commitment ";
const META_VERSION: u8 = 1;
/// Bytes of a stored piece at most, unless it is one record: with redb's own, just under a power of two, which is how it
/// gives out pages.
const PIECE_BYTES: usize = 60 * 1024;
/// Bytes of redb's cache; everything is in our memory as well.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Why the data of a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it cannot be used.
    #[error("cannot use the directory {}; check that it exists and may be written to", dir.display())]
    Directory {
        /// As given.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the directory {} is in use by another process; stop it or use another directory", dir.display())]
    InUse {
        /// As given.
        dir: PathBuf,
    },
    /// It holds something else, or data of a version that this one does not know.
    #[error("the directory {} holds {found:?}, which this version does not read; use another directory", dir.display())]
    Version {
        /// As given.
        dir: PathBuf,
        /// What its marker says.
        found: String,
    },
    /// What it holds is damaged. Nothing has been changed.
    #[error("the data in {} are damaged ({what}); restore them from a copy, or use an empty directory", dir.display())]
    Damaged {
        /// As given.
        dir: PathBuf,
        /// Where.
        what: String,
        /// What the store said, if it was the store that noticed.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// redb's file without syncing: what the operating system has survives a killed process.
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

/// Something to store.
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
    /// Records before that offset are no longer needed.
    Trim {
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
    /// The number that the next stream gets.
    pub(crate) fn next_uid(next: u64) -> Self {
        let value = format::write_json(META_VERSION, NEXT_UID.as_bytes(), &next);
        Self::Meta {
            key: NEXT_UID.to_owned(),
            value,
        }
    }

    /// The commitment of an account in a region.
    pub(crate) fn commitment(of: &Namespace, commitment: &Commitment) -> Self {
        let key = format!("{COMMITMENT}{} {}", of.account, of.region);
        let value = format::write_json(META_VERSION, key.as_bytes(), commitment);
        Self::Meta { key, value }
    }
}

#[derive(Default)]
struct Queue {
    changes: Vec<Change>,
    /// Of the last change that was put in.
    ticket: u64,
    closing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    ticket: u64,
    failed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    progress: watch::Sender<Progress>,
}

/// The store of one embedded Kinesis.
pub(crate) struct Store {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a store could not keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost;

/// What was in the directory.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) next_uid: u64,
    /// By their numbers.
    pub(crate) streams: Vec<(u64, ReadStream)>,
    pub(crate) commitments: Vec<(Namespace, Commitment)>,
}

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

    fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            dir: self.dir.to_owned(),
            what: what.into(),
            source: None,
        }
    }

    fn by_redb(&self, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
                dir: self.dir.to_owned(),
            },
            redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                self.directory(source)
            }
            other => StoreError::Damaged {
                dir: self.dir.to_owned(),
                what: FILE.to_owned(),
                source: Some(Box::new(other)),
            },
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> StoreError {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        self.damaged(format!("{FILE}: {}", text.unwrap_or_default()))
    }

    /// Opens the file, making a new one only where there is no marker.
    fn file(&self) -> Result<File, StoreError> {
        std::fs::create_dir_all(self.dir).map_err(|e| self.directory(e))?;
        let (marker, path) = (self.dir.join(MARKER), self.dir.join(FILE));
        match std::fs::read_to_string(&marker) {
            Ok(text) if text == MARKER_TEXT => {
                let length = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
                if length == 0 {
                    return Err(self.damaged(format!("{FILE} is missing or empty")));
                }
            }
            Ok(found) => {
                return Err(StoreError::Version {
                    dir: self.dir.to_owned(),
                    found: found.trim().to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.damaged(MARKER));
            }
            Err(error) => return Err(self.directory(error)),
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&path).map_err(|e| self.directory(e))
    }

    fn database(&self) -> Result<Database, StoreError> {
        let file = self.file()?;
        let backend = FileBackend::new(file).map_err(|e| self.by_redb(e))?;
        let mut builder = redb::Builder::new();
        builder
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true);
        // The check finds damage before anything is built on it; where the library panics instead, that is damage, too.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            builder.create_with_backend(Unsynced(backend))
        }));
        let database = match opened {
            Ok(opened) => opened.map_err(|e: DatabaseError| self.by_redb(e))?,
            Err(panic) => return Err(self.panicked(&*panic)),
        };
        std::fs::write(self.dir.join(MARKER), MARKER_TEXT).map_err(|e| self.directory(e))?;
        Ok(database)
    }

    fn load(&self, database: &Database) -> Result<Contents, StoreError> {
        let write = database.begin_write().map_err(|e| self.by_redb(e))?;
        // Makes the tables of a new file.
        write.open_table(STREAMS).map_err(|e| self.by_redb(e))?;
        write.open_table(PIECES).map_err(|e| self.by_redb(e))?;
        write.open_table(META).map_err(|e| self.by_redb(e))?;
        write.commit().map_err(|e| self.by_redb(e))?;
        let read = database.begin_read().map_err(|e| self.by_redb(e))?;
        let meta = read.open_table(META).map_err(|e| self.by_redb(e))?;
        let mut loaded = Contents {
            next_uid: 1,
            ..Contents::default()
        };
        for row in meta.iter().map_err(|e| self.by_redb(e))? {
            let (key, value) = row.map_err(|e| self.by_redb(e))?;
            self.load_meta(key.value(), value.value(), &mut loaded)?;
        }
        let streams = &mut loaded.streams;
        let table = read.open_table(STREAMS).map_err(|e| self.by_redb(e))?;
        for row in table.iter().map_err(|e| self.by_redb(e))? {
            let (uid, value) = row.map_err(|e| self.by_redb(e))?;
            let uid = uid.value();
            let stream = format::read_stream(uid, value.value());
            streams.push((
                uid,
                stream.ok_or_else(|| self.damaged(format!("stream {uid}")))?,
            ));
        }
        let table = read.open_table(PIECES).map_err(|e| self.by_redb(e))?;
        for row in table.iter().map_err(|e| self.by_redb(e))? {
            let (key, value) = row.map_err(|e| self.by_redb(e))?;
            let key = key.value();
            self.restore(streams, key, value.value())?;
        }
        for (_, stream) in streams {
            for (shard, closed_ms) in std::mem::take(&mut stream.shards) {
                shard.log.restore_closed(closed_ms);
                stream.state.insert_shard(shard);
            }
        }
        Ok(loaded)
    }

    fn load_meta(&self, key: &str, value: &[u8], loaded: &mut Contents) -> Result<(), StoreError> {
        let damaged = || self.damaged(format!("the entry {key:?}"));
        if key == NEXT_UID {
            loaded.next_uid =
                format::read_json(META_VERSION, key.as_bytes(), value).ok_or_else(damaged)?;
        } else if let Some((account, region)) =
            key.strip_prefix(COMMITMENT).and_then(|k| k.split_once(' '))
        {
            let of = Namespace {
                account: account.to_owned(),
                region: region.to_owned(),
            };
            let commitment =
                format::read_json(META_VERSION, key.as_bytes(), value).ok_or_else(damaged)?;
            loaded.commitments.push((of, commitment));
        } else {
            return Err(damaged());
        }
        Ok(())
    }

    fn restore(
        &self,
        streams: &[(u64, ReadStream)],
        key: PieceKey,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let (uid, shard, first) = key;
        let place = format!("stream {uid}, shard {shard}, record {first}");
        let stream = streams
            .binary_search_by_key(&uid, |(uid, _)| *uid)
            .ok()
            .and_then(|at| streams.get(at));
        let shard = stream.and_then(|(_, s)| s.shards.iter().find(|(s, _)| s.index == shard));
        let (shard, _) = shard.ok_or_else(|| self.damaged(format!("{place}: no such shard")))?;
        let piece = format::read_piece(key, value).ok_or_else(|| self.damaged(place.clone()))?;
        shard.log.restore(piece).map_err(|expected| {
            self.damaged(format!(
                "{place}: the records before it, from {expected}, are missing"
            ))
        })
    }
}

impl Store {
    /// Opens a directory, or makes a new one, and reads all that is there.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Contents), StoreError> {
        let opener = Opener { dir };
        let database = opener.database()?;
        let loaded =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opener.load(&database)));
        let contents = loaded.map_err(|panic| opener.panicked(&*panic))??;
        let (progress, _) = watch::channel(Progress::default());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            more: Condvar::new(),
            progress,
        });
        let writer = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                write_all(&database, &writer);
            });
        let thread = spawned.map_err(|e| opener.directory(e))?;
        Ok((
            Self {
                shared,
                thread: Mutex::new(Some(thread)),
            },
            contents,
        ))
    }

    /// Puts a change in line.
    pub(crate) fn push(&self, change: Change) {
        let mut queue = lock(&self.shared.queue);
        queue.ticket += 1;
        queue.changes.push(change);
        self.shared.more.notify_one();
    }

    /// Completes when everything that is in line now has been stored.
    ///
    /// # Errors
    /// [`Lost`] once the store cannot be written to.
    pub(crate) async fn settled(&self) -> Result<(), Lost> {
        let ticket = lock(&self.shared.queue).ticket;
        let mut progress = self.shared.progress.subscribe();
        let reached = progress
            .wait_for(|p| p.failed || p.ticket >= ticket)
            .await
            .map_err(|_| Lost)?;
        if reached.failed { Err(Lost) } else { Ok(()) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        lock(&self.shared.queue).closing = true;
        self.shared.more.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // It cannot fail but by a panic, which has been reported by then.
            let _ = thread.join();
        }
    }
}

/// The writing thread: ends when the store is dropped and nothing is left, or when it cannot write.
fn write_all(database: &Database, shared: &Shared) {
    loop {
        let (changes, ticket) = {
            let mut queue = lock(&shared.queue);
            while queue.changes.is_empty() {
                if queue.closing {
                    return;
                }
                queue = shared
                    .more
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut queue.changes), queue.ticket)
        };
        if let Err(error) = write(database, &changes) {
            tracing::error!(%error, "cannot write to the store; no more writes are taken");
            shared.progress.send_modify(|p| p.failed = true);
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
                for part in parts(piece) {
                    let key = (*uid, shard.index, part.first);
                    let length = format::piece_len(part.entries, part.bytes);
                    let mut room = pieces.insert_reserve(key, length)?;
                    let base = part.entries.first().map_or(0, |e| e.start);
                    format::write_piece(
                        key,
                        piece.arrival_ms,
                        part.entries,
                        base,
                        part.bytes,
                        room.as_mut(),
                    );
                }
            }
            Change::Stream { uid, value } => {
                streams.insert(uid, value.as_slice())?;
            }
            Change::RemoveStream { uid } => {
                streams.remove(uid)?;
                pieces.retain_in((*uid, 0, 0)..(uid.saturating_add(1), 0, 0), |_, _| false)?;
            }
            Change::Trim { uid, shard, before } => {
                let start = (*uid, *shard, 0);
                // The last piece that begins before may reach beyond.
                let keep = match *before {
                    u64::MAX => Some((*uid, *shard, u64::MAX)),
                    before => pieces
                        .range(start..(*uid, *shard, before))?
                        .next_back()
                        .transpose()?
                        .map(|(key, _)| key.value()),
                };
                if let Some(keep) = keep {
                    pieces.retain_in(start..keep, |_, _| false)?;
                }
            }
            Change::Meta { key, value } => {
                meta.insert(key.as_str(), value.as_slice())?;
            }
        }
    }
    Ok(())
}

/// A part of a piece that is stored as one value.
struct Part<'a> {
    first: u64,
    entries: &'a [crate::log::Entry],
    bytes: &'a [u8],
}

/// Cuts a piece between records into parts of about [`PIECE_BYTES`].
fn parts(piece: &StoredPiece) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    let mut from = 0;
    while from < piece.entries.len() {
        let start_of = |at: usize| {
            piece
                .entries
                .get(at)
                .map_or(piece.bytes.len(), |e| e.start as usize)
        };
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

//! A fan-out's progress in one SQLite file.
//!
//! The file is locked against every other process as long as the store lives. A commit is on the
//! disk when it returns (WAL, `synchronous=FULL`), so neither `kill -9` nor a loss of power takes
//! it back.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::ShardId;
use distributary_core::clock::Millis;
use distributary_core::source::StreamIdentity;
use distributary_core::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, OutputIdentity, Snapshot, State, StoreError,
};
use distributary_core::sync::lock;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::format;
use super::thread::StateThread;
use super::watch::{FileWatch, create_private};

/// The owner of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The fan-out's name.
    pub fan_out: String,
    /// The source, once the fan-out has started.
    pub source: Option<StreamIdentity>,
}

/// Checkpoints in a SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    path: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
    watch: Arc<FileWatch>,
    thread: Arc<StateThread>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

impl SqliteStore {
    /// Opens the state of the fan-out `name` at `path`, or creates the file if there is none, or an
    /// empty one. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Held`] if another process has it open; [`StoreError::Foreign`] if the file is
    /// no state file, is damaged, of a later version or another fan-out's (the file is left as it
    /// is); [`StoreError::Failed`] if the system does not let us.
    pub fn open(path: &Path, name: &str) -> Result<Self, StoreError> {
        roll_back(path)?;
        let new = !holds_something(path)?;
        if !new {
            // Nothing is written, not even a journal's header, before it is known to be ours.
            inspect(path)?;
        }
        create_private(path).map_err(|e| failed(path, e))?;
        let connection = Connection::open(path).map_err(|e| told(path, e))?;
        let store = Self::over(path, connection)?;
        store.lock_and_prepare(new, name)?;
        Ok(store)
    }

    /// Opens the state at `path`, of a fan-out of any name. Blocks on the disk.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; a file that does not exist is an error, too.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        roll_back(path)?;
        if !holds_something(path)? {
            let path = path.display();
            return Err(foreign(format!(
                "there is no state file {path}; check the path"
            )));
        }
        inspect(path)?;
        let name = {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
            let db = Connection::open_with_flags(path, flags).map_err(|e| told(path, e))?;
            get(&db, "fan-out").map_err(|e| told(path, e))?
        };
        Self::open(path, &name.unwrap_or_default())
    }

    /// The fan-out and the source that the state is of. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn about(&self) -> Result<About, StoreError> {
        self.transaction(|db| {
            let created = get(db, "source-created")?;
            let created = created.and_then(|at| at.parse().ok());
            let source = get(db, "source")?.map(|arn| StreamIdentity {
                arn,
                created: created.map(Millis),
            });
            let fan_out = get(db, "fan-out")?;
            Ok(About {
                fan_out: fan_out.unwrap_or_default(),
                source,
            })
        })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn guard(&self) -> MutexGuard<'_, Connection> {
        // A panic in between leaves no transaction open: rusqlite rolls it back when it unwinds.
        lock(&self.connection)
    }

    fn lock_and_prepare(&self, new: bool, name: &str) -> Result<(), StoreError> {
        let mut connection = self.guard();
        let told = |e| told(&self.path, e);
        // A process that is just ending may still hold it.
        connection
            .busy_timeout(Duration::from_secs(1))
            .map_err(told)?;
        // Exclusive before all else: the lock is taken with the first transaction and kept, and WAL
        // needs no shared memory.
        connection
            .pragma_update(None, "locking_mode", "EXCLUSIVE")
            .map_err(told)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(told)?;
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)
            .map_err(told)?;
        if new {
            transaction
                .pragma_update(None, "application_id", format::APPLICATION_ID)
                .map_err(told)?;
            transaction
                .pragma_update(None, "user_version", format::VERSION)
                .map_err(told)?;
            transaction.execute_batch(format::SCHEMA).map_err(told)?;
            set(&transaction, "fan-out", name).map_err(told)?;
        } else {
            let found = get(&transaction, "fan-out").map_err(told)?;
            if found.as_deref() != Some(name) {
                return Err(foreign(format!(
                    "{} is the state of the fan-out {:?}, and this one is called {name:?}; give it another state file, or that name",
                    self.path.display(),
                    found.unwrap_or_default(),
                )));
            }
        }
        transaction.commit().map_err(told)?;
        // Only now: what a new file begins with stands in the file itself, where `inspect` finds it
        // after a crash.
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(told)
    }

    /// Runs `work` on the state's thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = self.thread.run(move || work(&store)).await;
        done.unwrap_or_else(|| {
            Err(StoreError::Failed {
                source: "an earlier write of the state has failed; restart the program".into(),
            })
        })
    }

    fn over(path: &Path, connection: Connection) -> Result<Self, StoreError> {
        let watch = FileWatch::new(path).map_err(|e| failed(path, e))?;
        let thread = StateThread::start().map_err(|e| failed(path, e))?;
        Ok(Self {
            path: path.into(),
            connection: Arc::new(Mutex::new(connection)),
            watch: Arc::new(watch),
            thread: Arc::new(thread),
        })
    }

    fn transaction<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.watch.check(&self.path)?;
        let mut connection = self.guard();
        let told = |e| told(&self.path, e);
        let transaction = connection.transaction().map_err(told)?;
        let value = work(&transaction).map_err(told)?;
        transaction.commit().map_err(told)?;
        Ok(value)
    }
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn bind(&self, source: &StreamIdentity) -> Result<(), StoreError> {
        let source = source.clone();
        self.blocking(move |store| {
            let created = source.created.map(|at| at.0.to_string());
            let known = store.transaction(|db| {
                let known = get(db, "source")?;
                if known.is_none() {
                    set(db, "source", &source.arn)?;
                    if let Some(created) = &created {
                        set(db, "source-created", created)?;
                    }
                }
                Ok(known.map(|arn| get(db, "source-created").map(|at| (arn, at))))
            })?;
            let known = known.transpose().map_err(|e| told(&store.path, e))?;
            let Some((arn, at)) = known else { return Ok(()) };
            let path = store.path.display();
            if arn != source.arn {
                return Err(foreign(format!(
                    "{path} holds the progress of {arn}, and the source is {}; use another state file, or that source",
                    source.arn
                )));
            }
            match (at, created) {
                (Some(then), Some(now)) if then != now => Err(foreign(format!(
                    "the source {arn} is not the stream that {path} knows: it was deleted and made again since; \
                     remove the file to copy the new stream from its start"
                ))),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn load(&self) -> Result<State, StoreError> {
        self.blocking(|store| {
            let (lanes, outputs, snapshots) = store
                .transaction(|db| Ok((load_lanes(db)?, load_outputs(db)?, load_snapshots(db)?)))?;
            let lanes = lanes
                .into_iter()
                .map(|row| {
                    row.checkpoint()
                        .map_err(|row| unreadable(&store.path, &row))
                })
                .collect::<Result<_, _>>()?;

            Ok(State {
                lanes,
                outputs,
                snapshots,
            })
        })
        .await
    }

    async fn commit(&self, changes: &State) -> Result<(), StoreError> {
        let changes = changes.clone();
        self.blocking(move |store| {
            store.transaction(|db| {
                save_lanes(db, &changes.lanes)?;
                save_outputs(db, &changes.outputs)?;
                save_snapshots(db, &changes.snapshots)
            })
        })
        .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.blocking(|store| store.watch.check(&store.path)).await
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        let lanes = lanes.to_vec();
        self.blocking(move |store| {
            store.transaction(|db| {
                let mut statement =
                    db.prepare("DELETE FROM lanes WHERE output = ?1 AND shard = ?2")?;
                for lane in &lanes {
                    statement.execute(params![lane.output.as_str(), lane.shard.as_str()])?;
                }

                db.execute_batch(
                    "DELETE FROM outputs WHERE output NOT IN (SELECT output FROM lanes);
                     DELETE FROM snapshots WHERE output NOT IN (SELECT output FROM lanes);",
                )
            })
        })
        .await
    }
}

/// A row of the table `lanes`.
struct LaneRow {
    output: String,
    shard: String,
    kind: String,
    value: Option<String>,
    sub: Option<u32>,
    arrival: Option<i64>,
}

impl LaneRow {
    /// The row as a checkpoint; the row itself if the position is not readable.
    fn checkpoint(self) -> Result<LaneCheckpoint, Self> {
        let Some(position) = format::read(&self.kind, self.value.as_deref(), self.sub) else {
            return Err(self);
        };
        Ok(LaneCheckpoint {
            lane: LaneId {
                shard: ShardId::new(&self.shard),
                output: OutputId::new(&self.output),
            },
            position,
            arrival: self.arrival.map(Millis),
        })
    }
}

fn load_lanes(db: &Connection) -> rusqlite::Result<Vec<LaneRow>> {
    let mut statement = db.prepare(
        "SELECT output, shard, kind, value, sub, arrival FROM lanes ORDER BY output, shard",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LaneRow {
            output: row.get(0)?,
            shard: row.get(1)?,
            kind: row.get(2)?,
            value: row.get(3)?,
            sub: row.get(4)?,
            arrival: row.get(5)?,
        })
    })?;
    rows.collect()
}

fn load_outputs(db: &Connection) -> rusqlite::Result<Vec<OutputIdentity>> {
    let mut statement = db.prepare("SELECT output, arn, created FROM outputs ORDER BY output")?;
    let rows = statement.query_map([], |row| {
        Ok(OutputIdentity {
            output: OutputId::new(&row.get::<_, String>(0)?),
            identity: StreamIdentity {
                arn: row.get(1)?,
                created: row.get::<_, Option<i64>>(2)?.map(Millis),
            },
        })
    })?;
    rows.collect()
}

fn load_snapshots(db: &Connection) -> rusqlite::Result<Vec<Snapshot>> {
    let mut statement = db.prepare("SELECT output, bytes FROM snapshots ORDER BY output")?;
    let rows = statement.query_map([], |row| {
        Ok(Snapshot {
            output: OutputId::new(&row.get::<_, String>(0)?),
            bytes: row.get::<_, Vec<u8>>(1)?.into(),
        })
    })?;
    rows.collect()
}

fn save_lanes(db: &Connection, lanes: &[LaneCheckpoint]) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "INSERT INTO lanes (output, shard, kind, value, sub, arrival)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (output, shard) DO UPDATE SET kind = excluded.kind, value = excluded.value,
            sub = excluded.sub, arrival = excluded.arrival",
    )?;
    for row in lanes {
        let (kind, value, sub) = format::write(&row.position);
        let (output, shard) = (row.lane.output.as_str(), row.lane.shard.as_str());
        let arrival = row.arrival.map(|at| at.0);
        statement.execute(params![output, shard, kind, value, sub, arrival])?;
    }
    Ok(())
}

fn save_outputs(db: &Connection, outputs: &[OutputIdentity]) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "INSERT INTO outputs (output, arn, created) VALUES (?1, ?2, ?3)
         ON CONFLICT (output) DO UPDATE SET arn = excluded.arn, created = excluded.created",
    )?;
    for OutputIdentity { output, identity } in outputs {
        let created = identity.created.map(|at| at.0);
        statement.execute(params![output.as_str(), identity.arn, created])?;
    }
    Ok(())
}

fn save_snapshots(db: &Connection, snapshots: &[Snapshot]) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "INSERT INTO snapshots (output, bytes) VALUES (?1, ?2)
         ON CONFLICT (output) DO UPDATE SET bytes = excluded.bytes",
    )?;
    for Snapshot { output, bytes } in snapshots {
        statement.execute(params![output.as_str(), &bytes[..]])?;
    }
    Ok(())
}

/// The error for a checkpoint that no version of the format explains.
fn unreadable(path: &Path, row: &LaneRow) -> StoreError {
    let LaneRow {
        output,
        shard,
        kind,
        value,
        ..
    } = row;
    foreign(format!(
        "{}: the checkpoint of shard {shard} and output {output} is not readable ({kind} {value:?}); \
         the file is damaged or was edited: restore a copy, or remove the file to begin anew",
        path.display()
    ))
}

fn get(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM about WHERE name = ?1", [name], |row| {
        row.get(0)
    })
    .optional()
}

fn set(db: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO about (name, value) VALUES (?1, ?2)",
        [name, value],
    )
    .map(drop)
}

fn failed(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Failed {
        source: Box::new(WithPath {
            path: path.into(),
            source,
        }),
    }
}

/// False if there is no file, or an empty one (as `touch` and some deployment tools make).
fn holds_something(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::Failed {
            source: Box::new(WithPath {
                path: path.into(),
                source: error,
            }),
        }),
    }
}

/// Undoes the creation of a state file that a kill has interrupted: a file that is only read, as
/// [`inspect`] does, cannot be rolled back. A file that is not ours stays as it is.
fn roll_back(path: &Path) -> Result<(), StoreError> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    let interrupted = Path::new(&journal).exists() && holds_something(path)?;
    if !interrupted || !is_ours(path)? {
        return Ok(());
    }

    let db = Connection::open(path).map_err(|e| told(path, e))?;
    let read = db.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()));
    read.map_err(|e| told(path, e))
}

/// True if the file's header says that the file is a state file.
fn is_ours(path: &Path) -> Result<bool, StoreError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut start = file.take(100);
        start.read_to_end(&mut header)
    });
    read.map_err(|error| failed(path, error))?;

    let own = format::APPLICATION_ID.to_be_bytes();
    let id = header.get(68..72);
    Ok(header.starts_with(MAGIC) && id == Some(&own[..]))
}

/// Refuses a file that is not ours, without changing it.
fn inspect(path: &Path) -> Result<(), StoreError> {
    if !is_ours(path)? {
        return Err(foreign(format!(
            "{} is not a Distributary state file, or is damaged; it was left as it is: name another file as state",
            path.display()
        )));
    }
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|e| told(path, e))?;
    let version: i32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| told(path, e))?;
    if version != format::VERSION {
        return Err(foreign(format!(
            "{} has the state format {version}, and this program reads format {}; use the version of distributary that \
             wrote the file, or remove the file to start again from the outputs' own start",
            path.display(),
            format::VERSION
        )));
    }
    let verdict: String = db
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(|e| told(path, e))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(damaged(path))
    }
}

fn foreign(message: String) -> StoreError {
    StoreError::Foreign { message }
}

fn damaged(path: &Path) -> StoreError {
    foreign(format!(
        "{} is damaged; it was left as it is: restore it from a copy, or name another file as state to begin anew",
        path.display()
    ))
}

/// A failure of the file at `path`.
fn told(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Held {
            what: format!("the state file {}", path.display()),
        },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(path),
        _ => StoreError::Failed {
            source: Box::new(WithPath {
                path: path.into(),
                source: error,
            }),
        },
    }
}

/// An error, and the file that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct WithPath<E: std::error::Error + 'static> {
    path: PathBuf,
    #[source]
    source: E,
}

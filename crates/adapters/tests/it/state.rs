//! The state file: what is kept, what is refused, and that nobody else gets in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::source::StreamIdentity;
use distributary_core::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, Snapshot, State, StoreError,
};
use distributary_core::testing::conformance::{self, StoreRig};

struct Rig(PathBuf);

#[async_trait]
impl StoreRig for Rig {
    async fn open(&self) -> Result<Arc<dyn CheckpointStore>, String> {
        let store = SqliteStore::open(&self.0, "orders").map_err(|e| e.to_string())?;
        Ok(Arc::new(store))
    }
}

#[tokio::test]
async fn a_state_file_does_what_every_store_does() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig(dir.path().join("orders.db"));
    assert_eq!(conformance::store(&rig).await, Ok(()));
}

fn source(arn: &str, created: Option<i64>) -> StreamIdentity {
    StreamIdentity {
        arn: arn.to_owned(),
        created: created.map(Millis),
    }
}

fn checkpoint(shard: &str, output: &str, position: Position) -> LaneCheckpoint {
    LaneCheckpoint {
        lane: LaneId {
            shard: ShardId::new(shard),
            output: OutputId::new(output),
        },
        position,
        arrival: None,
    }
}

fn state(lanes: &[LaneCheckpoint]) -> State {
    State {
        lanes: lanes.to_vec(),
        ..State::default()
    }
}

fn message(error: &StoreError) -> String {
    match error {
        StoreError::Foreign { message } => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn checkpoints_are_there_after_the_store_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    let after = Position::after;
    {
        let store = SqliteStore::open(&path, "orders").unwrap();
        store.bind(&source("arn:a", Some(1))).await.unwrap();
        store
            .commit(&state(&[
                checkpoint("s0", "o1", after("5")),
                checkpoint("s0", "o2", Position::At(Millis(7))),
                checkpoint("s1", "o1", after("1")),
            ]))
            .await
            .unwrap();
        store
            .commit(&state(&[checkpoint("s0", "o1", Position::Closed)]))
            .await
            .unwrap();
        store
            .forget(&[checkpoint("s1", "o1", Position::Closed).lane])
            .await
            .unwrap();
    }
    let store = SqliteStore::open(&path, "orders").unwrap();
    store.bind(&source("arn:a", Some(1))).await.unwrap();
    let expected = vec![
        checkpoint("s0", "o1", Position::Closed),
        checkpoint("s0", "o2", Position::At(Millis(7))),
    ];
    assert_eq!(store.load().await.unwrap(), state(&expected));
}

#[tokio::test]
async fn a_snapshot_and_its_checkpoints_are_written_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    let at = |sequence, bytes: &'static [u8]| State {
        snapshots: vec![Snapshot {
            output: OutputId::new("pump"),
            bytes: bytes.into(),
        }],
        ..state(&[checkpoint("s0", "pump", Position::after(sequence))])
    };
    let (one, two) = (at("5", &[1]), at("9", &[2]));
    {
        let store = SqliteStore::open(&path, "orders").unwrap();
        store.commit(&one).await.unwrap();
    }
    let edit = |sql: &str| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
    };

    // The snapshot can't be written: the checkpoints, which are written first, are taken back.
    for table in ["snapshots", "lanes"] {
        edit(&format!(
            "CREATE TRIGGER full BEFORE UPDATE ON {table}
             BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;"
        ));
        let store = SqliteStore::open(&path, "orders").unwrap();
        let failed = store.commit(&two).await;
        assert!(
            matches!(failed, Err(StoreError::Failed { .. })),
            "{failed:?}"
        );
        assert_eq!(store.load().await.unwrap(), one, "{table}");
        drop(store);
        edit("DROP TRIGGER full;");
    }

    let store = SqliteStore::open(&path, "orders").unwrap();
    store.commit(&two).await.unwrap();
    assert_eq!(store.load().await.unwrap(), two);
    let lanes: Vec<LaneId> = two.lanes.into_iter().map(|row| row.lane).collect();
    store.forget(&lanes).await.unwrap();
    assert!(store.load().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_second_holder_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    let first = SqliteStore::open(&path, "orders").unwrap();
    let held = SqliteStore::open(&path, "orders");
    assert!(matches!(held, Err(StoreError::Held { .. })), "{held:?}");
    first
        .commit(&state(&[checkpoint("s", "o", Position::TrimHorizon)]))
        .await
        .unwrap();
    drop(first);
    assert_eq!(
        SqliteStore::open(&path, "orders")
            .unwrap()
            .load()
            .await
            .unwrap()
            .lanes
            .len(),
        1
    );
}

#[tokio::test]
async fn a_copy_of_the_files_as_a_crash_leaves_them_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("orders.db"), dir.path().join("copy.db"));
    let store = SqliteStore::open(&path, "orders").unwrap();
    store
        .commit(&state(&[checkpoint("s", "o", Position::TrimHorizon)]))
        .await
        .unwrap();
    // The store still lives: nothing was folded back into the file.
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        dir.path().join("orders.db-wal"),
        dir.path().join("copy.db-wal"),
    )
    .unwrap();
    assert_eq!(
        SqliteStore::open(&copy, "orders")
            .unwrap()
            .load()
            .await
            .unwrap()
            .lanes
            .len(),
        1
    );
}

#[tokio::test]
async fn another_stream_name_or_fan_out_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    let store = SqliteStore::open(&path, "orders").unwrap();
    store.bind(&source("arn:a", Some(1))).await.unwrap();
    assert!(message(&store.bind(&source("arn:b", Some(1))).await.unwrap_err()).contains("arn:b"));
    assert!(
        message(&store.bind(&source("arn:a", Some(2))).await.unwrap_err())
            .contains("deleted and made again")
    );
    store.bind(&source("arn:a", None)).await.unwrap();
    drop(store);
    assert!(message(&SqliteStore::open(&path, "payments").unwrap_err()).contains("\"orders\""));
}

#[test]
fn files_that_are_not_ours_are_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    fs::write(&text, "not a database").unwrap();
    let other = dir.path().join("other.db");
    rusqlite_file(&other);
    for path in [&text, &other] {
        let before = fs::read(path).unwrap();
        assert!(
            message(&SqliteStore::open(path, "orders").unwrap_err())
                .contains("not a Distributary state file")
        );
        assert_eq!(fs::read(path).unwrap(), before);
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "no journal is left beside them"
    );
}

#[tokio::test]
async fn a_damaged_or_newer_file_is_said_to_be_one_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    {
        let store = SqliteStore::open(&path, "orders").unwrap();
        store
            .commit(&state(&[checkpoint("s", "o", Position::TrimHorizon)]))
            .await
            .unwrap();
    }
    let good = fs::read(&path).unwrap();
    let newer = {
        let mut bytes = good.clone();
        bytes[63] = 9;
        bytes
    };
    fs::write(&path, &newer).unwrap();
    assert!(message(&SqliteStore::open(&path, "orders").unwrap_err()).contains("format 9"));
    assert_eq!(fs::read(&path).unwrap(), newer);
    let mut bad = good;
    let middle = bad.len() / 2;
    bad[middle..].fill(0xA5);
    fs::write(&path, &bad).unwrap();
    assert!(message(&SqliteStore::open(&path, "orders").unwrap_err()).contains("damaged"));
    assert_eq!(fs::read(&path).unwrap(), bad);
}

#[test]
fn an_empty_file_is_a_new_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    fs::write(&path, "").unwrap();
    SqliteStore::open(&path, "orders").unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error =
        SqliteStore::open(std::path::Path::new("no/such/folder/orders.db"), "orders").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("no/such/folder"), "{cause}");
}

fn rusqlite_file(path: &std::path::Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE t (x)").unwrap();
}

/// A change of a state file while the store has the file open, and the word that the error says.
type Mishap = (&'static str, fn(&Path));

#[tokio::test]
async fn a_file_that_is_no_longer_there_takes_no_checkpoints() {
    let mishaps: [Mishap; 4] = [
        ("deleted or moved", |path| {
            std::fs::remove_file(path).unwrap();
        }),
        ("deleted or moved", |path| {
            std::fs::rename(path, path.with_extension("old")).unwrap();
        }),
        ("replaced by another file", |path| {
            let copy = path.with_extension("copy");
            std::fs::copy(path, &copy).unwrap();
            std::fs::rename(copy, path).unwrap();
        }),
        ("truncated", |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path);
            file.unwrap().set_len(512).unwrap();
        }),
    ];
    for (word, mishap) in mishaps {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.db");
        let store = SqliteStore::open(&path, "orders").unwrap();
        let one = state(&[checkpoint("s0", "o1", Position::after("5"))]);
        store.commit(&one).await.unwrap();
        store.check().await.unwrap();

        mishap(&path);
        for failed in [store.check().await, store.commit(&one).await] {
            let text = message(&failed.unwrap_err());
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}

#[test]
fn only_the_owner_reads_the_state() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    // A file that a deployment tool made, readable by all.
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = SqliteStore::open(&path, "orders").unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn progress_is_saved_while_every_thread_that_may_block_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("orders.db"), "orders").unwrap();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());

    runtime.block_on(async {
        store.bind(&source("arn:a", Some(1))).await.unwrap();
        let checkpoint = checkpoint("s0", "o1", Position::after("5"));
        store.commit(&state(&[checkpoint])).await.unwrap();
    });
    drop(release);
}

/// A copy of a state file whose creation was interrupted: the header is in the file, and the journal
/// says how to undo it.
fn interrupted(path: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.db");
    drop(SqliteStore::open(&whole, "orders").unwrap());
    let read = rusqlite::Connection::open(&whole).unwrap();
    let id: i32 = read
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .unwrap();

    let made = dir.path().join("made.db");
    let db = rusqlite::Connection::open(&made).unwrap();
    db.pragma_update(None, "cache_size", 2).unwrap();
    let text =
        format!("BEGIN EXCLUSIVE; PRAGMA application_id = {id}; CREATE TABLE about (name TEXT);");
    db.execute_batch(&text).unwrap();
    for i in 0..100 {
        let row = format!("INSERT INTO about VALUES (hex(randomblob(2000)) || {i});");
        db.execute_batch(&row).unwrap();
    }
    // The kill hits between the writes to the file and the deletion of the journal.
    fs::copy(journal(&made), journal(path)).unwrap();
    db.execute_batch("COMMIT").unwrap();
    fs::copy(&made, path).unwrap();
}

fn journal(path: &Path) -> PathBuf {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    journal.into()
}

#[tokio::test]
async fn a_state_file_whose_creation_was_interrupted_is_created_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.db");
    interrupted(&path);
    assert!(fs::metadata(&path).unwrap().len() > 4096);
    let error = SqliteStore::open_existing(&path).err().unwrap();
    assert!(
        message(&error).contains("there is no state file"),
        "{error}"
    );

    interrupted(&path);
    let store = SqliteStore::open(&path, "orders").unwrap();
    assert_eq!(store.load().await.unwrap(), State::default());
}

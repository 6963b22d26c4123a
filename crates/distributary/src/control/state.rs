//! The state of a fan-out: a file, or a table of leases that workers share.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distributary_adapters::kind::BuildContext;
use distributary_adapters::leases::LeaseStore;
use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_config::FanOutConfig;
use distributary_core::ownership::Ownership;
use distributary_core::store::{CheckpointStore, StoreError};
use distributary_core::text::chain;
use tempfile::TempDir;

use crate::failure::Failure;

/// An open state.
pub(super) struct OpenState {
    /// The folder of a state file that is not kept.
    pub(super) folder: Option<TempDir>,
    /// Checkpoints.
    pub(super) store: Arc<dyn CheckpointStore>,
    /// The leases, where workers share the shards.
    pub(super) ownership: Option<Arc<dyn Ownership>>,
}

/// Opens the state of `config`.
pub(super) async fn open(
    config: &FanOutConfig,
    context: &BuildContext,
) -> Result<OpenState, Failure> {
    match &config.leases {
        LeaseStore::Sqlite => {
            let (folder, store) = open_file(config).await?;
            Ok(OpenState {
                folder,
                store: Arc::new(store),
                ownership: None,
            })
        }
        LeaseStore::DynamoDb { table } => {
            let table = table.as_deref().unwrap_or(&config.name);
            shared::open(config, context, table).await
        }
    }
}

/// An open state file. The folder holds a file that is not kept, until the folder is dropped.
type StateFile = (Option<TempDir>, SqliteStore);

/// Opens the state file of `config`. Without a file, the progress is gone at the end.
async fn open_file(config: &FanOutConfig) -> Result<StateFile, Failure> {
    let path = config.state.clone();
    let name = config.name.clone();
    let opened = tokio::task::spawn_blocking(move || match path {
        Some(path) => open_kept(&path, &name),
        None => open_temporary(&name),
    });
    opened.await.map_err(|error| Failure::from_error(&error))?
}

/// Opens a state file that is kept, and creates the folder for the file.
fn open_kept(path: &Path, name: &str) -> Result<StateFile, Failure> {
    create_folder_of(path)?;
    let store = open_sqlite(path, name)?;
    Ok((None, store))
}

fn open_temporary(name: &str) -> Result<StateFile, Failure> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::run(format!("cannot create a temporary folder: {error}")))?;
    let path = folder.path().join("state.db");
    let store = open_sqlite(&path, name)?;
    Ok((Some(folder), store))
}

/// Only the owner enters the folder of a state file that the program makes.
const FOLDER_MODE: u32 = 0o700;

/// Creates the folder of a state file.
pub(crate) fn create_folder_of(path: &Path) -> Result<(), Failure> {
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE);
    builder.create(&folder).map_err(|error| {
        Failure::run(format!(
            "cannot create the folder {} of the state file: {error}",
            folder.display()
        ))
    })
}

fn open_sqlite(path: &Path, name: &str) -> Result<SqliteStore, Failure> {
    SqliteStore::open(path, name).map_err(|error| match &error {
        StoreError::Held { .. } | StoreError::Foreign { .. } => Failure::from_error(&error),
        StoreError::Failed { .. } => Failure::run(format!(
            "{}; check the path and its permissions, or name another file (--state)",
            chain(&error)
        )),
    })
}

/// Leases in DynamoDB.
#[cfg(feature = "dynamodb")]
mod shared {
    use std::sync::Arc;

    use distributary_adapters::kind::BuildContext;
    use distributary_adapters::leases::dynamodb::DynamoTable;
    use distributary_config::FanOutConfig;
    use distributary_core::clock::Clock;
    use distributary_core::leases::{LeaseSettings, Leases};
    use distributary_core::store::OutputId;
    use distributary_kinesis::config::ConnectOptions;

    use super::OpenState;
    use crate::connect::region;
    use crate::failure::Failure;

    /// Opens the table `table` in the region of the source, and creates a missing table.
    pub(super) async fn open(
        config: &FanOutConfig,
        context: &BuildContext,
        table: &str,
    ) -> Result<OpenState, Failure> {
        if context.surroundings.embedded {
            return Err(Failure::usage(EMBEDDED));
        }

        let dynamo = connect(context, table).await;
        dynamo
            .create(&context.clock)
            .await
            .map_err(|error| Failure::from_error(&error))?;
        let leases = join(config, context, dynamo)?;
        Ok(OpenState {
            folder: None,
            store: Arc::clone(&leases) as _,
            ownership: Some(leases),
        })
    }

    /// The reason why embedded streams have no shared leases.
    const EMBEDDED: &str = "leases in DynamoDB need streams that other processes can read: leave out \
                            --local, or --leases dynamodb";

    async fn connect(context: &BuildContext, table: &str) -> DynamoTable {
        let source = context.like.as_ref();
        let region = source.and_then(|stream| region(&stream.arn));
        let options = ConnectOptions {
            region,
            ..ConnectOptions::default()
        };

        let sdk = context.connector.sdk(&options).await;
        DynamoTable::new(&sdk, table)
    }

    /// One worker more at the table.
    fn join(
        config: &FanOutConfig,
        context: &BuildContext,
        dynamo: DynamoTable,
    ) -> Result<Arc<Leases>, Failure> {
        let worker = worker_id(&context.clock);
        tracing::info!(worker, "leases and progress are kept in DynamoDB");
        let outputs: Vec<OutputId> = config
            .outputs
            .iter()
            .map(|output| OutputId::new(&output.name))
            .collect();

        let settings = LeaseSettings {
            failover: config.failover,
            ..LeaseSettings::default()
        };
        let table = Arc::new(dynamo);
        let clock = context.clock.clone();
        Leases::new(table, worker, &outputs, settings, clock)
            .map(Arc::new)
            .map_err(|error| Failure::from_error(&error))
    }

    /// A name that no other process has or had.
    fn worker_id(clock: &Clock) -> String {
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "worker".to_owned());
        let process = std::process::id();
        let wall = clock.wall().0;
        let random = clock.random();
        format!("{host}-{process}-{wall:x}-{random:016x}")
    }
}

/// This build has no DynamoDB; the configuration refuses to name that store.
#[cfg(not(feature = "dynamodb"))]
mod shared {
    use distributary_adapters::kind::BuildContext;
    use distributary_config::FanOutConfig;

    use super::OpenState;
    use crate::failure::Failure;

    #[expect(
        clippy::unused_async,
        reason = "the same signature as with the feature"
    )]
    pub(super) async fn open(
        _: &FanOutConfig,
        _: &BuildContext,
        _: &str,
    ) -> Result<OpenState, Failure> {
        let text = "leases in DynamoDB need a build with the cargo feature dynamodb";
        Err(Failure::usage(text))
    }
}

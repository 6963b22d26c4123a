//! From a configuration to what an engine is made of. Every stream is asked for before anything is read or written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_core::engine::{FanOut, OutputSpec};
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::store::{OutputId, StoreError};
use distributary_core::text::chain;
use distributary_kinesis::client::{Client, StreamDescription};
use distributary_kinesis::create;
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_kinesis::source::{KinesisSource, READ_LIMITS};
use distributary_local::server::{self, ServerOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::config::{Config, OutputConfig};
use crate::connect::Access;
use crate::failure::Failure;

/// Outputs that are asked at a time.
const ASKED_AT_ONCE: usize = 16;

/// What an engine is made of, and what has to outlive it.
pub(crate) struct Built {
    /// For [`Engine::start`](distributary_core::engine::Engine::start).
    pub(crate) fan_out: FanOut,
    /// For outputs that are added later.
    pub(crate) streams: Streams,
    /// Where the progress is kept if it is to be gone at the end.
    pub(crate) state: Option<TempDir>,
}

/// Finds and checks streams.
pub(crate) struct Streams {
    access: Arc<Access>,
    /// The source; outputs that are missing are made like it.
    source: StreamDescription,
    source_client: Client,
}

/// Connects to the source, the outputs and the state of `config`.
pub(crate) async fn build(config: &Config, access: Access) -> Result<Built, Failure> {
    let access = Arc::new(access);
    let client = access.client(&config.from).await?;
    if let Some(local) = &access.local {
        make_local(local, config)?;
        if !config.until_caught_up {
            serve_local(local, config).await?;
        }
    }
    let mut limits = READ_LIMITS;
    if !is_aws(&client) {
        // Only AWS limits the bytes that a shard returns in a second.
        limits.bytes_per_second = None;
    }
    limits.per = config.read_interval * limits.calls.get();
    let source = KinesisSource::with_limits(client.clone(), config.from.clone(), limits);
    let described = source
        .check()
        .await
        .map_err(|t| cannot(&format!("cannot read {}", config.from), &t))?;
    let streams = Streams {
        access: Arc::clone(&access),
        source: described,
        source_client: client,
    };
    let outputs = streams.outputs(&config.outputs, config.create).await?;
    let (state, store) = open_state(config).await?;
    let fan_out = FanOut {
        name: config.name.clone(),
        source: Arc::new(source),
        outputs,
        store: Arc::new(store),
        clock: access.clock.clone(),
        settings: config.engine.clone(),
    };
    Ok(Built {
        fan_out,
        streams,
        state,
    })
}

fn cannot(what: &str, trouble: &Trouble) -> Failure {
    Failure::run(format!("{what}: {trouble}"))
}

/// True if AWS itself answers, with its limits; a server of the same protocol has its own. All of AWS's names for it have
/// the service and the region in them.
fn is_aws(client: &Client) -> bool {
    let endpoint = client.endpoint().parse::<http::Uri>();
    let host = endpoint
        .as_ref()
        .ok()
        .and_then(http::Uri::host)
        .unwrap_or_default();
    host.matches('.').count() >= 3
        && host
            .split('.')
            .any(|part| matches!(part, "kinesis" | "kinesis-fips"))
}

/// An embedded Kinesis of this process is empty: what is named is made.
fn make_local(local: &distributary_local::Local, config: &Config) -> Result<(), Failure> {
    use distributary_local::CreateError;
    let names = std::iter::once(&config.from).chain(config.outputs.iter().map(|o| &o.stream));
    for stream in names {
        match local.create_stream(stream.name(), 1) {
            Ok(()) | Err(CreateError::Exists { .. }) => {}
            Err(error @ (CreateError::Name { .. } | CreateError::Shards { .. })) => {
                return Err(Failure::usage(chain(&error)));
            }
        }
    }
    Ok(())
}

/// Other programs on this machine may write to the embedded Kinesis of a fan-out, and read from it.
async fn serve_local(local: &distributary_local::Local, config: &Config) -> Result<(), Failure> {
    let usual = ServerOptions::default();
    let any = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        ..ServerOptions::default()
    };
    let handle = match server::serve(local.clone(), usual).await {
        Ok(handle) => handle,
        // Taken, by another one probably.
        Err(_) => server::serve(local.clone(), any)
            .await
            .map_err(|e| Failure::from_error(&e))?,
    };
    let endpoint = handle.endpoint();
    tracing::info!(
        "embedded Kinesis at {endpoint}; write to it: AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x distributary put {} \
         --endpoint-url {endpoint} hello",
        config.from.name()
    );
    Ok(())
}

/// An output that was asked, and answered.
struct Found {
    spec: OutputSpec,
    client: Client,
    description: StreamDescription,
}

impl Streams {
    /// The outputs that `configs` say, each asked whether it is there, and made if it is not and `create` is set.
    pub(crate) async fn outputs(
        &self,
        configs: &[OutputConfig],
        create: bool,
    ) -> Result<Vec<OutputSpec>, Failure> {
        let mut found: BTreeMap<usize, Found> = BTreeMap::new();
        let mut asked = JoinSet::new();
        let mut rest = configs.iter().cloned().enumerate();
        loop {
            while asked.len() < ASKED_AT_ONCE
                && let Some((i, config)) = rest.next()
            {
                let (access, like) = (Arc::clone(&self.access), self.source.clone());
                asked.spawn(async move {
                    find(&access, config, create.then_some(like))
                        .await
                        .map(|found| (i, found))
                });
            }
            let Some(answer) = asked.join_next().await else {
                break;
            };
            let (i, one) = answer.map_err(|e| Failure::from_error(&e))??;
            found.insert(i, one);
        }
        let found: Vec<Found> = found.into_values().collect();
        self.told_apart(&found)?;
        Ok(found.into_iter().map(|f| f.spec).collect())
    }

    /// Names do not always tell that two streams are one: their ARNs do.
    fn told_apart(&self, found: &[Found]) -> Result<(), Failure> {
        for (i, output) in found.iter().enumerate() {
            let id = &output.spec.id;
            let same = |client: &Client, other: &StreamDescription| {
                client.same_server(&output.client) && other.arn == output.description.arn
            };
            if same(&self.source_client, &self.source) {
                return Err(Failure::usage(format!(
                    "the output {id} is the source itself ({}), and would be copied round and round; name another stream",
                    self.source.arn
                )));
            }
            if let Some(twice) = found[..i].iter().find(|f| same(&f.client, &f.description)) {
                return Err(Failure::usage(format!(
                    "the outputs {} and {id} are one stream ({}); every record would be written to it twice",
                    twice.spec.id, output.description.arn
                )));
            }
        }
        Ok(())
    }
}

async fn find(
    access: &Access,
    config: OutputConfig,
    create_like: Option<StreamDescription>,
) -> Result<Found, Failure> {
    let OutputConfig {
        id,
        stream,
        connect,
        order,
        route,
        start,
        paused,
    } = config;
    let client = access.client_with(&stream, &connect).await?;
    let told = |trouble: Trouble| {
        let hint = if trouble.kind == TroubleKind::Missing {
            "; or let it be made: --create"
        } else {
            ""
        };
        Failure::run(format!("cannot write to {stream}: {trouble}{hint}"))
    };
    if let Some(like) = &create_like {
        create::ensure(&client, &stream, like).await.map_err(told)?;
    }
    let output = KinesisOutput::new(client.clone(), stream.clone(), OutputOptions { route });
    let description = output.check().await.map_err(told)?;
    let spec = OutputSpec {
        id: OutputId::new(&id),
        output: Arc::new(output),
        order,
        start,
        paused,
    };
    Ok(Found {
        spec,
        client,
        description,
    })
}

/// Opens the state file; makes its directory if it is the default one. Without one, a file that is gone at the end.
async fn open_state(config: &Config) -> Result<(Option<TempDir>, SqliteStore), Failure> {
    let (path, name) = (config.state.clone(), config.name.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let Some(path) = path else {
            let dir = tempfile::tempdir()
                .map_err(|e| Failure::run(format!("cannot make a temporary directory: {e}")))?;
            let store = open(&dir.path().join("state.db"), &name)?;
            return Ok((Some(dir), store));
        };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(|e| {
                Failure::run(format!(
                    "cannot make the directory {} of the state file: {e}",
                    dir.display()
                ))
            })?;
        }
        Ok((None, open(&path, &name)?))
    });
    opened.await.map_err(|e| Failure::from_error(&e))?
}

fn open(path: &Path, name: &str) -> Result<SqliteStore, Failure> {
    SqliteStore::open(path, name).map_err(|error| match &error {
        StoreError::Held { .. } | StoreError::Foreign { .. } => Failure::from_error(&error),
        StoreError::Failed { .. } => Failure::run(format!(
            "{}; check the path and its permissions, or name another file (--state)",
            chain(&error)
        )),
    })
}

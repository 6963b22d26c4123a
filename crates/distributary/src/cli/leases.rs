//! `distributary leases`.

use std::time::Duration;

use super::config_args::ConfigArgs;
use crate::connect::ConnectArgs;

/// Flags of `leases`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary leases list --table orders
  distributary leases release --table orders shardId-000000000003
  distributary leases import --table kcl-application -c orders.toml
  distributary leases export --table kcl-application -c orders.toml

Leases are about ownership, and about tables of the KCL; positions are changed by `distributary state`. A table with the schema \
of the KCL 1.x, 2.x or 3.x is meant. Commands that change a table first watch it for the failover time, and refuse where a worker \
renews one of the leases.")]
pub(crate) struct LeasesArgs {
    #[command(subcommand)]
    command: LeasesCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LeasesCommand {
    /// Print every lease, and the number of leases of each worker
    List {
        #[command(flatten)]
        table: TableArgs,
        /// Print a JSON list with the names of the table's attributes
        #[arg(long)]
        json: bool,
    },
    /// Free leases whose worker is gone, or ask a worker to hand leases over
    Release {
        #[command(flatten)]
        table: TableArgs,
        /// Hand the leases over to this worker; the owner ends its requests first
        #[arg(long, value_name = "WORKER")]
        to: Option<String>,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Delete leases with their progress: the next worker starts these shards at the `start` of
    /// each output
    Reset {
        #[command(flatten)]
        table: TableArgs,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Start a fan-out at the checkpoints of a KCL application, which is stopped
    Import(Box<MoveArgs>),
    /// Write the progress of a fan-out, which is stopped, into the table of a KCL application
    Export(Box<MoveArgs>),
}

/// A table.
#[derive(Debug, clap::Args)]
struct TableArgs {
    /// The DynamoDB table
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// The failover time of the workers: how long a silent one keeps its leases
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    failover_time: Duration,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Leases to change.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Chosen {
    /// Every lease of the table
    #[arg(long)]
    all: bool,
    /// The shards
    #[arg(value_name = "SHARD")]
    shards: Vec<String>,
}

/// A KCL application's table, and a fan-out.
#[derive(Debug, clap::Args)]
struct MoveArgs {
    /// The DynamoDB table of the KCL application, in the region of the source
    #[arg(long, display_order = 0, value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Carries the command out.
#[cfg(not(feature = "dynamodb"))]
pub(crate) async fn run(
    args: LeasesArgs,
) -> Result<std::process::ExitCode, crate::failure::Failure> {
    std::future::ready(()).await;
    drop(args);
    Err(crate::failure::Failure::usage(
        "tables of leases need a build with the cargo feature dynamodb: use a released binary, or \
         build with --features dynamodb",
    ))
}

#[cfg(feature = "dynamodb")]
pub(crate) use with_tables::run;

#[cfg(feature = "dynamodb")]
mod with_tables {
    use std::path::Path;
    use std::process::ExitCode;

    use distributary_adapters::kind::Ending;
    use distributary_adapters::leases::LeaseStore;
    use distributary_adapters::leases::dynamodb::DynamoTable;
    use distributary_adapters::leases::sqlite::SqliteStore;
    use distributary_config::FanOutConfig;
    use distributary_core::leases::LeaseRow;
    use distributary_core::store::{CheckpointStore, OutputId, State};

    use super::{Chosen, LeasesArgs, LeasesCommand, MoveArgs, TableArgs};
    use crate::connect::{Access, region};
    use crate::control::create_folder_of;
    use crate::failure::Failure;
    use crate::leases::{self, Moved};
    use crate::screen;

    /// Carries the command out.
    pub(crate) async fn run(args: LeasesArgs) -> Result<ExitCode, Failure> {
        match args.command {
            LeasesCommand::List { table, json } => list(&table, json).await?,
            LeasesCommand::Release { table, to, chosen } => {
                release(&table, to.as_deref(), &chosen).await?;
            }
            LeasesCommand::Reset { table, chosen } => reset(&table, &chosen).await?,
            LeasesCommand::Import(args) => import(*args).await?,
            LeasesCommand::Export(args) => export(*args).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    impl TableArgs {
        /// The table, and time for waiting.
        async fn open(&self) -> Result<(DynamoTable, Access), Failure> {
            let access = Access::new(&self.connect)?;
            let table = access.lease_table(&self.table).await;
            check_exists(&table, &self.table).await?;
            Ok((table, access))
        }
    }

    async fn check_exists(table: &DynamoTable, name: &str) -> Result<(), Failure> {
        let exists = table.exists().await;
        if exists? {
            return Ok(());
        }
        Err(Failure::run(format!(
            "there is no DynamoDB table {name}; check the name, the region and the account"
        )))
    }

    async fn list(args: &TableArgs, json: bool) -> Result<(), Failure> {
        let (table, _) = args.open().await?;
        let rows = leases::read(&table).await?;
        let text = match json {
            true => format!("{:#}\n", leases::json(&rows)),
            false => leases::text(&rows),
        };
        screen::print(&text)
    }

    async fn release(args: &TableArgs, to: Option<&str>, chosen: &Chosen) -> Result<(), Failure> {
        let (table, access) = args.open().await?;
        if let Some(worker) = to {
            return hand_over(&table, worker, chosen).await;
        }

        let watched = leases::watch(&table, &access.clock, args.failover_time).await?;
        let rows = watched.still(&chosen.shards, "name --to WORKER for a hand-over")?;

        let freed = leases::release(&table, &rows).await?;
        let freed = freed.len();
        screen::print(&format!("freed leases: {freed}\n"))
    }

    async fn hand_over(table: &DynamoTable, worker: &str, chosen: &Chosen) -> Result<(), Failure> {
        let rows = leases::read(table).await?;
        check_worker(&rows, worker)?;
        let rows = leases::chosen(&rows, &chosen.shards)?;

        let asked = leases::hand_over(table, &rows, worker).await?;
        let asked = asked.len();
        screen::print(&format!(
            "asked for a hand-over to {worker}: leases {asked}\n"
        ))
    }

    /// Only a worker that holds a lease is known to be alive.
    fn check_worker(rows: &[LeaseRow], worker: &str) -> Result<(), Failure> {
        let mut owners = rows.iter().filter_map(|row| row.owner.as_deref());
        if owners.any(|owner| owner == worker) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "no lease of the table is owned by {worker}; `distributary leases list` shows the owners"
        )))
    }

    async fn reset(args: &TableArgs, chosen: &Chosen) -> Result<(), Failure> {
        let (table, access) = args.open().await?;
        let watched = leases::watch(&table, &access.clock, args.failover_time).await?;
        let rows = watched.still(&chosen.shards, "stop the worker first")?;

        leases::reset(&table, &rows).await?;
        let deleted = rows.len();
        screen::print(&format!("deleted leases: {deleted}\n"))
    }

    /// A fan-out, and a KCL application's table beside its source.
    struct Side {
        config: FanOutConfig,
        access: Access,
        region: Option<String>,
        table: DynamoTable,
        name: String,
    }

    impl MoveArgs {
        async fn open(self) -> Result<Side, Failure> {
            let (process, _) = self.config.process()?;
            let access = Access::for_process(&process)?;
            let mut fan_outs = process.fan_outs;
            let (Some(config), None) = (fan_outs.pop(), fan_outs.pop()) else {
                return Err(Failure::usage(
                    "the configuration has several fan-outs; name a file with one",
                ));
            };

            let context = access.build_context(Ending::default());
            let source = config.source.build(&context).await;
            let source = source.map_err(|error| Failure::from_error(&error))?;
            let region = source.stream.and_then(|stream| region(&stream.arn));
            let table = access.lease_table_in(&self.table, region.clone()).await;
            Ok(Side {
                config,
                access,
                region,
                table,
                name: self.table,
            })
        }
    }

    impl Side {
        /// The table of the fan-out itself, if its leases are in DynamoDB.
        async fn own_table(&self) -> Result<Option<DynamoTable>, Failure> {
            let LeaseStore::DynamoDb { table } = &self.config.leases else {
                return Ok(None);
            };
            let own = table.as_deref().unwrap_or(&self.config.name);
            if own == self.name {
                return Err(Failure::usage(format!(
                    "the table {own} is the fan-out's own: both the fan-out and a KCL application start \
                     at its checkpoints as they are"
                )));
            }

            let table = self.access.lease_table_in(own, self.region.clone()).await;
            let created = table.create(&self.access.clock).await;
            created?;
            Ok(Some(table))
        }

        fn outputs(&self) -> Vec<OutputId> {
            let outputs = self.config.outputs.iter();
            outputs.map(|output| OutputId::new(&output.name)).collect()
        }

        fn state_path(&self) -> Result<&Path, Failure> {
            self.config.state.as_deref().ok_or_else(|| {
                Failure::usage("the fan-out keeps no progress; name a state file (--state)")
            })
        }

        /// The rows of the KCL application, which is stopped.
        async fn rows(&self) -> Result<Vec<LeaseRow>, Failure> {
            let clock = &self.access.clock;
            let watched = leases::watch(&self.table, clock, self.config.failover).await?;

            watched.still(&[], "stop the KCL application first")?;
            Ok(watched.rows)
        }
    }

    async fn import(args: MoveArgs) -> Result<(), Failure> {
        let side = args.open().await?;
        check_exists(&side.table, &side.name).await?;
        let own = side.own_table().await?;
        let rows = side.rows().await?;
        if rows.is_empty() {
            return Err(Failure::run(format!(
                "the table {} has no leases",
                side.name
            )));
        }

        let moved = match own {
            Some(own) => {
                check_empty(leases::read(&own).await?.is_empty())?;
                leases::fill(&own, &rows).await?
            }
            None => import_into_file(&side, &rows).await?,
        };
        report("imported", moved)
    }

    async fn import_into_file(side: &Side, rows: &[LeaseRow]) -> Result<Moved, Failure> {
        let (state, moved) = leases::import(rows, &side.outputs())?;
        let path = side.state_path()?;
        create_folder_of(path)?;
        let store = SqliteStore::open(path, &side.config.name);
        let store = store?;
        let before = store.load().await;
        let before = before?;
        check_empty(before.is_empty())?;

        let committed = store.commit(&state).await;
        committed?;
        Ok(moved)
    }

    fn check_empty(is_empty: bool) -> Result<(), Failure> {
        if is_empty {
            return Ok(());
        }
        Err(Failure::run(
            "the fan-out has progress already, and it is left as it is; name another fan-out (--name), or \
             forget the progress first (`distributary state forget`, `distributary leases reset`)",
        ))
    }

    async fn export(args: MoveArgs) -> Result<(), Failure> {
        let side = args.open().await?;
        let state = match side.own_table().await? {
            Some(own) => of_table(&side, &own).await?,
            None => of_file(side.state_path()?).await?,
        };

        let created = side.table.create(&side.access.clock).await;
        created?;
        let rows = side.rows().await?;
        let moved = leases::export(&side.table, &rows, &state).await?;
        report("exported", moved)
    }

    async fn of_table(side: &Side, own: &DynamoTable) -> Result<State, Failure> {
        let watched = leases::watch(own, &side.access.clock, side.config.failover).await?;
        watched.still(&[], "stop the workers first")?;

        let any = [OutputId::new("any")];
        let (state, _) = leases::import(&watched.rows, &any)?;
        Ok(state)
    }

    async fn of_file(path: &Path) -> Result<State, Failure> {
        let store = SqliteStore::open_existing(path);
        let store = store?;
        let state = store.load().await;
        Ok(state?)
    }

    fn report(verb: &str, moved: Moved) -> Result<(), Failure> {
        let Moved { shards, without } = moved;
        let mut text = format!("{verb} the positions of shards: {shards}\n");
        if without > 0 {
            text.push_str(&format!(
                "shards without a sequence number, which start as configured: {without}\n"
            ));
        }
        screen::print(&text)
    }
}

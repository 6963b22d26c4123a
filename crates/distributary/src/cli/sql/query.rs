//! `distributary sql query`: rows of a live stream in the terminal.

mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use distributary_config::{PumpCode, PumpConfig};
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::Clock;
use distributary_core::engine::deliver::{OnRefused, Patience, Recipient};
use distributary_core::engine::{Order, Settings, Start};
use distributary_core::output::{Outcome, Output, Picks, Trouble, TroubleKind};
use distributary_core::source::{ServerTime, Shard, Source};
use distributary_core::stateful::{ShardPosition, StatefulPump};
use distributary_core::text::chain;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::retry::with_retries;
use distributary_sql::pump::{Route, StatefulSettings, StatefulSqlPump, Tips, WatchedSource};
use distributary_sql::{
    Application, CompileErrors, InputSchema, Program, RowFormat, Selection, StreamRole,
    application_of_query,
};
use tokio::sync::{Semaphore, mpsc};

use super::infer;
use crate::cli::interrupt::interrupted;
use crate::cli::streams::Given;
use crate::config::StartAt;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::walk::{Event, Found, RECORDS_PER_READ, RESPONSES, ShardOrder, Walk};
use print::Printer;

/// Events between reading and processing.
const AHEAD: usize = 4;

/// The form in which rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RowsAs {
    /// Columns under a head
    #[default]
    Table,
    /// One JSON object a line
    Json,
    /// Values between commas
    Csv,
}

/// Flags of `sql query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary sql query --from orders 'SELECT STREAM * FROM orders'
  distributary sql query --from orders 'SELECT STREAM \"item\", COUNT(*) AS n FROM orders AS o
    GROUP BY \"item\", STEP(o.ROWTIME BY INTERVAL '\\''10'\\'' SECOND)'

The stream is called SOURCE, as well as its own name and SOURCE_SQL_STREAM_001. Columns have the \
names of the records' members, in double quotes unless in upper case. Rows that fail are printed on \
stderr. Stop with Ctrl-C.")]
pub(crate) struct QueryArgs {
    /// The query: SELECT STREAM …
    query: String,
    /// Name or ARN of the stream
    #[arg(long, value_name = "STREAM")]
    from: String,
    /// The InputSchema, as JSON [default: inferred from the first records]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Where to start: trim-horizon (the oldest record), latest (new records only), or a time
    /// (RFC 3339)
    #[arg(long, default_value = "trim-horizon", value_name = "WHERE")]
    start: StartAt,
    /// Stop after this many rows
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Stop when every record that the stream holds now is processed; windows that are open then
    /// give no rows [default: wait for more]
    #[arg(long)]
    until_caught_up: bool,
    /// How to print rows
    #[arg(long, value_enum, default_value_t)]
    format: RowsAs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A query that is about to run.
struct Query {
    walk: Walk,
    shards: Vec<Shard>,
    pump: StatefulSqlPump,
    printer: Arc<Printer>,
}

pub(super) async fn run(args: QueryArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    let access = Access::new(&args.connect)?;
    let schema = match &args.schema {
        Some(path) => super::read_text(path)?,
        None => infer::of_stream(&access, &args.from).await?,
    };
    let program = match program(&args, &schema)? {
        Ok(program) => Arc::new(program),
        Err(errors) => return Ok(super::not_compiled(&errors)),
    };

    let query = query(&args, &access, program).await?;
    run_query(query).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs until the end of the query, of the reader, or a signal.
async fn run_query(query: Query) -> Result<(), Failure> {
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;
    let printer = Arc::clone(&query.printer);
    tokio::select! {
        biased;
        () = interrupted => {}
        () = printer.ended() => {}
        done = query.run() => done?,
    }

    printer.flush();
    Ok(())
}

type Compiled = Result<Program, CompileErrors>;

fn program(args: &QueryArgs, schema: &str) -> Result<Compiled, Failure> {
    let schema = InputSchema::from_json(schema).map_err(Failure::usage)?;
    let mut application = Application::from_sql(&args.query, schema);
    application.aliases = names(&args.from);
    match application_of_query(application) {
        Ok(application) => {
            let program = Program::compile(&application);
            Ok(program)
        }
        Err(errors) => Ok(Err(errors)),
    }
}

/// The names of the stream in a query.
fn names(stream: &str) -> Vec<String> {
    let mut names = vec!["SOURCE".to_owned()];
    if let Ok(stream) = stream.parse::<StreamRef>() {
        let name = stream.name();
        names.push(name.to_uppercase());
        names.push(name.to_owned());
    }
    names
}

async fn query(args: &QueryArgs, access: &Access, program: Arc<Program>) -> Result<Query, Failure> {
    let clock = &access.clock;
    let tips = Arc::new(Tips::new(clock.clone()));
    let walk = walk(args, access, &tips).await?;
    let shards = walk.shards().await;
    let shards = shards.map_err(|error| Failure::from_error(&error))?;

    let printer = Arc::new(Printer::new(args.format, args.limit));
    let routes = routes(args, &program, &printer)?;
    let settings = settings();
    let pump = StatefulSqlPump::new(program, routes, settings, clock.clone(), tips);
    Ok(Query {
        walk,
        shards,
        pump,
        printer,
    })
}

async fn walk(args: &QueryArgs, access: &Access, tips: &Arc<Tips>) -> Result<Walk, Failure> {
    let given = Given::open(access, &args.from).await?;
    let source = given.source();
    let now = now(&*source, &args.from, &access.clock).await?;

    let watched = WatchedSource::new(source, Arc::clone(tips));
    Ok(Walk {
        stream: args.from.clone(),
        source: Arc::new(watched),
        clock: access.clock.clone(),
        order: ShardOrder::ParentsFirst,
        start: position(args.start.0, now),
        until: args.until_caught_up.then_some(now.latest),
        records_per_read: RECORDS_PER_READ,
        responses: Arc::new(Semaphore::new(RESPONSES)),
    })
}

/// The server's time.
async fn now(source: &dyn Source, stream: &str, clock: &Clock) -> Result<ServerTime, Failure> {
    let facts = with_retries(clock, || source.facts()).await;
    let facts = facts.map_err(|trouble| unreadable(stream, &trouble))?;
    Ok(facts.time)
}

fn unreadable(stream: &str, trouble: &Trouble) -> Failure {
    let why = chain(trouble);
    Failure::run(format!("cannot read {stream}: {why}"))
}

fn position(start: Start, now: ServerTime) -> Position {
    match start {
        Start::TrimHorizon => Position::TrimHorizon,
        Start::Latest => Position::At(now.earliest),
        Start::At(at) => Position::At(at),
    }
}

/// Rows to standard output, and the rows of `error_stream` to stderr.
fn routes(
    args: &QueryArgs,
    program: &Program,
    printer: &Arc<Printer>,
) -> Result<Vec<Route>, Failure> {
    let made = made_stream(program)?;
    printer.head(&program.streams()[made]);

    let format = match args.format {
        RowsAs::Table | RowsAs::Json => RowFormat::Json,
        RowsAs::Csv => RowFormat::Csv,
    };
    let printer = Arc::clone(printer);
    let rows = route(made, format, printer);
    let errors = Arc::new(print::ErrorPrinter);
    let errors = route(program.error_stream(), RowFormat::Json, errors);
    Ok(vec![rows, errors])
}

/// The number of the stream whose rows are printed.
fn made_stream(program: &Program) -> Result<usize, Failure> {
    let mut streams = program.streams().iter();
    let made = streams.position(|stream| stream.role == StreamRole::InApplication);
    made.ok_or_else(|| Failure::usage("the code makes no stream"))
}

/// The settings of a pump in a file without settings.
fn settings() -> StatefulSettings {
    let code = PumpCode::Sql(String::new());
    let PumpConfig {
        state_limit,
        merge_wait,
        idle_bound,
        ..
    } = PumpConfig::new(String::new(), code, None);
    StatefulSettings {
        state_limit,
        merge_wait,
        idle_bound,
        patience: Patience::from(&Settings::default()),
    }
}

fn route(stream: usize, format: RowFormat, output: Arc<dyn Output>) -> Route {
    Route {
        name: "the terminal".to_owned(),
        selection: Selection {
            stream,
            format,
            key: None,
        },
        recipient: Recipient {
            output,
            order: Order::Unordered,
            on_refused: OnRefused::Stop,
        },
    }
}

impl Query {
    /// Reads and prints until the end of the walk.
    async fn run(self) -> Result<(), Failure> {
        let Self {
            walk, shards, pump, ..
        } = self;
        let positions = positions(&shards, &walk.start);
        let restored = pump.restore(None, &positions);
        restored.map_err(|error| Failure::from_error(&error))?;

        let (send, receive) = mpsc::channel(AHEAD);
        let feeding = async {
            let walk = walk.run(shards, send);
            let (walked, fed) = tokio::join!(walk, feed(receive, &pump));
            pump.settled().await;
            fed?;
            walked.map_err(|error| Failure::from_error(&error))
        };
        tokio::select! {
            fed = feeding => fed,
            never = pump.run() => match never {},
        }
    }
}

fn positions(shards: &[Shard], start: &Position) -> Vec<ShardPosition> {
    let position = |shard: &Shard| ShardPosition {
        shard: shard.id.clone(),
        position: start.clone(),
        arrival: None,
    };
    shards.iter().map(position).collect()
}

/// Gives the records of all shards to the pump. Ends early when the pump takes no more records.
async fn feed(mut events: mpsc::Receiver<Event>, pump: &StatefulSqlPump) -> Result<(), Failure> {
    while let Some(event) = events.recv().await {
        match event.found {
            Found::Records(batch, _permit) => take(&batch, pump).await?,
            Found::Closed => pump.closed(&event.shard),
            Found::Gap => warn_of_gap(&event.shard),
            Found::Nothing => {}
        }
    }
    Ok(())
}

/// Waits until the pump has room.
async fn take(batch: &Batch, pump: &StatefulSqlPump) -> Result<(), Failure> {
    let all = Picks::Run(0..batch.len());
    let chunk = pump.encode(batch, all);
    let deadline = Settings::default().request_deadline;
    loop {
        match pump.write(batch, &chunk, deadline).await {
            Outcome::Rejected(trouble) if trouble.kind == TroubleKind::Throttled => {}
            Outcome::Rejected(trouble) => {
                let why = trouble.message;
                return Err(Failure::run(why));
            }
            _ => return Ok(()),
        }
    }
}

fn warn_of_gap(shard: &ShardId) {
    screen::say(&format!(
        "{shard}: the stream's retention deleted records before they could be read"
    ));
}

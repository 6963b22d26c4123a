//! `distributary local`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use distributary_core::text::chain;
use distributary_local::server::{
    self, Certificate, Handle, Limits, RequestLog, ServerOptions, StreamSpec,
};
use distributary_local::{Builder, CreateError, Delays, Local, TrimmedPosition};

use crate::cli::interrupt::interrupted;
use crate::config::Span;
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::show;

/// The destination of the request log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Log {
    /// To standard error, in the style of an access log
    Stderr,
    /// Nowhere
    #[default]
    Off,
}

/// Empty responses before the oldest record, with [`Trimmed::EmptyPages`].
const EMPTY_PAGES: u8 = 10;
/// Digits of an AWS account number.
const ACCOUNT_DIGITS: usize = 12;

/// The answer to a read at a position that retention has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Trimmed {
    /// An error
    #[default]
    Refuse,
    /// Some empty responses, then the oldest record
    EmptyPages,
}

impl From<Trimmed> for TrimmedPosition {
    fn from(answer: Trimmed) -> Self {
        match answer {
            Trimmed::Refuse => Self::Refuse,
            Trimmed::EmptyPages => Self::EmptyPages(EMPTY_PAGES),
        }
    }
}

/// Flags of `local`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Standard output gets one line, the server's URL, once the server answers and all --stream are \
ACTIVE. SIGINT (Ctrl-C) or SIGTERM stops the server, with exit code 0.

Any AWS SDK can use the server: set AWS_ENDPOINT_URL to the URL, AWS_REGION and AWS_DEFAULT_REGION \
to the region, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to any text. The path \
/_distributary/health answers while the server runs.")]
pub(crate) struct LocalArgs {
    /// Address and port; port 0 takes a free one. Credentials are not checked: stay on loopback
    #[arg(long, default_value = "127.0.0.1:4567", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Stream to create, such as orders:4 for four shards; can be given more than once
    #[arg(long = "stream", value_name = "NAME:SHARDS")]
    streams: Vec<StreamSpec>,
    /// Keep streams and records in this directory, through restarts and kills. Streams that are in
    /// the directory stay unchanged [default: in memory only]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Serve HTTPS, with a certificate made for this run
    #[arg(long)]
    tls: bool,
    /// Write the certificate to this file, for AWS_CA_BUNDLE
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_cert_out: Option<PathBuf>,
    /// Another name or address that the certificate is valid for; can be given more than once
    #[arg(long = "tls-name", value_name = "NAME", requires = "tls")]
    tls_names: Vec<String>,
    /// Throttle as AWS does: per shard 1 MB/s and 1,000 records/s of writes, 2 MB/s and 5 reads/s,
    /// and so on
    #[arg(long)]
    enforce_limits: bool,
    /// Keep only the newest records, up to this many bytes [default: all of the last 24 hours]
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<u64>,
    /// Time that streams and consumers stay CREATING, UPDATING or DELETING, such as 500ms
    /// [default: 0]
    #[arg(long, value_name = "TIME")]
    state_delay: Option<Span>,
    /// Answer to a read at a position that retention has deleted; AWS is known to do both
    #[arg(long, value_enum, default_value_t, value_name = "ANSWER")]
    trimmed_position: Trimmed,
    /// Duration of a subscription (enhanced fan-out)
    #[arg(long, default_value = "5m", value_name = "TIME")]
    subscription_length: Span,
    /// Region of --stream, and of requests that name none
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    region: String,
    /// Account of --stream, and of requests that name none
    #[arg(long, default_value = "000000000000", value_name = "ACCOUNT")]
    account: String,
    /// Seed of the faults that are requested over /_distributary/ (docs/LOCAL.md)
    /// [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Destination of the request log, one line per request
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    request_log: Log,
}

/// Runs `local`.
pub(crate) async fn run(args: LocalArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    // Before the address is printed: a reader of the address may stop the server at once.
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;

    let local = build(&args)?;
    create_streams(&local, &args.streams)?;
    let handle = server::serve(local.clone(), options(&args)?)
        .await
        .map_err(|error| Failure::from_error(&error))?;
    announce(&args, &handle)
        .map_err(|error| Failure::run(format!("cannot print the address: {error}")))?;

    interrupted.await;
    handle.shutdown().await;
    report_dropped(&local);
    Ok(ExitCode::SUCCESS)
}

fn options(args: &LocalArgs) -> Result<ServerOptions, Failure> {
    Ok(ServerOptions {
        listen: args.listen,
        tls: certificate(args)?,
        request_log: match args.request_log {
            Log::Stderr => RequestLog::to(screen::LogWriter),
            Log::Off => RequestLog::off(),
        },
        admin: true,
        limits: Limits::default(),
    })
}

fn report_dropped(local: &Local) {
    let dropped = local.dropped();
    if dropped.records_by_age + dropped.records_by_budget > 0 {
        screen::say(&format!(
            "retention dropped {} by age and {} to stay within --retention-bytes",
            show::records(dropped.records_by_age),
            show::records(dropped.records_by_budget),
        ));
    }
}

/// The embedded Kinesis that the flags describe, without the streams of `--stream`.
fn build(args: &LocalArgs) -> Result<Local, Failure> {
    check_account(&args.account)?;

    let builder = with_limits(Local::builder(), args)
        .region(args.region.clone())
        .account(args.account.clone())
        .subscription_length(args.subscription_length.0);
    let Some(dir) = &args.dir else {
        return Ok(builder.build());
    };

    let opened = builder.open(dir);
    opened.map_err(|error| {
        let reason = chain(&error);
        Failure::run(format!("--dir: {reason}"))
    })
}

/// Adds the flags about limits, delays and faults.
fn with_limits(builder: Builder, args: &LocalArgs) -> Builder {
    let mut builder = builder
        .enforce_limits(args.enforce_limits)
        .trimmed_position(args.trimmed_position.into());

    if let Some(delay) = args.state_delay {
        builder = builder.delays(Delays::all(delay.0));
    }
    if let Some(bytes) = args.retention_bytes {
        builder = builder.retention_bytes(bytes);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    builder
}

fn check_account(account: &str) -> Result<(), Failure> {
    if account.len() == ACCOUNT_DIGITS && account.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--account {account}: expected {ACCOUNT_DIGITS} digits"
    )))
}

fn create_streams(local: &Local, streams: &[StreamSpec]) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    if let Some(twice) = streams.iter().find(|stream| !names.insert(&stream.name)) {
        let name = &twice.name;
        return Err(Failure::usage(format!("--stream {name} is given twice")));
    }

    for stream in streams {
        create_stream(local, stream)?;
    }
    Ok(())
}

fn create_stream(local: &Local, stream: &StreamSpec) -> Result<(), Failure> {
    match local.create_stream(&stream.name, stream.shards) {
        // A directory can hold the stream of an earlier run.
        Ok(()) | Err(CreateError::Exists { .. }) => Ok(()),
        Err(error @ (CreateError::Name { .. } | CreateError::Shards { .. })) => {
            Err(Failure::usage(format!("--stream: {}", chain(&error))))
        }
    }
}

fn certificate(args: &LocalArgs) -> Result<Option<Certificate>, Failure> {
    if !args.tls {
        return Ok(None);
    }
    let certificate = Certificate::generate(&args.tls_names)
        .map_err(|error| Failure::usage(format!("--tls: {}", chain(&error))))?;

    if let Some(path) = &args.tls_cert_out {
        certificate
            .write_pem(path)
            .map_err(|error| Failure::run(format!("--tls-cert-out: {}", chain(&error))))?;
    }
    Ok(Some(certificate))
}

/// Prints the address on stdout, and instructions on stderr.
fn announce(args: &LocalArgs, handle: &Handle) -> io::Result<()> {
    let endpoint = handle.endpoint();
    screen::say(&instructions(args, &endpoint));
    if !handle.local_addr().ip().is_loopback() {
        screen::say(
            "Warning: the server is reachable from other machines and checks no credentials.",
        );
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{endpoint}")?;
    out.flush()
}

fn instructions(args: &LocalArgs, endpoint: &str) -> String {
    let streams = match &args.dir {
        Some(_) => "are kept in the directory",
        None => "are deleted then",
    };
    format!(
        "In another terminal, for any AWS SDK, the AWS CLI and this program:\n  \
         export AWS_ENDPOINT_URL={endpoint}{bundle}\n  \
         export AWS_REGION={region} AWS_DEFAULT_REGION={region}\n  \
         export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x\n\
         Health: {endpoint}/_distributary/health. A line for each request: --request-log stderr.\n\
         Ctrl-C stops the server; the streams {streams}.",
        bundle = bundle_variable(args),
        region = args.region,
    )
}

/// The variable that makes clients trust the certificate, if there is one.
fn bundle_variable(args: &LocalArgs) -> String {
    match &args.tls_cert_out {
        Some(path) => format!(" AWS_CA_BUNDLE={}", path.display()),
        None => String::new(),
    }
}

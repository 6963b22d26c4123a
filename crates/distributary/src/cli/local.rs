//! `distributary local`.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use distributary_core::text::chain;
use distributary_local::server::{
    self, Certificate, Handle, RequestLog, ServerOptions, StreamSpec,
};
use distributary_local::{CreateError, Delays, Local, TrimmedPosition};

use crate::cli::interrupt::interrupted;
use crate::config::Span;
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::show;

/// Where a line for each request goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Log {
    /// To standard error, in the style of an access log
    #[default]
    Stderr,
    /// Nowhere
    Off,
}

/// Empty pages before the oldest record, with [`Trimmed::EmptyPages`].
const EMPTY_PAGES: u8 = 10;
/// Digits of an account.
const ACCOUNT_DIGITS: usize = 12;

/// What a reader gets that asks for a place which retention has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Trimmed {
    /// An error
    #[default]
    Refuse,
    /// Some empty pages far behind, then the oldest record
    EmptyPages,
}

/// Flags of `local`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The address is printed on standard output as a URL, alone on its line, when it answers and all --stream are ACTIVE. It \
ends with SIGINT or SIGTERM, with exit code 0.

Any AWS SDK can use it: set AWS_ENDPOINT_URL to that URL, AWS_REGION to a region, and AWS_ACCESS_KEY_ID and \
AWS_SECRET_ACCESS_KEY to anything.")]
pub(crate) struct LocalArgs {
    /// Address and port; port 0 takes a free one. Nothing is checked but the form of requests: leave it on loopback
    #[arg(long, default_value = "127.0.0.1:4567", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Stream to create, such as orders:4 for four shards; may be given more than once
    #[arg(long = "stream", value_name = "NAME:SHARDS")]
    streams: Vec<StreamSpec>,
    /// Keep streams and records in this directory too: they survive a restart and a kill. Streams that are there stay as
    /// they are [default: in memory only]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Serve HTTPS, with a certificate made for this run
    #[arg(long)]
    tls: bool,
    /// Write that certificate to this file, for AWS_CA_BUNDLE
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_cert_out: Option<PathBuf>,
    /// Further name or address that the certificate is for; may be given more than once
    #[arg(long = "tls-name", value_name = "NAME", requires = "tls")]
    tls_names: Vec<String>,
    /// Throttle as AWS does: 1 MB/s and 1,000 records/s into a shard, 2 MB/s and 5 reads/s out of it, and so on
    #[arg(long)]
    enforce_limits: bool,
    /// Keep at most so many bytes of records, the newest [default: all of the last 24 hours]
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<u64>,
    /// How long streams and consumers stay CREATING, UPDATING or DELETING, such as 500ms [default: not at all]
    #[arg(long, value_name = "TIME")]
    state_delay: Option<Span>,
    /// What a reader gets that asks for a place which retention has deleted; AWS is known to do both
    #[arg(long, value_enum, default_value_t, value_name = "ANSWER")]
    trimmed_position: Trimmed,
    /// How long a subscription (enhanced fan-out) lasts
    #[arg(long, default_value = "5m", value_name = "TIME")]
    subscription_length: Span,
    /// Region of the streams above, and of requests that name none
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    region: String,
    /// Account of the streams above, and of requests that name none
    #[arg(long, default_value = "000000000000", value_name = "ACCOUNT")]
    account: String,
    /// Seed of the misbehaviour that is asked for over /_distributary/ (docs/LOCAL.md) [default: a random one]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Where a line for each request goes
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    request_log: Log,
}

/// Runs it.
pub(crate) async fn run(args: LocalArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, false);
    // Before the address is told: who reads it may end the server at once.
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;
    let local = make(&args)?;
    let certificate = certificate(&args)?;
    let options = ServerOptions {
        listen: args.listen,
        tls: certificate,
        request_log: match args.request_log {
            Log::Stderr => RequestLog::to(io::stderr()),
            Log::Off => RequestLog::off(),
        },
        admin: true,
    };
    let handle = server::serve(local.clone(), options)
        .await
        .map_err(|error| Failure::run(chain(&error)))?;
    tell(&args, &handle)
        .map_err(|error| Failure::run(format!("cannot print the address: {error}")))?;
    interrupted.await;
    handle.shutdown().await;
    let dropped = local.dropped();
    if dropped.records_by_age + dropped.records_by_budget > 0 {
        eprintln!(
            "retention dropped {} by age and {} to stay within --retention-bytes",
            show::records(dropped.records_by_age),
            show::records(dropped.records_by_budget),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn make(args: &LocalArgs) -> Result<Local, Failure> {
    if args.account.len() != ACCOUNT_DIGITS || !args.account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::usage(format!(
            "--account {}: expected {ACCOUNT_DIGITS} digits",
            args.account
        )));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = args
        .streams
        .iter()
        .find(|stream| !names.insert(&stream.name))
    {
        return Err(Failure::usage(format!(
            "--stream {} is given twice",
            twice.name
        )));
    }
    let mut builder = Local::builder()
        .region(args.region.clone())
        .account(args.account.clone())
        .enforce_limits(args.enforce_limits)
        .subscription_length(args.subscription_length.0)
        .trimmed_position(match args.trimmed_position {
            Trimmed::Refuse => TrimmedPosition::Refuse,
            Trimmed::EmptyPages => TrimmedPosition::EmptyPages(EMPTY_PAGES),
        });
    if let Some(delay) = args.state_delay {
        builder = builder.delays(Delays::all(delay.0));
    }
    if let Some(bytes) = args.retention_bytes {
        builder = builder.retention_bytes(bytes);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    let local = match &args.dir {
        Some(dir) => builder
            .open(dir)
            .map_err(|error| Failure::run(format!("--dir: {}", chain(&error))))?,
        None => builder.build(),
    };
    for StreamSpec { name, shards } in &args.streams {
        match local.create_stream(name, *shards) {
            // In memory there is none yet; in a directory it is from last time.
            Ok(()) | Err(CreateError::Exists { .. }) => {}
            Err(error @ (CreateError::Name { .. } | CreateError::Shards { .. })) => {
                return Err(Failure::usage(format!("--stream: {}", chain(&error))));
            }
        }
    }
    Ok(local)
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

/// The address on stdout; for somebody who looks on, also what to do with it, on stderr.
fn tell(args: &LocalArgs, handle: &Handle) -> io::Result<()> {
    let endpoint = handle.endpoint();
    if io::stderr().is_terminal() {
        let bundle = args
            .tls_cert_out
            .as_ref()
            .map(|path| format!(" AWS_CA_BUNDLE={}", path.display()));
        eprintln!(
            "In another terminal, for any AWS SDK, the AWS CLI and this program:\n  \
             export AWS_ENDPOINT_URL={endpoint} AWS_REGION={}{}\n  \
             export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x\n\
             Ctrl-C ends it; its streams {}.",
            args.region,
            bundle.unwrap_or_default(),
            if args.dir.is_some() {
                "stay in the directory"
            } else {
                "go with it"
            },
        );
    }
    if !handle.local_addr().ip().is_loopback() {
        eprintln!(
            "It listens beyond this machine and checks no credentials: anyone who reaches it can use it."
        );
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{endpoint}")?;
    out.flush()
}

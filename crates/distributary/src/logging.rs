//! Log lines on stderr, as text or JSON.

pub(crate) use distributary_config::LogFormat;
use tracing_subscriber::EnvFilter;

use crate::screen;

/// Starts logging, at level `info`, or at level `warn` if `quiet`. The variable `DISTRIBUTARY_LOG`
/// overrides the level, in the syntax of `RUST_LOG` (`debug`, `distributary_kinesis=trace` …).
pub(crate) fn start(format: LogFormat, quiet: bool) {
    // aws-config warns of each place without a region or credentials; the final error tells the
    // user the remedy.
    let default = if quiet {
        "warn,aws_config=error"
    } else {
        "info,aws_config=error"
    };

    let filter =
        EnvFilter::try_from_env("DISTRIBUTARY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| screen::LogWriter)
        .with_target(false);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none();

    // Fails only if logging is already started.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(ansi).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

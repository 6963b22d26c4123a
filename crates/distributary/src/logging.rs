//! Log lines on stderr, as text or JSON.

use std::io::IsTerminal;
use std::sync::OnceLock;

pub(crate) use distributary_config::LogFormat;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::screen;

/// The variable that overrides the level of each part of the program.
const VARIABLE: &str = "DISTRIBUTARY_LOG";

/// The flags of every command that change the level.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Verbosity {
    /// Log more: -v for details, -vv for every request and answer
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 1000)]
    verbose: u8,
    /// Log less: -q for warnings and errors only, -qq for errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 1000)]
    quiet: u8,
}

/// The level of the log, from the fewest lines to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level that `flags` make of this one.
    fn with(self, flags: Verbosity) -> Self {
        let at = self as usize + usize::from(flags.verbose);
        // -q is for quiet whatever the command's own level is.
        let most = match flags.quiet {
            0 => Self::Trace as usize,
            1 => Self::Warn as usize,
            _ => Self::Error as usize,
        };
        Self::ALL[at.min(most)]
    }
}

/// The flags and the variable, as the user gave both.
struct Wanted {
    flags: Verbosity,
    /// The filter of the variable.
    filter: Option<EnvFilter>,
}

static WANTED: OnceLock<Wanted> = OnceLock::new();

/// Notes the flags, and checks the variable `DISTRIBUTARY_LOG`: a level, or levels of parts, in the
/// syntax of `RUST_LOG` (`debug`, `distributary_kinesis=trace` …).
///
/// # Errors
/// The variable cannot be read; the message names the variable.
pub(crate) fn configure(flags: Verbosity) -> Result<(), Failure> {
    let text = std::env::var_os(VARIABLE).filter(|text| !text.is_empty());
    let filter = match text.map(|text| filter(&text.to_string_lossy())) {
        None => None,
        Some(Ok(filter)) => Some(filter),
        Some(Err(reason)) => return Err(Failure::usage(reason)),
    };

    // Fails only if the flags are already noted.
    let _ = WANTED.set(Wanted { flags, filter });
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(text).map_err(|error| {
        format!(
            "{VARIABLE}: {text:?} is no level ({error}); give error, warn, info, debug or trace, or \
             levels of parts, such as distributary_kinesis=debug"
        )
    })
}

/// Starts logging at `level`, unless flags or the variable say otherwise.
pub(crate) fn start(format: LogFormat, level: Level) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(effective_filter(level))
        .with_writer(|| screen::LogWriter)
        .with_target(false);

    // Fails only if logging is already started.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(has_colour()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// The filter of the variable, else of the flags, else of `level`.
fn effective_filter(level: Level) -> EnvFilter {
    let Some(wanted) = WANTED.get() else {
        return at_level(level);
    };

    match &wanted.filter {
        Some(filter) => filter.clone(),
        None => at_level(level.with(wanted.flags)),
    }
}

fn at_level(level: Level) -> EnvFilter {
    let level = level.name();
    // aws-config warns of each place without a region or credentials; the final error tells the
    // user the remedy.
    EnvFilter::new(format!("{level},aws_config=error"))
}

/// True if stderr is a terminal whose user did not forbid colours.
pub(crate) fn has_colour() -> bool {
    let is_terminal = std::io::stderr().is_terminal();
    let forbids = std::env::var_os("NO_COLOR");

    is_terminal && forbids.is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_raise_and_lower_the_level() {
        for (level, verbose, quiet, expected) in [
            (Level::Info, 0, 0, "info"),
            (Level::Info, 1, 0, "debug"),
            (Level::Warn, 1, 0, "info"),
            (Level::Info, 9, 0, "trace"),
            (Level::Info, 0, 1, "warn"),
            (Level::Warn, 0, 2, "error"),
        ] {
            let flags = Verbosity { verbose, quiet };
            assert_eq!(level.with(flags).name(), expected);
        }
    }

    #[test]
    fn a_wrong_level_is_blamed_on_the_variable() {
        assert!(filter("distributary_kinesis=trace,warn").is_ok());
        let reason = filter("loud=very").unwrap_err();
        assert!(
            reason.starts_with("DISTRIBUTARY_LOG: \"loud=very\""),
            "{reason}"
        );
    }
}

//! `distributary filter`: event patterns, tried on records.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_filter::{Decision, Filter};

use crate::failure::Failure;

/// Flags of `filter`.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    #[command(subcommand)]
    command: FilterCommand,
}

#[derive(Debug, clap::Subcommand)]
enum FilterCommand {
    /// Check patterns, and print for each record whether one of them matches
    Test(TestArgs),
}

/// Flags of `filter test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line of the records is the data of one record. Output: match, no or not-json for each line; \
not-json says that a pattern names members of the data, and that the data is no JSON object.

Exit code: 0 done, 1 the records could not be read, 2 a pattern is not valid.")]
struct TestArgs {
    /// An event pattern, such as {"data": {"state": ["open"]}}; up to five, one has to match
    #[arg(long = "pattern", value_name = "FILE", required = true)]
    patterns: Vec<PathBuf>,
    /// The records, one a line; - for standard input. Without them, the patterns are only checked
    #[arg(value_name = "EVENTS.jsonl")]
    records: Option<PathBuf>,
}

/// Runs `distributary filter`.
pub(crate) fn run(args: FilterArgs) -> Result<ExitCode, Failure> {
    let FilterCommand::Test(args) = args.command;
    let filter = compile(&args.patterns)?;
    if let Some(records) = &args.records {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let tried = try_all(&filter, open(records)?, &mut stdout);
        tried
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::from_error(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compile(files: &[PathBuf]) -> Result<Filter, Failure> {
    let mut patterns = Vec::new();
    for file in files {
        let text = read(file)?;
        // The place of a defect is named with the file.
        if let Err(bad) = Filter::compile(&[&text]) {
            let place = file.display();
            let message = format!("{place}: {bad}");
            return Err(Failure::usage(message));
        }
        patterns.push(text);
    }

    let filter = Filter::compile(&patterns);
    filter.map_err(|bad| {
        let message = bad.to_string();
        Failure::usage(message)
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        let message = cannot_read(file, &error);
        Failure::usage(message)
    })
}

fn cannot_read(file: &Path, error: &io::Error) -> String {
    let file = file.display();
    format!("cannot read {file}: {error}")
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        let stdin = io::stdin();
        return Ok(Box::new(BufReader::new(stdin)));
    }

    let file = File::open(path).map_err(|error| {
        let message = cannot_read(path, &error);
        Failure::run(message)
    })?;
    Ok(Box::new(BufReader::new(file)))
}

fn try_all(filter: &Filter, mut from: impl BufRead, to: &mut dyn Write) -> io::Result<()> {
    /// Bytes of one line at most, so that a file without lines takes no endless memory.
    const LINE_MAX: u64 = 16 << 20;

    let mut line = Vec::new();
    loop {
        line.clear();
        let read = from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 == LINE_MAX && line.last() != Some(&b'\n') {
            return Err(io::Error::other("a line has more than 16 MiB"));
        }

        let data = line.strip_suffix(b"\n").unwrap_or(&line);
        let word = match filter.decide_data(data) {
            Decision::Match => "match",
            Decision::No => "no",
            Decision::NotJson => "not-json",
        };
        writeln!(to, "{word}")?;
    }
}

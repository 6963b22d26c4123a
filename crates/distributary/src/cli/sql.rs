//! `distributary sql`: applications of Kinesis Data Analytics, checked and run on files.

mod import;
mod infer;
mod query;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use distributary_sql::{Application, CompileErrors, Program, harness};

use crate::failure::Failure;
use crate::screen;

/// Exit code of an application that does not compile.
const NOT_COMPILED: u8 = 2;

/// Flags of `sql`.
#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    #[command(subcommand)]
    command: SqlCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SqlCommand {
    /// Compile an application and list its streams, pumps and outputs
    Check(AppArgs),
    /// Run an application on a file of records, without AWS and without a clock
    Test(TestArgs),
    /// Print a configuration that runs an application of Kinesis Data Analytics
    Import(import::ImportArgs),
    /// Print a schema that reads the first records of a stream
    Infer(infer::InferArgs),
    /// Print the rows of a query over a live stream
    Query(query::QueryArgs),
}

/// The application.
#[derive(Debug, clap::Args)]
struct AppArgs {
    /// The application: AWS's JSON (create- or describe-application), or SQL with --schema
    #[arg(long, value_name = "FILE")]
    app: PathBuf,
    /// The InputSchema of an application in SQL, as JSON
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The contents of a reference table
    #[arg(long, value_name = "TABLE=FILE", value_parser = reference)]
    reference: Vec<(String, PathBuf)>,
}

/// Flags of `sql test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line of the input is an envelope {\"t\": ms, \"data\": \"text\" | \"json\": any | \"hex\": \"…\", \
\"key\"?, \"seq\"?, \"shard\"?} or {\"bound\": ms}; any other line is a record itself, one \
millisecond after the one before. Only rows and bounds move time; the end of the input closes no \
window.

Output: STREAM, a tab and JSON for each row, in order of emission.

Exit code: 0 done, 1 the test could not be run to its end, 2 the application does not compile.")]
struct TestArgs {
    #[command(flatten)]
    app: AppArgs,
    /// The records, one a line
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
}

/// Runs `distributary sql`.
pub(crate) async fn run(args: SqlArgs) -> Result<ExitCode, Failure> {
    match args.command {
        SqlCommand::Check(app) => run_offline(&app, None),
        SqlCommand::Test(test) => run_offline(&test.app, Some(&test.input)),
        SqlCommand::Import(args) => import::run(&args),
        SqlCommand::Infer(args) => infer::run(args).await,
        SqlCommand::Query(args) => query::run(args).await,
    }
}

/// Checks an application, or runs it on the records in the file `input`.
fn run_offline(app: &AppArgs, input: Option<&Path>) -> Result<ExitCode, Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let program = match compile(app)? {
        Ok(program) => program,
        Err(errors) => return Ok(not_compiled(&errors)),
    };

    match input {
        Some(input) => run_test(program, input, &mut stdout)?,
        None => summarize(&program, &mut stdout)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn summarize(program: &Program, stdout: &mut dyn Write) -> Result<(), Failure> {
    harness::write_summary(program, stdout)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::from_error(&error))
}

fn run_test(program: Program, input: &Path, stdout: &mut dyn Write) -> Result<(), Failure> {
    let input = read(input)?;
    let result = harness::run_test(&Arc::new(program), &input, stdout);

    // Rows before a failure are shown as well.
    let flushed = stdout.flush();
    result.map_err(|error| Failure::from_error(&error))?;
    flushed.map_err(|error| Failure::from_error(&error))
}

fn not_compiled(errors: &CompileErrors) -> ExitCode {
    screen::say(&errors.to_string());
    ExitCode::from(NOT_COMPILED)
}

fn compile(args: &AppArgs) -> Result<Result<Program, CompileErrors>, Failure> {
    let contents = read_text(&args.app)?;
    let schema = args.schema.as_deref().map(read_text).transpose()?;
    let is_json = has_extension(&args.app, "json");
    let application = Application::from_file(is_json, &contents, schema.as_deref());

    let mut application = match application {
        Ok(application) => application,
        Err(errors) => return Ok(Err(errors)),
    };
    set_references(&mut application, args)?;
    for note in &application.notes {
        screen::say(&format!("note: {note}"));
    }
    Ok(Program::compile(&application))
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Puts the contents of the flags in place, and tells which tables stay empty.
fn set_references(application: &mut Application, args: &AppArgs) -> Result<(), Failure> {
    for (table, file) in &args.reference {
        let contents = read(file)?;
        application
            .set_reference(table, contents.into())
            .map_err(Failure::usage)?;
    }

    for table in &application.references {
        if table.contents.is_empty() {
            let name = &table.name;
            screen::say(&format!(
                "note: the table \"{name}\" is empty; give --reference {name}=FILE"
            ));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::usage(format!("can't read {}: {error}", path.display())))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8", path.display())))
}

/// `TABLE=FILE`
fn reference(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((table, file)) if !table.is_empty() => Ok((table.to_owned(), file.into())),
        _ => Err("expected TABLE=FILE".to_owned()),
    }
}

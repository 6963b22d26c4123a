//! `cargo run -p xtask -- tidy`: checks of the repository itself.
//!
//! Exit code 0 if every rule holds, 1 if not (each finding on a line), 2 if the check failed.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use xtask::tidy::{self, Report};

const USAGE: &str = "usage: cargo run -p xtask -- tidy [--crate NAME]";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();

    let checked = match args.as_slice() {
        ["tidy"] => tidy::check(&root),
        ["tidy", "--crate", name] => tidy::check_crate(&root, name),
        _ => return failed(USAGE),
    };

    match checked {
        Ok(report) => print(report),
        Err(e) => failed(&format!("tidy failed to run: {e}")),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

fn print(report: Report) -> ExitCode {
    let findings = report.findings.len();
    let notes = report.notes.len();
    let summary = format!("tidy: {findings} findings, {notes} notes\n");

    let mut lines = report.table;
    for note in report.notes {
        lines.push(format!("note: {note}"));
    }
    lines.extend(report.findings);
    lines.push(summary);

    // A reader such as `head` can close the pipe early; the exit code is the same.
    let _ = std::io::stdout().write_all(lines.join("\n").as_bytes());
    if findings == 0 {
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

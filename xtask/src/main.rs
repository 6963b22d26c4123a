//! `cargo run -p xtask -- tidy`: checks on the repository itself.
//!
//! Exit code 0 if it is tidy, 1 if not (each finding on a line of its own), 2 if it couldn't look.

use std::path::Path;
use std::process::ExitCode;

use xtask::tidy;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args != ["tidy"] {
        eprintln!("usage: cargo run -p xtask -- tidy");
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match tidy::check(&root) {
        Ok(report) => {
            for note in &report.notes {
                println!("note: {note}");
            }
            for finding in &report.findings {
                println!("{finding}");
            }
            println!(
                "tidy: {} findings, {} notes",
                report.findings.len(),
                report.notes.len()
            );
            ExitCode::from(u8::from(!report.findings.is_empty()))
        }
        Err(e) => {
            eprintln!("tidy couldn't look: {e}");
            ExitCode::from(2)
        }
    }
}

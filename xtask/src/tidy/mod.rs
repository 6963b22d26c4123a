//! Rules for the repository as a whole: directions of dependencies, readability of production code
//! measured in tokens and words, no path of one machine, no broken link.

mod directions;
mod figures;
mod lex;
mod links;
mod machine_paths;
mod measures;
mod readability;
mod source;
mod syntax;
mod words;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The outcome of the checks.
#[derive(Debug, Default)]
pub struct Report {
    /// Breaches of the rules, each to be fixed: `file: reason`.
    pub findings: Vec<String>,
    /// Worth knowing: files on the way to being too long.
    pub notes: Vec<String>,
    /// Lines of the table of measures, and the longest files or functions.
    pub table: Vec<String>,
}

/// Runs every check on the repository at `root`.
///
/// # Errors
/// When `git` or `cargo metadata` fails, or a tracked file can't be read.
pub fn check(root: &Path) -> Result<Report, Box<dyn Error>> {
    let root = root.canonicalize()?;
    let tracked = tracked(&root)?;
    let mut report = Report::default();

    directions::check(&metadata(&root)?, &mut report.findings);
    for path in &tracked {
        texts(&root, path, &mut report.findings);
    }
    readability::check(&root, &tracked, &mut report)?;
    Ok(report)
}

/// Measures the readability of one crate, named by folder or package, with no exceptions.
///
/// # Errors
/// When `git` fails, a tracked file can't be read, or there is no such crate.
pub fn check_crate(root: &Path, name: &str) -> Result<Report, Box<dyn Error>> {
    let root = root.canonicalize()?;
    let tracked = tracked(&root)?;
    readability::check_crate(&root, &tracked, name)
}

/// Checks one file of any kind. A file that is deleted but not committed, or that is not text (a
/// recorded answer, an image), has nothing to check.
fn texts(root: &Path, path: &Path, findings: &mut Vec<String>) {
    let full = root.join(path);
    let Ok(text) = std::fs::read_to_string(full) else {
        return;
    };

    let name = path.to_string_lossy();
    machine_paths::check(&name, &text, findings);
    if name.ends_with(".md") {
        links::check(root, path, &text, findings);
    }
}

fn run(root: &Path, program: &str, args: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()?;

    if !output.status.success() {
        let command = args.join(" ");
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {command}: {reason}").into());
    }
    Ok(output.stdout)
}

fn metadata(root: &Path) -> Result<Value, Box<dyn Error>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["metadata", "--format-version=1", "--no-deps"];
    let answer = run(root, &cargo, &args)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// The files of the repository, new ones that are not added yet among them.
fn tracked(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let args = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let answer = run(root, "git", &args)?;
    let names = String::from_utf8(answer)?;

    let paths = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from);
    Ok(paths.collect())
}

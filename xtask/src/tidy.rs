//! What holds for the repository as a whole: who may depend on whom, how long a file may be, no path of one machine, no
//! link that leads nowhere.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// More lines of production code than this in one file is reported …
const LONG_FILE: usize = 800;
/// … and more than this is refused.
const TOO_LONG_FILE: usize = 1_000;

/// Who may depend on whom (ARCHITECTURE.md), normal, build and dev dependencies alike. A crate that is not in this list
/// may depend on nothing of ours, so that a new one is a decision.
const ALLOWED: &[(&str, &[&str])] = &[
    ("distributary-wire", &[]),
    ("distributary-core", &[]),
    (
        "distributary-kinesis",
        &["distributary-wire", "distributary-core"],
    ),
    ("distributary-local", &["distributary-wire"]),
    ("distributary-sql", &["distributary-core"]),
    (
        "distributary-adapters",
        &["distributary-core", "distributary-kinesis"],
    ),
    (
        "distributary-lambda",
        &[
            "distributary-core",
            "distributary-kinesis",
            "distributary-adapters",
        ],
    ),
    (
        "distributary-sim",
        &[
            "distributary-core",
            "distributary-kinesis",
            "distributary-local",
            "distributary-wire",
        ],
    ),
    (
        "distributary",
        &[
            "distributary-adapters",
            "distributary-core",
            "distributary-kinesis",
            "distributary-local",
            "distributary-sql",
            "distributary-wire",
        ],
    ),
    ("xtask", &[]),
];

/// Paths that exist on one machine only. Written in two parts, or this file would be the first finding.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/t/"),
    concat!("/tm", "p/brief"),
];

/// What the checks found.
#[derive(Debug, Default)]
pub struct Report {
    /// Must be mended: `file: what is wrong`.
    pub findings: Vec<String>,
    /// Worth knowing: files on their way to being too long.
    pub notes: Vec<String>,
}

/// Runs every check on the repository at `root`.
///
/// # Errors
/// When `git` or `cargo metadata` fails, or a tracked file can't be read.
pub fn check(root: &Path) -> Result<Report, Box<dyn Error>> {
    let root = root.canonicalize()?;
    let mut report = Report::default();
    directions(&metadata(&root)?, &mut report.findings);
    for path in tracked(&root)? {
        let full = root.join(&path);
        // Deleted but not yet committed, or not text (a recorded answer, an image): nothing to look at.
        let Some(text) = std::fs::read(&full)
            .ok()
            .and_then(|b| String::from_utf8(b).ok())
        else {
            continue;
        };
        let name = path.to_string_lossy();
        machine_paths(&name, &text, &mut report.findings);
        match path.extension().and_then(|e| e.to_str()) {
            Some("rs") => file_size(&name, &text, &mut report),
            Some("md") => links(&root, &path, &text, &mut report.findings),
            _ => {}
        }
    }
    Ok(report)
}

fn run(root: &Path, program: &str, args: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(output.stdout)
}

fn metadata(root: &Path) -> Result<Value, Box<dyn Error>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Ok(serde_json::from_slice(&run(
        root,
        &cargo,
        &["metadata", "--format-version=1", "--no-deps"],
    )?)?)
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let names = run(root, "git", &["ls-files", "-z"])?;
    Ok(String::from_utf8(names)?
        .split('\0')
        .filter(|n| !n.is_empty())
        .map(PathBuf::from)
        .collect())
}

/// Every dependency of one of our crates on another stands in [`ALLOWED`].
fn directions(metadata: &Value, findings: &mut Vec<String>) {
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let name_of = |v: &Value| v["name"].as_str().unwrap_or_default().to_owned();
    let ours: Vec<String> = packages.iter().map(name_of).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    if ours.is_empty() {
        findings.push("cargo metadata: no packages".to_owned());
    }
    for package in packages {
        let name = name_of(package);
        let Some(may) = allowed.get(name.as_str()) else {
            findings.push(format!(
                "{name}: a crate that xtask/src/tidy.rs doesn't know; say what it may depend on"
            ));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let on = name_of(dependency);
            if ours.contains(&on) && on != name && !may.contains(&on.as_str()) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                findings.push(format!(
                    "{name}: may not depend on {on} ({kind} dependency)"
                ));
            }
        }
    }
}

/// The lines of a file before its tests: those from a `#[cfg(test)]` that opens a module to the end don't count.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|w| w[0].trim() == "#[cfg(test)]" && w[1].trim_start().starts_with("mod "));
    tests.unwrap_or(lines.len())
}

fn file_size(name: &str, text: &str, report: &mut Report) {
    let in_tests = Path::new(name)
        .components()
        .any(|c| c.as_os_str() == "tests");
    let lines = production_lines(text);
    if in_tests || lines <= LONG_FILE {
        return;
    }
    let message = format!(
        "{name}: {lines} lines of production code (aim for {LONG_FILE}, at most {TOO_LONG_FILE})"
    );
    if lines > TOO_LONG_FILE {
        report.findings.push(message)
    } else {
        report.notes.push(message)
    }
}

fn machine_paths(name: &str, text: &str, findings: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|p| line.contains(**p)) {
            findings.push(format!(
                "{name}:{}: names {path}, a path of one machine",
                number + 1
            ));
        }
    }
}

/// Each `[text](target)` outside code blocks whose target is a path leads to a file of the repository; a `#part` of a
/// Markdown file to one of its headings.
fn links(root: &Path, path: &Path, text: &str, findings: &mut Vec<String>) {
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            if let Some(why) = broken(root, path, text, target) {
                findings.push(format!(
                    "{}:{}: link to {target}: {why}",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
}

/// The link targets of one line, those inside `code` left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let outside_code = line.split('`').step_by(2);
    for part in outside_code {
        let mut rest = part;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, further)) = after.split_once(')') else {
                break;
            };
            found.push(target.split_whitespace().next().unwrap_or(""));
            rest = further;
        }
    }
    found
}

fn broken(root: &Path, from: &Path, text: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, part) = target.split_once('#').unwrap_or((target, ""));
    if file.is_empty() {
        return (!has_heading(text, part)).then_some("no such heading");
    }
    let relative = from.parent().unwrap_or(Path::new("")).join(file);
    let Some(clean) = inside(&relative) else {
        return Some("outside the repository");
    };
    let full = root.join(clean);
    if !full.exists() {
        return Some("no such file");
    }
    if part.is_empty() || full.extension().is_none_or(|e| e != "md") {
        return None;
    }
    let there = std::fs::read_to_string(full).unwrap_or_default();
    (!has_heading(&there, part)).then_some("no such heading")
}

/// The path without `.` and `..`, or none if it leaves the root.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(c) => clean.push(c),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Whether one of the headings gets this anchor: lower case, spaces to hyphens, punctuation dropped.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let letters = heading
            .trim_start_matches('#')
            .trim()
            .chars()
            .flat_map(char::to_lowercase);
        letters
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    text.lines()
        .filter(|l| l.starts_with('#'))
        .any(|l| slug(l) == anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, on: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = on
            .iter()
            .map(|(n, k)| serde_json::json!({"name": n, "kind": k}))
            .collect();
        serde_json::json!({"name": name, "dependencies": dependencies})
    }

    fn found(packages: &[Value]) -> Vec<String> {
        let mut findings = Vec::new();
        directions(&serde_json::json!({ "packages": packages }), &mut findings);
        findings
    }

    #[test]
    fn kinesis_and_local_may_not_know_each_other_not_even_in_tests() {
        let local = package("distributary-local", &[("serde", None)]);
        let kinesis = package(
            "distributary-kinesis",
            &[("distributary-local", Some("dev"))],
        );
        let findings = found(&[local, kinesis]);
        assert_eq!(
            findings,
            ["distributary-kinesis: may not depend on distributary-local (dev dependency)"]
        );
    }

    #[test]
    fn nothing_may_depend_on_the_binary() {
        for (name, _) in ALLOWED.iter().filter(|(n, _)| *n != "distributary") {
            let findings = found(&[
                package("distributary", &[]),
                package(name, &[("distributary", None)]),
            ]);
            assert_eq!(findings.len(), 1, "{name}: {findings:?}");
        }
    }

    #[test]
    fn a_crate_that_nobody_decided_on_is_a_finding() {
        assert_eq!(found(&[package("distributary-new", &[])]).len(), 1);
        assert_eq!(found(&[]).len(), 1, "no packages at all is not tidy either");
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let code = "fn a() {}\n".repeat(TOO_LONG_FILE);
        let with_tests = format!(
            "{code}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// test\n".repeat(500)
        );
        let mut report = Report::default();
        file_size("crates/x/src/lib.rs", &with_tests, &mut report);
        assert_eq!((report.findings.len(), report.notes.len()), (0, 1));
        file_size(
            "crates/x/src/lib.rs",
            &format!("fn b() {{}}\n{with_tests}"),
            &mut report,
        );
        assert_eq!((report.findings.len(), report.notes.len()), (1, 1));
        file_size("crates/x/tests/it/main.rs", &code.repeat(3), &mut report);
        assert_eq!(report.findings.len(), 1);
    }

    #[test]
    fn links_lead_to_files_and_headings() -> Result<(), Box<dyn Error>> {
        let root = std::env::temp_dir().join(format!("tidy-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(root.join("docs/B.md"), "# The `one` heading, it is\n")?;
        let text = "[a](B.md) [b](B.md#the-one-heading-it-is) [c](../docs/B.md) [d](https://example.com/x.md) `[e](no.md)`\n\
                    [f](no.md) [g](B.md#other) [h](../../B.md) [i](#nowhere)\n```\n[j](no.md)\n```\n";
        let mut findings = Vec::new();
        links(&root, Path::new("docs/A.md"), text, &mut findings);
        std::fs::remove_dir_all(&root)?;
        let why: Vec<&str> = findings
            .iter()
            .filter_map(|f| f.rsplit(": ").next())
            .collect();
        assert_eq!(
            why,
            [
                "no such file",
                "no such heading",
                "outside the repository",
                "no such heading"
            ]
        );
        Ok(())
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let mut findings = Vec::new();
        for path in MACHINE_PATHS {
            machine_paths("x.sh", &format!("one\ncd {path}x\n"), &mut findings);
        }
        assert_eq!(findings.len(), MACHINE_PATHS.len());
        assert!(findings[0].starts_with("x.sh:2: "), "{findings:?}");
    }
}

//! Readability of all crates: loads the sources, measures each crate and judges by the limits.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use super::measures::Measures;
use super::source::{self, Source};
use super::{Report, figures};

/// Crates, by folder, that do not hold the limits yet. The list can only shrink: a crate that
/// holds the limits has to leave. The whole is judged as soon as the list is empty.
const NOT_YET: &[&str] = &["lambda", "sim"];

/// The name of the table's last row.
const WHOLE: &str = "whole";

/// Measures every crate.
///
/// # Errors
/// When a production file can't be read or is not Rust.
pub(super) fn check(
    root: &Path,
    tracked: &[PathBuf],
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let measured = measure(root, tracked, |_| true)?;
    let mut whole = Measures::default();
    report.table.push(figures::head());

    for (name, measures) in &measured {
        whole.include(measures);
        add_crate(name, measures, report);
    }

    let findings = findings_of_whole(&measured, &whole);
    report.findings.extend(findings);
    report.table.push(figures::row(WHOLE, &whole));
    report.table.extend(whole.longest_files());
    Ok(())
}

fn add_crate(name: &str, measures: &Measures, report: &mut Report) {
    report.table.push(figures::row(name, measures));
    report.notes.extend(measures.notes());

    let not_yet = NOT_YET.contains(&name);
    let findings = judged(name, not_yet, measures.findings(name));
    report.findings.extend(findings);
}

/// Exceptions for crates that don't exist; without exceptions, the limits of the whole.
fn findings_of_whole(measured: &BTreeMap<String, Measures>, whole: &Measures) -> Vec<String> {
    if NOT_YET.is_empty() {
        return figures::findings(WHOLE, whole);
    }

    NOT_YET
        .iter()
        .filter(|name| !measured.contains_key(**name))
        .map(|name| leave(name))
        .collect()
}

/// Measures one crate, named by folder or package. The list of exceptions doesn't count.
///
/// # Errors
/// When a production file can't be read or is not Rust, or there is no such crate.
pub(super) fn check_crate(
    root: &Path,
    tracked: &[PathBuf],
    name: &str,
) -> Result<Report, Box<dyn Error>> {
    let name = name.strip_prefix("distributary-").unwrap_or(name);
    let measured = measure(root, tracked, |folder| folder == name)?;
    let Some(measures) = measured.get(name) else {
        return Err(format!("no crate {name}; name the folder, as in crates/{name}/src").into());
    };

    let mut report = Report::default();
    report.table.push(figures::head());
    report.table.push(figures::row(name, measures));
    report.table.extend(measures.worst_functions());
    report.table.extend(measures.longest_files());

    report.findings = measures.findings(name);
    report.notes = measures.notes();
    Ok(report)
}

fn measure(
    root: &Path,
    tracked: &[PathBuf],
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Measures>, Box<dyn Error>> {
    let mut crates: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for path in tracked {
        let folder = source::crate_of(path);
        let Some(folder) = folder.filter(|folder| wanted(folder)) else {
            continue;
        };

        // A file that is deleted but still tracked has nothing to measure.
        let full = root.join(path);
        if full.exists() {
            let text = std::fs::read_to_string(full)?;
            let source = Source::parse(path.clone(), text)?;
            crates.entry(folder).or_default().push(source);
        }
    }

    let mut measured = BTreeMap::new();
    for (folder, sources) in crates {
        let production = source::without_test_modules(sources);
        measured.insert(folder, Measures::of(production));
    }
    Ok(measured)
}

/// The findings of a crate that count: all of them, or for a crate that may breach the limits only
/// that there are none.
fn judged(name: &str, not_yet: bool, findings: Vec<String>) -> Vec<String> {
    match (not_yet, findings.is_empty()) {
        (true, true) => vec![leave(name)],
        (true, false) => Vec::new(),
        (false, _) => findings,
    }
}

fn leave(name: &str) -> String {
    format!("xtask/src/tidy/readability.rs: remove {name} from NOT_YET")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_exceptions_can_only_shrink() {
        let finding = || vec!["sample: a finding".to_owned()];
        assert_eq!(judged("sample", false, finding()), finding());
        assert!(judged("sample", false, Vec::new()).is_empty());
        assert!(judged("sample", true, finding()).is_empty());

        let leaves = judged("sample", true, Vec::new());
        assert_eq!(leaves.len(), 1);
        assert!(
            leaves[0].ends_with("remove sample from NOT_YET"),
            "{leaves:?}"
        );
    }
}

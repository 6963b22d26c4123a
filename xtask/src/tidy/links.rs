//! Links in Markdown files lead to files and headings of the repository.

use std::path::{Component, Path, PathBuf};

/// Each `[text](target)` outside code blocks with a path as target leads to a file of the
/// repository; a `#part` of a Markdown file leads to a heading there.
pub(super) fn check(root: &Path, path: &Path, text: &str, findings: &mut Vec<String>) {
    let mut fenced = false;

    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }

        for target in targets(line) {
            if let Some(reason) = broken(root, path, text, target) {
                let place = format!("{}:{}", path.display(), index + 1);
                findings.push(format!("{place}: link to {target}: {reason}"));
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

/// The path without `.` and `..`; none for a path outside the root.
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

/// Whether a heading gets this anchor: lower case, spaces to hyphens, punctuation dropped.
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
    use std::error::Error;

    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() -> Result<(), Box<dyn Error>> {
        let root = std::env::temp_dir().join(format!("tidy-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(root.join("docs/B.md"), "# The `one` heading, it is\n")?;
        let text = "[a](B.md) [b](B.md#the-one-heading-it-is) [c](../docs/B.md) [d](https://example.com/x.md) `[e](no.md)`\n\
                    [f](no.md) [g](B.md#other) [h](../../B.md) [i](#nowhere)\n```\n[j](no.md)\n```\n";
        let mut findings = Vec::new();
        check(&root, Path::new("docs/A.md"), text, &mut findings);
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
}

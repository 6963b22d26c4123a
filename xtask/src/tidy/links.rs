//! Links in Markdown files lead to files and headings of the repository.

use std::path::{Component, Path, PathBuf};

/// Each `[text](target)` outside code blocks with a path as target leads to a file of the
/// repository; a `#part` of a Markdown file leads to a heading there.
pub(super) fn check(root: &Path, path: &Path, text: &str, findings: &mut Vec<String>) {
    let page = Page { root, path, text };
    let mut fenced = false;

    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if !fenced {
            page.check_line(index + 1, line, findings);
        }
    }
}

/// The link targets of one line, without targets inside `code`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let outside_code = line.split('`').step_by(2);

    for part in outside_code {
        let mut rest = part;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, further)) = after.split_once(')') else {
                break;
            };

            let address = target.split_whitespace().next();
            found.push(address.unwrap_or_default());
            rest = further;
        }
    }
    found
}

/// A Markdown file.
struct Page<'a> {
    root: &'a Path,
    /// From the root of the repository.
    path: &'a Path,
    text: &'a str,
}

impl Page<'_> {
    fn check_line(&self, number: usize, line: &str, findings: &mut Vec<String>) {
        let path = self.path.display();
        for target in targets(line) {
            if let Some(reason) = self.broken(target) {
                findings.push(format!("{path}:{number}: link to {target}: {reason}"));
            }
        }
    }

    fn broken(&self, target: &str) -> Option<&'static str> {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }

        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        if file.is_empty() {
            return missing_heading(self.text, heading);
        }

        let folder = self.path.parent().unwrap_or(Path::new(""));
        let Some(inside) = inside(&folder.join(file)) else {
            return Some("outside the repository");
        };

        let full = self.root.join(inside);
        if !full.exists() {
            return Some("no such file");
        }
        if heading.is_empty() || full.extension().is_none_or(|e| e != "md") {
            return None;
        }

        let text = std::fs::read_to_string(full).unwrap_or_default();
        missing_heading(&text, heading)
    }
}

/// The path without `.` and `..`; none for a path outside the root.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();

    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
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

fn missing_heading(text: &str, anchor: &str) -> Option<&'static str> {
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    if headings.any(|heading| anchor_of(heading) == anchor) {
        return None;
    }
    Some("no such heading")
}

/// The anchor of a heading: lower case, spaces to hyphens, punctuation dropped.
fn anchor_of(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
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

//! Globs: `*` stands for any run of characters, `?` for one character.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A pattern over a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Step>);

/// One step of a glob or a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This character.
    One(char),
    /// Any one character.
    Any,
    /// Any run of characters, none included.
    Run,
}

impl Glob {
    /// True if the glob stands for all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }
}

impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let step = |c| match c {
            '*' => Step::Run,
            '?' => Step::Any,
            other => Step::One(other),
        };
        Ok(Self(text.chars().map(step).collect()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::One(c) => write!(f, "{c}")?,
                Step::Any => f.write_str("?")?,
                Step::Run => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

/// True if `steps` stand for all of `text`. Takes time in proportion to both lengths multiplied, at
/// most: only the last run is tried again with more characters.
pub(crate) fn matches(steps: &[Step], text: &str) -> bool {
    let (mut step, mut rest) = (0, text);
    let mut last_run: Option<(usize, &str)> = None;

    loop {
        if steps.get(step) == Some(&Step::Run) {
            step += 1;
            last_run = Some((step, rest));
            continue;
        }

        match take(steps.get(step), rest) {
            Taken::All => return true,
            Taken::One(after) => {
                step += 1;
                rest = after;
            }
            Taken::No => {
                let Some((behind, from)) = last_run else {
                    return false;
                };
                let Some(shorter) = without_first(from) else {
                    return false;
                };

                last_run = Some((behind, shorter));
                step = behind;
                rest = shorter;
            }
        }
    }
}

/// The result of a step over the beginning of a text.
enum Taken<'a> {
    /// No step is left, and no text.
    All,
    /// The step stands for one character; the rest follows.
    One(&'a str),
    /// The step does not stand for the beginning.
    No,
}

/// A step that is no run.
fn take<'a>(step: Option<&Step>, text: &'a str) -> Taken<'a> {
    let Some(step) = step else {
        return if text.is_empty() {
            Taken::All
        } else {
            Taken::No
        };
    };

    let mut rest = text.chars();
    let Some(first) = rest.next() else {
        return Taken::No;
    };
    match step {
        Step::One(wanted) if *wanted != first => Taken::No,
        _ => Taken::One(rest.as_str()),
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut rest = text.chars();
    rest.next()?;
    Some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(glob: &str, text: &str) -> bool {
        let glob: Glob = glob.parse().unwrap_or_else(|never| match never {});
        glob.matches(text)
    }

    #[test]
    fn globs_stand_for_whole_texts() {
        for (glob, text) in [
            ("*", ""),
            ("eu-*", "eu-west"),
            ("*-1", "a-1-1"),
            ("a*b*c", "aXbYbZc"),
            ("?", "é"),
            ("a**b", "ab"),
        ] {
            assert!(does(glob, text), "{glob} {text}");
        }
        for (glob, text) in [("eu-*", "us-eu-"), ("?", ""), ("a*b", "abc"), ("", "a")] {
            assert!(!does(glob, text), "{glob} {text}");
        }
    }
}

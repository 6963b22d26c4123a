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
        let mut after = rest.chars();
        let taken = match (steps.get(step), after.next()) {
            (None, None) => return true,
            (Some(Step::Run), _) => {
                last_run = Some((step + 1, rest));
                step += 1;
                continue;
            }
            (Some(Step::Any), Some(_)) => true,
            (Some(Step::One(wanted)), Some(c)) => *wanted == c,
            (None, Some(_)) | (Some(_), None) => false,
        };

        if taken {
            (step, rest) = (step + 1, after.as_str());
            continue;
        }
        let Some((behind, from)) = last_run else {
            return false;
        };
        let mut longer = from.chars();
        if longer.next().is_none() {
            return false;
        }
        last_run = Some((behind, longer.as_str()));
        (step, rest) = (behind, longer.as_str());
    }
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

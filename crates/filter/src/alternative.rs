//! The alternatives of a leaf, and the values that they match.

use std::net::IpAddr;

use crate::address::{Range, address_of};
use crate::glob::{Step, matches};
use crate::number::comparable;

/// One alternative of a leaf of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Alternative {
    /// A text, but for the case.
    Text(TextTest),
    /// An IP address in any spelling.
    Address(IpAddr),
    /// An address within a block.
    Cidr(Range),
    /// `true`, `false` or `null`.
    Word(Word),
    /// A number.
    Number(Number),
    /// A number within bounds.
    Numeric(Bounds),
    /// Any value that passes none of these tests.
    AnythingBut(Vec<TextTest>),
    /// Any value that is none of these numbers.
    AnythingButNumbers(Vec<f64>),
    /// Any value.
    Exists,
    /// No value.
    Absent,
}

/// A test of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextTest {
    Exactly(String),
    Prefix(String),
    Suffix(String),
    IgnoringCase(IgnoringCase),
    PrefixIgnoringCase(IgnoringCase),
    SuffixIgnoringCase(IgnoringCase),
    Wildcard(Vec<Step>),
}

/// The words of JSON that are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    True,
    False,
    Null,
}

/// A number of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    written: String,
    double: Option<f64>,
}

/// Bounds of `numeric`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: Bound,
    pub(crate) high: Bound,
}

/// One end of [`Bounds`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    None,
    Inclusive(f64),
    Exclusive(f64),
}

/// A value of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(std::borrow::Cow<'a, str>),
    /// As written.
    Number(&'a str),
    Word(Word),
}

impl Alternative {
    /// True if the alternative matches a value that is there.
    pub(crate) fn matches(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Exists => true,
            Self::Absent => false,
            Self::AnythingBut(_) | Self::AnythingButNumbers(_) => !self.excludes(value),
            _ => match value {
                Value::Text(text) => self.matches_text(text),
                Value::Number(written) => self.matches_number(written),
                Value::Word(word) => *self == Self::Word(*word),
            },
        }
    }

    /// True if the value is one of the exceptions.
    fn excludes(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::AnythingBut(tests), Value::Text(text)) => {
                tests.iter().any(|test| test.passes(text))
            }
            (Self::AnythingButNumbers(numbers), Value::Number(written)) => {
                comparable(written).is_some_and(|double| numbers.contains(&double))
            }
            _ => false,
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        match self {
            Self::Text(test) => test.passes(text),
            Self::Address(wanted) => address_of(text) == Some(*wanted),
            Self::Cidr(range) => match address_of(text) {
                Some(address) => range.contains(address),
                None => false,
            },
            _ => false,
        }
    }

    fn matches_number(&self, written: &str) -> bool {
        match self {
            Self::Number(number) => number.is(written),
            Self::Numeric(bounds) => match comparable(written) {
                Some(double) => bounds.contain(double),
                None => false,
            },
            _ => false,
        }
    }
}

impl TextTest {
    pub(crate) fn passes(&self, text: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::IgnoringCase(wanted) => wanted.ends_in(text).contains(&text.len()),
            Self::PrefixIgnoringCase(prefix) => !prefix.ends_in(text).is_empty(),
            Self::SuffixIgnoringCase(suffix) => suffix.is_suffix_of(text),
            Self::Wildcard(steps) => matches(steps, text),
        }
    }
}

impl Number {
    pub(crate) fn new(written: &str) -> Self {
        Self {
            written: written.to_owned(),
            double: comparable(written),
        }
    }

    fn is(&self, written: &str) -> bool {
        self.written == written || self.double.is_some() && self.double == comparable(written)
    }
}

impl Bounds {
    fn contain(&self, double: f64) -> bool {
        let above = match self.low {
            Bound::None => true,
            Bound::Inclusive(low) => double >= low,
            Bound::Exclusive(low) => double > low,
        };
        let below = match self.high {
            Bound::None => true,
            Bound::Inclusive(high) => double <= high,
            Bound::Exclusive(high) => double < high,
        };
        above && below
    }
}

/// A text of a pattern, each character in lower case and in upper case. Either form may be several
/// characters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IgnoringCase(Vec<[String; 2]>);

impl IgnoringCase {
    pub(crate) fn new(text: &str) -> Self {
        let forms = |c: char| [c.to_lowercase().collect(), c.to_uppercase().collect()];
        Self(text.chars().map(forms).collect())
    }

    /// The offsets at which this text may end within `text`, when it begins at the beginning.
    fn ends_in(&self, text: &str) -> Vec<usize> {
        let mut ends = vec![0];
        for forms in &self.0 {
            ends = steps(&ends, forms, text);
            if ends.is_empty() {
                break;
            }
        }
        ends
    }

    fn is_suffix_of(&self, text: &str) -> bool {
        let mut rest = text;
        loop {
            if self.ends_in(rest).contains(&rest.len()) {
                return true;
            }

            let mut shorter = rest.chars();
            if shorter.next().is_none() {
                return false;
            }
            rest = shorter.as_str();
        }
    }
}

/// The offsets behind one of `forms`, from each of `ends`.
fn steps(ends: &[usize], forms: &[String; 2], text: &str) -> Vec<usize> {
    let mut next = Vec::new();
    for end in ends {
        let Some(rest) = text.get(*end..) else {
            continue;
        };

        for form in forms {
            let behind = end + form.len();
            if rest.starts_with(form) && !next.contains(&behind) {
                next.push(behind);
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_pairs_are_equal_and_other_letters_are_not() {
        let is = |pattern: &str, text: &str| {
            TextTest::IgnoringCase(IgnoringCase::new(pattern)).passes(text)
        };
        assert!(is("É", "é") && is("é", "É") && is("OK", "ok"));
        assert!(!is("ß", "ss") && !is("e", "é") && !is("ok", "okay"));

        let suffix = TextTest::SuffixIgnoringCase(IgnoringCase::new(".PNG"));
        assert!(suffix.passes("a.png") && suffix.passes(".png") && !suffix.passes("png"));
    }

    #[test]
    fn anything_but_matches_values_of_other_types() {
        let but = Alternative::AnythingBut(vec![TextTest::Exactly("x".to_owned())]);
        assert!(but.matches(&Value::Number("1")));
        assert!(but.matches(&Value::Word(Word::Null)));
        assert!(!but.matches(&Value::Text("x".into())));
    }
}

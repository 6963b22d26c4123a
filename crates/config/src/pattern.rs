//! Outputs that are found by name, `streams = "app-output-*,!app-output-test"`, or by tag, `tag =
//! "copies=orders"`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use distributary_adapters::kind::Kind;
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::values::{self, Expected};
use distributary_core::clock::Millis;
use distributary_core::engine::{Order, Start};
use distributary_filter::{FilterPump, Glob};
use serde::{Deserialize, Deserializer};

use crate::process::{OutputConfig, RefusedRecords};
use crate::pumps::RowsConfig;

/// The most outputs that a pattern may find, unless set otherwise.
pub(crate) const OUTPUTS_MAX: u32 = 100;

/// Patterns of names: `*` stands for any text, `?` for one character; a pattern behind `!` leaves
/// names out.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern {
    text: String,
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

impl NamePattern {
    /// True if `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        let is_in = |list: &[Glob]| {
            let mut globs = list.iter();
            globs.any(|glob| glob.matches(name))
        };
        is_in(&self.include) && !is_in(&self.exclude)
    }
}

impl FromStr for NamePattern {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let mut pattern = Self {
            text: text.to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
        };
        for part in text.split(',').map(str::trim) {
            let (list, part) = match part.strip_prefix('!') {
                Some(part) => (&mut pattern.exclude, part),
                None => (&mut pattern.include, part),
            };
            check(part)?;
            let Ok(glob) = part.parse();
            list.push(glob);
        }

        if pattern.include.is_empty() {
            return Err(Expected(format!(
                "{text:?} only leaves names out: expected a pattern such as app-output-*"
            )));
        }
        Ok(pattern)
    }
}

/// Fails if `part` has a character that no name has.
fn check(part: &str) -> Result<(), Expected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-*?".contains(c);
    if !part.is_empty() && part.chars().all(allowed) {
        return Ok(());
    }
    Err(Expected(format!(
        "{part:?} is no pattern of names: expected one such as app-output-*, with a-z, A-Z, 0-9, '_', \
         '.', '-', '*' (any text) and '?' (one character)"
    )))
}

impl NamePattern {
    /// The patterns that stand for names.
    pub fn included(&self) -> impl Iterator<Item = String> {
        self.include.iter().map(Glob::to_string)
    }
}

impl Default for NamePattern {
    /// Every name.
    fn default() -> Self {
        let Ok(any) = "*".parse();
        Self {
            text: "*".to_owned(),
            include: vec![any],
            exclude: Vec::new(),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::text(deserializer)
    }
}

/// A tag of the form `KEY=VALUE`, in upper and lower case as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// Up to 256 characters; may be empty.
    pub value: String,
}

/// Characters of a tag's key and of its value at most.
const TAG_KEY: usize = 128;
const TAG_VALUE: usize = 256;

impl FromStr for Tag {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (key, value) = text.split_once('=').unwrap_or_default();
        let key_length = key.chars().count();
        let value_length = value.chars().count();
        let is_tag = (1..=TAG_KEY).contains(&key_length);
        if is_tag && value_length <= TAG_VALUE {
            let key = key.to_owned();
            let value = value.to_owned();
            return Ok(Self { key, value });
        }

        Err(Expected(format!(
            "{text:?} is no tag: expected KEY=VALUE, such as copies=orders"
        )))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value } = self;
        write!(f, "{key}={value}")
    }
}

/// The start of an output that a pattern finds later than at the first start of the fan-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewOutputs {
    /// The creation of the stream.
    #[default]
    Created,
    /// Another start.
    At(Start),
}

impl NewOutputs {
    /// The start of an output that was created at `created`.
    pub fn start(self, created: Option<Millis>) -> Start {
        match (self, created) {
            (Self::At(start), _) => start,
            (Self::Created, Some(created)) => Start::At(created),
            // Too much is better than too little.
            (Self::Created, None) => Start::TrimHorizon,
        }
    }
}

impl<'de> Deserialize<'de> for NewOutputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let words = [
            ("created", Self::Created),
            ("latest", Self::At(Start::Latest)),
            ("trim-horizon", Self::At(Start::TrimHorizon)),
        ];
        values::word(&text, &words).map_err(serde::de::Error::custom)
    }
}

/// Outputs that are found by name or tag, with the settings of all of them.
#[derive(Clone, Debug)]
pub struct OutputPattern {
    /// The names.
    pub names: NamePattern,
    /// The tag that a stream must have besides.
    pub tag: Option<Tag>,
    /// The start of outputs that are found later.
    pub new_outputs: NewOutputs,
    /// The most outputs that may be found.
    pub outputs_max: u32,
    pub(crate) kind: Kind<OutputSettings>,
    /// The key of the kind that names one place.
    pub(crate) key: &'static str,
    /// Every key but that one.
    pub(crate) table: toml::Table,
    pub(crate) delivery: Delivery,
}

/// The values of an output that do not depend on the kind.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) order: Order,
    pub(crate) start: Start,
    pub(crate) paused: bool,
    pub(crate) refused: RefusedRecords,
    pub(crate) filter: Option<Arc<FilterPump>>,
    pub(crate) rows: Option<RowsConfig>,
}

impl Delivery {
    /// An output with these values.
    pub(crate) fn output(self, name: String, settings: OutputSettings) -> OutputConfig {
        OutputConfig {
            name,
            settings,
            order: self.order,
            start: self.start,
            paused: self.paused,
            refused: self.refused,
            filter: self.filter,
            rows: self.rows,
            prepared: Vec::new(),
        }
    }
}

impl OutputPattern {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// The settings of the place called `name`.
    ///
    /// # Errors
    /// [`Expected`] if the kind has no such places.
    pub fn settings(&self, name: &str) -> Result<OutputSettings, Expected> {
        let mut table = self.table.clone();
        let key = self.key.to_owned();
        table.insert(key, name.into());
        self.kind.parse(table)
    }

    /// The names and the tag, for messages.
    pub fn wanted(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{} with the tag {tag}", self.names),
            None => self.names.to_string(),
        }
    }

    /// True if the dead letters of these outputs go to the place called `name`.
    pub fn takes_dead_letters(&self, name: &str) -> bool {
        let place = self.delivery.refused.dead_letter();
        place.is_some_and(|place| place.default_name() == name)
    }

    /// The output for the place called `name`.
    ///
    /// # Errors
    /// [`Expected`] if the kind has no such places.
    pub fn output(&self, name: &str) -> Result<OutputConfig, Expected> {
        let settings = self.settings(name)?;
        let delivery = self.delivery.clone();
        Ok(delivery.output(name.to_owned(), settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_and_left_out() {
        let pattern: NamePattern = "app-*-out,audit?, !app-test-*".parse().unwrap();
        let matched = |name: &str| pattern.matches(name);
        assert!(matched("app-a-out") && matched("audit1"));
        assert!(!matched("app-test-out") && !matched("audit12") && !matched("my-app-a-out"));

        let told = |text: &str| text.parse::<NamePattern>().unwrap_err().0;
        assert!(told("!a").contains("only leaves names out"));
        assert!(told("a b*").contains("is no pattern of names"));
        assert!(told("").contains("is no pattern of names"));
    }

    #[test]
    fn a_new_output_starts_at_its_creation() {
        let created = NewOutputs::Created;
        assert_eq!(created.start(Some(Millis(7))), Start::At(Millis(7)));
        assert_eq!(created.start(None), Start::TrimHorizon);
        let latest = NewOutputs::At(Start::Latest);
        assert_eq!(latest.start(Some(Millis(7))), Start::Latest);
    }
}

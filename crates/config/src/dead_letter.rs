//! The place for records that an output refuses for good: `dead-letter` and `on-refused`.

use std::collections::BTreeMap;

use distributary_adapters::keys::{Form, Key};
use distributary_adapters::kind::{self, Kind, Shorthand, Surroundings, Target};
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::values::{self, Expected};
use serde::{Deserialize, Deserializer};

use crate::keys::DEAD_LETTER;
use crate::mistake::{Mistakes, Place, Result};
use crate::outputs::Placed;
use crate::process::{OutputConfig, RefusedRecords};
use crate::registry::Registry;
use crate::source::{kind_of, settings};
use crate::table::{Entry, Layers, Table, Value};

/// The value of `on-refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefused {
    SkipRecord,
    StopLane,
}

impl<'de> Deserialize<'de> for OnRefused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let words = [
            ("skip-record", Self::SkipRecord),
            ("stop-lane", Self::StopLane),
        ];
        values::word(&text, &words).map_err(serde::de::Error::custom)
    }
}

/// Everything that a place for dead letters is resolved with.
pub(crate) struct DeadLetters<'a> {
    pub(crate) registry: &'a Registry,
    /// Values that the place inherits.
    pub(crate) layers: &'a Layers<'a>,
    pub(crate) surroundings: &'a Surroundings,
}

impl DeadLetters<'_> {
    /// The treatment of refused records by an output with the table `own`, and with `on_refused` of
    /// its own or inherited.
    pub(crate) fn resolve(
        &self,
        own: Option<&Table>,
        on_refused: Option<OnRefused>,
        place: &Place,
    ) -> Result<RefusedRecords> {
        if on_refused == Some(OnRefused::StopLane) {
            return Ok(RefusedRecords::StopLane);
        }

        let own = own.and_then(|table| table.entries.get(DEAD_LETTER));
        match own.or_else(|| self.layers.entry(DEAD_LETTER)) {
            Some(entry) => self.place(entry).map(RefusedRecords::SkipRecord),
            None if on_refused.is_none() => Ok(RefusedRecords::StopLane),
            None => Err(Mistakes::one(
                place,
                "key on-refused: \"skip-record\" needs a place for the skipped records; set \
                 dead-letter as well, such as dead-letter = \"file:orders.dead.jsonl\"",
            )),
        }
    }

    fn place(&self, entry: &Entry) -> Result<OutputSettings> {
        let place = &entry.place;
        let found = self.settings(entry).map_err(|expected| {
            let message = format!("key {DEAD_LETTER}: {expected}");
            Mistakes::one(place, message)
        })?;

        let mut mistakes = Mistakes::default();
        let problems = found.validate(self.surroundings).into_iter();
        let named = problems.map(|problem| format!("key {DEAD_LETTER}: {problem}"));
        mistakes.add_all(place, named.collect());
        mistakes.or(found)
    }

    fn settings(&self, entry: &Entry) -> std::result::Result<OutputSettings, Expected> {
        let (kind, mut own) = match &entry.value {
            Value::Table(table) => {
                let kind = kind_of(table, &self.registry.outputs)?;
                (kind, Layers(vec![table]).collect(kind.keys))
            }
            Value::Plain(toml::Value::String(text)) => self.of_text(text, &entry.place)?,
            Value::Plain(_) | Value::Tables(_) => {
                return Err(Expected::new(
                    "expected \"KIND:REST\", or a table with type",
                ));
            }
        };

        add_defaults(kind, &mut own);
        settings(kind, own, self.layers)
    }

    fn of_text(
        &self,
        text: &str,
        place: &Place,
    ) -> std::result::Result<(&Kind<OutputSettings>, toml::Table), Expected> {
        let kinds = &self.registry.outputs;
        let shorthand = Shorthand::parse(text, kinds)?;
        if shorthand.name.is_some() {
            return Err(Expected(format!(
                "{text:?} has a name: a place for dead letters has none"
            )));
        }

        let kind = kind::find(kinds, shorthand.kind)?;
        Ok((kind, beside_file(shorthand.table, kind.keys, place)))
    }
}

fn add_defaults(kind: &Kind<OutputSettings>, own: &mut toml::Table) {
    for (key, value) in kind.dead_letter_defaults {
        let default = toml::Value::String((*value).to_owned());
        own.entry(*key).or_insert(default);
    }
}

/// The keys in `table`; paths that were written in a file are relative to that file.
fn beside_file(table: toml::Table, keys: &'static [Key], place: &Place) -> toml::Table {
    let mut written = Table::default();
    for (key, value) in table {
        written.set(&key, value, place);
    }
    Layers(vec![&written]).collect(keys)
}

/// True if a key is resolved by this module, not by serde.
pub(crate) fn is_resolved_here(key: &Key) -> bool {
    key.form == Form::Output
}

/// Dead letters that go to an output, or that two outputs want in one place in two forms.
pub(crate) fn conflicts<'a>(outputs: &[&'a Placed]) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let mut places: BTreeMap<&'a Target, &'a OutputConfig> = BTreeMap::new();

    for placed in outputs {
        let Some(target) = &placed.dead_letter else {
            continue;
        };
        let output = &placed.output;
        if let Some(other) = outputs.iter().find(|other| other.target == *target) {
            mistakes.add(&placed.place, is_an_output(output, &other.output));
        }

        let first = *places.entry(target).or_insert(output);
        if target.exclusive && first.refused != output.refused {
            mistakes.add(&placed.place, has_two_forms(output, first));
        }
    }
    mistakes
}

fn is_an_output(OutputConfig { name, .. }: &OutputConfig, other: &OutputConfig) -> String {
    let other = &other.name;
    format!(
        "key {DEAD_LETTER}: the dead letters of the output {name} would be mixed up with the records \
         of the output {other}; name another place"
    )
}

fn has_two_forms(OutputConfig { name, .. }: &OutputConfig, other: &OutputConfig) -> String {
    let other = &other.name;
    format!(
        "key {DEAD_LETTER}: the outputs {name} and {other} have dead letters at one place, with \
         different keys; give both the same keys"
    )
}

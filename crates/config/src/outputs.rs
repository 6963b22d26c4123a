//! The outputs of a fan-out: shorthands of `--to`, or `[[output]]` tables.

use std::collections::BTreeMap;

use distributary_adapters::kind::{self, Kind, Shorthand, Surroundings, Target};
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::values::{Expected, Name, OrderWord, StartAt, Texts};
use distributary_core::engine::{Order, Start};
use distributary_filter::Glob;
use serde::Deserialize;

use crate::dead_letter::{DeadLetters, OnRefused, is_resolved_here};
use crate::filter::Wanted;
use crate::keys::{EVERY_OUTPUT, OUTPUT, TYPE};
use crate::mistake::{Mistakes, Place, Result};
use crate::process::{OutputConfig, RefusedRecords};
use crate::registry::Registry;
use crate::source::{kind_of, settings};
use crate::table::{Layers, Table};

/// Everything that outputs are resolved with.
pub(crate) struct Outputs<'a> {
    pub(crate) registry: &'a Registry,
    /// Values that outputs inherit.
    pub(crate) layers: &'a Layers<'a>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) order: Option<Order>,
    pub(crate) start: Option<Start>,
    pub(crate) on_refused: Option<OnRefused>,
}

/// An output with the place where it was written.
pub(crate) struct Placed {
    pub(crate) output: OutputConfig,
    pub(crate) place: Place,
    pub(crate) target: Target,
    /// The place of the dead letters.
    pub(crate) dead_letter: Option<Target>,
}

/// The keys that every output has; a test holds them to [`EVERY_OUTPUT`].
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Common {
    #[serde(deserialize_with = "crate::values::optional_text")]
    name: Option<Name>,
    order: Option<OrderWord>,
    start: Option<StartAt>,
    paused: bool,
    on_refused: Option<OnRefused>,
    filter: Option<Texts>,
    #[serde(deserialize_with = "distributary_adapters::values::optional_text")]
    keys: Option<Glob>,
    on_not_json: Option<String>,
}

impl Outputs<'_> {
    /// The outputs in `to`, or else in the tables of `own`; and notes about values that were
    /// adapted.
    pub(crate) fn resolve(
        &self,
        to: &[(Place, String)],
        own: &Table,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Placed>> {
        let mut mistakes = Mistakes::default();
        let mut outputs = Vec::new();
        for (place, text) in to {
            let output = self.of_text(place, text, notes);
            outputs.extend(mistakes.take(output));
        }

        let tables = own.tables(OUTPUT);
        if to.is_empty() {
            for table in tables {
                let output = self.of_table(table, notes);
                outputs.extend(mistakes.take(output));
            }
        }
        if to.is_empty() && tables.is_empty() {
            let message = "no output to copy to: give --to STREAM, or an [[output]] with stream = \
                           \"STREAM\" in a file (-c FILE)";
            mistakes.add(&own.place, message);
        }
        mistakes.or(outputs)
    }

    fn of_text(&self, place: &Place, text: &str, notes: &mut Vec<String>) -> Result<Placed> {
        let kinds = &self.registry.outputs;
        let shorthand = Shorthand::parse(text, kinds).map_err(Mistakes::at(place))?;
        let kind = kind::find(kinds, shorthand.kind).map_err(Mistakes::at(place))?;
        let common = Common {
            name: shorthand.name,
            ..Common::default()
        };
        let refused = self.refused(None, &common, place);
        self.output(place, kind, (common, refused), shorthand.table, notes)
    }

    fn of_table(&self, table: &Table, notes: &mut Vec<String>) -> Result<Placed> {
        let place = &table.place;
        let kind = kind_of(table, &self.registry.outputs);
        let kind = kind.map_err(Mistakes::at(place))?;
        let common = common(table)?;
        let own = Layers(vec![table]).collect(kind.keys);
        let refused = self.refused(Some(table), &common, place);
        self.output(place, kind, (common, refused), own, notes)
    }

    fn refused(
        &self,
        own: Option<&Table>,
        common: &Common,
        place: &Place,
    ) -> Result<RefusedRecords> {
        let dead_letters = DeadLetters {
            registry: self.registry,
            layers: self.layers,
            surroundings: self.surroundings,
        };
        dead_letters.resolve(own, common.on_refused.or(self.on_refused), place)
    }

    fn output(
        &self,
        place: &Place,
        kind: &Kind<OutputSettings>,
        (common, refused): (Common, Result<RefusedRecords>),
        own: toml::Table,
        notes: &mut Vec<String>,
    ) -> Result<Placed> {
        let settings = settings(kind, own, self.layers);
        let settings = settings.map_err(Mistakes::at(place))?;
        let wanted = Wanted {
            patterns: common.filter,
            keys: common.keys,
            on_not_json: common.on_not_json,
        };
        let filter = wanted.filter().map_err(Mistakes::at(place));
        let name = match common.name {
            Some(name) => name.0,
            None => settings.default_name(),
        };

        let mut mistakes = Mistakes::default();
        mistakes.add_all(place, settings.validate(self.surroundings));
        let refused = mistakes.take(refused).unwrap_or_default();
        let filter = mistakes.take(filter).flatten();
        let order = self.order(common.order, &name, &settings, notes);
        let order = order.map_err(Mistakes::at(place));
        let order = mistakes.take(order).unwrap_or_default();

        let start = common.start.map(|start| start.0);
        let start = start.or(self.start).unwrap_or_default();
        let dead_letter = refused
            .dead_letter()
            .map(|place| place.target(self.surroundings));
        let target = settings.target(self.surroundings);
        let place = place.clone();
        mistakes.or(Placed {
            dead_letter,
            target,
            place,
            output: OutputConfig {
                name,
                settings,
                order,
                start,
                paused: common.paused,
                refused,
                filter,
            },
        })
    }

    /// The order of an output. An own order that the kind cannot keep is a mistake; an inherited
    /// one falls to the best order of the kind.
    fn order(
        &self,
        own: Option<OrderWord>,
        name: &str,
        settings: &OutputSettings,
        notes: &mut Vec<String>,
    ) -> std::result::Result<Order, Expected> {
        let keeps = settings.keeps();
        let inherited = self.order.unwrap_or_default();
        let wanted = own.map_or(inherited, |own| own.0);
        let best = keeps.best(wanted);
        if best == wanted {
            return Ok(wanted);
        }

        let problem = cannot_keep(settings.kind(), wanted);
        let best_word = OrderWord(best);
        if own.is_some() {
            let message = format!("key order: {problem}; expected {best_word}");
            return Err(Expected(message));
        }
        let note = format!("output {name}: the order is {best_word}, for {problem}");
        notes.push(note);
        Ok(best)
    }
}

fn cannot_keep(kind: &str, order: Order) -> String {
    let order = OrderWord(order);
    format!("an output of type {kind} cannot keep the order {order}")
}

/// The keys in `table` that every output has.
fn common(table: &Table) -> Result<Common> {
    let keys = EVERY_OUTPUT
        .iter()
        .filter(|key| key.name != TYPE && !is_resolved_here(key));
    let layer = Layers(vec![table]);
    let common = Common::deserialize(layer.collect(keys));
    common.map_err(|error| Mistakes::one(&table.place, error.message()))
}

/// Outputs of one fan-out that are one place, are the source, or have one name.
pub(crate) fn collisions(outputs: &[Placed], source: &Target) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let mut targets = BTreeMap::new();
    let mut names = BTreeMap::new();
    for placed in outputs {
        let place = &placed.place;
        let name = &placed.output.name;
        placed.differs_from(source, &mut mistakes);
        if let Some(first) = targets.insert(&placed.target, place) {
            mistakes.add(place, is_twice(name, first));
        } else if let Some(first) = names.insert(name, place) {
            mistakes.add(place, is_called_alike(name, first));
        }
    }
    mistakes
}

impl Placed {
    fn differs_from(&self, source: &Target, mistakes: &mut Mistakes) {
        if self.target == *source {
            let name = &self.output.name;
            let message = format!(
                "the output {name} is the source itself, and would be copied round and round; name \
                 another stream"
            );
            mistakes.add(&self.place, message);
        }
        if self.dead_letter.as_ref() == Some(source) {
            let name = &self.output.name;
            let message = format!(
                "key dead-letter: the dead letters of the output {name} would go to the source; \
                 name another place"
            );
            mistakes.add(&self.place, message);
        }
    }
}

fn is_twice(name: &str, first: &Place) -> String {
    format!(
        "the output {name} is given twice (first at {first}); every record would be written to it \
         twice"
    )
}

fn is_called_alike(name: &str, first: &Place) -> String {
    format!(
        "two outputs are called {name} (the other one at {first}); give one of them a name of its \
         own: name = \"NAME\" in the file, --to NAME=STREAM as a flag"
    )
}

/// The fields of every output, for the test that holds them to the table of keys.
#[cfg(test)]
pub(crate) fn common_fields() -> &'static [&'static str] {
    distributary_adapters::keys::fields_of::<Common>()
}

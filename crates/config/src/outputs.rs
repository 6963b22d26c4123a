//! The outputs of a fan-out: shorthands of `--to`, or `[[output]]` tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_adapters::kind::{self, Kind, Shorthand, Surroundings, Target};
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::values::{Expected, Name, OrderWord, StartAt, Texts};
use distributary_core::engine::{Order, Start};
use distributary_filter::{FilterPump, Glob};
use serde::Deserialize;

use crate::dead_letter::{DeadLetters, OnRefused, is_resolved_here};
use crate::filter::Wanted;
use crate::keys::{EVERY_OUTPUT, OUTPUT, TYPE};
use crate::mistake::{Mistakes, Place, Result};
use crate::pattern::{Delivery, NamePattern, NewOutputs, OUTPUTS_MAX, OutputPattern, Tag};
use crate::process::{OutputConfig, RefusedRecords};
use crate::pumps::{PumpConfig, RowTable, RowWord, RowsConfig};
use crate::registry::Registry;
use crate::source::{inherited, kind_of, settings};
use crate::table::{Layers, Table};
use crate::targets::TargetsConfig;

/// Everything that outputs are resolved with.
pub(crate) struct Outputs<'a> {
    pub(crate) registry: &'a Registry,
    /// Values that outputs inherit.
    pub(crate) layers: &'a Layers<'a>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) order: Option<Order>,
    pub(crate) start: Option<Start>,
    pub(crate) on_refused: Option<OnRefused>,
    pub(crate) pumps: &'a [Arc<PumpConfig>],
}

/// An output with the place where it was written.
pub(crate) struct Placed {
    pub(crate) output: OutputConfig,
    pub(crate) place: Place,
    pub(crate) target: Target,
    /// The place of the dead letters.
    pub(crate) dead_letter: Option<Target>,
}

/// The outputs of a fan-out.
#[derive(Default)]
pub(crate) struct Resolved {
    pub(crate) outputs: Vec<Placed>,
    pub(crate) patterns: Vec<OutputPattern>,
    pub(crate) targets: Option<TargetsConfig>,
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
    streams: Option<NamePattern>,
    #[serde(deserialize_with = "crate::values::optional_text")]
    tag: Option<Tag>,
    new_outputs: Option<NewOutputs>,
    outputs_max: Option<u32>,
    #[serde(deserialize_with = "crate::values::optional_text")]
    pump: Option<Name>,
    from_stream: Option<String>,
    row_format: Option<RowWord>,
    partition_key: Option<String>,
}

/// An output, or a pattern, as it is written.
struct Written<'a> {
    place: &'a Place,
    kind: &'a Kind<OutputSettings>,
    common: Common,
    /// The keys of the kind.
    own: toml::Table,
    /// The whole table; none for a shorthand.
    table: Option<&'a Table>,
}

impl Written<'_> {
    fn filter(&self) -> Result<Option<Arc<FilterPump>>> {
        let common = &self.common;
        let wanted = Wanted {
            patterns: common.filter.clone(),
            keys: common.keys.clone(),
            on_not_json: common.on_not_json.clone(),
        };
        let filter = wanted.filter();
        filter.map_err(Mistakes::at(self.place))
    }

    /// The rows that the output takes; `None`: the records.
    fn rows(&self, pumps: &[Arc<PumpConfig>]) -> Result<Option<RowsConfig>> {
        let Some(table) = self.table else {
            return Ok(None);
        };
        let common = &self.common;
        let rows = RowTable {
            pump: common.pump.as_ref().map(|name| name.0.clone()),
            from_stream: common.from_stream.clone(),
            row_format: common.row_format,
            partition_key: common.partition_key.clone(),
        };
        rows.resolve(table, pumps)
    }

    fn is_pattern(&self) -> bool {
        self.common.streams.is_some() || self.common.tag.is_some()
    }

    /// Keys of patterns at an output that is none.
    fn check_alone(&self) -> Result<()> {
        let common = &self.common;
        if common.new_outputs.is_none() && common.outputs_max.is_none() {
            return Ok(());
        }
        let message =
            "new-outputs and outputs-max are only of use with streams or tag; leave them out";
        Err(Mistakes::one(self.place, message))
    }

    /// The names of a pattern, and the key of the kind that would name one place.
    fn names(&self) -> Result<(NamePattern, &'static str)> {
        let names = self.common.streams.clone().unwrap_or_default();
        let Some(key) = self.kind.listed_by else {
            let kind = self.kind.name;
            let message = format!(
                "keys streams and tag: outputs of type {kind} are not found; name each one"
            );
            return Err(Mistakes::one(self.place, message));
        };

        if self.common.name.is_some() || self.own.contains_key(key) {
            let message = format!(
                "keys streams and tag: an output that is found has its own name; leave name and {key} out"
            );
            return Err(Mistakes::one(self.place, message));
        }
        Ok((names, key))
    }
}

impl Outputs<'_> {
    /// The outputs in `to`, or else in the tables of `own`; and notes about values that were
    /// adapted.
    pub(crate) fn resolve(
        &self,
        to: &[(Place, String)],
        own: &Table,
        has_targets: bool,
        notes: &mut Vec<String>,
    ) -> Result<Resolved> {
        let mut resolved = Resolved::default();
        if !to.is_empty() {
            self.of_flags(to, &mut resolved, notes)?;
            return Ok(resolved);
        }

        let tables = own.tables(OUTPUT);
        if tables.is_empty() && !has_targets {
            return Err(Mistakes::one(&own.place, NO_OUTPUT));
        }
        let mut mistakes = Mistakes::default();
        for table in tables {
            let added = self.of_table(table, &mut resolved, notes);
            mistakes.take(added);
        }
        mistakes.or(resolved)
    }

    /// The shorthands of `--to`; the patterns among them are one.
    fn of_flags(
        &self,
        to: &[(Place, String)],
        resolved: &mut Resolved,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let mut mistakes = Mistakes::default();
        let mut patterns: Vec<&str> = Vec::new();
        for (place, text) in to {
            if let Some(tag) = text.strip_prefix(TAG_PREFIX) {
                let pattern = self.of_tag(place, tag, notes);
                let pattern = mistakes.take(pattern);
                resolved.patterns.extend(pattern);
                continue;
            }
            if is_pattern(text) {
                patterns.push(text);
                continue;
            }
            let output = self.of_text(place, text, notes);
            let output = mistakes.take(output);
            resolved.outputs.extend(output);
        }

        let mut given = to.iter();
        if let Some((place, _)) = given.find(|(_, text)| is_pattern(text)) {
            let text = patterns.join(",");
            let pattern = self.of_pattern(place, &text, notes);
            let pattern = mistakes.take(pattern);
            resolved.patterns.extend(pattern);
        }
        mistakes.or(())
    }

    fn of_text(&self, place: &Place, text: &str, notes: &mut Vec<String>) -> Result<Placed> {
        let kinds = &self.registry.outputs;
        let shorthand = Shorthand::parse(text, kinds);
        let shorthand = shorthand.map_err(Mistakes::at(place))?;
        let kind = kind::find(kinds, shorthand.kind);
        let kind = kind.map_err(Mistakes::at(place))?;
        let common = Common {
            name: shorthand.name,
            ..Common::default()
        };

        let written = Written {
            place,
            kind,
            common,
            own: shorthand.table,
            table: None,
        };
        self.output(written, notes)
    }

    fn of_pattern(
        &self,
        place: &Place,
        text: &str,
        notes: &mut Vec<String>,
    ) -> Result<OutputPattern> {
        let names = text.parse().map_err(Mistakes::at(place))?;
        let common = Common {
            streams: Some(names),
            ..Common::default()
        };
        self.found_by(place, common, notes)
    }

    fn of_tag(&self, place: &Place, text: &str, notes: &mut Vec<String>) -> Result<OutputPattern> {
        let tag = text.parse();
        let tag = tag.map_err(Mistakes::at(place))?;
        let common = Common {
            tag: Some(tag),
            ..Common::default()
        };
        self.found_by(place, common, notes)
    }

    /// Outputs of the default kind that `common` finds.
    fn found_by(
        &self,
        place: &Place,
        common: Common,
        notes: &mut Vec<String>,
    ) -> Result<OutputPattern> {
        let default = Table::default();
        let kinds = &self.registry.outputs;
        let kind = kind_of(&default, kinds);
        let kind = kind.map_err(Mistakes::at(place))?;
        let written = Written {
            place,
            kind,
            common,
            own: toml::Table::new(),
            table: None,
        };
        self.pattern(written, notes)
    }

    /// Adds the output, or the pattern, of a table.
    fn of_table(
        &self,
        table: &Table,
        resolved: &mut Resolved,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let place = &table.place;
        let kinds = &self.registry.outputs;
        let kind = kind_of(table, kinds);
        let kind = kind.map_err(Mistakes::at(place))?;
        let layer = Layers(vec![table]);
        let written = Written {
            place,
            kind,
            common: common(table)?,
            own: layer.collect(kind.keys),
            table: Some(table),
        };

        if written.is_pattern() {
            let pattern = self.pattern(written, notes)?;
            resolved.patterns.push(pattern);
        } else {
            written.check_alone()?;
            let output = self.output(written, notes)?;
            resolved.outputs.push(output);
        }
        Ok(())
    }

    fn pattern(&self, mut written: Written<'_>, notes: &mut Vec<String>) -> Result<OutputPattern> {
        let (names, key) = written.names()?;
        let kind = written.kind;
        let own = std::mem::take(&mut written.own);
        let table = inherited(kind, own, self.layers);
        // Any name gives the settings that all have.
        let settings = with_name(kind, &table, key);
        let settings = settings.map_err(Mistakes::at(written.place))?;

        let text = names.to_string();
        let delivery = self.delivery(&written, &text, &settings, notes);
        let delivery = delivery?;
        let common = written.common;
        Ok(OutputPattern {
            names,
            tag: common.tag,
            new_outputs: common.new_outputs.unwrap_or_default(),
            outputs_max: common.outputs_max.unwrap_or(OUTPUTS_MAX),
            kind: kind.clone(),
            key,
            table,
            delivery,
        })
    }

    fn output(&self, mut written: Written<'_>, notes: &mut Vec<String>) -> Result<Placed> {
        let own = std::mem::take(&mut written.own);
        let settings = settings(written.kind, own, self.layers);
        let settings = settings.map_err(Mistakes::at(written.place))?;
        let name = match &written.common.name {
            Some(name) => name.0.clone(),
            None => settings.default_name(),
        };
        let delivery = self.delivery(&written, &name, &settings, notes)?;

        let dead_letter = delivery
            .refused
            .dead_letter()
            .map(|place| place.target(self.surroundings));
        Ok(Placed {
            dead_letter,
            target: settings.target(self.surroundings),
            place: written.place.clone(),
            output: delivery.output(name, settings),
        })
    }

    /// The values that do not depend on the kind.
    fn delivery(
        &self,
        written: &Written<'_>,
        name: &str,
        settings: &OutputSettings,
        notes: &mut Vec<String>,
    ) -> Result<Delivery> {
        let place = written.place;
        let common = &written.common;
        let mut mistakes = Mistakes::default();
        mistakes.add_all(place, settings.validate(self.surroundings));
        let refused = mistakes.take(self.refused(written));
        let order = self.order(common.order, name, settings, notes);
        let order = order.map_err(Mistakes::at(place));
        let order = mistakes.take(order);
        let filter = written.filter();
        let filter = mistakes.take(filter);
        let rows = written.rows(self.pumps);
        let rows = mistakes.take(rows);

        mistakes.or(Delivery {
            order: order.unwrap_or_default(),
            start: self.start(common.start),
            paused: common.paused,
            refused: refused.unwrap_or_default(),
            filter: filter.flatten(),
            rows: rows.flatten(),
        })
    }

    /// The start of an output with a start of its own, or the inherited one.
    fn start(&self, own: Option<StartAt>) -> Start {
        match own {
            Some(start) => start.0,
            None => self.start.unwrap_or_default(),
        }
    }

    /// The treatment of refused records that outputs without a table have.
    pub(crate) fn inherited_refused(&self, place: &Place) -> Result<RefusedRecords> {
        self.dead_letters().resolve(None, self.on_refused, place)
    }

    fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters {
            registry: self.registry,
            layers: self.layers,
            surroundings: self.surroundings,
        }
    }

    fn refused(&self, written: &Written<'_>) -> Result<RefusedRecords> {
        let dead_letters = self.dead_letters();
        let on_refused = written.common.on_refused;
        let on_refused = on_refused.or(self.on_refused);
        dead_letters.resolve(written.table, on_refused, written.place)
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
        let word = OrderWord(best);
        if own.is_some() {
            let message = format!("key order: {problem}; expected {word}");
            return Err(Expected(message));
        }
        notes.push(format!("output {name}: the order is {word}, for {problem}"));
        Ok(best)
    }
}

const NO_OUTPUT: &str = "no output to copy to: give --to STREAM, or an [[output]] with stream = \
                         \"STREAM\" in a file (-c FILE)";

/// The beginning of a shorthand for all streams with a tag.
pub(crate) const TAG_PREFIX: &str = "tag:";

/// True if a shorthand stands for the names of many outputs, or leaves some out.
fn is_pattern(text: &str) -> bool {
    let has_kind = text.contains(':');
    let has_sign = text.contains(['*', '?']);
    let is_left_out = text.starts_with('!');
    !has_kind && (is_left_out || has_sign)
}

/// The settings of some place of the kind.
fn with_name(
    kind: &Kind<OutputSettings>,
    table: &toml::Table,
    key: &str,
) -> std::result::Result<OutputSettings, Expected> {
    let mut table = table.clone();
    let key = key.to_owned();
    table.insert(key, "name".into());
    kind.parse(table)
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

//! The outputs of a fan-out: shorthands of `--to`, or `[[output]]` tables.

use std::collections::BTreeMap;

use distributary_adapters::kind::{self, Kind, Shorthand, Surroundings, Target};
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::values::{Name, OrderWord, StartAt};
use distributary_core::engine::{Order, Start};
use serde::Deserialize;

use crate::keys::{EVERY_OUTPUT, OUTPUT, TYPE};
use crate::mistake::{Mistakes, Place};
use crate::process::OutputConfig;
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
}

/// An output with the place where it was written.
pub(crate) struct Placed {
    pub(crate) output: OutputConfig,
    pub(crate) place: Place,
    pub(crate) target: Target,
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
}

impl Outputs<'_> {
    /// The outputs in `to`, or else in the tables of `own`; and notes about values that were
    /// adapted.
    pub(crate) fn resolve(
        &self,
        to: &[(Place, String)],
        own: &Table,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Placed>, Mistakes> {
        let resolved: Vec<Result<Placed, Mistakes>> = if to.is_empty() {
            let tables = own.tables(OUTPUT).iter();
            tables.map(|table| self.of_table(table, notes)).collect()
        } else {
            let texts = to.iter();
            texts
                .map(|(place, text)| self.of_text(place, text, notes))
                .collect()
        };
        if resolved.is_empty() {
            return Err(Mistakes::one(
                own.place.clone(),
                "no output to copy to: give --to STREAM, or an [[output]] with stream = \"STREAM\" \
                 in a file (-c FILE)",
            ));
        }

        let (mut outputs, mut mistakes) = (Vec::new(), Mistakes::default());
        for output in resolved {
            match output {
                Ok(output) => outputs.push(output),
                Err(more) => mistakes.append(more),
            }
        }
        mistakes.or(outputs)
    }

    fn of_text(
        &self,
        place: &Place,
        text: &str,
        notes: &mut Vec<String>,
    ) -> Result<Placed, Mistakes> {
        let kinds = &self.registry.outputs;
        let mistake = |expected: crate::values::Expected| Mistakes::one(place.clone(), expected.0);
        let shorthand = Shorthand::parse(text, kinds).map_err(mistake)?;
        let kind = kind::find(kinds, shorthand.kind).map_err(mistake)?;
        let common = Common {
            name: shorthand.name,
            ..Common::default()
        };
        self.output(place, kind, common, shorthand.table, notes)
    }

    fn of_table(&self, table: &Table, notes: &mut Vec<String>) -> Result<Placed, Mistakes> {
        let mistake = |message: String| Mistakes::one(table.place.clone(), message);
        let kind = kind_of(table, &self.registry.outputs).map_err(mistake)?;
        let layer = Layers(vec![table]);
        let common = layer.collect(EVERY_OUTPUT.iter().filter(|key| key.name != TYPE));
        let common =
            Common::deserialize(common).map_err(|error| mistake(error.message().to_owned()))?;
        self.output(&table.place, kind, common, layer.collect(kind.keys), notes)
    }

    fn output(
        &self,
        place: &Place,
        kind: &Kind<OutputSettings>,
        common: Common,
        own: toml::Table,
        notes: &mut Vec<String>,
    ) -> Result<Placed, Mistakes> {
        let settings = settings(kind, own, self.layers)
            .map_err(|message| Mistakes::one(place.clone(), message))?;
        let mut mistakes = Mistakes::default();
        for problem in settings.validate(self.surroundings) {
            mistakes.add(place.clone(), problem);
        }

        let name = common
            .name
            .map_or_else(|| settings.default_name(), |name| name.0);
        let order = match self.order(common.order, &name, &settings, notes) {
            Ok(order) => order,
            Err(problem) => {
                mistakes.add(place.clone(), problem);
                Order::default()
            }
        };
        let output = OutputConfig {
            name,
            order,
            start: common
                .start
                .map(|start| start.0)
                .or(self.start)
                .unwrap_or_default(),
            paused: common.paused,
            settings,
        };
        mistakes.or(Placed {
            target: output.settings.target(self.surroundings),
            place: place.clone(),
            output,
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
    ) -> Result<Order, String> {
        let keeps = settings.keeps();
        let problem = |order: Order| {
            let kind = settings.kind();
            format!(
                "an output of type {kind} cannot keep the order {}",
                OrderWord(order)
            )
        };
        if let Some(OrderWord(own)) = own {
            let best = OrderWord(keeps.best(own));
            return match keeps.holds(own) {
                true => Ok(own),
                false => Err(format!("key order: {}; expected {best}", problem(own))),
            };
        }

        let wanted = self.order.unwrap_or_default();
        let best = keeps.best(wanted);
        if best != wanted {
            let reason = problem(wanted);
            notes.push(format!(
                "output {name}: the order is {}, for {reason}",
                OrderWord(best)
            ));
        }
        Ok(best)
    }
}

/// Outputs of one fan-out that are one place, are the source, or have one name.
pub(crate) fn collisions(outputs: &[Placed], source: &Target) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let mut targets: BTreeMap<&Target, &Place> = BTreeMap::new();
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    for Placed {
        output,
        place,
        target,
    } in outputs
    {
        let name = &output.name;
        if target == source {
            let message = format!(
                "the output {name} is the source itself, and would be copied round and round; name another stream"
            );
            mistakes.add(place.clone(), message);
        }
        if let Some(first) = targets.insert(target, place) {
            let message = format!(
                "the output {name} is given twice (first at {first}); every record would be written \
                 to it twice"
            );
            mistakes.add(place.clone(), message);
        } else if let Some(first) = names.insert(name, place) {
            let message = format!(
                "two outputs are called {name} (the other one at {first}); give one of them a name \
                 of its own: name = \"NAME\" in the file, --to NAME=STREAM as a flag"
            );
            mistakes.add(place.clone(), message);
        }
    }
    mistakes
}

/// The fields of every output, for the test that holds them to the table of keys.
#[cfg(test)]
pub(crate) fn common_fields() -> &'static [&'static str] {
    distributary_adapters::keys::fields_of::<Common>()
}

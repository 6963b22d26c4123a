//! The source of a fan-out: `from`, or a table `[source]`.

use distributary_adapters::keys::Key;
use distributary_adapters::kind::{self, Kind, Shorthand};
use distributary_adapters::sources::SourceSettings;
use distributary_adapters::values::Expected;

use crate::keys::{SOURCE, TYPE};
use crate::mistake::{Mistakes, Place, Result};
use crate::registry::Registry;
use crate::table::{Layers, Table};

/// The source's settings, and the place where they were written.
pub(crate) fn source(
    layers: &Layers<'_>,
    own: &Table,
    registry: &Registry,
) -> Result<(SourceSettings, Place)> {
    let from = layers.0.iter().find_map(|table| table.text("from"));
    let table = own.table(SOURCE);
    match (from, table) {
        (Some((_, place)), Some(table)) if place.file().is_some() => {
            let place = &table.place;
            Err(Mistakes::one(place, TWO_SOURCES))
        }
        (Some((text, place)), _) => {
            let settings = of_text(text, layers, registry);
            match settings {
                Ok(settings) => Ok((settings, place.clone())),
                Err(expected) => Err(of_from(place, &expected)),
            }
        }
        (None, Some(table)) => {
            let place = &table.place;
            let settings = of_table(table, layers, registry);
            let settings = settings.map_err(Mistakes::at(place))?;
            Ok((settings, place.clone()))
        }
        (None, None) => Err(Mistakes::one(&own.place, NO_SOURCE)),
    }
}

const TWO_SOURCES: &str =
    "the source is given twice, by from and by [source]; leave one of them out";
const NO_SOURCE: &str =
    "no stream to copy: give --from STREAM, or from = \"STREAM\" in a file (-c FILE)";

/// A mistake in `from`. A flag and a variable are places with the key's name; a line of a file is
/// not.
fn of_from(place: &Place, expected: &Expected) -> Mistakes {
    match place.file() {
        Some(_) => Mistakes::one(place, format!("key from: {expected}")),
        None => Mistakes::one(place, expected.to_string()),
    }
}

type Settings<S> = std::result::Result<S, Expected>;

/// The settings that `text` stands for.
fn of_text(text: &str, layers: &Layers<'_>, registry: &Registry) -> Settings<SourceSettings> {
    let kinds = &registry.sources;
    let shorthand = Shorthand::parse(text, kinds)?;
    if shorthand.name.is_some() {
        return Err(Expected(format!(
            "{text:?} has a name: a source has none; name the fan-out with the key name"
        )));
    }

    let kind = kind::find(kinds, shorthand.kind)?;
    settings(kind, shorthand.table, layers)
}

fn of_table(table: &Table, layers: &Layers<'_>, registry: &Registry) -> Settings<SourceSettings> {
    let kind = kind_of(table, &registry.sources)?;
    let layer = Layers(vec![table]);
    let own = layer.collect(kind.keys);
    settings(kind, own, layers)
}

/// The kind that a table's `type` names; the first one where there is no such key.
pub(crate) fn kind_of<'a, S>(table: &Table, kinds: &'a [Kind<S>]) -> Settings<&'a Kind<S>> {
    let name = match table.text(TYPE) {
        Some((name, _)) => name,
        None => kinds.first().map_or("", |kind| kind.name),
    };
    kind::find(kinds, name)
}

/// The settings in the own keys of a kind, and in inherited ones.
pub(crate) fn settings<S>(kind: &Kind<S>, own: toml::Table, layers: &Layers<'_>) -> Settings<S> {
    kind.parse(inherited(kind, own, layers))
}

/// The own keys of a kind together with the inherited ones.
pub(crate) fn inherited<S>(
    kind: &Kind<S>,
    mut own: toml::Table,
    layers: &Layers<'_>,
) -> toml::Table {
    let missing = |key: &&Key| key.is_inherited() && !own.contains_key(key.name);
    let inherited: Vec<&Key> = kind
        .keys
        .iter()
        .filter(missing)
        .filter(|key| kind.inherits(&own, key.name))
        .collect();
    own.extend(layers.collect(inherited));
    own
}

//! The source of a fan-out: `from`, or a table `[source]`.

use distributary_adapters::keys::Key;
use distributary_adapters::kind::{self, Kind, Shorthand};
use distributary_adapters::sources::SourceSettings;

use crate::keys::{SOURCE, TYPE};
use crate::mistake::{Mistakes, Place};
use crate::registry::Registry;
use crate::table::{Layers, Table};

/// The source's settings, and the place where they were written.
pub(crate) fn source(
    layers: &Layers<'_>,
    own: &Table,
    registry: &Registry,
) -> Result<(SourceSettings, Place), Mistakes> {
    let from = layers.0.iter().find_map(|table| table.text("from"));
    let table = own.table(SOURCE);
    if let (Some((_, place)), Some(table)) = (from, table)
        && place.file().is_some()
    {
        let message = "the source is given twice, by from and by [source]; leave one of them out";
        return Err(Mistakes::one(&table.place, message));
    }

    match (from, table) {
        (Some((text, place)), _) => {
            let settings = of_text(text, place, layers, registry);
            let settings = settings.map_err(|message| Mistakes::one(place, message))?;
            Ok((settings, place.clone()))
        }
        (None, Some(table)) => of_table(table, layers, registry),
        (None, None) => Err(Mistakes::one(
            &own.place,
            "no stream to copy: give --from STREAM, or from = \"STREAM\" in a file (-c FILE)",
        )),
    }
}

/// The settings that `text` at `place` stands for, or a sentence.
fn of_text(
    text: &str,
    place: &Place,
    layers: &Layers<'_>,
    registry: &Registry,
) -> Result<SourceSettings, String> {
    // A flag and a variable are places with the key's name; a line of a file is not.
    let in_key = |message: String| match place.file() {
        Some(_) => format!("key from: {message}"),
        None => message,
    };
    let kinds = &registry.sources;
    let shorthand = Shorthand::parse(text, kinds).map_err(|expected| in_key(expected.0))?;
    if shorthand.name.is_some() {
        let message =
            format!("{text:?} has a name: a source has none; name the fan-out with the key name");
        return Err(in_key(message));
    }

    let kind = kind::find(kinds, shorthand.kind).map_err(|expected| in_key(expected.0))?;
    settings(kind, shorthand.table, layers).map_err(in_key)
}

fn of_table(
    table: &Table,
    layers: &Layers<'_>,
    registry: &Registry,
) -> Result<(SourceSettings, Place), Mistakes> {
    let mistake = |message: String| Mistakes::one(&table.place, message);
    let kind = kind_of(table, &registry.sources).map_err(mistake)?;
    let own = Layers(vec![table]).collect(kind.keys);
    let settings = settings(kind, own, layers).map_err(mistake)?;
    Ok((settings, table.place.clone()))
}

/// The kind that a table's `type` names; the first one where there is no such key.
pub(crate) fn kind_of<'a, S>(table: &Table, kinds: &'a [Kind<S>]) -> Result<&'a Kind<S>, String> {
    let default = kinds.first().map_or("", |kind| kind.name);
    let name = table.text(TYPE).map_or(default, |(name, _)| name);
    kind::find(kinds, name).map_err(|expected| expected.0)
}

/// The settings in the own keys of a kind, and in inherited ones.
pub(crate) fn settings<S>(
    kind: &Kind<S>,
    mut own: toml::Table,
    layers: &Layers<'_>,
) -> Result<S, String> {
    let missing = |key: &&Key| key.is_inherited() && !own.contains_key(key.name);
    let inherited: Vec<&Key> = kind
        .keys
        .iter()
        .filter(missing)
        .filter(|key| kind.inherits(&own, key.name))
        .collect();
    own.extend(layers.collect(inherited));
    kind.parse(own).map_err(|expected| expected.0)
}

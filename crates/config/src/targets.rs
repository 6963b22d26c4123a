//! Outputs that a Targets table of aws-lambda-fanout names: `targets = "table:fanoutTargets"`.

use distributary_adapters::kind::{BuildContext, BuildError, Kind, find};
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::targets::{Item, TableName, Target};
use distributary_core::engine::{Order, Start};
use distributary_kinesis::config::ConnectOptions;

use crate::mistake::{Place, Result};
use crate::outputs::Outputs;
use crate::process::{OutputConfig, Preparation, RefusedRecords};

/// The Targets table of a fan-out, with the values that all targets have.
#[derive(Clone, Debug)]
pub struct TargetsConfig {
    /// The table.
    pub table: TableName,
    kinds: Vec<Kind<OutputSettings>>,
    /// Keys of kinds that are written once for all outputs.
    inherited: toml::Table,
    order: Order,
    start: Start,
    refused: RefusedRecords,
}

/// A value that an item gives, or the reason why there is none.
type Read<T> = std::result::Result<T, String>;

impl PartialEq for TargetsConfig {
    fn eq(&self, other: &Self) -> bool {
        let values = |one: &Self| {
            (
                one.table.clone(),
                one.inherited.clone(),
                one.order,
                one.start,
            )
        };
        values(self) == values(other) && self.refused == other.refused
    }
}

impl Outputs<'_> {
    /// The table `table` with the inherited values.
    pub(crate) fn targets(&self, table: TableName) -> Result<TargetsConfig> {
        let inherited = self.registry.inherited_keys();
        let refused = self.inherited_refused(&Place::Nowhere)?;
        Ok(TargetsConfig {
            table,
            kinds: self.registry.outputs.clone(),
            inherited: self.layers.collect(inherited),
            order: self.order.unwrap_or_default(),
            start: self.start.unwrap_or_default(),
            refused,
        })
    }
}

impl TargetsConfig {
    /// The active targets of `source`. A bad item is logged, and the others are used.
    pub fn outputs(&self, items: &[Item], source: &str) -> Vec<OutputConfig> {
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            match self.output(item, source) {
                Ok(Some(output)) => outputs.push(output),
                Ok(None) => {}
                Err(why) => tracing::warn!("{}: {why}", self.table),
            }
        }
        outputs
    }

    /// The output of an item; `None` for a target that is not active.
    ///
    /// # Errors
    /// A sentence that names the target and the attribute.
    pub fn output(&self, item: &Item, source: &str) -> Read<Option<OutputConfig>> {
        let target = Target::read(item);
        let target = target.map_err(|bad| bad.to_string())?;
        if !target.active {
            return Ok(None);
        }
        let settings = self.settings(&target).map_err(|why| {
            let id = &target.id;
            format!("the target {id} is not used: {why}")
        })?;
        let output = self.with(target, settings, source);
        Ok(Some(output))
    }

    fn with(&self, target: Target, settings: OutputSettings, source: &str) -> OutputConfig {
        OutputConfig {
            prepared: prepared(&target, source),
            name: target.id,
            order: settings.keeps().best(self.order),
            settings,
            start: self.start,
            paused: false,
            refused: self.refused.clone(),
            filter: None,
            rows: None,
        }
    }

    fn settings(&self, target: &Target) -> Read<OutputSettings> {
        let kind = find(&self.kinds, target.kind).map_err(|expected| expected.0)?;
        let mut table = target.keys.clone();
        for key in kind.keys {
            let is_own = table.contains_key(key.name);
            let Some(value) = self.inherited.get(key.name) else {
                continue;
            };
            if !is_own && key.is_inherited() && kind.inherits(&table, key.name) {
                table.insert(key.name.to_owned(), value.clone());
            }
        }
        kind.parse(table).map_err(|expected| expected.0)
    }
}

/// The preparations of the records of `source` for a target.
fn prepared(target: &Target, source: &str) -> Vec<Preparation> {
    let mut prepared = Vec::new();
    if target.deaggregate {
        prepared.push(Preparation::TakeApart);
    }
    let mut service = source.split(':');
    if service.nth(2) == Some("dynamodb") {
        prepared.push(Preparation::Images(target.images));
    }
    prepared
}

/// The active targets of `source` in the table.
///
/// # Errors
/// [`BuildError`] if the table cannot be read.
#[cfg(feature = "dynamodb")]
pub async fn search(
    targets: &TargetsConfig,
    context: &BuildContext,
    source: &str,
) -> std::result::Result<Vec<OutputConfig>, BuildError> {
    use distributary_adapters::targets::table::TargetsTable;

    let options = connection(&targets.table);
    let sdk = context.connector.sdk(&options);
    let table = TargetsTable::new(&sdk.await, targets.table.clone());
    let items = table.of_source(source).await;
    let items = items.map_err(|trouble| BuildError::Failed {
        message: trouble.to_string(),
        source: trouble,
    })?;
    Ok(targets.outputs(&items, source))
}

/// The connection to a table: in the region of the ARN.
pub fn connection(table: &TableName) -> ConnectOptions {
    let region = table.region();
    ConnectOptions {
        region: region.map(str::to_owned),
        ..ConnectOptions::default()
    }
}

/// No table is named in a build that reads none.
///
/// # Errors
/// None.
#[cfg(not(feature = "dynamodb"))]
pub async fn search(
    _: &TargetsConfig,
    _: &BuildContext,
    _: &str,
) -> std::result::Result<Vec<OutputConfig>, BuildError> {
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "dynamodb")]
    use distributary_adapters::targets::Attribute;

    use super::*;
    #[cfg(feature = "dynamodb")]
    use crate::registry::Registry;

    const SOURCE: &str = "arn:aws:kinesis:eu-west-1:1:stream/input";

    #[cfg(feature = "dynamodb")]
    fn config() -> TargetsConfig {
        let inherited = "endpoint-url = \"http://127.0.0.1:1\"\nregion = \"eu-west-1\"";
        TargetsConfig {
            table: "table:fanoutTargets".parse().unwrap(),
            kinds: Registry::default().outputs,
            inherited: inherited.parse().unwrap(),
            order: Order::Strict,
            start: Start::TrimHorizon,
            refused: RefusedRecords::StopLane,
        }
    }

    #[cfg(feature = "dynamodb")]
    fn item(id: &str, kind: &str, destination: &str, active: bool) -> Item {
        let text = |text: &str| Attribute::Text(text.to_owned());
        [
            ("id".to_owned(), text(id)),
            ("type".to_owned(), text(kind)),
            ("destination".to_owned(), text(destination)),
            ("active".to_owned(), Attribute::Boolean(active)),
        ]
        .into()
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn active_targets_are_outputs_and_a_bad_one_holds_no_other() {
        let items = [
            item("a", "kinesis", "orders", true),
            item("b", "kinesis", "off", false),
            item("c", "nothing", "x", true),
            item(
                "d",
                "kinesis",
                "arn:aws:kinesis:eu-north-1:1:stream/far",
                true,
            ),
        ];
        let outputs = config().outputs(&items, SOURCE);
        let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["a", "d"]);
        assert_eq!(outputs[0].order, Order::Strict);
        let text = format!("{:?}", outputs[1].settings);
        assert!(text.contains("region: None"), "{text}");
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn a_kind_that_is_not_built_is_named() {
        let told = config().output(&item("a", "es", "h#i", true), SOURCE);
        let told = told.unwrap_err();
        assert!(told.starts_with("the target a is not used:"), "{told}");
    }

    #[test]
    fn the_data_of_changes_are_images_and_those_of_a_stream_stay() {
        let target = Target {
            id: "a".to_owned(),
            active: true,
            kind: "sqs",
            keys: toml::Table::new(),
            deaggregate: true,
            images: Default::default(),
        };
        assert_eq!(prepared(&target, SOURCE), [Preparation::TakeApart]);
        let changes = prepared(&target, "arn:aws:dynamodb:eu-west-1:1:table/t/stream/now");
        assert_eq!(changes[1], Preparation::Images(target.images));
    }
}

//! The kind `dynamodb`: an Amazon DynamoDB table.

#[cfg(feature = "dynamodb")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "dynamodb")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, region_of_arn,
    role_problems,
};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "dynamodb")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::values::Expected;

/// The settings of one table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    table: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    item: Item,
    #[serde(default)]
    overwrite: Overwrite,
}

/// The item that a record becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Item {
    /// The partition key, the data as bytes and the sequence number.
    #[default]
    Record,
    /// The members of the data, which are a JSON object, and the sequence number.
    Json,
}

/// The rule for an item that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Overwrite {
    /// Replaced by records with a higher sequence number only.
    #[default]
    Older,
    /// Always replaced.
    Always,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "dynamodb";
    const SUMMARY: &'static str = "An Amazon DynamoDB table. A record is durable when PutItem has \
        written the item, or found a newer one in its place. The item has the attribute `seq`, the \
        sequence number with leading zeros; with `overwrite = \"older\"` a repeated record never \
        replaces a newer one. `--to dynamodb:TABLE`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "table",
            form: Form::Text("TABLE"),
            absent: Absent::Required,
            help: "Table to write to: a name, or an ARN, which also gives the region",
            example: "orders",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "item",
            form: Form::Choice(&["record", "json"]),
            absent: Absent::Default("record"),
            help: "The item of a record: record (the table's partition key has the record's, data has the \
                   bytes, seq and a sort key have the sequence number) or json (the members of the data, \
                   a JSON object that has the table's keys, and seq)",
            example: "json",
        },
        Key {
            name: "overwrite",
            form: Form::Choice(&["older", "always"]),
            absent: Absent::Default("older"),
            help: "Items that a record replaces: older (a lower seq, or none) or always",
            example: "always",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new("dynamodb needs a table: dynamodb:TABLE"));
        }
        Ok([("table".to_owned(), rest.into())].into_iter().collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let place = table.get("table").and_then(|place| place.as_str());
        key != "region"
            || place
                .and_then(|arn| region_of_arn(arn, Self::NAME))
                .is_none()
    }

    fn default_name(&self) -> String {
        self.name().to_owned()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("dynamodb {} {:?}", self.table, self.connection()),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        role_problems(&self.connection())
    }

    fn permissions(&self) -> Vec<Permission> {
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["dynamodb:DescribeTable", "dynamodb:PutItem"],
            resource: self.resource(),
        }]
    }

    #[cfg(feature = "dynamodb")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "dynamodb")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of_arn(&self.table, Self::NAME))
    }

    fn name(&self) -> &str {
        let last = self.table.rsplit('/').next();
        last.unwrap_or_default()
    }

    fn resource(&self) -> String {
        if self.table.starts_with("arn:") {
            return self.table.clone();
        }
        let region = self.region.as_deref().unwrap_or("*");
        format!("arn:aws:dynamodb:{region}:*:table/{}", self.table)
    }
}

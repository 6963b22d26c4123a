//! The kind `eventbridge`: an Amazon EventBridge event bus.

#[cfg(feature = "eventbridge")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "eventbridge")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, region_of_arn,
    role_problems,
};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "eventbridge")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::messages::text::Binary;
use crate::values::Expected;

/// The settings of one event bus.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    bus: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default = "source")]
    event_source: String,
    #[serde(default = "detail_type")]
    detail_type: String,
    #[serde(default)]
    binary: Binary,
}

fn source() -> String {
    "distributary".to_owned()
}

fn detail_type() -> String {
    "record".to_owned()
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "eventbridge";
    const SUMMARY: &'static str = "An Amazon EventBridge event bus. A record is durable when \
        PutEvents has an event id for that very record. The detail of an event is the data, if these \
        are a JSON object, else `{\"data\": BASE64}`; the time is that of the arrival. EventBridge \
        keeps no order. `--to eventbridge:BUS`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "bus",
            form: Form::Text("BUS"),
            absent: Absent::Required,
            help: "Event bus: a name such as default, or an ARN, which also gives the region",
            example: "default",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "event-source",
            form: Form::Text("TEXT"),
            absent: Absent::Default("distributary"),
            help: "Source of the events",
            example: "com.example.orders",
        },
        Key {
            name: "detail-type",
            form: Form::Text("TEXT"),
            absent: Absent::Default("record"),
            help: "Detail type of the events",
            example: "order",
        },
        Key {
            name: "binary",
            form: Form::Choice(&["base64", "dead-letter", "refuse"]),
            absent: Absent::Default("base64"),
            help: "Data that are no JSON object: base64 (in {\"data\": …}), dead-letter (refused by \
                   record) or refuse (the output waits at the record)",
            example: "dead-letter",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new(
                "eventbridge needs a event bus: eventbridge:BUS",
            ));
        }
        Ok([("bus".to_owned(), rest.into())].into_iter().collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let place = table.get("bus").and_then(|place| place.as_str());
        key != "region" || place.and_then(|arn| region_of_arn(arn, "events")).is_none()
    }

    fn default_name(&self) -> String {
        self.name().to_owned()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("eventbridge {} {:?}", self.bus, self.connection()),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::Nothing
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        if self.event_source.is_empty() || self.detail_type.is_empty() {
            problems.push("event-source and detail-type must not be empty".to_owned());
        }
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["events:DescribeEventBus", "events:PutEvents"],
            resource: self.resource(),
        }]
    }

    #[cfg(feature = "eventbridge")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "eventbridge")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of_arn(&self.bus, "events"))
    }

    fn name(&self) -> &str {
        let last = self.bus.rsplit('/').next();
        last.unwrap_or_default()
    }

    fn resource(&self) -> String {
        if self.bus.starts_with("arn:") {
            return self.bus.clone();
        }
        let region = self.region.as_deref().unwrap_or("*");
        format!("arn:aws:events:{region}:*:event-bus/{}", self.bus)
    }
}

//! The kind `firehose`: an Amazon Data Firehose stream.

#[cfg(feature = "firehose")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "firehose")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, region_of_arn,
    role_problems,
};
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "firehose")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::values::Expected;

/// The settings of one Firehose stream.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    stream: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    newline: bool,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "firehose";
    const SUMMARY: &'static str = "An Amazon Data Firehose stream. A record is durable when \
        PutRecordBatch has no error code for that very record. Firehose keeps no order. \
        `--to firehose:NAME`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "stream",
            form: Form::Text("NAME"),
            absent: Absent::Required,
            help: "Firehose stream to write to: a name, or an ARN, which also gives the region",
            example: "orders-to-s3",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        formats::FORMAT,
        Key {
            name: "newline",
            form: Form::Boolean,
            absent: Absent::Default("false"),
            help: "A line break after each record",
            example: "true",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new(
                "firehose needs a Firehose stream: firehose:NAME",
            ));
        }
        Ok([("stream".to_owned(), rest.into())].into_iter().collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let place = table.get("stream").and_then(|place| place.as_str());
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
            text: format!("firehose {} {:?}", self.stream, self.connection()),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::Nothing
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        role_problems(&self.connection())
    }

    fn permissions(&self) -> Vec<Permission> {
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["firehose:DescribeDeliveryStream", "firehose:PutRecordBatch"],
            resource: self.resource(),
        }]
    }

    #[cfg(feature = "firehose")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "firehose")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of_arn(&self.stream, Self::NAME))
    }

    fn name(&self) -> &str {
        let last = self.stream.rsplit('/').next();
        last.unwrap_or_default()
    }

    fn resource(&self) -> String {
        if self.stream.starts_with("arn:") {
            return self.stream.clone();
        }
        let region = self.region.as_deref().unwrap_or("*");
        format!("arn:aws:firehose:{region}:*:deliverystream/{}", self.stream)
    }
}

//! The kind `sqs`: an Amazon SNS topic, standard or FIFO.

#[cfg(feature = "sns")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "sns")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, region_of_arn,
    role_problems,
};
use crate::formats::Format;
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "sns")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::messages::attributes::{ATTRIBUTES, Attributes};
use crate::messages::collapse::{COLLAPSE, Collapse};
use crate::messages::composer;
use crate::messages::text::{BINARY, Binary, FORMAT};
use crate::values::Expected;

/// The settings of one topic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    topic_arn: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default = "Format::text")]
    format: Format,
    #[serde(default)]
    binary: Binary,
    #[serde(default)]
    attributes: Attributes,
    collapse: Option<Collapse>,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "sns";
    const SUMMARY: &'static str = "An Amazon SNS topic. A record is durable when PublishBatch names \
        the message as successful. A FIFO topic (the ARN ends in `.fifo`) keeps the order per partition \
        key with `order = \"strict\"`: the message group is the partition key, and the deduplication \
        id is the shard with the sequence number, so that repeats within five minutes are discarded. \
        A standard topic keeps no order. `--to sns:ARN`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "topic-arn",
            form: Form::Text("ARN"),
            absent: Absent::Required,
            help: "ARN of the topic",
            example: "arn:aws:sns:eu-central-1:123456789012:orders",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        FORMAT,
        BINARY,
        ATTRIBUTES,
        COLLAPSE,
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new("sns needs a topic: sns:ARN"));
        }
        Ok([("topic-arn".to_owned(), rest.into())]
            .into_iter()
            .collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let arn = table.get("topic-arn").and_then(|arn| arn.as_str());
        key != "region" || arn.and_then(|arn| region_of_arn(arn, Self::NAME)).is_none()
    }

    fn default_name(&self) -> String {
        self.name().replace(".fifo", "-fifo")
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("sns {} {:?}", self.topic_arn, self.endpoint_url),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        composer::Form::keeps(self.is_fifo())
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        problems.extend(self.form().problems());
        let region = region_of_arn(&self.topic_arn, Self::NAME);
        if region.is_none() || self.name().is_empty() {
            problems.push(format!(
                "topic-arn {:?} is no ARN of a topic: expected one such as \
                 arn:aws:sns:eu-central-1:123456789012:orders",
                self.topic_arn
            ));
        }
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["sns:GetTopicAttributes", "sns:Publish"],
            resource: self.topic_arn.clone(),
        }]
    }

    #[cfg(feature = "sns")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "sns")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of_arn(&self.topic_arn, Self::NAME))
    }

    fn form(&self) -> composer::Form {
        composer::Form {
            format: self.format,
            binary: self.binary,
            attributes: self.attributes.clone(),
            collapse: self.collapse,
            is_fifo: self.is_fifo(),
        }
    }

    fn name(&self) -> &str {
        self.topic_arn.rsplit(':').next().unwrap_or_default()
    }

    fn is_fifo(&self) -> bool {
        self.topic_arn.ends_with(".fifo")
    }
}

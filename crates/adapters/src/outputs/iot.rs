//! The kind `iot`: topics of AWS IoT Core.

#[cfg(feature = "iot")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::{Deserialize, Deserializer, de};
use toml::Table;

#[cfg(feature = "iot")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, role_problems,
};
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "iot")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::messages::collapse::{COLLAPSE, Collapse};
use crate::values::{Expected, word};

/// The settings of one topic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    topic: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    format: Format,
    collapse: Option<Collapse>,
    #[serde(default, deserialize_with = "qos")]
    qos: Qos,
}

/// The quality of service of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Qos {
    /// Nothing is promised after the answer.
    AtMostOnce,
    /// AWS IoT delivers the message at least once.
    #[default]
    AtLeastOnce,
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Qos, D::Error> {
    let text = String::deserialize(deserializer)?;
    let words = [("0", Qos::AtMostOnce), ("1", Qos::AtLeastOnce)];
    word(&text, &words).map_err(de::Error::custom)
}

/// The part of a topic that stands for the partition key.
const PARTITION_KEY: &str = "{partitionKey}";
/// Bytes of a topic (AWS general reference, "AWS IoT Core message broker").
const TOPIC_BYTES: usize = 256;
/// Slashes in a topic.
const TOPIC_SLASHES: usize = 7;

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "iot";
    const SUMMARY: &'static str = "Topics of AWS IoT Core. With `qos = \"1\"` a record is durable when \
        the broker has taken the message; with `qos = \"0\"` nothing is durable. Order per partition \
        key holds for the requests. `--to iot:TOPIC`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "topic",
            form: Form::Text("TOPIC"),
            absent: Absent::Required,
            help: "Topic to publish to; {partitionKey} stands for the record's partition key",
            example: "orders/{partitionKey}",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        formats::FORMAT,
        COLLAPSE,
        Key {
            name: "qos",
            form: Form::Choice(&["0", "1"]),
            absent: Absent::Default("1"),
            help: "Quality of service: 1 (at least once) or 0 (the broker may drop messages)",
            example: "1",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new("iot needs a topic: iot:TOPIC"));
        }
        Ok([("topic".to_owned(), rest.into())].into_iter().collect())
    }

    fn default_name(&self) -> String {
        self.name().replace(PARTITION_KEY, "key")
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("iot {} {:?}", self.topic, self.connection()),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        let has_key = self.topic.contains(PARTITION_KEY);
        let shortest = self.topic.replace(PARTITION_KEY, "k");
        if let Err(problem) = check_topic(&shortest) {
            problems.push(format!("topic {:?} {problem}", self.topic));
        }
        if self.collapse.is_some() && (has_key || self.format != Format::Raw) {
            problems.push(
                "collapse does not go together with format, nor with {partitionKey} in the topic"
                    .to_owned(),
            );
        }
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        let region = self.region.as_deref().unwrap_or("*");
        let topic = self.topic.replace(PARTITION_KEY, "*");
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["iot:Publish"],
            resource: format!("arn:aws:iot:{region}:*:topic/{topic}"),
        }]
    }

    #[cfg(feature = "iot")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "iot")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, None::<String>)
    }

    fn name(&self) -> &str {
        let last = self.topic.rsplit('/').next();
        last.unwrap_or_default()
    }
}

/// The rule of AWS IoT for topics that are published to.
///
/// # Errors
/// The broken rule.
fn check_topic(topic: &str) -> Result<(), String> {
    let slashes = topic.bytes().filter(|byte| *byte == b'/').count();
    if topic.is_empty() || topic.contains(['#', '+', '\0']) {
        return Err("is no topic to publish to: it must not be empty, nor have # or +".to_owned());
    }
    if topic.len() > TOPIC_BYTES || slashes > TOPIC_SLASHES {
        return Err(format!(
            "has {} bytes and {slashes} slashes; AWS IoT takes {TOPIC_BYTES} and {TOPIC_SLASHES}",
            topic.len()
        ));
    }
    Ok(())
}

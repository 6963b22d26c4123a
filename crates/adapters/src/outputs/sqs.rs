//! The kind `sqs`: an Amazon SQS queue, standard or FIFO.

#[cfg(feature = "sqs")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "sqs")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, role_problems,
};
use crate::formats::Format;
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "sqs")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::messages::attributes::{ATTRIBUTES, Attributes};
use crate::messages::collapse::{COLLAPSE, Collapse};
use crate::messages::composer;
use crate::messages::text::{BINARY, Binary, FORMAT};
use crate::values::Expected;

/// The settings of one queue.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    queue_url: String,
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
    const NAME: &'static str = "sqs";
    const SUMMARY: &'static str = "An Amazon SQS queue. A record is durable when SendMessageBatch \
        names the message as successful. A FIFO queue (the URL ends in `.fifo`) keeps the order per \
        partition key with `order = \"strict\"`: the message group is the partition key, and the \
        deduplication id is the shard with the sequence number, so that repeats within five minutes \
        are discarded. A standard queue keeps no order. `--to sqs:URL`. See \
        [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "queue-url",
            form: Form::Text("URL"),
            absent: Absent::Required,
            help: "Address of the queue",
            example: "https://sqs.eu-central-1.amazonaws.com/123456789012/orders",
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
            return Err(Expected::new("sqs needs a queue: sqs:URL"));
        }
        Ok([("queue-url".to_owned(), rest.into())]
            .into_iter()
            .collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let url = table.get("queue-url").and_then(|url| url.as_str());
        key != "region" || url.and_then(region_of).is_none()
    }

    fn default_name(&self) -> String {
        self.name().replace(".fifo", "-fifo")
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("sqs {} {:?}", self.queue_url, self.endpoint_url),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        composer::Form::keeps(self.is_fifo())
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        problems.extend(self.form().problems());
        let is_url =
            self.queue_url.starts_with("https://") || self.queue_url.starts_with("http://");
        if !is_url || self.name().is_empty() {
            problems.push(format!(
                "queue-url {:?} is no address of a queue: expected one such as \
                 https://sqs.eu-central-1.amazonaws.com/123456789012/orders",
                self.queue_url
            ));
        }
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        let mut parts = self.queue_url.rsplit('/');
        let (name, account) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
        let region = self.connection().region.unwrap_or_else(|| "*".to_owned());
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec!["sqs:GetQueueAttributes", "sqs:SendMessage"],
            resource: format!("arn:aws:sqs:{region}:{account}:{name}"),
        }]
    }

    #[cfg(feature = "sqs")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "sqs")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of(&self.queue_url))
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
        self.queue_url.rsplit('/').next().unwrap_or_default()
    }

    fn is_fifo(&self) -> bool {
        self.queue_url.ends_with(".fifo")
    }
}

/// The region in the address of a queue: `https://sqs.REGION.amazonaws.com/…`, or the older
/// `https://REGION.queue.amazonaws.com/…`.
fn region_of(url: &str) -> Option<String> {
    let host = url.split("//").nth(1)?.split('/').next()?;
    let mut parts = host.split('.');
    let region = match (parts.next()?, parts.next()?) {
        ("sqs" | "sqs-fips", region) => region,
        (region, "queue") => region,
        _ => return None,
    };
    host.contains(".amazonaws.com").then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn the_region_stands_in_the_address() {
        let region = |url| region_of(url);
        let [new, old] = [
            "https://sqs.eu-west-1.amazonaws.com/1/q",
            "https://eu-west-1.queue.amazonaws.com/1/q",
        ];
        assert_eq!(region(new).as_deref(), Some("eu-west-1"));
        assert_eq!(region(old).as_deref(), Some("eu-west-1"));
        assert_eq!(region("https://queue.amazonaws.com/1/q"), None);
        assert_eq!(region("http://127.0.0.1:5000/1/q"), None);
    }
}

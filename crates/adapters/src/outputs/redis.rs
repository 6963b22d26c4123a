//! The kind `redis`: a Redis or Valkey server, or a cluster of these.

#[cfg(feature = "redis")]
mod service;

use std::path::PathBuf;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "redis")]
use super::BuiltOutput;
use super::OutputKind;
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "redis")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Surroundings, Target};
use crate::values::{Expected, Span};

/// The part of a key that stands for the partition key.
const PARTITION_KEY: &str = "{partitionKey}";

/// The settings of one server or cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    url: String,
    #[serde(default)]
    cluster: bool,
    password_file: Option<PathBuf>,
    #[serde(default)]
    write: Write,
    key: Option<String>,
    #[serde(default)]
    format: Format,
    ttl: Option<Span>,
    replicas: Option<usize>,
}

/// The command of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Write {
    /// SET.
    #[default]
    Set,
    /// RPUSH.
    List,
    /// XADD.
    Stream,
    /// PUBLISH.
    Publish,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "redis";
    const SUMMARY: &'static str = "A Redis or Valkey server, or a cluster. A record is durable when the \
        server has answered that very command, and as many replicas as `replicas` says have it; with \
        `write = \"publish\"` nothing is durable. Order per partition key holds. \
        `--to redis:redis://HOST:PORT`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "url",
            form: Form::Text("URL"),
            absent: Absent::Required,
            help: "Address of the server, or of one server of a cluster: redis:// or rediss:// (TLS)",
            example: "rediss://orders.abc.euw1.cache.amazonaws.com:6379",
        },
        Key {
            name: "cluster",
            form: Form::Boolean,
            absent: Absent::Default("false"),
            help: "The server is one of a cluster: one command a request",
            example: "true",
        },
        Key {
            name: "password-file",
            form: Form::Path,
            absent: Absent::Default("no password"),
            help: "File with the password, or with USER:PASSWORD",
            example: "redis.password",
        },
        Key {
            name: "write",
            form: Form::Choice(&["set", "list", "stream", "publish"]),
            absent: Absent::Default("set"),
            help: "Command of a record: set (SET), list (RPUSH), stream (XADD with the fields data, \
                   partitionKey and sequenceNumber) or publish (PUBLISH, which nobody may receive)",
            example: "stream",
        },
        Key {
            name: "key",
            form: Form::Text("KEY"),
            absent: Absent::Default("{partitionKey} with write = \"set\", else required"),
            help: "Key, or channel; {partitionKey} stands for the record's partition key",
            example: "orders",
        },
        formats::FORMAT,
        Key {
            name: "ttl",
            form: Form::Span,
            absent: Absent::Default("for ever"),
            help: "Life of a key, with write = \"set\"",
            example: "1h",
        },
        Key {
            name: "replicas",
            form: Form::Count,
            absent: Absent::Default("none is waited for"),
            help: "Replicas that must have a record before the record is durable (WAIT)",
            example: "1",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        let url = match rest {
            "" => {
                return Err(Expected::new(
                    "redis needs an address: redis:redis://HOST:PORT",
                ));
            }
            // `--to redis://host`
            rest if rest.starts_with("//") => format!("redis:{rest}"),
            rest => rest.to_owned(),
        };
        Ok([("url".to_owned(), url.into())].into_iter().collect())
    }

    fn default_name(&self) -> String {
        let key = self.key.as_deref().filter(|key| !key.contains('{'));
        key.unwrap_or(Self::NAME).to_owned()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("redis {} {:?} {:?}", self.url, self.write, self.key),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |is: bool, text: &str| problems.extend(is.then(|| text.to_owned()));
        let is_address = self.url.starts_with("redis://") || self.url.starts_with("rediss://");
        problem(!is_address, "url is no redis:// or rediss:// address");
        problem(
            self.url.contains('@'),
            "url has a password; write that into a file and name the file in password-file",
        );
        problem(
            self.write != Write::Set && self.key.is_none(),
            "key is missing: the name of the list, the stream or the channel",
        );
        problem(
            self.write != Write::Set && self.ttl.is_some(),
            "ttl is only of use with write = \"set\"",
        );
        problem(
            self.cluster && self.replicas.is_some(),
            "replicas is not for clusters",
        );
        problems
    }

    #[cfg(feature = "redis")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "redis")]
    async fn check(&self, _context: &BuildContext) -> Vec<Finding> {
        service::check(self).await
    }
}

impl Settings {
    /// The key of a record with this partition key.
    #[cfg_attr(not(feature = "redis"), allow(dead_code))]
    fn key_of(&self, partition_key: &str) -> String {
        let template = self.key.as_deref().unwrap_or(PARTITION_KEY);
        template.replace(PARTITION_KEY, partition_key)
    }
}

//! The kind `memcached`: one or several memcached servers, or an ElastiCache cluster.

mod connection;
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use serde::Deserialize;
use toml::Table;

use super::{BuiltOutput, OutputKind};
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
use crate::kind::{BuildContext, BuildError, Finding, Surroundings, Target};
use crate::values::{Expected, Size, Span, Texts};

/// The settings of one cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    server: Texts,
    #[serde(default)]
    discovery: bool,
    #[serde(default)]
    format: Format,
    ttl: Option<Span>,
    max_size: Option<Size>,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "memcached";
    const SUMMARY: &'static str = "memcached servers: the key is the partition key, the value is the \
        data. A record is durable when the server has answered STORED for that very record, as far as a \
        cache is durable. Order per partition key holds. The first byte of the key's MD5 chooses the \
        server, as in aws-lambda-fanout. `--to memcached:HOST:PORT`. See [the \
        guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "server",
            form: Form::Texts("HOST:PORT"),
            absent: Absent::Required,
            help: "Server, or a list of servers, in the order in which all clients have them",
            example: "127.0.0.1:11211",
        },
        Key {
            name: "discovery",
            form: Form::Boolean,
            absent: Absent::Default("false"),
            help: "The server is the configuration endpoint of an ElastiCache cluster, and is asked for \
                   the servers at the start",
            example: "true",
        },
        formats::FORMAT,
        Key {
            name: "ttl",
            form: Form::Span,
            absent: Absent::Default("for ever"),
            help: "Life of a value, in whole seconds",
            example: "1h",
        },
        Key {
            name: "max-size",
            form: Form::Size,
            absent: Absent::Default("1MiB"),
            help: "Bytes of a value with key and header that the servers take (their option -I)",
            example: "5MiB",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new(
                "memcached needs a server: memcached:HOST:PORT",
            ));
        }
        Ok([("server".to_owned(), rest.into())].into_iter().collect())
    }

    fn default_name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("memcached {}", self.server.as_slice().join(" ")),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let servers = self.server.as_slice();
        let mut problems = Vec::new();
        if servers.is_empty() {
            problems.push("server is an empty list".to_owned());
        }
        for server in servers {
            let port = server.rsplit_once(':');
            let port = port.map(|(_, port)| port.parse::<u16>());
            let is_address = matches!(port, Some(Ok(_)));
            if !is_address {
                problems.push(format!("server {server:?} is not HOST:PORT"));
            }
        }
        if self.discovery && servers.len() > 1 {
            problems.push("discovery asks one server; leave the others out".to_owned());
        }
        problems
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

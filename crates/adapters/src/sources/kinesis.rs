//! The kind `kinesis`: an Amazon Kinesis data stream, read by polling. The source itself is in
//! `distributary-kinesis`.

use std::sync::Arc;

use async_trait::async_trait;
use distributary_core::source::ReadLimits;
use distributary_kinesis::client::Client;
use distributary_kinesis::config::ConnectOptions;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::source::{KinesisSource, READ_LIMITS};
use serde::Deserialize;
use toml::Table;

use super::{BuiltSource, SourceKind};
use crate::connection::{ENDPOINT_URL, EXTERNAL_ID, PROFILE, REGION, ROLE_ARN};
use crate::keys::{Absent, Form, Key};
use crate::kind::{BuildContext, BuildError, Finding, Permission, Severity, Surroundings, Target};
use crate::outputs::kinesis::{
    connection_problems, inherits, own_region, stream_identity, stream_resource, stream_table,
    stream_target,
};
use crate::values::{self, Expected, Span};

/// The settings of one stream.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(deserialize_with = "values::text")]
    stream: StreamRef,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    read_interval: Option<Span>,
}

#[async_trait]
impl SourceKind for Settings {
    const NAME: &'static str = "kinesis";
    const SUMMARY: &'static str = "An Amazon Kinesis data stream, read by polling (GetRecords).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "stream",
            form: Form::Stream,
            absent: Absent::Required,
            help: "Stream to read: a name, or an ARN, which also gives the region",
            example: "input",
        },
        REGION,
        PROFILE,
        ENDPOINT_URL,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "read-interval",
            form: Form::Span,
            absent: Absent::Inherited("200ms"),
            help: "Least time between two reads of a shard, on average over five; raise it where other \
                   programs poll the stream too",
            example: "1s",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        stream_table(rest)
    }

    fn inherits(table: &Table, key: &str) -> bool {
        inherits(table, key)
    }

    fn default_name(&self) -> String {
        self.stream.name().to_owned()
    }

    fn target(&self, surroundings: &Surroundings) -> Target {
        stream_target(&self.stream, &self.connection(surroundings))
    }

    fn reads(&self, arn: &str) -> bool {
        match self.stream.arn() {
            Some(own) => own.to_string() == arn,
            None => {
                let read: Option<StreamRef> = arn.parse().ok();
                read.is_some_and(|read| read.name() == self.stream.name())
            }
        }
    }

    fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        connection_problems(
            &self.stream,
            self.region.as_deref(),
            &self.connection(surroundings),
        )
    }

    fn permissions(&self) -> Vec<Permission> {
        vec![Permission {
            role: self.role_arn.clone(),
            actions: vec![
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ],
            resource: stream_resource(&self.stream, self.region.as_deref()),
        }]
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltSource, BuildError> {
        let client = self.client(context).await?;
        let limits = self.limits(&client);
        let source = KinesisSource::with_limits(client.clone(), self.stream.clone(), limits);
        let described = source.check().await.map_err(|trouble| BuildError::Failed {
            message: format!("cannot read {}: {trouble}", self.stream),
            source: trouble,
        })?;
        Ok(BuiltSource {
            source: Arc::new(source),
            identity: stream_identity(&client, &described),
            stream: Some(described),
        })
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        let finding = |severity, finding: String| Finding {
            subject: self.stream.to_string(),
            finding,
            severity,
            advice: String::new(),
        };
        let client = match self.client(context).await {
            Ok(client) => client,
            Err(error) => return vec![finding(Severity::Failure, error.to_string())],
        };
        match client.describe(&self.stream).await {
            Ok(described) => {
                let (shards, mode) = (described.answer.open_shards, described.answer.mode);
                vec![finding(
                    Severity::Fine,
                    format!("{shards} shards, mode {mode}"),
                )]
            }
            Err(trouble) => vec![finding(Severity::Failure, trouble.to_string())],
        }
    }
}

impl Settings {
    fn connection(&self, surroundings: &Surroundings) -> ConnectOptions {
        ConnectOptions {
            region: own_region(&self.stream, self.region.as_ref()),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint_url.clone(),
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            no_credentials: surroundings.embedded,
        }
    }

    async fn client(&self, context: &BuildContext) -> Result<Client, BuildError> {
        let connection = self.connection(&context.surroundings);
        Ok(context.connector.connect(&self.stream, &connection).await?)
    }
}

impl Settings {
    /// The limits of reading one shard. Only AWS limits the bytes that a shard returns in a second.
    fn limits(&self, client: &Client) -> ReadLimits {
        let mut limits = READ_LIMITS;
        if !is_aws(client) {
            limits.bytes_per_second = None;
        }
        if let Some(Span(interval)) = self.read_interval {
            limits.per = interval * limits.calls.get();
        }
        limits
    }
}

/// True if AWS itself answers. All of AWS's host names for Kinesis have the service and the region
/// in them.
fn is_aws(client: &Client) -> bool {
    let endpoint = client.endpoint();
    let after_scheme = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    let host = after_scheme.split(['/', ':']).next().unwrap_or_default();
    host.matches('.').count() >= 3
        && host
            .split('.')
            .any(|part| matches!(part, "kinesis" | "kinesis-fips"))
}

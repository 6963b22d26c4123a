//! The kind `kinesis`: an Amazon Kinesis data stream. The output itself is in
//! `distributary-kinesis`.

use std::sync::Arc;

use async_trait::async_trait;
use distributary_core::output::{KeepsOrder, Trouble, TroubleKind};
use distributary_core::pump::PumpRef;
use distributary_kinesis::client::{Client, ListedStream, StreamDescription};
use distributary_kinesis::config::ConnectOptions;
use distributary_kinesis::create;
use distributary_kinesis::kpl::Deaggregator;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::{Aggregates, KinesisOutput, OutputOptions, Route};
use distributary_wire::types::{StreamMode, StreamStatus};
use serde::{Deserialize, Deserializer, de};
use toml::Table;

use super::{BuiltOutput, OutputKind};
use crate::connection::{ENDPOINT_URL, EXTERNAL_ID, PROFILE, REGION, ROLE_ARN, role_problems};
use crate::keys::{Absent, Form, Key};
use crate::kind::{
    BuildContext, BuildError, Finding, ListedPlace, Permission, Severity, Surroundings, Tags,
    Target,
};
use crate::values::{self, Expected};

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
    #[serde(default, deserialize_with = "route")]
    route: Route,
    #[serde(default)]
    deaggregate: bool,
    #[serde(default)]
    aggregate: bool,
    #[serde(default)]
    create: bool,
}

const ROUTES: &[(&str, Route)] = &[
    ("partition-key", Route::PartitionKey),
    ("source-shard", Route::SourceShard),
];

fn route<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Route, D::Error> {
    let text = String::deserialize(deserializer)?;
    values::word(&text, ROUTES).map_err(de::Error::custom)
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "kinesis";
    const SUMMARY: &'static str = "An Amazon Kinesis data stream. A record is durable when \
        PutRecords acknowledged that very record.";
    const LISTED_BY: Option<&'static str> = Some("stream");
    const KEYS: &'static [Key] = &[
        Key {
            name: "stream",
            form: Form::Stream,
            absent: Absent::Required,
            help: "Stream to write to: a name, or an ARN, which also gives the region",
            example: "output1",
        },
        REGION,
        PROFILE,
        ENDPOINT_URL,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "route",
            form: Form::Choice(&["partition-key", "source-shard"]),
            absent: Absent::Inherited("partition-key"),
            help: "Selects the output's shard: partition-key, or source-shard (records go to the \
                   place in the hash space that their source shard has, so that records of one \
                   shard stay together)",
            example: "source-shard",
        },
        Key {
            name: "deaggregate",
            form: Form::Boolean,
            absent: Absent::Inherited("false"),
            help: "Take KPL aggregates apart: each user record is written by itself, with its own \
                   partition key and explicit hash key. By default an aggregate is passed on, to \
                   the shard of its user records, and divided where the output's shards divide them",
            example: "true",
        },
        Key {
            name: "aggregate",
            form: Form::Boolean,
            absent: Absent::Inherited("false"),
            help: "Pack the records of one output shard into KPL aggregates of up to 51,200 bytes; \
                   aggregates of the source are taken apart first. Readers have to deaggregate, as \
                   the KCL does",
            example: "true",
        },
        Key {
            name: "create",
            form: Form::Boolean,
            absent: Absent::Inherited("false"),
            help: "Create a missing stream, with the source's number of shards and its mode",
            example: "true",
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

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        connection_problems(
            &self.stream,
            self.region.as_deref(),
            &self.connection(surroundings),
        )
    }

    fn permissions(&self) -> Vec<Permission> {
        let mut actions = vec![
            "kinesis:DescribeStreamSummary",
            "kinesis:ListShards",
            "kinesis:PutRecords",
        ];
        if self.create {
            actions.push("kinesis:CreateStream");
        }
        vec![Permission {
            role: self.role_arn.clone(),
            actions,
            resource: stream_resource(&self.stream, self.region.as_deref()),
        }]
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        let client = self.client(context).await?;
        let like = context.like.as_ref().filter(|_| self.creates(context));
        let description = match like {
            Some(like) => create::ensure(&client, &self.stream, like)
                .await
                .map(|ensured| ensured.description),
            None => create::wait_active(&client, &self.stream).await,
        };
        let description = description.map_err(|trouble| self.failed(trouble))?;

        let output = self.output(client.clone());
        output.learn(&description);
        Ok(BuiltOutput {
            output: Arc::new(output),
            pump: self.pump(),
            identity: stream_identity(&client, &description),
        })
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        let client = match self.client(context).await {
            Ok(client) => client,
            Err(error) => return vec![self.finding(Severity::Failure, error.to_string(), "")],
        };
        match client.describe(&self.stream).await {
            Ok(described) => self.described(&described.answer, context),
            Err(trouble) => vec![self.unreachable(&trouble, context)],
        }
    }

    async fn list(&self, context: &BuildContext) -> Result<Vec<ListedPlace>, BuildError> {
        let client = self.client(context).await?;
        let listed = client.list_streams().await;
        let listed = listed.map_err(|trouble| BuildError::Failed {
            message: format!("cannot list the streams: {trouble}"),
            source: trouble,
        })?;

        let place = |stream: ListedStream| ListedPlace {
            is_going: stream.is_deleting(),
            name: stream.name,
            identity: stream.arn,
            created: stream.created,
        };
        Ok(listed.into_iter().map(place).collect())
    }

    async fn tags(&self, context: &BuildContext) -> Result<Option<Tags>, BuildError> {
        let client = self.client(context).await?;
        match client.tags(&self.stream).await {
            Ok(tags) => Ok(Some(tags)),
            Err(trouble) if trouble.kind == TroubleKind::Missing => Ok(None),
            Err(trouble) => Err(BuildError::Failed {
                message: format!("cannot list the tags of {}: {trouble}", self.stream),
                source: trouble,
            }),
        }
    }

    async fn is_gone(&self, context: &BuildContext) -> bool {
        let Ok(client) = self.client(context).await else {
            return false;
        };
        match client.describe(&self.stream).await {
            Ok(described) => described.answer.status == StreamStatus::Deleting,
            Err(trouble) => trouble.kind == TroubleKind::Missing,
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

    fn output(&self, client: Client) -> KinesisOutput {
        KinesisOutput::new(
            client,
            self.stream.clone(),
            OutputOptions {
                route: self.route,
                aggregates: self.aggregates(),
            },
        )
    }

    fn aggregates(&self) -> Aggregates {
        match (self.aggregate, self.deaggregate) {
            (true, _) => Aggregates::Pack,
            (false, true) => Aggregates::TakeApart,
            (false, false) => Aggregates::PassOn,
        }
    }

    /// The pump that takes aggregates apart.
    fn pump(&self) -> Option<PumpRef> {
        (self.aggregates() != Aggregates::PassOn).then(|| PumpRef {
            pump: Deaggregator::shared(),
            stream: 0,
        })
    }

    /// An embedded Kinesis is empty at the start: every stream that is named is created.
    fn creates(&self, context: &BuildContext) -> bool {
        self.create || context.surroundings.embedded
    }

    fn failed(&self, trouble: Trouble) -> BuildError {
        let hint = match trouble.kind {
            TroubleKind::Missing => "; or have it created: --create",
            _ => "",
        };
        BuildError::Failed {
            message: format!("cannot write to {}: {trouble}{hint}", self.stream),
            source: trouble,
        }
    }

    fn finding(&self, severity: Severity, finding: String, advice: &str) -> Finding {
        Finding {
            subject: self.stream.to_string(),
            finding,
            severity,
            advice: advice.to_owned(),
        }
    }

    fn described(&self, described: &StreamDescription, context: &BuildContext) -> Vec<Finding> {
        let finding = format!("{} shards, mode {}", described.open_shards, described.mode);
        let mut findings = Vec::new();
        if described.places_by_itself {
            findings.push(self.finding(
                Severity::Warning,
                format!("{finding}, and the stream distributes records itself"),
                "records of one partition key get no order there; use a stream that routes by key",
            ));
        }
        if let Some(source) = &context.like {
            findings.extend(self.beside(described, source));
        }

        if findings.is_empty() {
            findings.push(self.finding(Severity::Fine, finding, ""));
        }
        findings
    }

    /// Drawbacks of a stream as an output of `source`.
    fn beside(&self, output: &StreamDescription, source: &StreamDescription) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (shards, wanted) = (output.open_shards, source.open_shards);
        if output.mode == StreamMode::Provisioned && (1..wanted).contains(&shards) {
            findings.push(self.finding(
                Severity::Warning,
                format!("{shards} shards, and the source has {wanted}"),
                "a full source is more than these shards take; add shards, or use mode ON_DEMAND",
            ));
        }

        let (bytes, wanted) = (output.record_bytes, source.record_bytes);
        if bytes < wanted {
            let (bytes, wanted) = (bytes >> 10, wanted >> 10);
            findings.push(self.finding(
                Severity::Warning,
                format!("takes records of {bytes} KiB, and the source has up to {wanted} KiB"),
                "raise the stream's maximum record size, or set a dead-letter for larger records",
            ));
        }
        findings
    }

    fn unreachable(&self, trouble: &Trouble, context: &BuildContext) -> Finding {
        let missing = trouble.kind == TroubleKind::Missing;
        if missing && self.creates(context) {
            let finding = "does not exist; it is created at the start".to_owned();
            return self.finding(Severity::Fine, finding, "");
        }

        let advice = if missing {
            "create the stream, or set create = true"
        } else {
            ""
        };
        self.finding(Severity::Failure, trouble.to_string(), advice)
    }
}

/// The stream's ARN, with `*` for the parts that are not known without asking.
pub(crate) fn stream_resource(stream: &StreamRef, region: Option<&str>) -> String {
    match stream.arn() {
        Some(arn) => arn.to_string(),
        None => {
            let region = region.unwrap_or("*");
            let name = stream.name();
            format!("arn:aws:kinesis:{region}:*:stream/{name}")
        }
    }
}

/// The table that a stream's name or ARN stands for.
pub(crate) fn stream_table(rest: &str) -> Result<Table, Expected> {
    if rest.is_empty() {
        return Err(Expected::new(
            "kinesis needs a stream: kinesis:NAME or kinesis:ARN",
        ));
    }
    let stream: StreamRef = rest.parse().map_err(|error| Expected(format!("{error}")))?;

    let mut table = Table::new();
    table.insert("stream".to_owned(), stream.to_string().into());
    Ok(table)
}

/// The region that an ARN gives is never replaced by an inherited one.
pub(crate) fn inherits(table: &Table, key: &str) -> bool {
    let stream = table.get("stream").and_then(|stream| stream.as_str());
    key != "region" || !stream.is_some_and(|stream| stream.starts_with("arn:"))
}

/// The region of the stream's ARN, else the one that is set.
pub(crate) fn own_region(stream: &StreamRef, set: Option<&String>) -> Option<String> {
    stream.region().map(str::to_owned).or_else(|| set.cloned())
}

/// The target of a stream. Two names of one stream (a name and an ARN) are told apart here, and
/// recognised by [`stream_identity`] once the streams have been described.
pub(crate) fn stream_target(stream: &StreamRef, connection: &ConnectOptions) -> Target {
    Target {
        text: format!("kinesis {stream} {connection:?}"),
        exclusive: false,
    }
}

/// The identity of a stream that has been described.
pub(crate) fn stream_identity(client: &Client, description: &StreamDescription) -> String {
    format!(
        "{} in {} at {}",
        description.arn,
        client.region(),
        client.endpoint()
    )
}

/// Everything that is wrong with how a stream is reached.
pub(crate) fn connection_problems(
    stream: &StreamRef,
    region: Option<&str>,
    connection: &ConnectOptions,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let (Some(set), Some(own)) = (region, stream.region())
        && set != own
    {
        problems.push(format!(
            "region {set} is not that of {stream}; leave it out"
        ));
    }
    problems.extend(role_problems(connection));

    let foreign = connection.endpoint_url.is_some()
        || connection.profile.is_some()
        || connection.role_arn.is_some();
    if connection.no_credentials && foreign {
        problems.push(
            "endpoint-url, profile and role-arn are of no use with --local; leave them out"
                .to_owned(),
        );
    }
    problems
}

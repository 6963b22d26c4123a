//! The kind `lambda`: an AWS Lambda function.

#[cfg(feature = "lambda")]
mod service;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "lambda")]
use super::BuiltOutput;
use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, region_of_arn,
    role_problems,
};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "lambda")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::values::Expected;

/// The settings of one function.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    function: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    invocation: Invocation,
    #[serde(default)]
    event: Event,
    batch_size: Option<usize>,
    in_flight: Option<usize>,
    #[serde(default)]
    partial_answers: bool,
    #[serde(default)]
    on_function_error: OnFunctionError,
    application_arn: Option<String>,
    tenant_id: Option<String>,
}

/// The way in which the function is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Invocation {
    /// The answer of the function is waited for.
    #[default]
    RequestResponse,
    /// The event is put into Lambda's queue.
    Event,
}

/// The form of the function's event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    /// As an event source mapping of a Kinesis stream calls a function.
    #[default]
    Kinesis,
    /// As Kinesis Data Analytics called a function as a destination.
    KinesisAnalytics,
    /// The data of one record, which are JSON.
    Json,
}

/// The treatment of records for which the function fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnFunctionError {
    /// Sent again until the function succeeds.
    #[default]
    Retry,
    /// Sent alone, and refused if the function fails again.
    Refuse,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "lambda";
    const SUMMARY: &'static str = "An AWS Lambda function. With `invocation = \"request-response\"` \
        a record is durable when the function has returned without an error, and order per partition \
        key holds. With `invocation = \"event\"` a record is durable when the event is in Lambda's \
        queue; order does not hold, and the function needs an on-failure destination. \
        `--to lambda:FUNCTION`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "function",
            form: Form::Text("FUNCTION"),
            absent: Absent::Required,
            help: "Function: a name, or an ARN, which also gives the region; with :ALIAS or :VERSION if wanted",
            example: "orders",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "invocation",
            form: Form::Choice(&["request-response", "event"]),
            absent: Absent::Default("request-response"),
            help: "request-response (the function's answer counts) or event (Lambda's queue takes the \
                   event, up to 1 MiB)",
            example: "event",
        },
        Key {
            name: "event",
            form: Form::Choice(&["kinesis", "kinesis-analytics", "json"]),
            absent: Absent::Default("kinesis"),
            help: "Form of the event: kinesis ({\"Records\": […]} as from an event source mapping), \
                   kinesis-analytics ({\"records\": […]} as a destination of Kinesis Data Analytics; \
                   the answer has a result for each record) or json (the data of one record)",
            example: "kinesis-analytics",
        },
        Key {
            name: "batch-size",
            form: Form::Count,
            absent: Absent::Default("100"),
            help: "Records of an event at most; 1 with event = \"json\"",
            example: "500",
        },
        Key {
            name: "in-flight",
            form: Form::Count,
            absent: Absent::Default("1, and 8 with invocation = \"event\""),
            help: "Calls for one shard at the same time, with other partition keys each",
            example: "4",
        },
        Key {
            name: "partial-answers",
            form: Form::Boolean,
            absent: Absent::Default("false"),
            help: "With event = \"kinesis\": records from the lowest one in the answer's \
                   batchItemFailures on are sent again, the others are durable",
            example: "true",
        },
        Key {
            name: "on-function-error",
            form: Form::Choice(&["retry", "refuse"]),
            absent: Absent::Default("retry"),
            help: "Records for which the function fails: retry (without end) or refuse (each is sent \
                   alone, and is refused if the function fails for it)",
            example: "refuse",
        },
        Key {
            name: "application-arn",
            form: Form::Text("ARN"),
            absent: Absent::Default("distributary"),
            help: "applicationArn of events of the form kinesis-analytics",
            example: "arn:aws:kinesisanalytics:eu-west-1:123456789012:application/orders",
        },
        Key {
            name: "tenant-id",
            form: Form::Text("ID"),
            absent: Absent::Default("none"),
            help: "Tenant of a function that isolates tenants",
            example: "blue",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new("lambda needs a function: lambda:FUNCTION"));
        }
        Ok([("function".to_owned(), rest.into())].into_iter().collect())
    }

    fn inherits(table: &Table, key: &str) -> bool {
        let place = table.get("function").and_then(|place| place.as_str());
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
            text: format!("lambda {} {:?}", self.function, self.connection()),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        match self.invocation {
            Invocation::RequestResponse => KeepsOrder::PerKey,
            Invocation::Event => KeepsOrder::Nothing,
        }
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        let mut conflict = |is: bool, text: &str| problems.extend(is.then(|| text.to_owned()));
        let is_event = self.invocation == Invocation::Event;
        conflict(
            self.partial_answers && (is_event || self.event != Event::Kinesis),
            "partial-answers needs invocation = \"request-response\" and event = \"kinesis\"",
        );
        conflict(
            is_event && self.event == Event::KinesisAnalytics,
            "event = \"kinesis-analytics\" needs invocation = \"request-response\": the results of \
             its records are in the answer",
        );
        conflict(
            is_event && self.on_function_error == OnFunctionError::Refuse,
            "on-function-error needs invocation = \"request-response\"",
        );
        conflict(
            self.event == Event::Json && self.batch_size.is_some_and(|size| size > 1),
            "event = \"json\" has one record an event; leave batch-size out",
        );
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        let mut actions = vec!["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"];
        if self.invocation == Invocation::Event {
            actions.insert(1, "lambda:GetFunctionEventInvokeConfig");
        }
        vec![Permission {
            role: self.role_arn.clone(),
            actions,
            resource: self.resource(),
        }]
    }

    #[cfg(feature = "lambda")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "lambda")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, region_of_arn(&self.function, Self::NAME))
    }

    /// The name of the function, without alias or version.
    fn name(&self) -> &str {
        let mut parts = self.function.split(':');
        let name = match self.function.starts_with("arn:") {
            true => parts.nth(6),
            false => parts.next(),
        };
        name.unwrap_or_default()
    }

    fn resource(&self) -> String {
        if self.function.starts_with("arn:") {
            return self.function.clone();
        }
        let region = self.region.as_deref().unwrap_or("*");
        format!("arn:aws:lambda:{region}:*:function:{}", self.function)
    }
}

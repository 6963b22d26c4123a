//! The kind of source `event`: the events that invoke the function. Nothing is read; the mapping
//! does that.

use std::io;

use async_trait::async_trait;
use distributary_adapters::keys::{Absent, Form, Key};
use distributary_adapters::kind::{
    BuildContext, BuildError, Finding, Severity, Surroundings, Target,
};
use distributary_adapters::sources::{BuiltSource, SourceKind};
use distributary_adapters::values::Expected;
use serde::Deserialize;
use toml::Table;

/// The word for the kind.
pub const NAME: &str = "event";

/// The settings of a source of events.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EventSource {
    arn: Option<String>,
}

#[async_trait]
impl SourceKind for EventSource {
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "The events that invoke the function.";
    const KEYS: &'static [Key] = &[Key {
        name: "arn",
        form: Form::Text("ARN"),
        absent: Absent::Default("every source that is mapped to the function"),
        help: "Only events of this stream, queue or topic",
        example: "arn:aws:sqs:eu-central-1:123456789012:orders",
    }];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        let mut table = Table::new();
        if !rest.is_empty() {
            table.insert("arn".to_owned(), rest.into());
        }
        Ok(table)
    }

    fn default_name(&self) -> String {
        NAME.to_owned()
    }

    fn target(&self, _: &Surroundings) -> Target {
        let arn = self.arn.as_deref().unwrap_or("of any source");
        Target {
            text: format!("event {arn}"),
            exclusive: false,
        }
    }

    fn validate(&self, _: &Surroundings) -> Vec<String> {
        Vec::new()
    }

    fn reads(&self, arn: &str) -> bool {
        self.arn.as_deref().is_none_or(|own| own == arn)
    }

    async fn build(&self, _: &BuildContext) -> Result<BuiltSource, BuildError> {
        Err(BuildError::System {
            message: "events come from the mapping of a function; name a stream".to_owned(),
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    async fn check(&self, _: &BuildContext) -> Vec<Finding> {
        vec![Finding {
            subject: NAME.to_owned(),
            finding: "the mapping brings the records".to_owned(),
            severity: Severity::Fine,
            advice: String::new(),
        }]
    }
}

//! The kind `stdout`: lines on standard output.

use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use serde::Deserialize;
use toml::Table;

use super::{BuiltOutput, OutputKind};
use crate::keys::Key;
use crate::kind::{BuildContext, BuildError, Ending, Finding, Severity, Surroundings, Target};
use crate::lines::{self, LineFormat, LineOutput, Sink, WriteError};
use crate::values::Expected;

/// The settings of the output.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(default, deserialize_with = "lines::format")]
    format: LineFormat,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "stdout";
    const SUMMARY: &'static str = "Lines on standard output (log lines go to standard error). A \
        record is durable when its line was handed to the reader of the pipe. If the reader closes \
        the pipe, the program ends with exit code 0. `--to stdout`.";
    const DEAD_LETTER_DEFAULTS: &'static [(&'static str, &'static str)] = &[("format", "raw")];
    const KEYS: &'static [Key] = &[lines::FORMAT];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Ok(Table::new());
        }
        Err(Expected(format!(
            "stdout takes nothing after it, and {rest:?} is there; a stream called stdout is \
             written kinesis:stdout"
        )))
    }

    fn default_name(&self) -> String {
        "stdout".to_owned()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: "stdout".to_owned(),
            exclusive: true,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        Vec::new()
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        let sink = StandardOutput {
            ending: context.ending.clone(),
        };
        let name = "standard output".to_owned();
        let output = LineOutput::start(name, self.format, context.clock.clone(), sink);
        Ok(BuiltOutput {
            output: Arc::new(output.map_err(|source| BuildError::System {
                message: "cannot start a thread for standard output".to_owned(),
                source,
            })?),
            pump: None,
            identity: "stdout".to_owned(),
        })
    }

    async fn check(&self, _context: &BuildContext) -> Vec<Finding> {
        vec![Finding {
            subject: "stdout".to_owned(),
            finding: "lines go to standard output".to_owned(),
            severity: Severity::Fine,
            advice: String::new(),
        }]
    }
}

struct StandardOutput {
    ending: Ending,
}

impl Sink for StandardOutput {
    fn write(&mut self, texts: &[Arc<Vec<u8>>]) -> Result<(), WriteError> {
        let mut stdout = io::stdout().lock();
        let written = texts
            .iter()
            .try_for_each(|text| stdout.write_all(text))
            .and_then(|()| stdout.flush());
        written.map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.ending
                    .request("the reader of standard output has closed the pipe");
            }
            WriteError::Unknown(error)
        })
    }
}

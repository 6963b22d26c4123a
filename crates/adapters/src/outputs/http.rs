//! The kind `http`: requests to a server of the user's, signed as Standard Webhooks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::http::uri::Scheme;
use ::http::{HeaderName, HeaderValue, Uri};
use async_trait::async_trait;
use distributary_core::output::{KeepsOrder, Trouble, TroubleKind};
use distributary_core::text::chain;
use distributary_kinesis::transport::{HttpTransport, TransportSettings};
use serde::Deserialize;
use toml::Table;

use super::{BuiltOutput, OutputKind};
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
use crate::kind::{BuildContext, BuildError, Finding, Severity, Surroundings, Target};
use crate::values::{Expected, Size, Texts};
use crate::webhook::body::Body;
use crate::webhook::signature::Secret;
use crate::webhook::{Webhook, WebhookSettings, probe};

/// Bytes of a body without the key `max-size`.
const MAX_SIZE: usize = 1 << 20;

/// The settings of one server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    url: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    body: Body,
    max_size: Option<Size>,
    secret_file: Option<PathBuf>,
    header: Option<Texts>,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "POST requests to a server (webhooks). A record is durable when \
        the server answers with a status of 2xx. Order per partition key holds for the requests \
        that the server gets. A request that is sent again has the same `webhook-id` and \
        `idempotency-key`. Redirects are not followed. `--to http:URL`. See \
        [the guide](guides/http.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "url",
            form: Form::Text("URL"),
            absent: Absent::Required,
            help: "Address of the server, http:// or https://",
            example: "https://example.com/orders",
        },
        formats::FORMAT,
        Key {
            name: "body",
            form: Form::Choice(&["one", "lines", "array"]),
            absent: Absent::Default("one"),
            help: "one (a request for each record), lines (up to 500 records, one a line) or array \
                   (a JSON array of up to 500 records; {\"Records\": […]} with format = \"record\")",
            example: "lines",
        },
        Key {
            name: "max-size",
            form: Form::Size,
            absent: Absent::Default("1MiB"),
            help: "Bytes of a body with several records; the server's limit if that is lower",
            example: "256KiB",
        },
        Key {
            name: "secret-file",
            form: Form::Path,
            absent: Absent::Default("do not sign"),
            help: "File with the secret of Standard Webhooks, whsec_ and base64: requests get the \
                   headers webhook-timestamp and webhook-signature",
            example: "webhook.secret",
        },
        Key {
            name: "header",
            form: Form::Texts("NAME: VALUE"),
            absent: Absent::Default("none"),
            help: "A header of every request, or a list of headers",
            example: "x-team: orders",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        let url = match rest {
            "" => {
                return Err(Expected::new(
                    "http needs an address: http:URL; a stream called http is written kinesis:http",
                ));
            }
            // `--to http://host/path`
            rest if rest.starts_with("//") => format!("http:{rest}"),
            rest => rest.to_owned(),
        };

        let mut table = Table::new();
        table.insert("url".to_owned(), url.into());
        Ok(table)
    }

    fn default_name(&self) -> String {
        let host = self
            .uri()
            .ok()
            .and_then(|uri| uri.host().map(str::to_owned));
        host.unwrap_or_else(|| "http".to_owned())
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        Target {
            text: format!("http {}", self.url),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.uri().err());
        problems.extend(self.headers().err());
        if !self.body.takes(self.format) {
            problems.push(format!(
                "format {} and body {} do not go together: use json, base64 or record",
                self.format.word(),
                self.body.word()
            ));
        }
        problems
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        let transport = transport(context)?;
        let settings = WebhookSettings {
            uri: self.uri().map_err(wrong)?,
            headers: self.headers().map_err(wrong)?,
            format: self.format,
            body: self.body,
            bytes: self.max_size.map_or(MAX_SIZE, |Size(size)| size),
            secret: self.secret_file.as_deref().map(secret).transpose()?,
        };

        let output = Webhook::new(settings, context.clock.clone(), Arc::new(transport));
        Ok(BuiltOutput {
            output: Arc::new(output),
            identity: format!("http {}", self.url),
            pump: None,
        })
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        let (severity, finding, advice) = match self.try_connect(context).await {
            Ok(status) => (
                Severity::Fine,
                format!("answers a HEAD request with {status}"),
                "",
            ),
            Err(error) => (
                Severity::Failure,
                error,
                "check the address, the network and the secret's file",
            ),
        };
        vec![Finding {
            subject: self.url.clone(),
            finding,
            severity,
            advice: advice.to_owned(),
        }]
    }
}

impl Settings {
    fn uri(&self) -> Result<Uri, String> {
        let wrong = || format!("url {:?} is no http:// or https:// address", self.url);
        let uri: Uri = self.url.parse().map_err(|_| wrong())?;
        let schemes = [Scheme::HTTP, Scheme::HTTPS];
        let is_http = uri.scheme().is_some_and(|scheme| schemes.contains(scheme));
        if is_http && uri.host().is_some() {
            Ok(uri)
        } else {
            Err(wrong())
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let lines = self.header.as_ref().map_or(&[][..], Texts::as_slice);
        lines.iter().map(|line| header(line)).collect()
    }

    async fn try_connect(&self, context: &BuildContext) -> Result<u16, String> {
        const PATIENCE: Duration = Duration::from_secs(10);

        let uri = self.uri()?;
        if let Some(path) = &self.secret_file {
            secret(path).map_err(|error| chain(&error))?;
        }
        let transport = transport(context).map_err(|error| chain(&error))?;
        let answer = probe(&transport, uri, PATIENCE).await;
        answer.map_err(|error| chain(&error))
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("header {line:?} is no header: expected NAME: VALUE");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong())?;
    let value = value.trim().parse().map_err(|_| wrong())?;
    Ok((name, value))
}

fn transport(context: &BuildContext) -> Result<HttpTransport, BuildError> {
    HttpTransport::new(context.clock.clone(), TransportSettings::default()).map_err(|error| {
        let trouble = Trouble::new(TroubleKind::Invalid, error.to_string()).caused_by(error);
        BuildError::Failed {
            message: "the trusted certificates cannot be read".to_owned(),
            source: trouble,
        }
    })
}

/// The error for settings that `validate` has refused before.
fn wrong(message: String) -> BuildError {
    BuildError::Failed {
        source: Trouble::new(TroubleKind::Invalid, message.clone()),
        message,
    }
}

/// Reads the secret in the file at `path`.
fn secret(path: &Path) -> Result<Secret, BuildError> {
    let text = std::fs::read_to_string(path).map_err(|source| BuildError::System {
        message: format!("cannot read the secret in {}", path.display()),
        source,
    })?;
    Secret::read(text.trim()).map_err(|message| wrong(format!("{}: {message}", path.display())))
}

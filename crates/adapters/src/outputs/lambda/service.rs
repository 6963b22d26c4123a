//! The client of a Lambda function. API reference: AWS Lambda, `Invoke`,
//! `GetFunctionEventInvokeConfig`; developer guide, "Kinesis event source mappings".

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;

use super::{Event, Invocation, OnFunctionError, Settings};
use crate::formats::{self, Format};
use crate::kind::{BuildContext, BuildError, Finding, Severity};
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::{Answer, Encoded, IN_FLIGHT, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

mod event;

use event::Message;

/// Records of an event without the key `batch-size`, as for an event source mapping.
const BATCH_SIZE: usize = 100;
/// Bytes of a payload whose answer is waited for.
const BYTES: usize = 6_291_556;
/// Bytes of a payload for Lambda's queue.
const EVENT_BYTES: usize = 1 << 20;

const ERRORS: Errors = Errors {
    kind: "lambda",
    codes: &[
        ("RequestTooLargeException", Meaning::Refused),
        ("InvalidRequestContentException", Meaning::Refused),
        (
            "RecursiveInvocationException",
            Meaning::Trouble(TroubleKind::Denied),
        ),
        (
            "EC2ThrottledException",
            Meaning::Trouble(TroubleKind::Throttled),
        ),
        (
            "ResourceConflictException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "ResourceNotReadyException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "SnapStartNotReadyException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "ENILimitReachedException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "SubnetIPAddressLimitReachedException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "EC2UnexpectedException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "KMSNotFoundException",
            Meaning::Trouble(TroubleKind::Denied),
        ),
    ],
};

/// A function.
struct Function {
    client: Client,
    settings: Settings,
}

#[async_trait]
impl Service for Function {
    type Message = Message;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        let settings = &self.settings;
        let entries = match settings.event {
            Event::Json => 1,
            Event::Kinesis | Event::KinesisAnalytics => settings.batch_size.unwrap_or(BATCH_SIZE),
        };
        let default = match settings.invocation {
            Invocation::RequestResponse => NonZeroUsize::MIN,
            Invocation::Event => IN_FLIGHT,
        };
        Profile {
            keeps: settings.keeps(),
            in_flight: settings
                .in_flight
                .and_then(NonZeroUsize::new)
                .unwrap_or(default),
            ..Profile::new(RequestLimits {
                entries,
                bytes: self.room(),
            })
        }
    }

    fn form(&self) -> String {
        let settings = &self.settings;
        let (event, application) = (settings.event, &settings.application_arn);
        format!(
            "{event:?} {:?} {:?} {application:?}",
            settings.invocation, settings.batch_size
        )
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        let format = match self.settings.event {
            Event::Json => Format::Json,
            Event::Kinesis | Event::KinesisAnalytics => Format::Record,
        };
        formats::len(record, format) + 1
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        Encoded::one_each(picks, |i| self.message(batch, i).map_err(Verdict::Refused))
    }

    fn allocation(message: &Message) -> usize {
        message.allocation()
    }

    async fn send(&self, messages: &[Message]) -> Answer {
        let payload = event::payload(&self.settings, messages);
        let kind = match self.settings.invocation {
            Invocation::RequestResponse => InvocationType::RequestResponse,
            Invocation::Event => InvocationType::Event,
        };
        let request = self
            .client
            .invoke()
            .function_name(&self.settings.function)
            .invocation_type(kind)
            .set_tenant_id(self.settings.tenant_id.clone())
            .payload(Blob::new(payload));
        match request.send().await {
            Ok(answer) => self.answer(&answer, messages),
            Err(error) => ERRORS.answer(error),
        }
    }
}

impl Function {
    /// Bytes of a payload.
    fn limit(&self) -> usize {
        match self.settings.invocation {
            Invocation::RequestResponse => BYTES,
            Invocation::Event => EVENT_BYTES,
        }
    }

    /// Bytes of a payload that are left for records.
    fn room(&self) -> usize {
        self.limit().saturating_sub(event::around(&self.settings))
    }

    fn message(&self, batch: &Batch, i: usize) -> Result<Message, Refusal> {
        let message = event::message(self.settings.event, batch, i)?;
        let (bytes, room) = (message.text.len(), self.room());
        if bytes > room {
            let text =
                format!("the record has {bytes} bytes in an event, which has room for {room}");
            let refusal = Refusal::new("RecordTooLarge", text);
            return Err(refusal);
        }
        Ok(message)
    }

    fn answer(&self, answer: &InvokeOutput, messages: &[Message]) -> Answer {
        let payload = answer
            .payload()
            .map_or(&b""[..], |payload| payload.as_ref());
        if let Some(error) = answer.function_error() {
            return self.failed(error, payload);
        }
        match (self.settings.invocation, answer.status_code()) {
            (Invocation::Event, 202) => Answer::Durable,
            (Invocation::RequestResponse, 200) => self.returned(payload, messages),
            (_, status) => {
                let text = format!("lambda answers with the status {status}");
                let trouble = Trouble::new(TroubleKind::Unintelligible, text);
                Answer::Unknown(trouble)
            }
        }
    }

    fn returned(&self, payload: &[u8], messages: &[Message]) -> Answer {
        match self.settings.event {
            Event::Kinesis if self.settings.partial_answers => event::failures(payload, messages),
            Event::KinesisAnalytics => event::results(payload, messages),
            Event::Kinesis | Event::Json => Answer::Durable,
        }
    }

    /// A function that ended with an error may have handled some of the records.
    fn failed(&self, error: &str, payload: &[u8]) -> Answer {
        const SHOWN: usize = 200;

        let payload = String::from_utf8_lossy(&payload[..payload.len().min(SHOWN)]);
        let text = format!("the function failed ({error}): {payload}");
        match self.settings.on_function_error {
            OnFunctionError::Retry => {
                let trouble = Trouble::new(TroubleKind::Unavailable, text);
                Answer::Unknown(trouble)
            }
            OnFunctionError::Refuse => {
                let refusal = Refusal::new("FunctionError", text);
                Answer::Refused(refusal)
            }
        }
    }
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    Ok(Client::new(&sdk))
}

/// True if the function has a queue or topic for events that it failed for.
async fn ask(client: &Client, function: &str) -> Result<bool, Answer> {
    let request = client.get_function_configuration().function_name(function);
    let answer = request.send().await.map_err(|error| ERRORS.answer(error))?;
    let letters = answer.dead_letter_config();
    Ok(letters.is_some_and(|letters| letters.target_arn().is_some_and(|arn| !arn.is_empty())))
}

/// True if failed events have a destination.
async fn has_destination(client: &Client, function: &str) -> bool {
    let request = client
        .get_function_event_invoke_config()
        .function_name(function);
    let Ok(answer) = request.send().await else {
        return false;
    };
    let destination = answer
        .destination_config()
        .and_then(|config| config.on_failure());
    destination.is_some_and(|failure| failure.destination().is_some())
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    match ask(&client, &settings.function).await {
        // A role that may only invoke.
        Err(answer) if !answer.is_open() => return Err(answer.cannot_write(&settings.function)),
        Ok(_) | Err(_) => {}
    }

    let function = Function {
        client,
        settings: settings.clone(),
    };
    let messages = Messages::new(function, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("lambda {} {:?}", settings.function, settings.connection()),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let subject = &settings.function;
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(subject, error.to_string())],
    };
    let has_letters = match ask(&client, subject).await {
        Ok(has_letters) => has_letters,
        Err(answer) => return vec![Finding::failure(subject, answer.reason())],
    };

    let is_event = settings.invocation == Invocation::Event;
    if !is_event || has_letters || has_destination(&client, subject).await {
        return vec![Finding::fine(subject, "is there".to_owned())];
    }
    vec![Finding {
        subject: subject.clone(),
        finding:
            "drops events for which the function fails three times, or that wait for six hours"
                .to_owned(),
        severity: Severity::Warning,
        advice: "set an on-failure destination or a dead-letter queue at the function".to_owned(),
    }]
}

//! The client of an event bus. API reference: Amazon EventBridge, `PutEvents`, `DescribeEventBus`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use distributary_core::batch::Batch;
use distributary_core::clock::Millis;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;
use serde_json::value::RawValue;

use super::Settings;
use crate::formats::{self, Format};
use crate::kind::{BuildContext, BuildError, Finding};
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::text::Binary;
use crate::messages::{Answer, Encoded, IN_FLIGHT, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Events of a request.
const ENTRIES: usize = 10;
/// Bytes of a request, which must be less than 1 MiB.
const BYTES: usize = (1 << 20) - 1;
/// Bytes that an event's time counts.
const TIME_BYTES: usize = 14;
/// The texts around data in base64.
const AROUND: [&str; 2] = ["{\"data\":\"", "\"}"];

const ERRORS: Errors = Errors {
    kind: "eventbridge",
    codes: &[
        (
            "InternalException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "InternalFailure",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        ("MalformedDetail", Meaning::Refused),
        ("NotAuthorizedForSourceException", Meaning::Refused),
        ("NotAuthorizedForDetailTypeException", Meaning::Refused),
        ("InvalidArgument", Meaning::Refused),
        ("RedactionFailure", Meaning::Refused),
        ("ValidationException", Meaning::Refused),
    ],
};

/// An event bus.
struct Bus {
    client: Client,
    settings: Settings,
}

/// An event.
#[derive(Debug)]
pub(super) struct Event {
    detail: String,
    time: Millis,
}

#[async_trait]
impl Service for Bus {
    type Message = Event;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        Profile {
            keeps: self.settings.keeps(),
            in_flight: IN_FLIGHT,
            ..Profile::new(RequestLimits {
                entries: ENTRIES,
                bytes: BYTES,
            })
        }
    }

    fn form(&self) -> String {
        format!("{:?} {}", self.settings.binary, self.around_detail())
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        let is_object = formats::data(record).is_ok_and(|data| is_object(&data));
        let detail = if is_object {
            record.data_len()
        } else {
            formats::len(record, Format::Base64) + AROUND[0].len() + AROUND[1].len()
        };
        self.around_detail() + detail
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Event> {
        Encoded::one_each(picks, |i| self.message(&batch.record(i)))
    }

    fn allocation(message: &Event) -> usize {
        message.detail.len()
    }

    async fn send(&self, messages: &[Event]) -> Answer {
        let entries = messages.iter().map(|message| self.entry(message));
        let request = self.client.put_events();
        match request.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => verdicts(&answer),
            Err(error) => ERRORS.answer(error),
        }
    }
}

impl Bus {
    /// Bytes that an event counts beside the detail.
    fn around_detail(&self) -> usize {
        TIME_BYTES + self.settings.event_source.len() + self.settings.detail_type.len()
    }

    fn message(&self, record: &Record<'_>) -> Result<Event, Verdict> {
        let data = formats::data(record).map_err(Verdict::Refused)?;
        let detail = match String::from_utf8(data.into_owned()) {
            Ok(text) if is_object(text.as_bytes()) => text,
            Ok(_) | Err(_) => self.no_object(record)?,
        };

        let bytes = self.around_detail() + detail.len();
        if bytes > BYTES {
            let text = format!("the event has {bytes} bytes, and EventBridge takes {BYTES}");
            return Err(Verdict::Refused(Refusal::new("EventTooLarge", text)));
        }
        Ok(Event {
            detail,
            time: record.arrival,
        })
    }

    /// The detail for data that are no JSON object.
    fn no_object(&self, record: &Record<'_>) -> Result<String, Verdict> {
        const NO_OBJECT: &str = "the data are no JSON object";

        match self.settings.binary {
            Binary::Base64 => {
                let base64 = formats::base64(record).map_err(Verdict::Refused)?;
                let [start, end] = AROUND;
                Ok(format!("{start}{base64}{end}"))
            }
            Binary::DeadLetter => Err(Verdict::Refused(Refusal::new("NotAnObject", NO_OBJECT))),
            Binary::Refuse => Err(Verdict::Retry(Trouble::new(
                TroubleKind::Invalid,
                format!(
                    "{NO_OBJECT} (record {}), and binary = \"refuse\"; use binary = \"base64\" or \
                     \"dead-letter\"",
                    record.sequence
                ),
            ))),
        }
    }

    fn entry(&self, event: &Event) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.settings.bus)
            .source(&self.settings.event_source)
            .detail_type(&self.settings.detail_type)
            .detail(&event.detail)
            .time(DateTime::from_millis(event.time.0))
            .build()
    }
}

fn is_object(data: &[u8]) -> bool {
    let json: Result<&RawValue, _> = serde_json::from_slice(data);
    json.is_ok_and(|json| json.get().starts_with('{'))
}

fn verdicts(answer: &PutEventsOutput) -> Answer {
    let verdicts =
        answer
            .entries()
            .iter()
            .map(|entry| match (entry.error_code(), entry.event_id()) {
                (None, Some(_)) => Verdict::Durable,
                (code, _) => {
                    let message = entry.error_message().unwrap_or_default();
                    ERRORS.verdict(code.unwrap_or("NoEventId"), message)
                }
            });
    Answer::Each(verdicts.collect())
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    Ok(Client::new(&sdk))
}

async fn ask(client: &Client, bus: &str) -> Result<(), Answer> {
    let request = client.describe_event_bus().name(bus).send();
    request
        .await
        .map(drop)
        .map_err(|error| ERRORS.answer(error))
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    match ask(&client, &settings.bus).await {
        // A role that may only write.
        Err(answer) if !answer.is_open() => return Err(answer.cannot_write(&settings.bus)),
        Ok(()) | Err(_) => {}
    }

    let bus = Bus {
        client,
        settings: settings.clone(),
    };
    let messages = Messages::new(bus, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("eventbridge {} {:?}", settings.bus, settings.connection()),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(&settings.bus, error.to_string())],
    };
    vec![match ask(&client, &settings.bus).await {
        Ok(()) => Finding::fine(&settings.bus, "is there".to_owned()),
        Err(answer) => Finding::failure(&settings.bus, answer.reason()),
    }]
}

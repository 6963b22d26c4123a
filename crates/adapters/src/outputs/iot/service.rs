//! The client of AWS IoT. API reference: AWS IoT data plane, `Publish`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_iotdataplane::Client;
use aws_sdk_iotdataplane::primitives::Blob;
use bytes::Bytes;
use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Profile, Refusal, RequestLimits, TroubleKind, Verdict};
use distributary_core::record::Record;

use super::{PARTITION_KEY, Qos, Settings, check_topic};
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding, Severity};
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::{Answer, Encoded, IN_FLIGHT, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Bytes of a payload.
const BYTES: usize = 128 << 10;

const ERRORS: Errors = Errors {
    kind: "iot",
    codes: &[
        ("InvalidRequestException", Meaning::Refused),
        ("RequestEntityTooLarge", Meaning::Refused),
        (
            "UnauthorizedException",
            Meaning::Trouble(TroubleKind::Denied),
        ),
    ],
};

/// Topics of one endpoint.
struct Topics {
    client: Client,
    settings: Settings,
}

/// A message for one topic.
#[derive(Debug)]
pub(super) struct Message {
    topic: String,
    payload: Bytes,
}

#[async_trait]
impl Service for Topics {
    type Message = Message;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        let request = match self.settings.collapse {
            Some(collapse) => collapse.limits(BYTES),
            None => RequestLimits {
                entries: 1,
                bytes: BYTES,
            },
        };
        Profile {
            keeps: self.settings.keeps(),
            in_flight: IN_FLIGHT,
            ..Profile::new(request)
        }
    }

    fn form(&self) -> String {
        let Settings {
            topic,
            format,
            collapse,
            ..
        } = &self.settings;
        format!("{format:?} {collapse:?} {topic}")
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        match self.settings.collapse {
            Some(collapse) => collapse.weigh(record),
            None => formats::len(record, self.settings.format),
        }
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        let Some(collapse) = self.settings.collapse else {
            return Encoded::one_each(picks, |i| self.message(batch, i).map_err(Verdict::Refused));
        };
        let (payload, refused) = collapse.message(batch, picks, None);
        let topic = self.settings.topic.clone();
        let message = self.checked(topic, payload.into());
        let message = message.map_err(Verdict::Refused);
        Encoded::together(message, refused)
    }

    fn allocation(message: &Message) -> usize {
        message.payload.len() + message.topic.len()
    }

    async fn send(&self, messages: &[Message]) -> Answer {
        let qos = match self.settings.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        };
        // Requests have one message.
        for message in messages {
            let request = self.client.publish().topic(&message.topic).qos(qos);
            let request = request.payload(Blob::new(&message.payload[..]));
            if let Err(error) = request.send().await {
                return ERRORS.answer(error);
            }
        }
        Answer::Durable
    }
}

impl Topics {
    fn message(&self, batch: &Batch, i: usize) -> Result<Message, Refusal> {
        let record = batch.record(i);
        let mut payload = Vec::new();
        formats::add(&mut payload, batch.origin(), &record, self.settings.format)?;

        let key = record.key.unwrap_or_default();
        let topic = self.settings.topic.replace(PARTITION_KEY, key);
        self.checked(topic, payload.into())
    }

    fn checked(&self, topic: String, payload: Bytes) -> Result<Message, Refusal> {
        check_topic(&topic).map_err(|problem| {
            let text = format!("the topic made with the partition key {problem}");
            Refusal::new("BadTopic", text)
        })?;

        let bytes = payload.len();
        if bytes > BYTES {
            let text = format!("the payload has {bytes} bytes, and AWS IoT takes {BYTES}");
            let refusal = Refusal::new("PayloadTooLarge", text);
            return Err(refusal);
        }
        Ok(Message { topic, payload })
    }
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = Client::new(&sdk(context, &settings.connection()).await?);
    let topics = Topics {
        client,
        settings: settings.clone(),
    };
    let messages = Messages::new(topics, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("iot {} {:?}", settings.topic, settings.connection()),
    })
}

/// There is no question to AWS IoT about a topic: topics need not exist.
pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let subject = &settings.topic;
    if let Err(error) = sdk(context, &settings.connection()).await {
        return vec![Finding::failure(subject, error.to_string())];
    }
    if settings.qos == Qos::AtLeastOnce {
        return vec![Finding::fine(subject, "topics are not checked".to_owned())];
    }
    vec![Finding {
        subject: subject.clone(),
        finding: "with qos = \"0\" the broker may drop messages that it has taken".to_owned(),
        severity: Severity::Warning,
        advice: "use qos = \"1\"".to_owned(),
    }]
}

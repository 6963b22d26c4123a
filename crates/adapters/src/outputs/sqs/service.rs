//! The client of an SQS queue. API reference: Amazon SQS, `SendMessageBatch`, `GetQueueAttributes`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Profile, Refusal, Trouble, TroubleKind, Verdict};
use distributary_core::record::Record;

use super::Settings;
use crate::kind::{BuildContext, BuildError, Finding};
use crate::messages::attributes::STRING;
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::composer::{Composer, Message};
use crate::messages::{Answer, Encoded, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Bytes of a request, and of a message where the queue says no less: bodies and attributes.
const BYTES: usize = 1 << 20;

const ERRORS: Errors = Errors {
    kind: "sqs",
    codes: &[
        ("OverLimit", Meaning::Trouble(TroubleKind::Throttled)),
        (
            "AWS.SimpleQueueService.NonExistentQueue",
            Meaning::Trouble(TroubleKind::Missing),
        ),
        ("BatchRequestTooLong", Meaning::Refused),
        (
            "AWS.SimpleQueueService.BatchRequestTooLong",
            Meaning::Refused,
        ),
        ("InvalidMessageContents", Meaning::Refused),
        ("InvalidParameterValue", Meaning::Refused),
    ],
};

/// A queue.
struct Queue {
    client: Client,
    url: String,
    composer: Composer,
}

fn entry(message: &Message, id: usize) -> Result<SendMessageBatchRequestEntry, Trouble> {
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(id.to_string())
        .message_body(&message.body);
    for (name, value) in &message.attributes {
        let value = MessageAttributeValue::builder()
            .data_type(STRING)
            .string_value(value);
        entry = entry.message_attributes(*name, value.build().map_err(|e| wrong(&e))?);
    }
    if let Some(fifo) = &message.fifo {
        entry = entry
            .message_group_id(&fifo.group)
            .message_deduplication_id(&fifo.deduplication);
    }
    entry.build().map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::error::Error) -> Trouble {
    Trouble::new(TroubleKind::Invalid, format!("sqs: {error}"))
}

#[async_trait]
impl Service for Queue {
    type Message = Message;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        self.composer.profile()
    }

    fn form(&self) -> String {
        self.composer.to_string()
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        self.composer.weigh(record)
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        self.composer.encode(batch, picks)
    }

    fn allocation(message: &Message) -> usize {
        message.allocation()
    }

    async fn send(&self, messages: &[Message]) -> Answer {
        let mut entries = Vec::with_capacity(messages.len());
        for (id, message) in messages.iter().enumerate() {
            match entry(message, id) {
                Ok(entry) => entries.push(entry),
                Err(trouble) => return Answer::Rejected(trouble),
            }
        }

        let request = self.client.send_message_batch().queue_url(&self.url);
        match request.set_entries(Some(entries)).send().await {
            Ok(answer) => Answer::Each(verdicts(&answer, messages.len())),
            Err(error) => ERRORS.answer(error),
        }
    }
}

/// The verdicts on `count` messages. A message that the answer does not name is sent again.
fn verdicts(answer: &SendMessageBatchOutput, count: usize) -> Vec<Verdict> {
    let unnamed = Trouble::new(
        TroubleKind::Unavailable,
        "sqs: the answer has no such message",
    );
    let mut verdicts = vec![Verdict::Retry(unnamed); count];
    let mut put = |id: &str, verdict| {
        let place = id.parse().ok().and_then(|id: usize| verdicts.get_mut(id));
        if let Some(place) = place {
            *place = verdict;
        }
    };

    for entry in answer.successful() {
        put(entry.id(), Verdict::Durable);
    }
    for entry in answer.failed() {
        let (code, message) = (entry.code(), entry.message().unwrap_or_default());
        let verdict = if entry.sender_fault() {
            let text = format!("sqs answers {code}: {message}");
            let refusal = Refusal::new(code, text);
            Verdict::Refused(refusal)
        } else {
            ERRORS.verdict(code, message)
        };
        put(entry.id(), verdict);
    }
    verdicts
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    Ok(Client::new(&sdk))
}

/// The attributes of the queue that matter here.
async fn ask(client: &Client, url: &str) -> Result<usize, Answer> {
    let request = client.get_queue_attributes().queue_url(url);
    let request = request.attribute_names(QueueAttributeName::MaximumMessageSize);
    let answer = request.send().await.map_err(|error| ERRORS.answer(error))?;
    let name = QueueAttributeName::MaximumMessageSize;
    let attributes = answer.attributes();
    let size = attributes.and_then(|all| all.get(&name));
    let size = size.and_then(|size| size.parse().ok());
    Ok(size.unwrap_or(BYTES))
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    let message_bytes = match ask(&client, &settings.queue_url).await {
        Ok(bytes) => bytes,
        // A role that may only send.
        Err(answer) if answer.is_open() => BYTES,
        Err(answer) => return Err(answer.cannot_write(&settings.queue_url)),
    };

    let queue = Queue {
        client,
        url: settings.queue_url.clone(),
        composer: Composer::new(settings.form(), message_bytes, BYTES),
    };
    let messages = Messages::new(queue, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("sqs {}", settings.queue_url),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(&settings.queue_url, error.to_string())],
    };
    vec![match ask(&client, &settings.queue_url).await {
        Ok(bytes) => {
            let finding = format!("takes messages of {} KiB", bytes >> 10);
            Finding::fine(&settings.queue_url, finding)
        }
        Err(answer) => Finding::failure(&settings.queue_url, answer.reason()),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_the_answer_does_not_name_is_sent_again() {
        use aws_sdk_sqs::types::BatchResultErrorEntry;

        let failed = |id: &str, code: &str, sender_fault| {
            let entry = BatchResultErrorEntry::builder().id(id).code(code);
            entry.sender_fault(sender_fault).build().unwrap()
        };
        let answer = SendMessageBatchOutput::builder()
            .set_successful(Some(Vec::new()))
            .failed(failed("0", "InvalidMessageContents", true))
            .failed(failed("1", "InternalError", false))
            .failed(failed("7", "NoSuchMessage", false))
            .build()
            .unwrap();
        let verdicts = verdicts(&answer, 3);
        assert!(
            matches!(&verdicts[0], Verdict::Refused(refusal) if refusal.code == "InvalidMessageContents")
        );
        assert!(matches!(&verdicts[1], Verdict::Retry(_)));
        assert!(matches!(&verdicts[2], Verdict::Retry(_)));
    }
}

//! The client of a Firehose stream. API reference: Amazon Data Firehose, `PutRecordBatch`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{DeliveryStreamStatus, Record as FirehoseRecord};
use bytes::Bytes;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;

use super::Settings;
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding, Severity};
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::{Answer, Encoded, IN_FLIGHT, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Records of a request.
const ENTRIES: usize = 500;
/// Bytes of a request, before base64.
const BYTES: usize = 4 << 20;
/// Bytes of a record, before base64.
const RECORD_BYTES: usize = 1_024_000;

const ERRORS: Errors = Errors {
    kind: "firehose",
    codes: &[
        (
            "ServiceUnavailableException",
            Meaning::Trouble(TroubleKind::Throttled),
        ),
        (
            "InvalidKMSResourceException",
            Meaning::Trouble(TroubleKind::Denied),
        ),
        (
            "InvalidSourceException",
            Meaning::Trouble(TroubleKind::Invalid),
        ),
    ],
};

/// A Firehose stream.
struct Stream {
    client: Client,
    settings: Settings,
}

#[async_trait]
impl Service for Stream {
    type Message = Bytes;
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
        format!("{:?} {}", self.settings.format, self.settings.newline)
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        formats::len(record, self.settings.format) + usize::from(self.settings.newline)
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Bytes> {
        Encoded::one_each(picks, |i| self.message(batch, i).map_err(Verdict::Refused))
    }

    fn allocation(message: &Bytes) -> usize {
        message.len()
    }

    async fn send(&self, messages: &[Bytes]) -> Answer {
        let mut records = Vec::with_capacity(messages.len());
        for message in messages {
            let record = FirehoseRecord::builder().data(Blob::new(&message[..]));
            match record.build() {
                Ok(record) => records.push(record),
                Err(error) => {
                    let message = format!("firehose: {error}");
                    let trouble = Trouble::new(TroubleKind::Invalid, message);
                    return Answer::Rejected(trouble);
                }
            }
        }

        let request = self.client.put_record_batch();
        let request = request.delivery_stream_name(self.settings.name());
        match request.set_records(Some(records)).send().await {
            Ok(answer) => verdicts(&answer),
            Err(error) => ERRORS.answer(error),
        }
    }
}

impl Stream {
    fn message(&self, batch: &Batch, i: usize) -> Result<Bytes, Refusal> {
        let (format, mut data) = (self.settings.format, Vec::new());
        formats::add(&mut data, batch.origin(), &batch.record(i), format)?;
        if self.settings.newline {
            data.push(b'\n');
        }

        let bytes = data.len();
        if bytes > RECORD_BYTES {
            let text = format!("the record has {bytes} bytes, and Firehose takes {RECORD_BYTES}");
            let refusal = Refusal::new("RecordTooLarge", text);
            return Err(refusal);
        }
        Ok(data.into())
    }
}

/// The verdicts of an answer; the number of failures alone is not believed.
fn verdicts(answer: &PutRecordBatchOutput) -> Answer {
    let entries = answer.request_responses().iter();
    let verdicts = entries.map(|entry| match (entry.error_code(), entry.record_id()) {
        (None, Some(_)) => Verdict::Durable,
        (code, _) => {
            let message = entry.error_message().unwrap_or_default();
            ERRORS.verdict(code.unwrap_or("NoRecordId"), message)
        }
    });
    Answer::Each(verdicts.collect())
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    Ok(Client::new(&sdk))
}

async fn status(client: &Client, name: &str) -> Result<DeliveryStreamStatus, Answer> {
    let request = client.describe_delivery_stream().delivery_stream_name(name);
    let answer = request.limit(1).send().await;
    let answer = answer.map_err(|error| ERRORS.answer(error))?;
    let description = answer.delivery_stream_description();
    let status = description.map(|description| description.delivery_stream_status().clone());
    Ok(status.unwrap_or(DeliveryStreamStatus::Active))
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    match status(&client, settings.name()).await {
        // A role that may only write.
        Err(answer) if !answer.is_open() => return Err(answer.cannot_write(settings.name())),
        Ok(_) | Err(_) => {}
    }

    let stream = Stream {
        client,
        settings: settings.clone(),
    };
    let messages = Messages::new(stream, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("firehose {} {:?}", settings.name(), settings.connection()),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let name = settings.name();
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(name, error.to_string())],
    };
    vec![match status(&client, name).await {
        Ok(DeliveryStreamStatus::Active) => Finding::fine(name, "is active".to_owned()),
        Ok(status) => Finding {
            subject: name.to_owned(),
            finding: format!("has the status {status}"),
            severity: Severity::Warning,
            advice: "wait until the stream is active".to_owned(),
        },
        Err(answer) => Finding::failure(name, answer.reason()),
    }]
}

#[cfg(test)]
mod tests {
    use aws_sdk_firehose::types::PutRecordBatchResponseEntry;

    use super::*;

    #[test]
    fn an_entry_is_durable_with_a_record_id_only() {
        let entry = PutRecordBatchResponseEntry::builder;
        let answer = PutRecordBatchOutput::builder()
            .failed_put_count(0)
            .request_responses(entry().record_id("a").build())
            .request_responses(entry().error_code("InternalFailure").build())
            .request_responses(entry().error_code("ServiceUnavailableException").build())
            .request_responses(entry().build())
            .build()
            .unwrap();
        let Answer::Each(verdicts) = verdicts(&answer) else {
            panic!("a verdict for each record")
        };
        let kinds = verdicts.iter().map(|verdict| match verdict {
            Verdict::Durable => None,
            Verdict::Retry(trouble) => Some(trouble.kind),
            other => panic!("{other:?}"),
        });
        let (unavailable, throttled) = (TroubleKind::Unavailable, TroubleKind::Throttled);
        let expected = [None, Some(unavailable), Some(throttled), Some(unavailable)];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

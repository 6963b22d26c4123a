//! The events of a function, and the records in the function's answer.

use std::collections::BTreeSet;

use distributary_core::batch::Batch;
use distributary_core::output::{Refusal, Trouble, TroubleKind, Verdict};
use serde::{Deserialize, Serialize};

use super::super::{Event, Settings};
use crate::formats::{self, Format};
use crate::messages::{Answer, place};

/// A record in an event.
#[derive(Debug)]
pub(crate) struct Message {
    /// The record as JSON.
    pub(super) text: String,
    /// The name of the record in the function's answer.
    id: String,
}

impl Message {
    pub(super) fn allocation(&self) -> usize {
        self.text.len() + self.id.len()
    }
}

/// A record of an event of Kinesis Data Analytics (its developer guide, "Using a Lambda function as
/// output").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnalyticsRecord<'a> {
    record_id: &'a str,
    lambda_delivery_record_metadata: Delivery,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    retry_hint: u32,
}

/// Record `i` in an event.
pub(super) fn message(event: Event, batch: &Batch, i: usize) -> Result<Message, Refusal> {
    let record = batch.record(i);
    let mut text = Vec::new();
    let id = match event {
        Event::Kinesis => record.sequence.to_owned(),
        Event::KinesisAnalytics | Event::Json => place::id(batch, i),
    };
    let origin = batch.origin();
    match event {
        Event::Kinesis => {
            let format = Format::Record;
            formats::add(&mut text, origin, &record, format)?;
        }
        Event::Json => {
            let format = Format::Json;
            formats::add(&mut text, origin, &record, format)?;
        }
        Event::KinesisAnalytics => {
            let data = formats::base64(&record)?;
            text = analytics_record(&id, &data)?;
        }
    }
    // JSON is UTF-8.
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Message { text, id })
}

fn analytics_record(id: &str, data: &str) -> Result<Vec<u8>, Refusal> {
    let delivery = Delivery { retry_hint: 0 };
    let record = AnalyticsRecord {
        record_id: id,
        lambda_delivery_record_metadata: delivery,
        data,
    };

    let json = serde_json::to_vec(&record);
    json.map_err(|error| Refusal::new("NotWritable", error.to_string()))
}

/// The texts before and behind the records of an event.
fn envelope(settings: &Settings, id: &str) -> [String; 2] {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    match settings.event {
        Event::Json => [String::new(), String::new()],
        Event::Kinesis => ["{\"Records\":[".to_owned(), "]}".to_owned()],
        Event::KinesisAnalytics => {
            let application = settings.application_arn.as_deref();
            let application = json(application.unwrap_or("distributary"));
            let id = json(id);
            let start =
                format!("{{\"invocationId\":{id},\"applicationArn\":{application},\"records\":[");
            [start, "]}".to_owned()]
        }
    }
}

/// Bytes of an event beside records and commas, at most.
pub(super) fn around(settings: &Settings) -> usize {
    /// Bytes of an invocation's id: a shard, a sequence number and the number of a row.
    const ID: usize = 256;

    let [start, end] = envelope(settings, "");
    start.len() + end.len() + ID
}

/// The event with these records.
pub(super) fn payload(settings: &Settings, messages: &[Message]) -> String {
    let id = messages.first().map_or("", |message| &message.id);
    let [start, end] = envelope(settings, id);
    let texts: Vec<&str> = messages.iter().map(|message| &*message.text).collect();
    format!("{start}{}{end}", texts.join(","))
}

fn again(message: &str) -> Verdict {
    let trouble = Trouble::new(TroubleKind::Unavailable, message);
    Verdict::Retry(trouble)
}

fn not_understood() -> Answer {
    let message = "the function's answer is not one for this event";
    let trouble = Trouble::new(TroubleKind::Unintelligible, message);
    Answer::Unknown(trouble)
}

#[derive(Deserialize)]
struct Failures {
    #[serde(rename = "batchItemFailures")]
    failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: Option<String>,
}

/// The verdicts of an answer with `batchItemFailures` (AWS Lambda developer guide, "Reporting batch
/// item failures"): everything from the lowest record on is sent again. An empty answer reports no
/// failure; a name that is no record's makes the whole event a failure.
pub(super) fn failures(payload: &[u8], messages: &[Message]) -> Answer {
    if payload.is_empty() {
        return Answer::Durable;
    }
    let Ok(answer) = serde_json::from_slice::<Option<Failures>>(payload) else {
        return not_understood();
    };

    let failures = answer
        .and_then(|answer| answer.failures)
        .unwrap_or_default();
    let place = |failure: &Failure| {
        let id = failure.id.as_deref()?;
        messages.iter().position(|message| message.id == id)
    };
    let places = failures.iter().map(|failure| place(failure).unwrap_or(0));
    let Some(lowest) = places.min() else {
        return Answer::Durable;
    };
    let verdict = |i: usize| match i < lowest {
        true => Verdict::Durable,
        false => again("the function reports the record, or one before it, as failed"),
    };
    Answer::Each((0..messages.len()).map(verdict).collect())
}

#[derive(Deserialize)]
struct Results {
    records: Vec<RecordResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordResult {
    record_id: String,
    result: String,
}

/// The verdicts of an answer with a result for each record; a record without the result `Ok` is
/// sent again.
pub(super) fn results(payload: &[u8], messages: &[Message]) -> Answer {
    let Ok(answer) = serde_json::from_slice::<Results>(payload) else {
        return not_understood();
    };

    let delivered = answer.records.iter();
    let delivered = delivered.filter(|result| result.result == "Ok");
    let delivered = delivered.map(|result| &*result.record_id);
    let delivered: BTreeSet<&str> = delivered.collect();
    let verdict = |message: &Message| {
        if delivered.contains(&*message.id) {
            Verdict::Durable
        } else {
            again("the function reports the record as not delivered")
        }
    };

    let verdicts = messages.iter().map(verdict);
    Answer::Each(verdicts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let message = |id: &str| Message {
            text: String::new(),
            id: id.to_owned(),
        };
        ["1", "2", "3"].map(message).into()
    }

    /// The number of durable records; `None` if the answer is not understood.
    fn durable(answer: Answer) -> Option<usize> {
        match answer {
            Answer::Durable => Some(3),
            Answer::Each(verdicts) => {
                let durable = verdicts.iter();
                Some(durable.filter(|v| matches!(v, Verdict::Durable)).count())
            }
            _ => None,
        }
    }

    #[test]
    fn records_before_the_lowest_failure_are_durable() {
        let of = |payload: &str| durable(failures(payload.as_bytes(), &messages()));
        for none in [
            "",
            "null",
            "{}",
            "{\"batchItemFailures\":[]}",
            "{\"batchItemFailures\":null}",
        ] {
            assert_eq!(of(none), Some(3), "{none}");
        }
        let named =
            "{\"batchItemFailures\":[{\"itemIdentifier\":\"3\"},{\"itemIdentifier\":\"2\"}]}";
        assert_eq!(of(named), Some(1));
        for whole in ["\"\"", "null", "\"9\""] {
            let answer = format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":{whole}}}]}}");
            assert_eq!(of(&answer), Some(0), "{whole}");
        }
        assert_eq!(of("{\"batchItemFailures\":[{}]}"), Some(0));
        assert_eq!(of("text"), None);
    }

    #[test]
    fn a_record_without_the_result_ok_is_sent_again() {
        let of = |payload: &str| durable(results(payload.as_bytes(), &messages()));
        let answer = "{\"records\":[{\"recordId\":\"1\",\"result\":\"Ok\"},\
                      {\"recordId\":\"2\",\"result\":\"DeliveryFailed\"}]}";
        assert_eq!(of(answer), Some(1));
        assert_eq!(of("{}"), None);
    }
}

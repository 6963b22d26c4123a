//! Events that invoke a function, as groups of records.
//!
//! - `parts`: collects the records of one shard, queue or topic.
//! - `streams`: records of Kinesis and DynamoDB Streams; `messages`: records of SQS, SNS and the
//!   transformation of Firehose.
//!
//! EventBridge Pipes send the records of a stream or a queue as a bare array, with the members that
//! a mapping nests in one object.

mod messages;
mod parts;
mod streams;

use std::sync::Arc;

use distributary_core::batch::{BadBatch, Batch};
use serde::Deserialize;
use serde_json::value::RawValue;

use parts::Groups;

/// The records of an event, and the answer that the caller expects.
#[derive(Debug)]
pub struct Event {
    /// The records by shard, queue or topic, each in the order of the event.
    pub groups: Vec<Group>,
    /// The form of the answer.
    pub answer: AnswerForm,
}

/// Records of one shard, queue or topic.
#[derive(Debug)]
pub struct Group {
    /// The ARN of the stream, queue or topic.
    pub source: Arc<str>,
    /// The records.
    pub batch: Arc<Batch>,
    /// The identifier of each record in an answer.
    pub ids: Vec<String>,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// `batchItemFailures` with the lowest record that failed: all from there on comes again.
    Lowest,
    /// `batchItemFailures` with each message that failed.
    Each,
    /// `batchItemFailures` with the first message that failed and all behind that one.
    FirstAndRest,
    /// An error if any message failed.
    All,
    /// Each record of a transformation with a result.
    Transformation,
}

/// The reason why an event cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadEvent {
    /// The event is of a service that this program does not know.
    #[error(
        "the event is none of Kinesis, DynamoDB Streams, SQS, SNS, EventBridge Pipes or a Firehose \
         transformation; remove the mapping that sends such events ({0})"
    )]
    Unknown(String),
    /// A record lacks a member, or has a wrong one.
    #[error("record {record} of the event cannot be read")]
    Record {
        /// The record's index.
        record: usize,
        /// The error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// The data of a record are not base64.
    #[error("the data of record {0} of the event are not base64")]
    NotBase64(usize),
    /// The mapping has a tumbling window, and expects a state in the answer.
    #[error(
        "the event has a tumbling window, which this program does not keep; set the mapping's \
         TumblingWindowInSeconds to 0"
    )]
    TumblingWindow,
    /// An event holds at most 4 GiB.
    #[error("the records of the event are larger than 4 GiB")]
    TooLarge(#[from] std::num::TryFromIntError),
    /// The records are no batch.
    #[error("the records of the event are no batch")]
    Batch(#[from] BadBatch),
}

/// An event of a mapping or of Firehose.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(rename = "Records", borrow, default)]
    records: Vec<&'a RawValue>,
    #[serde(rename = "records", borrow, default)]
    transformed: Vec<&'a RawValue>,
    #[serde(rename = "deliveryStreamArn")]
    delivery_stream: Option<String>,
    #[serde(borrow)]
    window: Option<&'a RawValue>,
    #[serde(rename = "isFinalInvokeForWindow", borrow)]
    is_final: Option<&'a RawValue>,
}

/// The member that names the service.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "eventSource", alias = "EventSource", borrow)]
    source: &'a str,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// [`BadEvent`]: no record of a bad event is used.
    pub fn parse(payload: &str) -> Result<Self, BadEvent> {
        if payload.trim_start().starts_with('[') {
            let records: Vec<&RawValue> = of_record(0, payload)?;
            return of_service(&records);
        }

        let whole: Whole<'_> = serde_json::from_str(payload).map_err(|error| {
            let text = error.to_string();
            BadEvent::Unknown(text)
        })?;
        if whole.window.is_some() || whole.is_final.is_some() {
            return Err(BadEvent::TumblingWindow);
        }

        match &whole.delivery_stream {
            Some(stream) => transformation(stream, &whole.transformed),
            None => of_service(&whole.records),
        }
    }
}

/// The records of a mapping, of a topic or of a pipe.
fn of_service(records: &[&RawValue]) -> Result<Event, BadEvent> {
    let Some(first) = records.first() else {
        let text = "there are no records";
        return Err(BadEvent::Unknown(text.to_owned()));
    };

    let add = match service(first) {
        Some("aws:kinesis") => streams::kinesis,
        Some("aws:dynamodb") => streams::dynamodb,
        Some("aws:sqs") => messages::sqs,
        Some("aws:sns") => messages::sns,
        other => {
            let name = other.unwrap_or("no eventSource");
            return Err(BadEvent::Unknown(name.to_owned()));
        }
    };
    collect(records, service(first), add)
}

fn service<'a>(record: &'a RawValue) -> Option<&'a str> {
    let named: Named<'a> = serde_json::from_str(record.get()).ok()?;
    Some(named.source)
}

/// Adds one record of an event.
type Add = fn(usize, &str, &mut Groups) -> Result<AnswerForm, BadEvent>;

fn collect(records: &[&RawValue], of: Option<&str>, add: Add) -> Result<Event, BadEvent> {
    let mut groups = Groups::default();
    let mut answer = AnswerForm::Lowest;
    for (i, record) in records.iter().enumerate() {
        let own = service(record);
        if own != of {
            let name = own.unwrap_or("no eventSource");
            return Err(BadEvent::Unknown(name.to_owned()));
        }
        answer = add(i, record.get(), &mut groups)?;
    }

    Ok(Event {
        groups: groups.finish()?,
        answer,
    })
}

fn transformation(stream: &str, records: &[&RawValue]) -> Result<Event, BadEvent> {
    let mut groups = Groups::default();
    for (i, record) in records.iter().enumerate() {
        messages::firehose(i, record.get(), stream, &mut groups)?;
    }

    Ok(Event {
        groups: groups.finish()?,
        answer: AnswerForm::Transformation,
    })
}

/// Reads the JSON of a record.
fn of_record<'a, T: Deserialize<'a>>(record: usize, text: &'a str) -> Result<T, BadEvent> {
    serde_json::from_str(text).map_err(|source| BadEvent::Record { record, source })
}

#[cfg(test)]
mod tests;

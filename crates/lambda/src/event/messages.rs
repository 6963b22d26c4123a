//! Messages of SQS and SNS, and records of a Firehose transformation.
//!
//! A message has no sequence number. The number here is the moment of sending, followed by 39
//! digits of the message's id: the same at each delivery of a message, and another one for another
//! message, as outputs that deduplicate need.
//!
//! AWS documentation: Lambda developer guide, "Using Lambda with Amazon SQS", "Invoking Lambda
//! functions with Amazon SNS notifications"; Firehose developer guide, "Transform source data".

use std::borrow::Cow;

use distributary_core::clock::Millis;
use distributary_core::record::DataForm;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::parts::{Groups, Part};
use super::streams::check_base64;
use super::{AnswerForm, BadEvent, of_record};

/// The place of messages, where streams have a shard.
const QUEUE: &str = "messages";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsMessage<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(borrow, default)]
    attributes: SqsAttributes<'a>,
    #[serde(rename = "eventSourceARN", borrow)]
    source: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SqsAttributes<'a> {
    #[serde(borrow)]
    message_group_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sent_timestamp: Option<Cow<'a, str>>,
}

/// Adds a message of a queue. The key is the group, else the message's id; a message of a FIFO
/// queue that failed takes all behind it along.
pub(super) fn sqs(record: usize, text: &str, groups: &mut Groups) -> Result<AnswerForm, BadEvent> {
    let message: SqsMessage<'_> = of_record(record, text)?;
    let attributes = &message.attributes;
    let sent = attributes.sent_timestamp.as_deref();
    let sent = sent.and_then(|text| text.parse().ok());
    let arrival = Millis(sent.unwrap_or(0));
    let group = attributes.message_group_id.as_ref();

    groups.push(&Part {
        source: &message.source,
        shard: QUEUE,
        sequence: &number(arrival, &message.message_id),
        key: group.unwrap_or(&message.message_id),
        form: DataForm::Raw,
        data: message.body.as_bytes(),
        arrival,
        id: &message.message_id,
    })?;
    Ok(match message.source.ends_with(".fifo") {
        true => AnswerForm::FirstAndRest,
        false => AnswerForm::Each,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsRecord<'a> {
    #[serde(borrow)]
    sns: SnsMessage<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsMessage<'a> {
    #[serde(borrow)]
    topic_arn: Cow<'a, str>,
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

/// Adds a message of a topic, under the message's id as key.
pub(super) fn sns(record: usize, text: &str, groups: &mut Groups) -> Result<AnswerForm, BadEvent> {
    let SnsRecord { sns: message } = of_record(record, text)?;
    let arrival = moment(&message.timestamp);
    groups.push(&Part {
        source: &message.topic_arn,
        shard: QUEUE,
        sequence: &number(arrival, &message.message_id),
        key: &message.message_id,
        form: DataForm::Raw,
        data: message.message.as_bytes(),
        arrival,
        id: &message.message_id,
    })?;
    Ok(AnswerForm::All)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirehoseRecord<'a> {
    #[serde(borrow)]
    record_id: Cow<'a, str>,
    #[serde(default)]
    approximate_arrival_timestamp: i64,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// Adds a record of a delivery stream, under the record's id as key.
pub(super) fn firehose(
    record: usize,
    text: &str,
    stream: &str,
    groups: &mut Groups,
) -> Result<(), BadEvent> {
    let inner: FirehoseRecord<'_> = of_record(record, text)?;
    check_base64(record, &inner.data)?;
    let arrival = Millis(inner.approximate_arrival_timestamp);
    groups.push(&Part {
        source: stream,
        shard: QUEUE,
        sequence: &number(arrival, &inner.record_id),
        key: &inner.record_id,
        form: DataForm::Base64,
        data: inner.data.as_bytes(),
        arrival,
        id: &inner.record_id,
    })
}

/// The number of a message that was sent at `sent`.
fn number(sent: Millis, id: &str) -> String {
    let hash = digest(&SHA256, id.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    let hash = u128::from_be_bytes(first);

    let sent = sent.0.unsigned_abs();
    format!("{sent}{hash:039}")
}

/// An RFC 3339 moment; the beginning of time for another text.
fn moment(text: &str) -> Millis {
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    let nanos = parsed.map_or(0, OffsetDateTime::unix_timestamp_nanos);
    let millis = nanos.div_euclid(1_000_000);
    Millis(i64::try_from(millis).unwrap_or(0))
}

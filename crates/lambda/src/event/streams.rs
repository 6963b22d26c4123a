//! Records of Kinesis and of DynamoDB Streams.
//!
//! AWS documentation: Lambda developer guide, "Using Lambda with Kinesis", "Using Lambda with
//! DynamoDB"; EventBridge user guide, "Amazon Kinesis stream as a source".

use std::borrow::Cow;
use std::fmt;

use distributary_core::clock::Millis;
use distributary_core::record::DataForm;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::parts::{Groups, Part};
use super::{AnswerForm, BadEvent, of_record};

/// The shard of records whose event names none.
const NO_SHARD: &str = "shardId-000000000000";

/// A record of Kinesis. A pipe has the members of `kinesis` beside the others.
#[derive(Deserialize)]
struct KinesisRecord<'a> {
    #[serde(rename = "eventID", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "eventSourceARN", borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    kinesis: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisData<'a> {
    #[serde(borrow)]
    partition_key: Cow<'a, str>,
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    approximate_arrival_timestamp: f64,
}

/// Adds a record of Kinesis: the shard stands in `eventID` alone.
pub(super) fn kinesis(
    record: usize,
    text: &str,
    groups: &mut Groups,
) -> Result<AnswerForm, BadEvent> {
    let outer: KinesisRecord<'_> = of_record(record, text)?;
    let nested = outer.kinesis.map_or(text, RawValue::get);
    let inner: KinesisData<'_> = of_record(record, nested)?;
    check_base64(record, &inner.data)?;

    let shard = outer.id.split_once(':');
    groups.push(&Part {
        source: without_consumer(&outer.source),
        shard: shard.map_or(NO_SHARD, |(shard, _)| shard),
        sequence: &inner.sequence_number,
        key: &inner.partition_key,
        form: DataForm::Base64,
        data: inner.data.as_bytes(),
        arrival: millis(inner.approximate_arrival_timestamp),
        id: &inner.sequence_number,
    })?;
    Ok(AnswerForm::Lowest)
}

/// Fails if the data of a record are not base64.
pub(super) fn check_base64(record: usize, data: &str) -> Result<(), BadEvent> {
    let checked = base64_simd::STANDARD.check(data.as_bytes());
    checked.map_err(|_| BadEvent::NotBase64(record))
}

/// A consumer's ARN is the stream's with `/consumer/NAME:TIME` behind.
fn without_consumer(arn: &str) -> &str {
    arn.split_once("/consumer/").map_or(arn, |(arn, _)| arn)
}

/// A moment in seconds.
#[allow(clippy::cast_possible_truncation)]
fn millis(seconds: f64) -> Millis {
    Millis((seconds * 1e3).round() as i64)
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(rename = "eventSourceARN", borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    dynamodb: ChangeData<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeData<'a> {
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    approximate_creation_date_time: f64,
    #[serde(default)]
    keys: InOrder,
}

/// Adds a record of DynamoDB Streams. The data are the whole record as it came; the key is made of
/// the values of `Keys`, joined by `|`. An event has the records of one shard, which it does not
/// name.
pub(super) fn dynamodb(
    record: usize,
    text: &str,
    groups: &mut Groups,
) -> Result<AnswerForm, BadEvent> {
    let change: Change<'_> = of_record(record, text)?;
    let inner = &change.dynamodb;
    groups.push(&Part {
        source: &change.source,
        shard: NO_SHARD,
        sequence: &inner.sequence_number,
        key: &inner.keys.joined(),
        form: DataForm::Raw,
        data: text.as_bytes(),
        arrival: millis(inner.approximate_creation_date_time),
        id: &inner.sequence_number,
    })?;
    Ok(AnswerForm::Lowest)
}

/// The values of an item's key, in the order of the event.
#[derive(Default)]
struct InOrder(Vec<Value>);

impl InOrder {
    /// The values, joined by `|`. Each is an object with the type as the only member; numbers are
    /// texts, and keep their digits.
    fn joined(&self) -> String {
        let values = self.0.iter().filter_map(Value::as_object);
        let values = values.filter_map(|typed| typed.values().next());
        let texts: Vec<&str> = values.filter_map(Value::as_str).collect();
        texts.join("|")
    }
}

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = InOrder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attributes of a key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
        let mut values = Vec::new();
        while let Some((_, value)) = map.next_entry::<IgnoredAny, Value>()? {
            values.push(value);
        }
        Ok(InOrder(values))
    }
}

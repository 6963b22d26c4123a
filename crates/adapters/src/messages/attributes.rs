//! Facts about a record as attributes of a message.

use distributary_core::batch::{Batch, Origin};
use distributary_core::output::{Refusal, Verdict};
use distributary_core::record::Record;
use serde::{Deserialize, Deserializer, de};

use super::text::is_sqs_text;
use crate::keys::{Absent, Form, Key};
use crate::values::{Texts, word};

/// The data type of all attributes.
pub(crate) const STRING: &str = "String";
/// The attribute of a message whose data are in base64 because they are no text.
pub(crate) const CONTENT_ENCODING: (&str, &str) = ("content-encoding", "base64");

/// One fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    PartitionKey,
    SequenceNumber,
    ShardId,
    ArrivalTimestamp,
    SourceArn,
}

const WORDS: &[(&str, Attribute)] = &[
    ("partitionKey", Attribute::PartitionKey),
    ("sequenceNumber", Attribute::SequenceNumber),
    ("shardId", Attribute::ShardId),
    ("arrivalTimestamp", Attribute::ArrivalTimestamp),
    ("sourceArn", Attribute::SourceArn),
];

/// The facts that messages have as attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<Attribute>);

/// The key `attributes`.
pub(crate) const ATTRIBUTES: Key = Key {
    name: "attributes",
    form: Form::Texts("NAME"),
    absent: Absent::Default("none"),
    help: "Attributes of each message: partitionKey, sequenceNumber, shardId, arrivalTimestamp \
           (milliseconds since 1970), sourceArn",
    example: "partitionKey",
};

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Texts::deserialize(deserializer)?;
        let attributes = names.as_slice().iter().map(|name| word(name, WORDS));
        let attributes: Result<_, _> = attributes.collect();
        attributes.map(Self).map_err(de::Error::custom)
    }
}

impl Attributes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values for record `i`; a record without a partition key has no such attribute.
    pub(crate) fn of(
        &self,
        batch: &Batch,
        i: usize,
    ) -> Result<Vec<(&'static str, String)>, Verdict> {
        let record = batch.record(i);
        let origin = batch.origin();
        let mut values = Vec::with_capacity(self.0.len());
        for attribute in &self.0 {
            let value = attribute.value(&record, origin);
            if !is_sqs_text(&value) {
                let message = "the partition key has characters that no attribute takes";
                return Err(Verdict::Refused(Refusal::new("BadAttribute", message)));
            }
            // A value that is empty is none.
            if !value.is_empty() {
                values.push((attribute.name(), value));
            }
        }
        Ok(values)
    }

    /// An upper bound of the bytes that the attributes of `record` count: names, types and values.
    pub(crate) fn len(&self, record: &Record<'_>) -> usize {
        /// Bytes of a shard's id.
        const SHARD: usize = 128;
        /// Digits of a time in milliseconds.
        const MOMENT: usize = 20;
        /// Bytes of an ARN.
        const ARN: usize = 2_048;

        let value = |attribute: &Attribute| match attribute {
            Attribute::PartitionKey => record.key.map_or(0, str::len),
            Attribute::SequenceNumber => record.sequence.len(),
            Attribute::ShardId => SHARD,
            Attribute::ArrivalTimestamp => MOMENT,
            Attribute::SourceArn => ARN,
        };
        let bytes = |attribute: &Attribute| attribute_len(attribute.name(), "") + value(attribute);
        self.0.iter().map(bytes).sum()
    }
}

impl Attribute {
    fn value(self, record: &Record<'_>, origin: &Origin) -> String {
        let key = record.key.unwrap_or_default();
        match self {
            Self::PartitionKey => key.to_owned(),
            Self::SequenceNumber => record.sequence.to_owned(),
            Self::ShardId => origin.shard.to_string(),
            Self::ArrivalTimestamp => record.arrival.0.to_string(),
            Self::SourceArn => origin.source.to_string(),
        }
    }

    fn name(self) -> &'static str {
        let found = WORDS.iter().find(|(_, attribute)| *attribute == self);
        found.map_or("", |(name, _)| name)
    }
}

/// The bytes that an attribute counts.
pub(crate) fn attribute_len(name: &str, value: &str) -> usize {
    name.len() + STRING.len() + value.len()
}

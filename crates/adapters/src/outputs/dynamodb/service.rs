//! The client of a DynamoDB table. API reference: Amazon DynamoDB, `PutItem`, `DescribeTable`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, TableDescription};
use distributary_core::batch::Batch;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;
use serde_json::value::RawValue;

use super::{Item, Overwrite, Settings};
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding};
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::messages::{Answer, Encoded, Messages, Service, place};
use crate::outputs::{BuiltOutput, OutputKind};

mod attributes;

/// Bytes of an item: names and values.
const BYTES: usize = 400 << 10;
/// Requests of one lane in flight together, each for another partition key.
const REQUESTS: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// The attribute with the data.
const DATA: &str = "data";
/// The attribute with the sequence number.
const SEQUENCE: &str = "seq";
/// Digits of a sequence number with its leading zeros; Kinesis has 56.
const DIGITS: usize = 60;

const ERRORS: Errors = Errors {
    kind: "dynamodb",
    codes: &[
        ("ConditionalCheckFailedException", Meaning::Durable),
        (
            "ProvisionedThroughputExceededException",
            Meaning::Trouble(TroubleKind::Throttled),
        ),
        (
            "RequestLimitExceeded",
            Meaning::Trouble(TroubleKind::Throttled),
        ),
        (
            "ReplicatedWriteConflictException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        (
            "TransactionConflictException",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        ("ItemCollectionSizeLimitExceededException", Meaning::Refused),
        ("ValidationException", Meaning::Refused),
    ],
};

/// An item, as attributes by name.
type Attributes = BTreeMap<String, AttributeValue>;

/// A table.
struct Table {
    client: Client,
    settings: Settings,
    keys: Keys,
}

/// The names of the attributes that are the table's key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    partition: String,
    sort: Option<String>,
}

#[async_trait]
impl Service for Table {
    type Message = Attributes;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        Profile {
            keeps: self.settings.keeps(),
            in_flight: REQUESTS,
            deduplicates: true,
            ..Profile::new(RequestLimits {
                entries: 1,
                bytes: BYTES,
            })
        }
    }

    fn form(&self) -> String {
        format!("{:?} {:?}", self.settings.item, self.keys)
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        record.size()
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Attributes> {
        Encoded::one_each(picks, |i| self.item(batch, i).map_err(Verdict::Refused))
    }

    fn allocation(message: &Attributes) -> usize {
        attributes::size(message)
    }

    async fn send(&self, messages: &[Attributes]) -> Answer {
        // Requests have one item.
        for item in messages {
            if let answer @ (Answer::Refused(_) | Answer::Rejected(_) | Answer::Unknown(_)) =
                self.put(item).await
            {
                return answer;
            }
        }
        Answer::Durable
    }
}

impl Table {
    fn item(&self, batch: &Batch, i: usize) -> Result<Attributes, Refusal> {
        let record = batch.record(i);
        let data = formats::data(&record)?;
        let sequence = AttributeValue::S(sequence(batch, i));
        let mut item = match self.settings.item {
            Item::Json => self.members(&data)?,
            Item::Record => self.whole(&record, &data, &sequence),
        };

        item.insert(SEQUENCE.to_owned(), sequence);
        let bytes = attributes::size(&item);
        if bytes > BYTES {
            let text = format!("the item has {bytes} bytes, and DynamoDB takes {BYTES}");
            let refusal = Refusal::new("ItemTooLarge", text);
            return Err(refusal);
        }
        Ok(item)
    }

    /// The key, the data as bytes and, where the table has a sort key, the sequence number there.
    fn whole(&self, record: &Record<'_>, data: &[u8], sequence: &AttributeValue) -> Attributes {
        let mut item = Attributes::new();
        let key = record.key.unwrap_or_default();
        let key = AttributeValue::S(key.to_owned());
        item.insert(self.keys.partition.clone(), key);
        if let Some(sort) = &self.keys.sort {
            item.insert(sort.clone(), sequence.clone());
        }

        let data = AttributeValue::B(Blob::new(data));
        item.insert(DATA.to_owned(), data);
        item
    }

    /// The members of data that are a JSON object with the table's keys.
    fn members(&self, data: &[u8]) -> Result<Attributes, Refusal> {
        let json: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_slice(data);
        let json = json.map_err(|error| {
            let text = format!("the data are no JSON object: {error}");
            Refusal::new("NotAnObject", text)
        })?;

        let keys = [Some(&self.keys.partition), self.keys.sort.as_ref()];
        if let Some(missing) = keys
            .into_iter()
            .flatten()
            .find(|key| !json.contains_key(*key))
        {
            let text = format!("the data have no member {missing}, a key of the table");
            let refusal = Refusal::new("NoKey", text);
            return Err(refusal);
        }
        let attributes = json.into_iter().map(|(name, value)| {
            let value = attributes::of_json(value)?;
            Ok((name, value))
        });
        attributes.collect()
    }

    async fn put(&self, item: &Attributes) -> Answer {
        let mut request = self.client.put_item().table_name(&self.settings.table);
        for (name, value) in item {
            request = request.item(name, value.clone());
        }
        if self.settings.overwrite == Overwrite::Older {
            let sequence = item.get(SEQUENCE).cloned();
            let sequence = sequence.unwrap_or(AttributeValue::Null(true));
            request = request
                .condition_expression("attribute_not_exists(#seq) OR #seq < :seq")
                .expression_attribute_names("#seq", SEQUENCE)
                .expression_attribute_values(":seq", sequence);
        }
        match request.send().await {
            Ok(_) => Answer::Durable,
            Err(error) => ERRORS.answer(error),
        }
    }
}

/// The sequence number of record `i` in a form whose order as text is that of the numbers; a row
/// of a pump has a number behind that.
fn sequence(batch: &Batch, i: usize) -> String {
    let name = place::within_shard(batch, i);
    match name.split_once('.') {
        Some((sequence, row)) => format!("{sequence:0>DIGITS$}.{row:0>6}"),
        None => format!("{name:0>DIGITS$}"),
    }
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    Ok(Client::new(&sdk))
}

async fn ask(client: &Client, settings: &Settings) -> Result<Keys, Answer> {
    let request = client.describe_table().table_name(&settings.table).send();
    let answer = request.await.map_err(|error| ERRORS.answer(error))?;
    let keys = answer.table().and_then(keys);
    let keys = keys.ok_or_else(|| wrong("the answer has no key of the table"))?;

    let is_taken = [DATA, SEQUENCE].contains(&&*keys.partition);
    if settings.item == Item::Record && is_taken {
        let name = &keys.partition;
        return Err(wrong(&format!(
            "the table's partition key is {name}, an attribute of its own here; use item = \"json\""
        )));
    }
    Ok(keys)
}

fn wrong(text: &str) -> Answer {
    let trouble = Trouble::new(TroubleKind::Invalid, text);
    Answer::Rejected(trouble)
}

fn keys(table: &TableDescription) -> Option<Keys> {
    let of = |kind: KeyType| {
        let mut keys = table.key_schema().iter();
        let key = keys.find(|key| *key.key_type() == kind)?;
        Some(key.attribute_name().to_owned())
    };
    Some(Keys {
        partition: of(KeyType::Hash)?,
        sort: of(KeyType::Range),
    })
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    let keys = ask(&client, settings).await;
    let keys = keys.map_err(|answer| answer.cannot_write(&settings.table))?;

    let table = Table {
        client,
        settings: settings.clone(),
        keys,
    };
    let messages = Messages::new(table, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity: format!("dynamodb {} {:?}", settings.table, settings.connection()),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let subject = &settings.table;
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(subject, error.to_string())],
    };
    vec![match ask(&client, settings).await {
        Ok(keys) => Finding::fine(subject, format!("has the partition key {}", keys.partition)),
        Err(answer) => Finding::failure(subject, answer.reason()),
    }]
}

//! Streams of an embedded Kinesis, and events with the records of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_kinesis::client::Client;
use distributary_kinesis::credentials::Static;
use distributary_kinesis::names::StreamRef;
use distributary_local::Local;
use distributary_local::server::{Handle, ServerOptions, serve};
use distributary_wire::types::{
    GetRecordsRequest, GetShardIteratorRequest, Record, ShardIteratorType,
};
use serde_json::{Value, json};

pub(crate) const SOURCE: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/input";

/// An embedded Kinesis that listens.
pub(crate) struct Streams {
    pub(crate) local: Local,
    pub(crate) handle: Handle,
    client: Client,
}

impl Streams {
    /// Streams of one shard each.
    pub(crate) async fn with(names: &[&str]) -> Self {
        let local = Local::builder().seed(1).build();
        for name in names {
            local.create_stream(name, 1).unwrap();
        }
        let options = ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            ..ServerOptions::default()
        };
        let client = Client::builder(Arc::new(local.transport()))
            .region("us-east-1")
            .credentials(Arc::new(Static::local()));
        Self {
            handle: serve(local.clone(), options).await.unwrap(),
            client: client.build().unwrap(),
            local,
        }
    }

    /// The variables of a function that copies to these streams.
    pub(crate) fn toml(names: &[&str], keys: &str) -> String {
        let outputs = names
            .iter()
            .map(|name| format!("[[output]]\nstream = \"{name}\"\n"));
        let outputs: String = outputs.collect();
        format!("{keys}\n{outputs}")
    }

    /// The records of a stream, in order.
    pub(crate) async fn records(&self, name: &str) -> Vec<Record> {
        let stream: StreamRef = name.parse().unwrap();
        let request = GetShardIteratorRequest {
            shard_id: Some("shardId-000000000000".to_owned()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..GetShardIteratorRequest::default()
        };
        let answered = self.client.on(&stream, request).await.unwrap();
        let mut iterator = answered.answer.shard_iterator;
        let mut records = Vec::new();
        while let Some(next) = iterator {
            let request = GetRecordsRequest {
                shard_iterator: Some(next),
                ..GetRecordsRequest::default()
            };
            let page = self.client.call(&request).await.unwrap().answer;
            if page.records.is_empty() && page.millis_behind_latest == Some(0) {
                break;
            }
            records.extend(page.records);
            iterator = page.next_shard_iterator;
        }
        records
    }

    /// The data of the records of a stream, as text.
    pub(crate) async fn data(&self, name: &str) -> Vec<String> {
        let records = self.records(name).await.into_iter();
        let data = records.map(|record| String::from_utf8(record.data.0.to_vec()).unwrap());
        data.collect()
    }
}

/// A record of an event: the number is the sequence number and the data.
pub(crate) fn record(number: u64, key: &str) -> Value {
    of_data(number, key, number.to_string().as_bytes())
}

pub(crate) fn of_data(number: u64, key: &str, data: &[u8]) -> Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0", "partitionKey": key,
            "sequenceNumber": number.to_string(),
            "data": base64_simd::STANDARD.encode_to_string(data),
            "approximateArrivalTimestamp": 1545084650.987
        },
        "eventSource": "aws:kinesis", "eventVersion": "1.0",
        "eventID": format!("shardId-000000000006:{number}"), "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/r", "awsRegion": "us-east-1",
        "eventSourceARN": SOURCE
    })
}

/// An event of records with these numbers.
pub(crate) fn event(numbers: impl Iterator<Item = u64>) -> Value {
    let records = numbers.map(|number| record(number, &format!("key-{}", number % 7)));
    json!({ "Records": records.collect::<Vec<Value>>() })
}

/// The last occurrence of each text, in order.
pub(crate) fn last_occurrences(texts: &[String]) -> Vec<&str> {
    let places = texts.iter().enumerate();
    let last: BTreeMap<&str, usize> = places.map(|(i, text)| (text.as_str(), i)).collect();
    let mut last: Vec<(&str, usize)> = last.into_iter().collect();
    last.sort_by_key(|(_, place)| *place);
    last.into_iter().map(|(text, _)| text).collect()
}

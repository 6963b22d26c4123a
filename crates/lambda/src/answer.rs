//! The answer to an event.
//!
//! AWS documentation: Lambda developer guide, "Configuring partial batch response with Kinesis",
//! "Implementing partial batch responses" (SQS); Firehose developer guide, "Required parameters for
//! data transformation".

use serde_json::{Value, json};

use crate::event::{AnswerForm, Event, Group};
use crate::progress::Open;

/// Messages of a topic are not durable: only an error has the topic send them again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotDurable;

/// The answer to `event`. `open` has the records that are not durable, for each group.
///
/// # Errors
/// [`NotDurable`] where the form knows no partial answer.
pub(crate) fn answer(event: &Event, open: &[Vec<Open>]) -> Result<Value, NotDurable> {
    let failed = open.iter().map(|outputs| failed(outputs));
    let failed: Vec<Vec<usize>> = failed.collect();
    let is_durable = failed.iter().all(Vec::is_empty);
    match event.answer {
        AnswerForm::Lowest => Ok(failures(event, &failed, lowest)),
        AnswerForm::Each => Ok(failures(event, &failed, each)),
        AnswerForm::FirstAndRest => Ok(failures(event, &failed, first_and_rest)),
        AnswerForm::All if is_durable => Ok(Value::Null),
        AnswerForm::All => Err(NotDurable),
        AnswerForm::Transformation => Ok(transformation(event, &failed)),
    }
}

/// The identifiers of a group for an answer; some records failed.
type Named = for<'a> fn(&'a Group, &[usize]) -> Vec<&'a String>;

fn lowest<'a>(group: &'a Group, failed: &[usize]) -> Vec<&'a String> {
    let lowest = failed.first();
    let id = lowest.and_then(|i| group.ids.get(*i));
    id.into_iter().collect()
}

fn each<'a>(group: &'a Group, failed: &[usize]) -> Vec<&'a String> {
    let ids = failed.iter();
    let ids = ids.filter_map(|i| group.ids.get(*i));
    ids.collect()
}

fn first_and_rest<'a>(group: &'a Group, failed: &[usize]) -> Vec<&'a String> {
    let first = failed.first();
    let rest = first.and_then(|i| group.ids.get(*i..));
    rest.into_iter().flatten().collect()
}

fn failures(event: &Event, failed: &[Vec<usize>], named: Named) -> Value {
    let mut failures = Vec::new();
    for (group, failed) in event.groups.iter().zip(failed) {
        for id in named(group, failed) {
            let failure = json!({ "itemIdentifier": id });
            failures.push(failure);
        }
    }
    json!({ "batchItemFailures": failures })
}

fn transformation(event: &Event, failed: &[Vec<usize>]) -> Value {
    let groups = event.groups.iter().zip(failed);
    let records = groups.flat_map(|(group, failed)| transformed(group, failed));
    let records: Vec<Value> = records.collect();
    json!({ "records": records })
}

/// The records that are not durable at some output, ascending.
fn failed(outputs: &[Open]) -> Vec<usize> {
    let records = outputs.iter();
    let records = records.flat_map(|output| &output.records);
    let places = records.map(|i| *i as usize);
    let mut failed: Vec<usize> = places.collect();
    failed.sort_unstable();
    failed.dedup();
    failed
}

/// The records of a transformation, unchanged: Firehose delivers those that are durable.
fn transformed(group: &Group, failed: &[usize]) -> Vec<Value> {
    let records = group.batch.iter().zip(&group.ids).enumerate();
    let results = records.map(|(i, (record, id))| {
        let is_durable = failed.binary_search(&i).is_err();
        let result = if is_durable { "Ok" } else { "ProcessingFailed" };
        // The data of an event are base64 text.
        let data = String::from_utf8_lossy(record.data);
        json!({ "recordId": id, "result": result, "data": data })
    });
    results.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(queue: &str) -> Event {
        let message = |id: &str| {
            json!({
                "messageId": id, "body": "b", "attributes": {}, "eventSource": "aws:sqs",
                "eventSourceARN": format!("arn:aws:sqs:eu-west-1:1:{queue}")
            })
        };
        let event = json!({"Records": [message("a"), message("b"), message("c")]});
        Event::parse(&event.to_string()).unwrap()
    }

    fn open(records: &[&[u32]]) -> Vec<Vec<Open>> {
        let outputs = records.iter().map(|records| Open {
            output: "o".to_owned(),
            records: records.to_vec(),
        });
        vec![outputs.collect()]
    }

    fn ids(event: &Event, records: &[&[u32]]) -> Vec<String> {
        let answer = answer(event, &open(records)).unwrap();
        let failures = answer["batchItemFailures"].as_array().unwrap();
        let ids = failures
            .iter()
            .map(|one| one["itemIdentifier"].as_str().unwrap().to_owned());
        ids.collect()
    }

    #[test]
    fn each_form_names_the_records_that_come_again() {
        let queue = messages("q");
        assert_eq!(ids(&queue, &[&[2], &[0, 2]]), ["a", "c"]);
        assert_eq!(ids(&queue, &[&[], &[]]), [""; 0]);
        assert_eq!(ids(&messages("q.fifo"), &[&[], &[1]]), ["b", "c"]);

        let streams = Event {
            answer: AnswerForm::Lowest,
            ..messages("q")
        };
        assert_eq!(ids(&streams, &[&[2], &[1, 2]]), ["b"]);
    }

    #[test]
    fn a_topic_gets_an_error_for_any_failure() {
        let topic = Event {
            answer: AnswerForm::All,
            ..messages("t")
        };
        assert_eq!(answer(&topic, &open(&[&[], &[]])), Ok(Value::Null));
        assert_eq!(answer(&topic, &open(&[&[], &[2]])), Err(NotDurable));
    }

    #[test]
    fn a_transformation_returns_the_data_unchanged() {
        let event = json!({
            "invocationId": "i", "deliveryStreamArn": "arn:aws:firehose:eu-west-1:1:deliverystream/d",
            "records": [{"recordId": "r1", "data": "YQ=="}, {"recordId": "r2", "data": "Yg=="}]
        });
        let event = Event::parse(&event.to_string()).unwrap();
        let answer = answer(&event, &open(&[&[1]])).unwrap();
        assert_eq!(
            answer,
            json!({"records": [
                {"recordId": "r1", "result": "Ok", "data": "YQ=="},
                {"recordId": "r2", "result": "ProcessingFailed", "data": "Yg=="},
            ]})
        );
    }
}

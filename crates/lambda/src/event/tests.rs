use distributary_core::record::DataForm;
use serde_json::json;

use super::*;

const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/input";

fn parsed(event: &serde_json::Value) -> Event {
    Event::parse(&event.to_string()).unwrap()
}

fn told(event: &serde_json::Value) -> String {
    let error = Event::parse(&event.to_string()).unwrap_err();
    distributary_core::text::chain(&error)
}

fn kinesis(shard: &str, sequence: &str, arn: &str) -> serde_json::Value {
    json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0", "partitionKey": "a \"key\"", "sequenceNumber": sequence,
            "data": "aGVsbG8=", "approximateArrivalTimestamp": 1545084650.987
        },
        "eventSource": "aws:kinesis", "eventVersion": "1.0",
        "eventID": format!("{shard}:{sequence}"), "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::1:role/r", "awsRegion": "eu-west-1", "eventSourceARN": arn
    })
}

#[test]
fn records_of_kinesis_are_grouped_by_shard_and_never_decoded() {
    let consumer = format!("{STREAM}/consumer/fanout:1500000000");
    let event = parsed(&json!({"Records": [
        kinesis("shardId-000000000006", "7", STREAM),
        kinesis("shardId-000000000001", "3", STREAM),
        kinesis("shardId-000000000006", "9", &consumer),
    ]}));

    assert_eq!(event.answer, AnswerForm::Lowest);
    assert_eq!(event.groups.len(), 2);
    let group = &event.groups[0];
    assert_eq!(
        (&*group.source, &group.ids[..]),
        (STREAM, &["7".to_owned(), "9".to_owned()][..])
    );
    let record = group.batch.record(1);
    assert_eq!((record.sequence, record.key), ("9", Some("a \"key\"")));
    assert_eq!(
        (record.data, record.form),
        (&b"aGVsbG8="[..], DataForm::Base64)
    );
    assert_eq!(record.arrival.0, 1_545_084_650_987);
}

#[test]
fn a_pipe_sends_flat_records_in_an_array() {
    let event = parsed(&json!([{
        "kinesisSchemaVersion": "1.0", "partitionKey": "k", "sequenceNumber": "5",
        "data": "aGVsbG8=", "approximateArrivalTimestamp": 1.5, "eventSource": "aws:kinesis",
        "eventID": "shardId-000000000002:5", "eventSourceARN": STREAM
    }]));
    assert_eq!(event.answer, AnswerForm::Lowest);
    let origin = event.groups[0].batch.origin();
    assert_eq!(origin.shard.as_str(), "shardId-000000000002");
}

#[test]
fn a_change_of_dynamodb_is_passed_on_whole_with_exact_numbers() {
    let arn = "arn:aws:dynamodb:eu-west-1:1:table/t/stream/2026-01-01T00:00:00.000";
    let text = format!(
        r#"{{"eventID":"x","eventName":"MODIFY","eventSource":"aws:dynamodb","eventSourceARN":"{arn}","dynamodb":{{"ApproximateCreationDateTime":1.0,"Keys":{{"Id":{{"N":"12345678901234567890"}},"At":{{"S":"b"}}}},"SequenceNumber":"111","StreamViewType":"KEYS_ONLY"}}}}"#
    );
    let event = Event::parse(&format!(r#"{{"Records":[{text}]}}"#)).unwrap();
    let record = event.groups[0].batch.record(0);
    assert_eq!(record.data, text.as_bytes());
    assert_eq!(record.key, Some("12345678901234567890|b"));
}

#[test]
fn messages_get_numbers_that_stay() {
    let message = |id: &str, queue: &str| {
        json!({
            "messageId": id, "receiptHandle": "h", "body": "text",
            "attributes": {"SentTimestamp": "1545082649183", "MessageGroupId": "g"},
            "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:eu-west-1:1:{queue}")
        })
    };
    let of = |queue: &str| parsed(&json!({"Records": [message("a", queue), message("b", queue)]}));
    let standard = of("q");
    assert_eq!(standard.answer, AnswerForm::Each);
    assert_eq!(of("q.fifo").answer, AnswerForm::FirstAndRest);

    let batch = &standard.groups[0].batch;
    let again = of("q");
    let (one, two) = (batch.record(0), batch.record(1));
    assert_eq!(one.sequence, again.groups[0].batch.record(0).sequence);
    assert_ne!(one.sequence, two.sequence);
    assert_eq!((one.key, one.data), (Some("g"), &b"text"[..]));
}

#[test]
fn messages_of_a_topic_and_records_of_a_transformation_are_read() {
    let topic = parsed(&json!({"Records": [{
        "EventVersion": "1.0", "EventSource": "aws:sns", "EventSubscriptionArn": "s",
        "Sns": {"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
            "Subject": null, "Message": "hello", "Timestamp": "1970-01-01T00:00:01.000Z",
            "MessageAttributes": {}}
    }]}));
    assert_eq!(topic.answer, AnswerForm::All);
    let record = topic.groups[0].batch.record(0);
    assert_eq!((record.key, record.arrival.0), (Some("m"), 1000));

    let firehose = parsed(&json!({
        "invocationId": "i", "deliveryStreamArn": "arn:aws:firehose:eu-west-1:1:deliverystream/d",
        "region": "eu-west-1",
        "records": [{"recordId": "r1", "approximateArrivalTimestamp": 5, "data": "aGVsbG8="}]
    }));
    assert_eq!(firehose.answer, AnswerForm::Transformation);
    assert_eq!(firehose.groups[0].ids, ["r1"]);
}

#[test]
fn an_event_that_is_not_known_is_an_error() {
    for event in [
        json!({"Records": [{"eventSource": "aws:s3", "s3": {}}]}),
        json!({"Records": []}),
        json!({"detail-type": "x", "source": "aws.ec2", "detail": {}}),
        json!({"Records": [kinesis("s:1", "1", STREAM), {"eventSource": "aws:s3"}]}),
        json!("text"),
        json!([{"detail": {}}]),
    ] {
        let told = told(&event);
        assert!(told.contains("none of Kinesis"), "{event}: {told}");
    }
}

#[test]
fn a_bad_record_and_a_window_are_told() {
    let mut record = kinesis("shardId-1", "1", STREAM);
    record["kinesis"]["data"] = json!("*");
    assert!(told(&json!({"Records": [record]})).contains("record 0 of the event are not base64"));
    let mut record = kinesis("shardId-1", "1", STREAM);
    record["kinesis"]
        .as_object_mut()
        .unwrap()
        .remove("sequenceNumber");
    assert!(told(&json!({"Records": [record]})).contains("sequenceNumber"));

    let windowed = json!({
        "Records": [kinesis("shardId-1", "1", STREAM)],
        "window": {"start": "a", "end": "b"}, "state": {}, "isFinalInvokeForWindow": false
    });
    assert!(told(&windowed).contains("TumblingWindowInSeconds to 0"));
}

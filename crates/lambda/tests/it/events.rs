//! Events with faults at the outputs: nothing is missing, and no answer is above the lowest record
//! that failed.

use std::collections::BTreeSet;
use std::time::Duration;

use distributary_local::faults::{Action, Entries, Rule};
use distributary_wire::op::Operation;
use serde_json::{Value, json};

use crate::function::{Answer, Function};
use crate::streams::{SOURCE, Streams, event, last_occurrences, of_data, record};

const TIMEOUT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(3);

async fn function(streams: &Streams, toml: &str, timeout: Duration) -> Function {
    let endpoint = streams.handle.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("DISTRIBUTARY_CONFIG_TOML", toml),
    ];
    Function::start(&variables, timeout).await
}

fn throttled(stream: &str) -> Rule {
    let code = "ProvisionedThroughputExceededException".to_owned();
    let action = Action::Error {
        code,
        message: String::new(),
        status: None,
    };
    Rule::always(Operation::PutRecords, action).stream(stream)
}

/// Sends the event again as Lambda does, until nothing is left; every answer.
async fn redeliver(function: &mut Function, event: &Value) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut records = event["Records"].as_array().unwrap().clone();
    while !records.is_empty() {
        let (answer, _) = function.invoke(&json!({ "Records": records })).await;
        answers.push(answer.clone());
        if let Answer::Error(_) = answer {
            continue;
        }
        let number = |text: &str| text.parse::<u64>().unwrap();
        let failures = answer.failures();
        let Some(lowest) = failures.iter().map(|id| number(id)).min() else {
            break;
        };
        records.retain(|record| {
            number(record["kinesis"]["sequenceNumber"].as_str().unwrap()) >= lowest
        });
    }
    answers
}

#[tokio::test]
async fn records_reach_every_output_byte_for_byte_in_order() {
    let streams = Streams::with(&["a", "b", "c"]).await;
    let toml = Streams::toml(&["a", "b", "c"], "");
    let mut function = function(&streams, &toml, TIMEOUT).await;
    let binary: Vec<u8> = (0..=255).collect();
    let event = json!({"Records": [of_data(1, "k\u{e9}", &binary), of_data(2, "other", b"\0\0")]});
    let (answer, _) = function.invoke(&event).await;

    assert_eq!(answer, Answer::Response(json!({"batchItemFailures": []})));
    for name in ["a", "b", "c"] {
        let records = streams.records(name).await;
        assert_eq!(records[0].partition_key.as_deref(), Some("k\u{e9}"));
        assert_eq!(
            (&records[0].data.0[..], &records[1].data.0[..]),
            (&binary[..], &b"\0\0"[..])
        );
    }
}

#[tokio::test]
async fn the_answer_names_the_lowest_record_that_is_not_durable_somewhere() {
    let streams = Streams::with(&["well", "ill"]).await;
    let fault = streams.local.faults().add(throttled("ill")).unwrap();
    let toml = Streams::toml(&["well", "ill"], "");
    let mut function = function(&streams, &toml, SHORT).await;
    let whole = event(10..30);
    let (answer, left) = function.invoke(&whole).await;
    assert_eq!(answer.failures(), ["10"]);
    assert!(left >= Duration::from_millis(200), "{left:?}");
    assert_eq!(streams.data("well").await.len(), 20);

    // The retry, with another record behind: the healthy output gets that one alone.
    streams.local.faults().remove(fault);
    let (answer, _) = function.invoke(&event(10..31)).await;
    assert_eq!(answer.failures(), [""; 0]);
    let expected: Vec<String> = (10..31).map(|number| number.to_string()).collect();
    assert_eq!(streams.data("well").await, expected);
    assert_eq!(streams.data("ill").await, expected);
}

#[tokio::test]
async fn a_hanging_output_is_reported_before_the_deadline_and_holds_no_other() {
    let streams = Streams::with(&["well", "hangs"]).await;
    let hold = Action::Hold {
        gate: "gate".to_owned(),
        after: false,
    };
    let rule = Rule::always(Operation::PutRecords, hold).stream("hangs");
    streams.local.faults().add(rule).unwrap();
    let toml = Streams::toml(&["hangs", "well"], "");
    let mut function = function(&streams, &toml, SHORT).await;
    let (answer, left) = function.invoke(&event(1..50)).await;
    assert_eq!(answer.failures(), ["1"]);
    assert!(left >= Duration::from_millis(200), "{left:?}");
    assert_eq!(streams.data("well").await.len(), 49);
}

#[tokio::test]
async fn a_missing_output_is_reported_and_used_once_it_is_there() {
    let streams = Streams::with(&["well"]).await;
    let toml = Streams::toml(&["late", "well"], "");
    let mut function = function(&streams, &toml, TIMEOUT).await;
    let (answer, _) = function.invoke(&event(1..5)).await;
    assert_eq!(answer.failures(), ["1"]);
    assert_eq!(streams.data("well").await.len(), 4);

    streams.local.create_stream("late", 1).unwrap();
    let (answer, _) = function.invoke(&event(1..5)).await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("late").await.len(), 4);
    assert_eq!(streams.data("well").await.len(), 4);
}

#[tokio::test]
async fn thousands_of_records_with_faults_all_arrive_in_order() {
    let names = ["a", "b", "c"];
    let streams = Streams::with(&names).await;
    let some = Entries {
        probability: Some(0.2),
        ..Entries::default()
    };
    let faults = streams.local.faults();
    let throttle = Rule::always(Operation::PutRecords, Action::ThrottleEntries(some.clone()));
    faults.add(throttle.stream("a")).unwrap();
    let lose = Rule::always(Operation::PutRecords, Action::LoseReply { hang: false });
    faults.add(lose.stream("b").probability(0.3)).unwrap();
    let fail = Rule::always(Operation::PutRecords, Action::FailEntries(some));
    faults.add(fail.stream("c").probability(0.5)).unwrap();

    let toml = Streams::toml(&names, "");
    let mut function = function(&streams, &toml, SHORT).await;
    for batch in 0..8 {
        let first = 1_000 + batch * 200;
        redeliver(&mut function, &event(first..first + 200)).await;
    }

    for name in names {
        let data = streams.data(name).await;
        let last = last_occurrences(&data);
        assert_eq!(last.len(), 1_600, "{name}");
        for key in 0..7 {
            let of_key = |text: &&&str| text.parse::<u64>().unwrap() % 7 == key;
            let of_key: Vec<&&str> = last.iter().filter(of_key).collect();
            assert!(of_key.is_sorted(), "{name}: key {key}");
        }
    }
}

#[tokio::test]
async fn an_event_that_is_not_known_is_an_error_and_the_next_one_is_served() {
    let streams = Streams::with(&["a"]).await;
    let toml = Streams::toml(&["a"], "");
    let mut function = function(&streams, &toml, TIMEOUT).await;
    let (answer, _) = function
        .invoke(&json!({"Records": [{"eventSource": "aws:s3"}]}))
        .await;
    assert!(answer.message().contains("none of Kinesis"), "{answer:?}");

    let mut windowed = event(1..3);
    windowed["isFinalInvokeForWindow"] = json!(false);
    windowed["window"] = json!({"start": "a", "end": "b"});
    let (answer, _) = function.invoke(&windowed).await;
    assert!(
        answer.message().contains("TumblingWindowInSeconds to 0"),
        "{answer:?}"
    );

    let (answer, _) = function.invoke(&event(1..3)).await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("a").await, ["1", "2"]);
}

#[tokio::test]
async fn an_output_that_is_the_source_of_the_event_is_refused() {
    let streams = Streams::with(&["input", "a"]).await;
    let toml = Streams::toml(&["a", "input"], "");
    let mut function = function(&streams, &toml, TIMEOUT).await;
    let (answer, _) = function.invoke(&event(1..3)).await;
    assert!(answer.message().contains("the output input"), "{answer:?}");
    assert!(answer.message().contains(SOURCE), "{answer:?}");
    assert_eq!(streams.data("a").await, [""; 0]);
}

#[tokio::test]
async fn an_event_of_another_source_than_the_configured_one_is_an_error() {
    let streams = Streams::with(&["a"]).await;
    let toml = Streams::toml(&["a"], "from = \"orders\"");
    let mut function = function(&streams, &toml, TIMEOUT).await;
    let (answer, _) = function.invoke(&event(1..3)).await;
    assert!(
        answer.message().contains("no fan-out has the source"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn filters_and_stateless_pumps_run() {
    let streams = Streams::with(&["some", "rows"]).await;
    let toml = r#"
[[output]]
stream = "some"
keys = "key-2"
[[pump]]
name = "doubles"
sql = '''CREATE OR REPLACE STREAM "OUT" (m INTEGER);
CREATE OR REPLACE PUMP "P" AS INSERT INTO "OUT" SELECT STREAM "n" * 2 FROM "SOURCE_SQL_STREAM_001"
WHERE "n" > 1;'''
columns = [{ name = "n", type = "INTEGER" }]
[[output]]
stream = "rows"
pump = "doubles"
"#;
    let mut function = function(&streams, toml, TIMEOUT).await;
    let records =
        (1..4).map(|n| of_data(n, &format!("key-{n}"), format!("{{\"n\":{n}}}").as_bytes()));
    let (answer, _) = function
        .invoke(&json!({"Records": records.collect::<Vec<Value>>()}))
        .await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("some").await, ["{\"n\":2}"]);
    assert_eq!(streams.data("rows").await, ["{\"M\":4}", "{\"M\":6}"]);
}

#[tokio::test]
async fn outputs_that_are_found_by_name_are_used_and_a_failed_listing_keeps_the_last() {
    let streams = Streams::with(&["app-a", "app-b", "other"]).await;
    let toml = "refresh-interval = \"1ms\"\n[[output]]\nstreams = \"app-*\"\n";
    let mut function = function(&streams, toml, TIMEOUT).await;
    assert_eq!(function.invoke(&event(1..3)).await.0.failures(), [""; 0]);

    streams.local.create_stream("app-c", 1).unwrap();
    assert_eq!(function.invoke(&event(3..5)).await.0.failures(), [""; 0]);
    let code = "AccessDeniedException".to_owned();
    let denied = Action::Error {
        code,
        message: String::new(),
        status: None,
    };
    streams
        .local
        .faults()
        .add(Rule::always(Operation::ListStreams, denied))
        .unwrap();
    assert_eq!(function.invoke(&event(5..7)).await.0.failures(), [""; 0]);

    assert_eq!(streams.data("app-a").await.len(), 6);
    assert_eq!(streams.data("app-c").await, ["3", "4", "5", "6"]);
    assert_eq!(streams.data("other").await, [""; 0]);
}

#[tokio::test]
async fn a_refused_record_blocks_without_a_dead_letter_and_passes_with_one() {
    let streams = Streams::with(&["a", "b"]).await;
    let large = vec![b'x'; 1_100_000];
    let records = json!({"Records": [record(1, "k"), of_data(2, "k", &large), record(3, "l")]});
    let mut without = function(&streams, &Streams::toml(&["a"], ""), TIMEOUT).await;
    assert_eq!(without.invoke(&records).await.0.failures(), ["2"]);
    assert_eq!(streams.data("a").await[0], "1");

    let toml = Streams::toml(&["b"], "dead-letter = \"stdout\"");
    let mut with = function(&streams, &toml, TIMEOUT).await;
    assert_eq!(with.invoke(&records).await.0.failures(), [""; 0]);
    assert_eq!(streams.data("b").await, ["1", "3"]);
}

#[tokio::test]
async fn messages_of_a_queue_fail_one_by_one() {
    let streams = Streams::with(&["a"]).await;
    let mut function = function(&streams, &Streams::toml(&["a"], ""), TIMEOUT).await;
    let message = |id: &str, body: String| {
        json!({
            "messageId": id, "receiptHandle": "h", "body": body,
            "attributes": {"SentTimestamp": "1545082649183"}, "messageAttributes": {},
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:0:queue"
        })
    };
    let large = "x".repeat(1_100_000);
    let event = json!({"Records": [
        message("a", "one".to_owned()), message("b", large), message("c", "three".to_owned())
    ]});
    let (answer, _) = function.invoke(&event).await;
    assert_eq!(answer.failures(), ["b"]);
    let sent: BTreeSet<String> = streams.data("a").await.into_iter().collect();
    assert_eq!(sent, ["one".to_owned(), "three".to_owned()].into());
}

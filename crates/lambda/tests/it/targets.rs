//! Outputs that a Targets table names, for which a small server answers as DynamoDB does. Strict: a
//! query of another form is an error.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::function::Function;
use crate::streams::{SOURCE, Streams, event, of_data, record};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A table of targets, in pages of two items.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<Standing>>);

#[derive(Default)]
struct Standing {
    items: Vec<Value>,
    fails: bool,
}

fn target(id: &str, kind: &str, destination: &str, more: &[(&str, Value)]) -> Value {
    let mut item = json!({
        "sourceArn": {"S": SOURCE}, "id": {"S": id}, "type": {"S": kind},
        "destination": {"S": destination}, "active": {"BOOL": true}
    });
    for (name, value) in more {
        item[*name] = value.clone();
    }
    item
}

impl Table {
    fn set(&self, items: &[Value]) {
        self.0.lock().unwrap().items = items.to_vec();
    }

    fn fail(&self) {
        self.0.lock().unwrap().fails = true;
    }

    /// The answer to a `Query`, with the status.
    fn query(&self, query: &Value) -> (u16, Value) {
        assert_eq!(query["TableName"], "fanoutTargets");
        assert_eq!(query["KeyConditionExpression"], "#source = :source");
        assert_eq!(query["ExpressionAttributeNames"]["#source"], "sourceArn");
        let source = &query["ExpressionAttributeValues"][":source"];
        let standing = self.0.lock().unwrap();
        if standing.fails {
            let error = "com.amazonaws.dynamodb.v20120810#AccessDeniedException";
            return (400, json!({"__type": error, "message": "no"}));
        }

        let mut items = standing
            .items
            .iter()
            .filter(|item| item["sourceArn"] == *source);
        if let Some(start) = query.get("ExclusiveStartKey") {
            items.by_ref().find(|item| item["id"] == start["id"]);
        }
        let page: Vec<&Value> = items.by_ref().take(2).collect();
        let mut answer = json!({ "Items": page, "Count": page.len() });
        if let (Some(_), Some(last)) = (items.next(), page.last()) {
            answer["LastEvaluatedKey"] = json!({"sourceArn": source, "id": last["id"]});
        }
        (200, answer)
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let table = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let table = table.clone();
                let service = service_fn(move |request| respond(request, table.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }
}

async fn respond(
    request: Request<Incoming>,
    table: Table,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    assert_eq!(request.headers()["x-amz-target"], "DynamoDB_20120810.Query");
    let body = request.into_body().collect().await?.to_bytes();
    let (status, answer) = table.query(&serde_json::from_slice(&body).unwrap());
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Full::from(answer.to_string()));
    Ok(response.unwrap())
}

/// A function without a configuration, as a user of the original has one.
async fn function(streams: &Streams, table: &Table) -> Function {
    let endpoint = streams.handle.endpoint();
    let dynamodb = format!("http://{}", table.serve().await);
    let variables = [
        ("AWS_ENDPOINT_URL_KINESIS", endpoint.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.as_str()),
        ("DISTRIBUTARY_REFRESH_INTERVAL", "1ms"),
    ];
    Function::start(&variables, TIMEOUT).await
}

#[tokio::test]
async fn the_table_of_the_function_names_the_outputs_over_all_pages() {
    let names = ["a", "b", "c", "d", "e"];
    let streams = Streams::with(&names).await;
    let table = Table::default();
    let items = names.map(|name| target(&format!("id-{name}"), "kinesis", name, &[]));
    table.set(&items);
    let mut function = function(&streams, &table).await;
    assert_eq!(function.invoke(&event(1..10)).await.0.failures(), [""; 0]);
    for name in names {
        assert_eq!(streams.data(name).await.len(), 9, "{name}");
    }
}

#[tokio::test]
async fn changes_of_the_table_count_and_a_failed_read_keeps_the_last() {
    let streams = Streams::with(&["a", "b"]).await;
    let table = Table::default();
    table.set(&[target("1", "kinesis", "a", &[])]);
    let mut function = function(&streams, &table).await;
    assert_eq!(function.invoke(&event(1..3)).await.0.failures(), [""; 0]);

    let off = [("active", json!({"BOOL": false}))];
    table.set(&[
        target("1", "kinesis", "a", &off),
        target("2", "kinesis", "b", &[]),
    ]);
    assert_eq!(function.invoke(&event(3..5)).await.0.failures(), [""; 0]);
    table.fail();
    assert_eq!(function.invoke(&event(5..7)).await.0.failures(), [""; 0]);
    assert_eq!(streams.data("a").await, ["1", "2"]);
    assert_eq!(streams.data("b").await, ["3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_table_that_cannot_be_read_at_first_is_an_error() {
    let streams = Streams::with(&["a"]).await;
    let table = Table::default();
    table.fail();
    let mut function = function(&streams, &table).await;
    let (answer, _) = function.invoke(&event(1..3)).await;
    assert!(
        answer.message().contains("the Targets table fanoutTargets"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_bad_item_holds_no_other_and_a_consumers_arn_is_the_streams() {
    let streams = Streams::with(&["with.dots"]).await;
    let table = Table::default();
    let no_kind = target("1", "nothing", "x", &[]);
    let map = [("note", json!({"M": {}})), ("role", json!({"NULL": true}))];
    table.set(&[no_kind, target("2", "kinesis", "with.dots", &map)]);
    let mut function = function(&streams, &table).await;
    let mut of_consumer = record(7, "k");
    of_consumer["eventSourceARN"] = json!(format!("{SOURCE}/consumer/c:1500000000"));
    let (answer, _) = function.invoke(&json!({"Records": [of_consumer]})).await;
    assert_eq!(answer.failures(), [""; 0]);
    assert_eq!(streams.data("with.dots").await, ["7"]);
}

#[tokio::test]
async fn changes_of_dynamodb_become_images_as_each_target_says() {
    let streams = Streams::with(&["typed", "plain"]).await;
    let table = Table::default();
    let source = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000";
    let of_table = ("sourceArn", json!({"S": source}));
    let plain = [of_table.clone(), ("convertDDB", json!({"BOOL": true}))];
    let lines = [of_table, ("appendNewlines", json!({"BOOL": true}))];
    table.set(&[
        target("1", "kinesis", "typed", &lines),
        target("2", "kinesis", "plain", &plain),
    ]);
    let mut function = function(&streams, &table).await;
    let change = json!({
        "eventID": "e", "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "eventSourceARN": source, "dynamodb": {
            "ApproximateCreationDateTime": 1, "Keys": {"id": {"S": "k"}}, "SequenceNumber": "111",
            "NewImage": {"n": {"N": "123456789012345678901234567890"}}
        }
    });
    let (answer, _) = function.invoke(&json!({"Records": [change]})).await;
    assert_eq!(answer.failures(), [""; 0]);
    let digits = "123456789012345678901234567890";
    assert_eq!(
        streams.data("typed").await,
        [format!("{{\"n\":{{\"N\":\"{digits}\"}}}}\n")]
    );
    assert_eq!(streams.data("plain").await, [format!("{{\"n\":{digits}}}")]);
}

#[tokio::test]
async fn a_seeming_aggregate_is_passed_on_whole() {
    let streams = Streams::with(&["apart"]).await;
    let table = Table::default();
    let apart = [("deaggregate", json!({"BOOL": true}))];
    table.set(&[target("1", "kinesis", "apart", &apart)]);
    let mut function = function(&streams, &table).await;
    let seeming = b"\xf3\x89\x9a\xc2 no aggregate, and no MD5 behind";
    let (answer, _) = function
        .invoke(&json!({"Records": [of_data(1, "k", seeming)]}))
        .await;
    assert_eq!(answer.failures(), [""; 0]);
    let records = streams.records("apart").await;
    assert_eq!(&records[0].data.0[..], seeming);
}

//! The server.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use distributary_local::faults::{Action, Rule};
use distributary_local::server::{
    Certificate, Handle, RequestLog, ServerOptions, StreamSpec, serve,
};
use distributary_local::{Local, RealEnv};
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;
use distributary_wire::transport::{RequestBody, Response, ResponseBody};
use distributary_wire::types::*;

use crate::client::{Client, arn, entry, shard_id, texts};
use crate::http::Http;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn real() -> Local {
    let local = Local::builder()
        .env(Arc::new(RealEnv::seeded(1)))
        .seed(1)
        .build();
    local.create_stream("s", 1).unwrap();
    local
}

async fn start(local: &Local, log: &Lines) -> (Handle, Client) {
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        request_log: RequestLog::to(log.clone()),
        ..ServerOptions::default()
    };

    let handle = serve(local.clone(), options).await.unwrap();
    let client = over(&handle, false, None);
    (handle, client)
}

fn over(handle: &Handle, http2: bool, pem: Option<String>) -> Client {
    let transport = Http {
        addr: handle.local_addr(),
        http2,
        pem,
    };

    Client {
        transport: Arc::new(transport),
        format: Format::Cbor,
        region: "us-east-1",
    }
}

async fn raw(client: &Client, request: http::request::Builder, body: &str) -> (u16, String) {
    let request = request
        .body(RequestBody::whole(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let response: Response = client
        .transport
        .call(request, Duration::from_secs(10))
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let ResponseBody::Full(body) = body else {
        panic!("a stream")
    };
    (
        head.status.as_u16(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn both_http_versions_and_formats_work_with_and_without_tls() {
    let local = real();
    let certificate = Certificate::generate(&[]).unwrap();
    let pem = certificate.pem().to_owned();
    let log = Lines::default();
    let (plain, _) = start(&local, &log).await;
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Some(certificate),
        ..ServerOptions::default()
    };

    let secure = serve(local.clone(), options).await.unwrap();
    assert!(secure.endpoint().starts_with("https://127.0.0.1:"));
    let mut due = Vec::new();
    for (handle, pem) in [(&plain, None), (&secure, Some(pem))] {
        for http2 in [false, true] {
            for format in Format::ALL {
                let client = Client {
                    format,
                    ..over(handle, http2, pem.clone())
                };
                let key = format!("{http2}{format:?}{}", pem.is_some());
                client.put("s", &[&key]).await;
                due.push(key);
                assert_eq!(client.all("s", &shard_id(0)).await, due);
            }
        }
    }

    plain.shutdown().await;
    secure.shutdown().await;
}

#[tokio::test]
async fn subscriptions_are_pushed_over_http_and_end_at_shutdown() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    let mut open = Vec::new();
    for http2 in [false, true] {
        let client = over(&handle, http2, None);
        let consumer = client
            .consumer(&arn("s"), if http2 { "two" } else { "one" })
            .await;
        let request = SubscribeToShardRequest {
            consumer_arn: Some(consumer),
            shard_id: Some(shard_id(0)),
            starting_position: Some(StartingPosition {
                kind: Some(ShardIteratorType::Latest),
                ..Default::default()
            }),
            ..Default::default()
        };

        let mut events = client.subscribe(request).await.unwrap();
        assert!(events.event().await.records.is_empty());
        open.push(events);
    }

    client.put("s", &["a"]).await;
    for events in &mut open {
        assert_eq!(texts(&events.event().await), ["a"]);
    }
    let stopping = tokio::spawn(handle.shutdown());
    for events in &mut open {
        assert!(events.next().await.is_none());
    }
    stopping.await.unwrap();
    assert!(client.call(ListStreamsRequest::default()).await.is_err());
}

#[tokio::test]
async fn a_body_of_ten_mebibytes_is_accepted_and_a_larger_body_refused() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    for client in [
        client.clone(),
        client.clone().json(),
        over(&handle, true, None),
    ] {
        let records = vec![entry("k", &vec![7; 1024 * 1024 - 1]); 10];
        let request = PutRecordsRequest {
            stream_name: Some("s".into()),
            records: Some(records),
            ..Default::default()
        };

        assert_eq!(
            client.call(request).await.unwrap().failed_record_count,
            Some(0)
        );
        let iterator = client
            .iterator("s", &shard_id(0), ShardIteratorType::TrimHorizon)
            .await;
        assert_eq!(client.get(&iterator).await.unwrap().records.len(), 10);
    }

    let request = http::Request::post("http://l/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", Operation::PutRecords.target())
        .header("content-length", (40 << 20).to_string());
    let request = request
        .body(RequestBody::whole(vec![b' '; 40 << 20]))
        .unwrap();
    // The answer may come while the client still sends the body, so either result is possible.
    if let Ok(response) = client
        .transport
        .call(request, Duration::from_secs(10))
        .await
    {
        assert_eq!(response.status().as_u16(), 413);
    }
    handle.shutdown().await;
}

#[tokio::test]
async fn other_requests_are_answered_as_on_aws() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    let post = || http::Request::post("http://l/");
    let json = || post().header("content-type", "application/x-amz-json-1.1");
    let target = |name: &str| json().header("x-amz-target", format!("Kinesis_20131202.{name}"));
    for (request, body, status, text) in [
        (
            http::Request::get("http://l/"),
            "",
            404,
            "<UnknownOperationException/>\n",
        ),
        (post(), "{}", 404, "<UnknownOperationException/>\n"),
        (
            http::Request::post("http://l/x").header("content-type", "application/x-amz-json-1.1"),
            "{}",
            404,
            "<UnknownOperationException/>\n",
        ),
        (
            json(),
            "{}",
            400,
            "{\"__type\":\"UnknownOperationException\"}",
        ),
        (
            target("CreateQueue"),
            "{}",
            400,
            "{\"__type\":\"UnknownOperationException\"}",
        ),
        (
            target("ListStreams"),
            "{",
            400,
            "{\"__type\":\"SerializationException\"}",
        ),
        (
            target("ListStreams"),
            "{\"Limit\":\"x\"}",
            400,
            "{\"__type\":\"SerializationException\",\"message\":\"class java.lang.String can not be converted to an Integer\"}",
        ),
        (
            target("DescribeStream"),
            "{\"StreamName\":\"x\"}",
            400,
            "{\"__type\":\"ResourceNotFoundException\",\"message\":\"Stream x under account 000000000000 not found.\"}",
        ),
        (target("ListStreams"), "", 200, "{\"StreamNames\":[\"s\"]"),
    ] {
        let (got, answer) = raw(&client, request, body).await;
        assert_eq!(got, status, "{answer}");
        assert!(answer.starts_with(text), "{answer} instead of {text}");
    }

    handle.shutdown().await;
}

#[tokio::test]
async fn faults_act_on_connections() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    let script = vec![
        Action::CutAnswer { after_bytes: 5 },
        Action::LoseReply { hang: false },
        Action::DropConnection,
        Action::Pass,
    ];

    local
        .faults()
        .add(Rule::script(Operation::PutRecords, script))
        .unwrap();
    for http2 in [false, true] {
        if http2 {
            let script = local.faults().list()[0].rule.clone();
            local.faults().clear();
            local.faults().add(script).unwrap();
        }

        let client = over(&handle, http2, None);
        for i in 0..4 {
            let request = PutRecordsRequest {
                stream_name: Some("s".into()),
                records: Some(vec![entry("k", i.to_string().as_bytes())]),
                ..Default::default()
            };
            let outcome = client
                .call(request)
                .await
                .map(|_| "ok")
                .map_err(|f| f.code().to_owned());
            let due = if i < 3 {
                Err("Broken".to_owned())
            } else {
                Ok("ok")
            };
            assert_eq!(outcome, due, "{http2} {i}");
        }
    }

    assert_eq!(
        client.all("s", &shard_id(0)).await,
        ["0", "1", "3", "0", "1", "3"]
    );
    handle.shutdown().await;
}

#[tokio::test]
async fn the_admin_paths_add_list_and_clear_rules() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    let post = |path: &str| http::Request::post(format!("http://localhost/_distributary/{path}"));
    let get = |path: &str| http::Request::get(format!("http://localhost/_distributary/{path}"));
    let delete =
        |path: &str| http::Request::delete(format!("http://localhost/_distributary/{path}"));
    let rule = r#"{"select":{"operations":["ListStreams"]},"action":{"error":{"code":"LimitExceededException"}}}"#;
    assert_eq!(
        raw(&client, post("faults"), rule).await,
        (200, "{\"id\":1}\n".into())
    );
    let failed = client
        .call(ListStreamsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(failed.code(), "LimitExceededException");
    let (status, listed) = raw(&client, get("faults"), "").await;
    assert!(
        status == 200 && listed.contains("\"applied\":1"),
        "{listed}"
    );
    assert_eq!(raw(&client, delete("faults/1"), "").await.0, 200);
    assert_eq!(raw(&client, delete("faults/1"), "").await.0, 404);
    client.call(ListStreamsRequest::default()).await.unwrap();
    let (status, why) = raw(&client, post("faults"), "{\"action\":\"explode\"}").await;
    assert!(
        status == 400 && why.contains("unknown variant `explode`"),
        "{why}"
    );
    assert_eq!(raw(&client, get("gates/g"), "").await.1, "{\"held\":0}\n");
    assert_eq!(
        raw(&client, post("gates/g"), "").await.1,
        "{\"released\":0}\n"
    );
    assert_eq!(
        raw(&client, post("subscriptions/end"), "").await.1,
        "{\"subscriptions\":0}\n"
    );
    assert_eq!(raw(&client, post("iterators/expire"), "").await.0, 200);
    assert_eq!(raw(&client, delete("faults"), "").await.0, 200);
    assert_eq!(
        raw(&client, get("health"), "").await,
        (200, "{\"status\":\"ok\"}\n".into())
    );
    assert_eq!(raw(&client, get("nothing"), "").await.0, 404);
    // A web page in a browser is refused.
    assert_eq!(
        raw(&client, get("health").header("origin", "http://evil"), "")
            .await
            .0,
        403
    );

    handle.shutdown().await;
}

#[tokio::test]
async fn each_request_is_logged_in_one_line() {
    let local = real();
    let log = Lines::default();
    let (handle, client) = start(&local, &log).await;
    client.put("s", &["a"]).await;
    let request = DescribeStreamRequest {
        stream_name: Some("no\"ne".into()),
        ..Default::default()
    };
    client.call(request).await.unwrap_err();
    handle.shutdown().await;
    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{text}");
    assert!(
        lines[0].contains("\"POST / HTTP/1.1\" 200 ") && lines[0].contains("\"PutRecords s -\""),
        "{text}"
    );
    assert!(
        lines[1].contains("400 ")
            && lines[1].contains("\"DescribeStream no?ne ValidationException\""),
        "{text}"
    );
}

#[test]
fn streams_are_given_as_name_and_shards() {
    let spec = |text: &str| text.parse::<StreamSpec>().map(|s| (s.name, s.shards)).ok();
    assert_eq!(spec("orders:4"), Some(("orders".into(), 4)));
    assert_eq!(spec("orders"), Some(("orders".into(), 1)));
    for bad in ["", ":1", "a:", "a:0", "a:x", "a b:1", "a:1:2"] {
        assert_eq!(spec(bad), None, "{bad}");
    }
}

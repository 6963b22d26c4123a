//! Outputs of the kind `http` against a strict stub of a server: every request is recorded, and the
//! answers are those of a script.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64_simd::STANDARD;
use distributary_adapters::kind::{Severity, Surroundings, find};
use distributary_adapters::outputs::{KINDS, OutputSettings};
use distributary_core::output::{Outcome, Output, Picks, TroubleKind, Verdict};
use distributary_core::testing::conformance::{self, OutputRig, Seen};
use distributary_core::testing::hash;
use tokio::io::AsyncBufReadExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::file::{batch, context};

/// A request as the stub got it.
#[derive(Clone, Debug)]
struct Got {
    head: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Decides about the answer to a request: a status line with headers, or no answer at all.
type Script = Box<dyn Fn(&Got) -> Option<String> + Send + Sync>;

struct Stub {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Stub {
    async fn start(script: impl Fn(&Got) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let (all, script): (_, Arc<Script>) = (Arc::clone(&got), Arc::new(Box::new(script)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), Arc::clone(&script)));
            }
        });
        Self { url, got }
    }

    async fn answering(status: &'static str) -> Self {
        Self::start(move |_| Some(status.to_owned())).await
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    async fn output(&self, keys: &str) -> Arc<dyn Output> {
        let settings = settings(&self.url, keys);
        assert_eq!(settings.validate(&Surroundings::default()), [""; 0]);
        settings.build(&context()).await.unwrap().output
    }
}

async fn serve(stream: TcpStream, got: Arc<Mutex<Vec<Got>>>, script: Arc<Script>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        got.lock().unwrap().push(request.clone());
        let Some(answer) = script(&request) else {
            return;
        };
        let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut head = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        match line.trim_end().split_once(": ") {
            _ if line == "\r\n" => break,
            Some((name, value)) => head.insert(name.to_lowercase(), value.to_owned()),
            None => head.insert("request".to_owned(), line.trim_end().to_owned()),
        };
    }
    let length = head
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Got { head, body })
}

fn settings(url: &str, keys: &str) -> OutputSettings {
    let mut table: toml::Table = keys.parse().unwrap();
    table.insert("url".to_owned(), url.into());
    find(KINDS, "http").unwrap().parse(table).unwrap()
}

async fn write(output: &dyn Output, data: &[&str]) -> Outcome {
    let batch = batch(data);
    let chunk = output.encode(&batch, Picks::Run(0..data.len()));
    output.write(&batch, &chunk, Duration::from_secs(5)).await
}

struct Rig {
    stub: Stub,
    output: Arc<dyn Output>,
}

#[async_trait]
impl OutputRig for Rig {
    fn output(&self) -> Arc<dyn Output> {
        Arc::clone(&self.output)
    }

    async fn received(&self) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        for request in self.stub.got() {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            for record in body["Records"].as_array().unwrap() {
                let record = &record["kinesis"];
                let data = STANDARD.decode_to_vec(record["data"].as_str().unwrap());
                seen.push(Seen {
                    key: record["partitionKey"].as_str().map(str::to_owned),
                    digest: hash(&data.unwrap()),
                });
            }
        }
        Ok(seen)
    }
}

#[tokio::test]
async fn a_server_gets_what_every_output_gets() {
    let stub = Stub::answering("204 No Content").await;
    let output = stub.output("body = \"array\"\nformat = \"record\"").await;
    let rig = Rig { stub, output };
    assert_eq!(conformance::output(&rig).await, Ok(()));
}

#[tokio::test]
async fn a_request_is_signed_and_named_by_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let stub = Stub::answering("200 OK").await;
    let keys = format!(
        "secret-file = {:?}\nheader = [\"x-team: a\", \"x-b: c\"]",
        secret
    );
    let output = stub.output(&keys).await;
    assert!(matches!(
        write(&*output, &["hello"]).await,
        Outcome::Durable
    ));

    let [request] = &stub.got()[..] else {
        panic!("{:?}", stub.got())
    };
    let head = |name: &str| request.head.get(name).map(String::as_str);
    assert_eq!(request.body, b"hello");
    assert_eq!(head("request"), Some("POST /hook HTTP/1.1"));
    assert_eq!(head("content-type"), Some("application/octet-stream"));
    assert_eq!(head("webhook-id"), Some("shardId-000000000002:100"));
    assert_eq!(head("idempotency-key"), head("webhook-id"));
    assert_eq!((head("x-team"), head("x-b")), (Some("a"), Some("c")));
    assert!(head("webhook-signature").unwrap().starts_with("v1,"));
    assert!(head("webhook-timestamp").unwrap().parse::<u64>().is_ok());
}

#[tokio::test]
async fn several_records_are_one_body() {
    for (keys, content_type, body) in [
        (
            "body = \"lines\"\nformat = \"json\"",
            "application/x-ndjson",
            "{\"a\": 1}\n[2]\n",
        ),
        (
            "body = \"array\"\nformat = \"json\"",
            "application/json",
            "[{\"a\": 1},[2]]",
        ),
        (
            "body = \"array\"\nformat = \"base64\"",
            "application/json",
            "[\"eyJhIjogMX0=\",\"WzJd\"]",
        ),
    ] {
        let stub = Stub::answering("200 OK").await;
        let output = stub.output(keys).await;
        assert!(matches!(
            write(&*output, &["{\"a\": 1}", "[2]"]).await,
            Outcome::Durable
        ));
        let got = stub.got();
        assert_eq!(String::from_utf8_lossy(&got[0].body), body);
        assert_eq!(got[0].head["content-type"], content_type);
        assert_eq!(got[0].head["webhook-id"], "shardId-000000000002:100-101");
    }
}

#[tokio::test]
async fn a_record_that_has_not_the_format_is_refused_and_the_others_are_sent() {
    let stub = Stub::answering("200 OK").await;
    let output = stub.output("body = \"lines\"\nformat = \"json\"").await;
    let Outcome::PerRecord(verdicts) = write(&*output, &["x", "1", "{", "2"]).await else {
        panic!("a verdict for each record")
    };
    let refused = verdicts
        .iter()
        .map(|verdict| matches!(verdict, Verdict::Refused(_)));
    assert_eq!(refused.collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(stub.got()[0].body, b"1\n2\n");

    // Nothing is left to send.
    assert!(matches!(
        write(&*output, &["x"]).await,
        Outcome::PerRecord(_)
    ));
    assert_eq!(stub.got().len(), 1);
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    use TroubleKind::{Denied, Invalid, Missing, Throttled, Unavailable};
    for (status, kind) in [
        ("429 Slow\r\nretry-after: 7", Throttled),
        ("503 Busy", Unavailable),
        ("408 Late", Unavailable),
        ("401 Who", Denied),
        ("403 No", Denied),
        ("404 None", Missing),
        ("410 Gone", Missing),
        ("301 Moved\r\nlocation: http://127.0.0.1:1/", Invalid),
    ] {
        let stub = Stub::answering(status).await;
        let output = stub.output("").await;
        match write(&*output, &["x"]).await {
            Outcome::Rejected(trouble) => {
                assert_eq!(trouble.kind, kind, "{status}");
                let wait = (kind == Throttled).then(|| Duration::from_secs(7));
                assert_eq!(trouble.retry_after, wait, "{status}");
            }
            other => panic!("{status}: {other:?}"),
        }
        assert_eq!(
            stub.got().len(),
            1,
            "redirects are not followed, nothing is sent twice"
        );
    }

    let stub = Stub::answering("500 Broken").await;
    let outcome = write(&*stub.output("").await, &["x"]).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    let stub = Stub::start(|_| None).await;
    let outcome = write(&*stub.output("").await, &["x"]).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_refusal_of_several_records_is_narrowed_to_the_one_that_caused_it() {
    let stub = Stub::start(|request| {
        let is_bad = request.body.windows(3).any(|part| part == b"bad");
        Some(if is_bad { "422 No" } else { "200 OK" }.to_owned())
    })
    .await;
    let output = stub.output("body = \"lines\"\nformat = \"json\"").await;
    let (full, all) = (output.encoding(), ["1", "\"bad\"", "3"]);
    assert!(matches!(write(&*output, &all).await, Outcome::Stale));
    assert_eq!(output.profile().request.entries, 1);
    assert_ne!(output.encoding(), full);

    for data in all {
        match write(&*output, &[data]).await {
            Outcome::Durable => assert_ne!(data, "\"bad\""),
            Outcome::PerRecord(verdicts) => {
                assert!(matches!(&verdicts[..], [Verdict::Refused(_)]));
                assert_eq!(data, "\"bad\"");
            }
            other => panic!("{data}: {other:?}"),
        }
    }
    assert_eq!(output.encoding(), full);
}

#[tokio::test]
async fn wrong_settings_and_a_server_that_is_not_there_are_told() {
    for (url, keys, message) in [
        ("ftp://a/b", "", "no http:// or https:// address"),
        ("https:///x", "", "no http:// or https:// address"),
        ("http://a", "header = \"x\"", "expected NAME: VALUE"),
        ("http://a", "body = \"lines\"", "do not go together"),
    ] {
        let problems = settings(url, keys).validate(&Surroundings::default());
        assert!(problems[0].contains(message), "{problems:?}");
    }

    let stub = Stub::answering("405 No").await;
    let findings = settings(&stub.url, "").check(&context()).await;
    assert_eq!(findings[0].severity, Severity::Fine, "{findings:?}");
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let findings = settings(&format!("http://{free}/"), "")
        .check(&context())
        .await;
    assert_eq!(findings[0].severity, Severity::Failure, "{findings:?}");

    let missing = format!("secret-file = {:?}", Path::new("/nonexistent/secret"));
    let built = settings("http://a", &missing).build(&context()).await;
    assert!(
        built
            .err()
            .unwrap()
            .to_string()
            .contains("cannot read the secret")
    );
}

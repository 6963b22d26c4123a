//! Clients that are silent, slow, or read nothing.

use std::sync::Arc;
use std::time::Duration;

use distributary_local::faults::{Action, Rule};
use distributary_local::server::{Handle, Limits, ServerOptions, serve};
use distributary_local::{Local, RealEnv};
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::http::Http;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(600);
const HEALTH: &str = "GET /_distributary/health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Limits that no test reaches by time.
fn patient() -> Limits {
    Limits {
        head: LONG,
        body: LONG,
        idle: LONG,
        write: LONG,
        ..Limits::default()
    }
}

async fn start(limits: Limits) -> (Local, Handle) {
    let local = Local::builder()
        .env(Arc::new(RealEnv::seeded(1)))
        .seed(1)
        .build();
    local.create_stream("s", 1).unwrap();
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        limits,
        ..ServerOptions::default()
    };
    let handle = serve(local.clone(), options).await.unwrap();
    (local, handle)
}

async fn connect(handle: &Handle, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(handle.local_addr()).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

/// Everything that the server sends until it closes the connection.
async fn until_closed(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends the connection, too.
    let _ = socket.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// The status line of an answer.
async fn status(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n") {
        text.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn client(handle: &Handle) -> Client {
    let transport = Http {
        addr: handle.local_addr(),
        http2: false,
        pem: None,
    };
    Client {
        transport: Arc::new(transport),
        format: Format::Cbor,
        region: "us-east-1",
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_happens_is_closed() {
    let quick = Limits {
        idle: SHORT,
        ..patient()
    };
    let (_local, handle) = start(quick).await;
    for text in [
        "",
        "POST / HT",
        "POST / HTTP/1.1\r\nHost: lo",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\nhalf",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut socket = connect(&handle, text).await;
        until_closed(&mut socket).await;
    }

    // Between two requests, too.
    let mut socket = connect(&handle, HEALTH).await;
    assert!(until_closed(&mut socket).await.contains("200 OK"));
    handle.shutdown().await;
}

#[tokio::test]
async fn heads_and_bodies_have_a_time_however_steadily_they_drip() {
    let quick = Limits {
        head: SHORT,
        body: SHORT,
        ..patient()
    };
    let (_local, handle) = start(quick).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\n";
    let body = format!("{head}Content-Length: 8000000\r\n\r\n");
    for (text, expected) in [(head, "408"), (&body, "408")] {
        let (mut reader, mut writer) = connect(&handle, text).await.into_split();
        let dripping = async { while writer.write_all(b"x").await.is_ok() {} };
        let mut answer = Vec::new();
        let closing = reader.read_to_end(&mut answer);
        tokio::select! {
            () = dripping => {}
            closed = closing => drop(closed),
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.contains(expected), "{answer}");
    }
    handle.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_closes_the_connection() {
    let quick = Limits {
        write: SHORT,
        ..patient()
    };
    let (_local, handle) = start(quick).await;
    let mut socket = connect(&handle, "").await;
    // More answers than the buffers of both sides hold.
    let mut sent = 0_u32;
    while socket.write_all(HEALTH.as_bytes()).await.is_ok() {
        sent += 1;
    }
    assert!(sent > 1);
    handle.shutdown().await;
}

#[tokio::test]
async fn a_new_connection_takes_the_place_of_the_stillest_one() {
    let few = Limits {
        connections: 8,
        ..patient()
    };
    let (local, handle) = start(few).await;
    let gate = Rule::always(
        Operation::PutRecords,
        Action::Hold {
            gate: "g".into(),
            after: false,
        },
    );
    local.faults().add(gate).unwrap();
    let held = tokio::spawn({
        let client = client(&handle);
        async move { client.put("s", &["kept"]).await }
    });
    while local.faults().held("g") == 0 {
        tokio::task::yield_now().await;
    }

    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(connect(&handle, "POST / HTTP/1.1\r\n").await);
        let mut health = connect(&handle, HEALTH).await;
        assert!(status(&mut health).await.contains("200 OK"));
    }
    for socket in &mut silent[..30] {
        assert_eq!(until_closed(socket).await, "");
    }

    // The one request in service kept its place.
    local.faults().release("g");
    held.await.unwrap();
    handle.shutdown().await;
}

#[tokio::test]
async fn bodies_have_a_budget_and_leave_the_health_path_alone() {
    let small = Limits {
        body: SHORT * 4,
        body_bytes: 64 * 1024,
        ..patient()
    };
    let (_local, handle) = start(small).await;
    let half = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n{}",
        "x".repeat(60_000)
    );
    let mut first = connect(&handle, &half).await;
    let mut second = connect(&handle, &half).await;

    let answers = [
        until_closed(&mut first).await,
        until_closed(&mut second).await,
    ];
    assert!(
        answers.iter().any(|text| text.contains("503")),
        "{answers:?}"
    );
    assert!(
        answers.iter().any(|text| text.contains("408")),
        "{answers:?}"
    );
    let mut health = connect(&handle, HEALTH).await;
    assert!(status(&mut health).await.contains("200 OK"));

    // The room is given back.
    client(&handle).put("s", &["after"]).await;
    handle.shutdown().await;
}

#[tokio::test]
async fn a_web_page_does_not_reach_the_faults() {
    let (local, handle) = start(patient()).await;
    for header in [
        "Host: evil.example",
        "Host: localhost\r\nOrigin: http://evil.example",
        "Host: localhost\r\nSec-Fetch-Site: cross-site",
    ] {
        let request = format!("DELETE /_distributary/faults HTTP/1.1\r\n{header}\r\n\r\n");
        let mut socket = connect(&handle, &request).await;
        assert!(status(&mut socket).await.contains("403"), "{header}");
    }
    local.faults().clear();
    handle.shutdown().await;
}

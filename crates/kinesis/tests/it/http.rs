//! The HTTP transport against small servers that answer, break, cut, stall and forward.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request as HttpRequest, Uri};
use bytes::Bytes;
use distributary_core::clock::Clock;
use distributary_core::output::{Outcome, Output, Picks};
use distributary_core::record::DataForm;
use distributary_kinesis::client::Client;
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_kinesis::transport::{HttpTransport, RequestClass, TransportSettings};
use distributary_kinesis::write_slots::WriteSlots;
use distributary_wire::codec::Format;
use distributary_wire::transport::{
    Request, RequestBody, Response, ResponseBody, Transport, TransportError,
};
use distributary_wire::types::ListStreamsRequest;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::output::{batch, rec, write};

const DEADLINE: Duration = Duration::from_secs(10);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A request as a server read it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    body: Vec<u8>,
}

/// The reaction of a server to a request.
pub(crate) enum Act {
    /// Answers these bytes and keeps the connection.
    Reply(Vec<u8>),
    /// Answers these bytes and closes.
    Last(Vec<u8>),
    /// Never answers, and keeps the connection.
    Stall,
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers each request as `act` says, given how many there were before.
    pub(crate) async fn start(
        tls: Option<TlsAcceptor>,
        act: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            closed: Arc::default(),
            seen: Arc::default(),
        };
        let (this, act) = (server.clone(), Arc::new(act));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                let (this, act, tls) = (this.clone(), Arc::clone(&act), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(io) = tls.accept(tcp).await {
                                this.serve(io, &*act).await;
                            }
                        }
                        None => this.serve(tcp, &*act).await,
                    }
                    this.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    async fn serve(&self, mut io: impl Io, act: &(impl Fn(usize, &Seen) -> Act + ?Sized)) {
        while let Some(seen) = read_request(&mut io).await {
            let before = {
                let mut all = self.seen.lock().unwrap();
                all.push(seen.clone());
                all.len() - 1
            };
            match act(before, &seen) {
                Act::Reply(bytes) => {
                    if io.write_all(&bytes).await.is_err() || io.flush().await.is_err() {
                        return;
                    }
                }
                Act::Last(bytes) => {
                    let _ = io.write_all(&bytes).await;
                    let _ = io.shutdown().await;
                    return;
                }
                Act::Stall => std::future::pending().await,
            }
        }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/", self.address.port())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn read_request(io: &mut impl Io) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(|n| n.trim().to_owned())
        })
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    io.read_exact(&mut body).await.ok()?;
    Some(Seen { head, body })
}

fn request(uri: &str, body: RequestBody) -> Request {
    HttpRequest::post(uri.parse::<Uri>().unwrap())
        .body(body)
        .unwrap()
}

fn ping(uri: &str) -> Request {
    request(uri, RequestBody::whole("ping"))
}

fn full(response: Response) -> Bytes {
    match response.into_body() {
        ResponseBody::Full(body) => body,
        ResponseBody::Stream(_) => panic!("a stream"),
    }
}

/// A server with a certificate for localhost, and a file with that certificate.
pub(crate) fn tls() -> (TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

fn transport(ca: Option<&std::path::Path>, proxy: Option<&str>) -> HttpTransport {
    let settings = TransportSettings::default();
    let (_, any) = tls();
    HttpTransport::with_ca_bundle(
        Clock::real(),
        settings,
        ca.unwrap_or_else(|| any.path()),
        proxy,
    )
    .unwrap()
}

#[tokio::test]
async fn large_bodies_over_tls_and_one_connection() {
    let (acceptor, ca) = tls();
    let server = Server::start(Some(acceptor), |_, seen| Act::Reply(ok(&seen.body))).await;
    let transport = transport(Some(ca.path()), None);
    let shared: Bytes = (0..3_000_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
    for _ in 0..3 {
        let body = RequestBody {
            shared: shared.clone(),
            tail: Bytes::from_static(b"tail"),
        };
        let expected = body.to_bytes();
        let answer = transport
            .call(request(&server.url("https"), body), DEADLINE)
            .await
            .unwrap();
        assert_eq!(full(answer), expected);
    }
    assert_eq!(server.connections(), 1);
    let head = &server.seen()[0].head;
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: localhost:{}\r\n", server.address.port())),
        "{head}"
    );
    assert!(head.contains("content-length: 3000004\r\n"), "{head}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted() {
    let (acceptor, _) = tls();
    let server = Server::start(Some(acceptor), |_, _| Act::Reply(ok(b""))).await;
    let error = transport(None, None)
        .call(ping(&server.url("https")), DEADLINE)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_bundle_without_certificates() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let make = |path| {
        HttpTransport::with_ca_bundle(Clock::real(), TransportSettings::default(), path, None)
    };
    let error = make(file.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has no certificate; correct AWS_CA_BUNDLE"),
        "{error}"
    );
    let error = make(std::path::Path::new("/nowhere")).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere cannot be read"),
        "{error}"
    );
}

#[tokio::test]
async fn no_server_listens() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let transport = transport(None, None);
    let error = transport
        .call(ping(&format!("http://{free}/")), DEADLINE)
        .await
        .unwrap_err();
    assert!(error.not_sent(), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect to {free}"));
    let error = transport
        .call(ping("ftp://localhost/"), DEADLINE)
        .await
        .unwrap_err();
    assert!(error.not_sent(), "{error:?}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    // Closes after each answer, without an announcement.
    let server = Server::start(None, |_, _| Act::Last(ok(b"pong"))).await;
    let transport = transport(None, None);
    for n in 1..=5 {
        let answer = transport
            .call(ping(&server.url("http")), DEADLINE)
            .await
            .unwrap();
        assert_eq!(
            (full(answer), server.connections()),
            (Bytes::from_static(b"pong"), n)
        );
        // A request in the very moment of closing may break. The end of the connection is on its
        // way when the server is done; this task sleeps until the runtime has polled for events,
        // twice.
        while server.closed.load(Ordering::SeqCst) < n {
            tokio::task::yield_now().await;
        }
        Clock::real().sleep(Duration::from_millis(5)).await;
        Clock::real().sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn idle_connections_are_not_kept_for_ever() {
    let server = Server::start(None, |_, _| Act::Reply(ok(b""))).await;
    let settings = TransportSettings {
        idle_for: Duration::ZERO,
        ..TransportSettings::default()
    };
    let (_, ca) = tls();
    let transport =
        HttpTransport::with_ca_bundle(Clock::real(), settings, ca.path(), None).unwrap();
    for _ in 0..3 {
        transport
            .call(ping(&server.url("http")), DEADLINE)
            .await
            .unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn no_answer_and_half_an_answer_are_broken() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nlarger than anything",
    ] {
        let server = Server::start(None, move |_, _| Act::Last(answer.to_vec())).await;
        let error = transport(None, None)
            .call(ping(&server.url("http")), DEADLINE)
            .await
            .unwrap_err();
        assert!(
            matches!(error, TransportError::Broken { .. }),
            "{answer:?}: {error:?}"
        );
        // The server may have acted on the request, so it was sent once.
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn answers_without_a_length() {
    let server = Server::start(None, |_, seen| {
        if seen.head.contains("chunked-please") {
            let text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n7\r\n-second\r\n0\r\n\r\n";
            Act::Reply(text.to_vec())
        } else {
            Act::Last(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end".to_vec())
        }
    })
    .await;
    let transport = transport(None, None);
    let chunked = transport
        .call(
            ping(&format!("{}chunked-please", server.url("http"))),
            DEADLINE,
        )
        .await;
    assert_eq!(full(chunked.unwrap()), "first-second");
    let rest = transport.call(ping(&server.url("http")), DEADLINE).await;
    assert_eq!(full(rest.unwrap()), "to the end");
}

#[tokio::test]
async fn a_deadline_that_passes() {
    let server = Server::start(None, |before, _| {
        if before == 0 {
            Act::Stall
        } else {
            Act::Reply(ok(b"pong"))
        }
    })
    .await;
    let transport = transport(None, None);
    let after = Duration::from_millis(100);
    let error = transport
        .call(ping(&server.url("http")), after)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransportError::Timeout { after: a } if a == after),
        "{error:?}"
    );
    // An answer that comes too late must not be taken for the next one's.
    let answer = transport
        .call(ping(&server.url("http")), DEADLINE)
        .await
        .unwrap();
    assert_eq!(
        (full(answer), server.connections()),
        (Bytes::from_static(b"pong"), 2)
    );
}

#[tokio::test]
async fn a_deadline_that_passes_before_anything_is_sent() {
    // Accepts, and never answers the handshake.
    let server = Server::start(None, |_, _| Act::Stall).await;
    let transport = transport(None, None);
    let error = transport
        .call(ping(&server.url("https")), Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(error.not_sent(), "{error:?}");
}

#[tokio::test]
async fn event_streams_come_in_chunks() {
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\
        \r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    let server = Server::start(None, move |_, _| Act::Reply(answer.to_vec())).await;
    let response = transport(None, None)
        .call(ping(&server.url("http")), DEADLINE)
        .await
        .unwrap();
    let ResponseBody::Stream(mut stream) = response.into_body() else {
        panic!("not a stream")
    };
    let mut all = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        all.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(all, b"onetwo");
}

#[tokio::test]
async fn plain_requests_through_a_proxy_name_their_server() {
    let proxy = Server::start(None, |_, _| Act::Reply(ok(b"forwarded"))).await;
    let url = format!("http://user:secret@{}", proxy.address);
    let transport = transport(None, Some(&url));
    let answer = transport
        .call(ping("http://kinesis.example:4567/"), DEADLINE)
        .await
        .unwrap();
    assert_eq!(full(answer), "forwarded");
    let head = &proxy.seen()[0].head;
    assert!(
        head.starts_with("POST http://kinesis.example:4567/ HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_of_the_proxy() {
    let (acceptor, ca) = tls();
    let server = Server::start(Some(acceptor), |_, _| Act::Reply(ok(b"secret"))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let target = server.address;
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let seen = read_request(&mut client).await.unwrap();
        *heard.lock().unwrap() = seen.head;
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        let mut upstream = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    });
    let transport = transport(
        Some(ca.path()),
        Some(&format!("http://user:secret@{proxy}")),
    );
    for _ in 0..2 {
        let answer = transport
            .call(ping(&server.url("https")), DEADLINE)
            .await
            .unwrap();
        assert_eq!(full(answer), "secret");
    }
    let head = asked.lock().unwrap().clone();
    assert!(
        head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", target.port())),
        "{head}"
    );
    assert!(
        head.to_lowercase().contains("proxy-authorization: basic"),
        "{head}"
    );
    assert!(server.seen()[0].head.starts_with("POST / HTTP/1.1\r\n"));
}

/// Four outputs of a server that never answers ask for far more connections than there are. A fifth
/// output, whose server answers, has its part all the same.
#[tokio::test]
async fn outputs_without_an_answer_leave_the_others_their_connections() {
    const SLOTS: usize = 20;
    const STALLED: usize = 4;
    const DURABLE: &str = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}"#;
    let server = Server::start(None, |_, seen| {
        match String::from_utf8_lossy(&seen.body).contains("stalled") {
            true => Act::Stall,
            false => Act::Reply(ok(DURABLE.as_bytes())),
        }
    })
    .await;
    let (_, ca) = tls();
    let settings = TransportSettings {
        writes: SLOTS,
        ..Default::default()
    };
    let transport =
        HttpTransport::with_ca_bundle(Clock::real(), settings, ca.path(), None).unwrap();
    let client = Client::builder(Arc::new(transport))
        .format(Format::Json)
        .write_slots(WriteSlots::new(SLOTS));
    let client = client.endpoint(server.url("http")).build().unwrap();
    let output = |stream: String| {
        Arc::new(KinesisOutput::new(
            client.clone(),
            stream.parse().unwrap(),
            OutputOptions::default(),
        ))
    };
    let batch = Arc::new(batch(DataForm::Raw, &[rec("key", b"data")]));
    let healthy = output("healthy".to_owned());
    let stalled: Vec<_> = (0..STALLED)
        .map(|i| output(format!("stalled-{i}")))
        .collect();
    let mut waiting = tokio::task::JoinSet::new();
    for output in &stalled {
        for _ in 0..SLOTS {
            let (output, batch) = (Arc::clone(output), Arc::clone(&batch));
            waiting.spawn(async move {
                output
                    .write(
                        &batch,
                        &output.encode(&batch, Picks::Run(0..1)),
                        10 * DEADLINE,
                    )
                    .await
            });
        }
    }
    // All slots of the stalled outputs are in use.
    while server.seen().len() < STALLED * SLOTS / (STALLED + 1) {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        let outcome = write(&healthy, &batch).await;
        assert!(matches!(outcome, Outcome::Durable), "{outcome:?}");
    }
    assert_eq!(server.seen().len(), STALLED * SLOTS / (STALLED + 1) + 100);
}

/// A write without an answer takes the only connection for writes; reads and other requests have
/// connections of their own.
#[tokio::test]
async fn each_class_of_requests_has_its_own_connections() {
    let server = Server::start(None, |_, seen| match seen.body.as_slice() {
        b"write" => Act::Stall,
        _ => Act::Reply(ok(b"pong")),
    })
    .await;
    let (_, ca) = tls();
    let settings = TransportSettings {
        reads: 1,
        writes: 1,
        controls: 1,
        ..Default::default()
    };
    let transport =
        HttpTransport::with_ca_bundle(Clock::real(), settings, ca.path(), None).unwrap();
    let transport = Arc::new(transport);
    let of_class = |class: Option<RequestClass>, body: &'static str| {
        let mut request = request(&server.url("http"), RequestBody::whole(body));
        if let Some(class) = class {
            request.extensions_mut().insert(class);
        }
        let transport = Arc::clone(&transport);
        async move { transport.call(request, DEADLINE).await }
    };

    let stalled = tokio::spawn(of_class(Some(RequestClass::Write), "write"));
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    for class in [
        Some(RequestClass::Read),
        Some(RequestClass::Control),
        None,
        Some(RequestClass::Read),
    ] {
        let answer = of_class(class, "ping").await.unwrap();
        assert_eq!(full(answer), "pong", "{class:?}");
    }
    assert_eq!(server.connections(), 3, "one of each class, kept");

    // A second write waits for the first, and is not sent within its deadline.
    let mut second = request(&server.url("http"), RequestBody::whole("write"));
    second.extensions_mut().insert(RequestClass::Write);
    let error = transport
        .call(second, Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(error.not_sent(), "{error:?}");
    stalled.abort();
}

/// The text that a user reads when `transport` gets no answer from `endpoint`.
async fn complaint(transport: HttpTransport, endpoint: &str) -> String {
    let builder = Client::builder(Arc::new(transport)).endpoint(endpoint);
    let client = builder.build().unwrap();
    let called = client.call(&ListStreamsRequest::default()).await;
    called.unwrap_err().to_string()
}

#[tokio::test]
async fn the_reason_for_a_missing_connection_is_named_with_its_remedy() {
    let (acceptor, _) = tls();
    let secure = Server::start(Some(acceptor), |_, _| Act::Reply(ok(b""))).await;
    let text = complaint(transport(None, None), &secure.url("https")).await;
    let expected = "the certificate of localhost is refused: no trusted authority has signed it; \
                    name the authority's file in AWS_CA_BUNDLE";
    assert!(text.contains(expected), "{text}");

    // A server without TLS answers the first bytes of a handshake at once.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = plain.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let endpoint = format!("https://localhost:{port}/");
    let text = complaint(transport(None, None), &endpoint).await;
    assert!(text.contains("answers without TLS; give http://"), "{text}");

    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let proxy = Server::start(None, |_, _| Act::Last(refusal.to_vec())).await;
    let through = format!("http://{}", proxy.address);
    for endpoint in ["https://kinesis.example/", "http://kinesis.example/"] {
        let text = complaint(transport(None, Some(&through)), endpoint).await;
        assert!(
            text.contains("wants a user name and a password (407)"),
            "{text}"
        );
    }

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let text = complaint(transport(None, Some(&nobody)), "http://kinesis.example/").await;
    assert!(
        text.contains("is not reached; correct HTTPS_PROXY"),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
    let text = complaint(transport(None, None), &nobody).await;
    assert!(
        text.contains("nothing answers at") && text.contains("refused"),
        "{text}"
    );

    let text = complaint(transport(None, None), "http://no-such-host.invalid/").await;
    assert!(
        text.contains("the name no-such-host.invalid cannot be looked up"),
        "{text}"
    );
}

#[tokio::test]
async fn each_operation_has_its_largest_answer() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 62914560\r\n\r\n".to_vec();
    let server = Server::start(None, move |_, _| Act::Reply(announced.clone())).await;
    let text = complaint(transport(None, None), &server.url("http")).await;
    assert!(text.contains("more than 1048576 bytes"), "{text}");
}

#[tokio::test]
async fn answers_that_are_not_small_share_their_room() {
    let server = Server::start(None, |_, _| Act::Reply(ok(&[7; 600_000]))).await;
    let (_, ca) = tls();
    let settings = TransportSettings {
        answers: 1_000_000,
        ..Default::default()
    };
    let transport =
        HttpTransport::with_ca_bundle(Clock::real(), settings, ca.path(), None).unwrap();
    let transport = Arc::new(transport);
    let call = |class: RequestClass| {
        let mut request = ping(&server.url("http"));
        request.extensions_mut().insert(class);
        let transport = Arc::clone(&transport);
        async move { full(transport.call(request, DEADLINE).await.unwrap()) }
    };

    let first = call(RequestClass::Write).await;
    let mut second = tokio::spawn(call(RequestClass::Control));
    // Memory for reads is the engine's.
    assert_eq!(call(RequestClass::Read).await, first);
    while server.seen().len() < 3 {
        tokio::task::yield_now().await;
    }
    let waited = Clock::real()
        .timeout(Duration::from_millis(50), &mut second)
        .await;
    assert!(waited.is_none(), "the second answer waits for the first");
    let expected = first.to_vec();
    drop(first);
    assert_eq!(second.await.unwrap(), expected);
}

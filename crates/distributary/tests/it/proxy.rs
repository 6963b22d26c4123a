//! A proxy between the program and the embedded Kinesis that misbehaves as networks and load balancers do, request by
//! request, as a plan says. Entries of a `PutRecords` that fail one by one are the embedded server's own misbehaviour
//! (`Local::faults`): this one never looks into a body.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::served::{PATIENCE, Served};

/// What is done to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// It is forwarded later; never, if the client goes away before.
    Delay(Duration),
    /// The connection is reset; nothing was forwarded.
    ResetBefore,
    /// The connection is closed in good order without an answer; nothing was forwarded.
    CloseBefore,
    /// The server has carried it out and answered; the connection is reset instead of the answer.
    ResetAfter,
    /// Half of the answer's body, then the end of the connection.
    Cut,
    /// A web page of this status, as load balancers have them; nothing was forwarded.
    Page(u16),
    /// An error of this status and code in AWS's form; nothing was forwarded.
    Error(u16, &'static str),
    /// The answer's body comes so many bytes at a time, each after a pause.
    Drip(usize, Duration),
    /// Never answered, nor forwarded.
    HangBefore,
    /// Carried out, and never answered.
    HangAfter,
}

impl Fault {
    /// What it is counted as.
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Delay(_) => "delay",
            Self::ResetBefore => "reset before",
            Self::CloseBefore => "close before",
            Self::ResetAfter => "reset after",
            Self::Cut => "cut",
            Self::Page(_) => "page",
            Self::Error(_, code) => code,
            Self::Drip(..) => "drip",
            Self::HangBefore => "hang before",
            Self::HangAfter => "hang after",
        }
    }
}

/// A request, for a plan to decide by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// Such as `PutRecords`.
    pub(crate) operation: &'a str,
    /// How many of its operation came before it.
    pub(crate) nth: u64,
    body: &'a [u8],
}

impl Call<'_> {
    /// True if it is a write to this stream: its name or ARN stands behind the records.
    pub(crate) fn writes_to(&self, stream: &str) -> bool {
        /// An ARN, and what stands around it.
        const TAIL: usize = 256;
        let tail = &self.body[self.body.len().saturating_sub(TAIL)..];
        self.operation == "PutRecords" && tail.windows(stream.len()).any(|w| w == stream.as_bytes())
    }
}

/// Decides what is done to each request, in the order in which they come.
type Plan = Box<dyn FnMut(&Call<'_>) -> Fault + Send>;

/// The proxy; ends when it is dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    open: watch::Sender<bool>,
    /// False once nothing is listened to and no connection is left; closed if listening broke.
    listening: watch::Receiver<bool>,
    runtime: tokio::runtime::Runtime,
}

struct Shared {
    server: SocketAddr,
    plan: Mutex<Plan>,
    calls: Mutex<BTreeMap<String, u64>>,
    done: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Proxy {
    /// In front of `served`; passes everything on as long as there is no plan.
    pub(crate) fn new(served: &Served) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            server: served.address(),
            plan: Mutex::new(Box::new(|_| Fault::Pass)),
            calls: Mutex::default(),
            done: Mutex::default(),
        });
        let listener =
            runtime.block_on(async { bound(([127, 0, 0, 1], 0).into()).listen(BACKLOG).unwrap() });
        let address = listener.local_addr().unwrap();
        let (open, opened) = watch::channel(true);
        let (listens, listening) = watch::channel(true);
        runtime.spawn(listen(Arc::clone(&shared), listener, opened, listens));
        Self {
            shared,
            address,
            open,
            listening,
            runtime,
        }
    }

    /// The command with this proxy as its endpoint.
    pub(crate) fn before(&self, mut command: Command) -> Command {
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.address));
        command
    }

    /// From now on this is done to requests.
    pub(crate) fn plan(&self, plan: impl FnMut(&Call<'_>) -> Fault + Send + 'static) {
        *self.shared.plan.lock().unwrap() = Box::new(plan);
    }

    /// Nothing is done to requests any more.
    pub(crate) fn heal(&self) {
        self.plan(|_| Fault::Pass);
    }

    /// Breaks all connections, and refuses new ones until [`Proxy::accept`].
    pub(crate) fn refuse(&self) {
        self.switch(false);
    }

    /// Takes connections again.
    pub(crate) fn accept(&self) {
        self.switch(true);
    }

    fn switch(&self, on: bool) {
        self.open.send_replace(on);
        let mut listening = self.listening.clone();
        self.runtime
            .block_on(listening.wait_for(|is| *is == on))
            .unwrap();
    }

    /// How often this was done to requests of this operation.
    pub(crate) fn done(&self, operation: &str, fault: Fault) -> u64 {
        let done = self.shared.done.lock().unwrap();
        done.get(&(operation.to_owned(), fault.name()))
            .copied()
            .unwrap_or_default()
    }

    /// All that was done to requests of this operation, and how often.
    pub(crate) fn counts(&self, operation: &str) -> BTreeMap<&'static str, u64> {
        let done = self.shared.done.lock().unwrap();
        done.iter()
            .filter(|((of, _), _)| of == operation)
            .map(|((_, fault), n)| (*fault, *n))
            .collect()
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// A socket at this address that does not listen yet; beside one that does, if that one was made here too.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Accepts connections while `open` is true.
async fn listen(
    shared: Arc<Shared>,
    mut listener: TcpListener,
    mut open: watch::Receiver<bool>,
    listens: watch::Sender<bool>,
) {
    let address = listener.local_addr().unwrap();
    loop {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                // What was closed accepts no more, even if somebody waits.
                biased;
                closed = open.wait_for(|open| !open) => match closed {
                    Ok(_) => break,
                    Err(_) => return,
                },
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => {
                    let (client, _) = accepted.unwrap();
                    connections.spawn(converse(Arc::clone(&shared), client));
                }
            }
        }
        // Bound and not listening: connections are refused, and nobody else gets the port meanwhile.
        let socket = bound(address);
        drop(listener);
        connections.shutdown().await;
        listens.send_replace(false);
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        listener = socket.listen(BACKLOG).unwrap();
        listens.send_replace(true);
    }
}

/// A request or an answer: its head, blank line included, and its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// The next one; `None` if the peer has closed or broken the connection.
    async fn read(from: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if from.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        };
        let mut body = head.split_off(end);
        let message = Self {
            head,
            body: Vec::new(),
        };
        let length = message
            .header("content-length")
            .map_or(0, |v| v.parse().unwrap());
        while body.len() < length {
            if from.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        // Neither the program nor the server sends the next one before it has the answer.
        assert_eq!(body.len(), length, "more than one message at once");
        Some(Self { body, ..message })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).unwrap();
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    async fn write(&self, to: &mut TcpStream) -> io::Result<()> {
        to.write_all(&self.head).await?;
        to.write_all(&self.body).await
    }
}

/// One client's connection, and one to the server for it.
async fn converse(shared: Arc<Shared>, mut client: TcpStream) {
    client.set_nodelay(true).unwrap();
    let mut server = None;
    while let Some(request) = Message::read(&mut client).await {
        let operation = request
            .header("x-amz-target")
            .and_then(|t| t.split_once('.'))
            .map_or("", |t| t.1);
        let fault = shared.decide(operation, &request.body);
        let on = shared
            .carry_out(fault, &mut client, &mut server, &request)
            .await;
        *shared
            .done
            .lock()
            .unwrap()
            .entry((operation.to_owned(), fault.name()))
            .or_default() += 1;
        if !on {
            return;
        }
    }
}

impl Shared {
    fn decide(&self, operation: &str, body: &[u8]) -> Fault {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            let calls = calls.entry(operation.to_owned()).or_default();
            *calls += 1;
            *calls - 1
        };
        (self.plan.lock().unwrap())(&Call {
            operation,
            nth,
            body,
        })
    }

    /// `false` if the connection is over.
    async fn carry_out(
        &self,
        fault: Fault,
        client: &mut TcpStream,
        server: &mut Option<TcpStream>,
        request: &Message,
    ) -> bool {
        match fault {
            Fault::ResetBefore => reset(client),
            Fault::CloseBefore => false,
            Fault::Page(status) => client.write_all(&page(status)).await.is_ok(),
            Fault::Error(status, code) => client.write_all(&error(status, code)).await.is_ok(),
            Fault::HangBefore => {
                gone(client).await;
                false
            }
            Fault::Delay(wait) => {
                tokio::select! {
                    // What nobody waits for any more must not be written late.
                    biased;
                    () = gone(client) => return false,
                    () = pause(wait) => {}
                }
                self.forward(Fault::Pass, client, server, request).await
            }
            Fault::Pass | Fault::ResetAfter | Fault::Cut | Fault::Drip(..) | Fault::HangAfter => {
                self.forward(fault, client, server, request).await
            }
        }
    }

    /// Lets the server carry it out, and does what `fault` says to the answer.
    async fn forward(
        &self,
        fault: Fault,
        client: &mut TcpStream,
        server: &mut Option<TcpStream>,
        request: &Message,
    ) -> bool {
        let mut upstream = match server.take() {
            Some(upstream) => upstream,
            None => match TcpStream::connect(self.server).await {
                Ok(upstream) => upstream,
                Err(_) => return reset(client),
            },
        };
        if request.write(&mut upstream).await.is_err() {
            return reset(client);
        }
        // The server itself may be told to break connections: then so does this.
        let Some(answer) = Message::read(&mut upstream).await else {
            return reset(client);
        };
        *server = Some(upstream);
        match fault {
            Fault::ResetAfter => reset(client),
            Fault::HangAfter => {
                gone(client).await;
                false
            }
            Fault::Cut => {
                let half = answer.body.len() / 2;
                let cut = Message {
                    head: answer.head,
                    body: answer.body[..half].to_vec(),
                };
                // A client that has gone away is as well.
                let _ = cut.write(client).await;
                false
            }
            Fault::Drip(bytes, every) => drip(client, &answer, bytes, every).await.is_ok(),
            _ => answer.write(client).await.is_ok(),
        }
    }
}

/// Breaks a connection at once: a reset, not an end.
fn reset(client: &TcpStream) -> bool {
    client.set_zero_linger().unwrap();
    false
}

/// Completes when the client has closed its connection.
async fn gone(client: &TcpStream) {
    let mut byte = [0];
    let sent = matches!(client.peek(&mut byte).await, Ok(1..));
    assert!(
        !sent,
        "a client sent its next request before it had an answer"
    );
}

async fn drip(
    client: &mut TcpStream,
    answer: &Message,
    bytes: usize,
    every: Duration,
) -> io::Result<()> {
    client.write_all(&answer.head).await?;
    for piece in answer.body.chunks(bytes) {
        pause(every).await;
        client.write_all(piece).await?;
    }
    Ok(())
}

// Misbehaviour takes its time, in real time.
#[allow(clippy::disallowed_methods)]
async fn pause(time: Duration) {
    assert!(time < PATIENCE);
    tokio::time::sleep(time).await;
}

fn page(status: u16) -> Vec<u8> {
    let body = format!(
        "<html>\r\n<head><title>{status} Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>{status} \
         Service Temporarily Unavailable</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    format!(
        "HTTP/1.1 {status} Service Temporarily Unavailable\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: keep-alive\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body = format!("{{\"__type\":\"{code}\",\"message\":\"said by the proxy\"}}");
    format!(
        "HTTP/1.1 {status} x\r\nx-amzn-RequestId: 00000000-0000-0000-0000-000000000000\r\nContent-Type: \
         application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Chance with a seed (SplitMix64): the same plan for the same order of requests.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

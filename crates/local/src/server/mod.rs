//! The embedded Kinesis as a server: HTTP/1.1 and HTTP/2, in clear text or with a self-made
//! certificate.

mod admin;
mod body;
mod connections;
mod pages;
mod request_log;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use distributary_wire::limits;
use distributary_wire::transport::ResponseBody;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming as HyperBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::dispatch::{self, Incoming, LogNote};
use crate::faults::Delivery;
use crate::local::Local;
use body::{Body, Served};
pub use connections::{Connections, InService, Limits, Place, Watched};
pub use pages::{is_of_page, names_this_machine};
pub use request_log::RequestLog;
pub use tls::{Certificate, TlsError};

/// Time for connections to end after [`Handle::shutdown`].
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for example with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the largest buffer that is allocated by `Content-Length` alone.
const BODY_AHEAD: u64 = 16 * 1024 * 1024;
/// The unit in which bodies are counted.
const BODY_UNIT: usize = 1024;
/// The part of a body's time that the body may wait for room among the other bodies.
const ROOM_PART: u32 = 4;

/// Options of [`serve`].
#[derive(Debug)]
pub struct ServerOptions {
    /// The address to listen on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The certificate of HTTPS; `None` for plain HTTP.
    pub tls: Option<Certificate>,
    /// The destination of the request log.
    pub request_log: RequestLog,
    /// True to serve the paths under `/_distributary/` (faults, statistics) to this machine.
    pub admin: bool,
    /// The limits of connections and request bodies.
    pub limits: Limits,
}

impl Default for ServerOptions {
    /// `127.0.0.1:4567`, plain HTTP, no request log, with the admin paths.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4567)),
            tls: None,
            request_log: RequestLog::off(),
            admin: true,
            limits: Limits::default(),
        }
    }
}

/// Error of [`serve`].
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server cannot listen on the address.
    #[error("cannot listen on {listen}; choose another address, or port 0 for a free one")]
    Listen {
        /// The address as given.
        listen: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[source] TlsError),
}

/// A stream to create at the start, written as `name:shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: String,
    /// The number of shards; 1 if not given.
    pub shards: u32,
}

/// Error of parsing a [`StreamSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no stream; give name:shards, for example orders:4")]
pub struct StreamSpecError {
    text: String,
}

impl FromStr for StreamSpec {
    type Err = StreamSpecError;

    fn from_str(text: &str) -> Result<Self, StreamSpecError> {
        let (name, shards) = text.split_once(':').unwrap_or((text, "1"));
        let shards = shards.parse().ok().filter(|n| *n > 0);

        match shards {
            Some(shards) if distributary_wire::arn::is_name(name) => Ok(Self {
                name: name.to_owned(),
                shards,
            }),
            Some(_) | None => Err(StreamSpecError {
                text: text.to_owned(),
            }),
        }
    }
}

/// A running server. Dropping the handle does not stop the server.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    is_https: bool,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// The address that the server listens on, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL that clients use as endpoint.
    pub fn endpoint(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Stops accepting connections, ends subscriptions, and waits for requests, five seconds at
    /// most.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // Fails only after a panic of the task, which tokio has reported.
        let _ = self.accepting.await;
    }
}

struct Server {
    local: Local,
    log: RequestLog,
    admin: bool,
    connections: Arc<Connections>,
    /// The room for request bodies, in [`BODY_UNIT`]s.
    bodies: Arc<Semaphore>,
}

/// Serves `local` until [`Handle::shutdown`]. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// [`ServeError`] if the address or the certificate cannot be used.
pub async fn serve(local: Local, options: ServerOptions) -> Result<Handle, ServeError> {
    let ServerOptions {
        listen,
        tls,
        request_log,
        admin,
        limits,
    } = options;
    let failed = |source| ServeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let acceptor = match &tls {
        Some(certificate) => Some(certificate.acceptor().map_err(ServeError::Tls)?),
        None => None,
    };

    let (stop, stopped) = watch::channel(false);
    let env = Arc::clone(&local.inner.env);
    let server = Arc::new(Server {
        local,
        log: request_log,
        admin,
        connections: Connections::new(env, limits),
        bodies: Arc::new(Semaphore::new(limits.body_bytes / BODY_UNIT)),
    });
    let is_https = acceptor.is_some();
    let accepting = tokio::spawn(accept(server, listener, acceptor, stopped));
    Ok(Handle {
        addr,
        is_https,
        stop,
        accepting,
    })
}

/// Completes when the server is to stop; never after the handle was dropped.
async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Accepts connections until the server is to stop, then waits for the connections to end.
async fn accept(
    server: Arc<Server>,
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A request to stop comes before new connections.
            biased;
            () = stop_requested(&mut stopped) => break,
            // Removes ended connections. Disabled while the set is empty.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
                    connections.spawn(connect(server, socket, peer, acceptor, stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    server.local.inner.env.sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }

    drop(listener);
    server
        .local
        .faults()
        .end_subscriptions(&crate::faults::Select::default(), None);

    let timeout = server.local.inner.env.sleep(GRACE);
    let all = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = timeout => tracing::warn!("connections are still open after {GRACE:?} and are closed now"),
    }
}

/// Serves a connection, after the TLS handshake if there is a certificate, until another connection
/// needs the place.
async fn connect(
    server: Arc<Server>,
    socket: TcpStream,
    peer: SocketAddr,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }

    let place = Arc::new(server.connections.admit());
    let held = Arc::clone(&place);
    let serving = async move {
        let Some(acceptor) = acceptor else {
            return serve_connection(server, held, socket, peer, stopped).await;
        };
        match shake_hands(&server, &acceptor, socket).await {
            Ok(stream) => serve_connection(server, held, stream, peer, stopped).await,
            Err(error) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
        }
    };
    if place.hold(serving).await.is_none() {
        tracing::debug!(%peer, "a connection that was still gave way to a new one");
    }
}

async fn shake_hands(
    server: &Server,
    acceptor: &tokio_rustls::TlsAcceptor,
    socket: TcpStream,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let longest = server.connections.limits().head;
    tokio::select! {
        shaken = acceptor.accept(socket) => shaken,
        () = server.local.inner.env.sleep(longest) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn serve_connection<S>(
    server: Arc<Server>,
    place: Arc<Place>,
    socket: S,
    peer: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = place.watch(socket);
    let longest_head = server.connections.limits().head;
    let service = service_fn(move |request| {
        let (server, place) = (Arc::clone(&server), Arc::clone(&place));
        async move { server.answer(request, peer, &place).await }
    });

    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(longest_head);
    // A body of 10 MiB fits the windows, so no connection waits for window updates.
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .max_send_buf_size(1 << 20);

    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop_requested(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// The error that breaks a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on command")]
struct DropConnection;

impl Server {
    async fn answer(
        &self,
        request: Request<HyperBody>,
        peer: SocketAddr,
        place: &Place,
    ) -> Result<Response<Served>, DropConnection> {
        let started = self.local.inner.env.monotonic();
        let (head, body) = request.into_parts();
        // The room of the body is given back with the answer.
        let (body, _room) = match self.receive(&head, body).await {
            Ok(received) => received,
            Err(BodyError::Refused(status)) => return Ok(Served::empty(status)),
            Err(BodyError::Broken) => return Err(DropConnection),
        };

        let in_service = place.serve();
        let (response, note) = if head.uri.path().starts_with(admin::PREFIX) {
            (admin::answer(self, &head, &body, peer), LogNote::default())
        } else {
            let incoming = Incoming::new(&head, body);
            let served = dispatch::serve(&self.local.inner, incoming).await;
            if served.drops_connection {
                return Err(DropConnection);
            }
            let response = deliver(served.response, served.delivery).await?;
            (response, served.note)
        };

        let entry = request_log::Entry {
            peer,
            head: &head,
            status: response.status(),
            bytes: response.body().length(),
            note: &note,
            started,
        };
        self.log.write_line(&self.local.inner, &entry);
        Ok(response.map(|body| Served::new(body, in_service)))
    }

    /// The body of a request, and its room among the other bodies.
    async fn receive(
        &self,
        head: &http::request::Parts,
        body: HyperBody,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
        let env = &self.local.inner.env;
        let longest = self.connections.limits().body;
        tokio::select! {
            received = read_body(self, head, body) => received,
            () = env.sleep(longest) => Err(BodyError::Refused(StatusCode::REQUEST_TIMEOUT)),
        }
    }

    /// Grows `room` until `bytes` fit.
    async fn grow_room(
        &self,
        room: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), BodyError> {
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(BODY_UNIT).saturating_sub(has);
        let Ok(more @ 1..) = u32::try_from(more) else {
            return Ok(());
        };

        let longest = self.connections.limits().body / ROOM_PART;
        let got = tokio::select! {
            got = Arc::clone(&self.bodies).acquire_many_owned(more) => got.ok(),
            () = self.local.inner.env.sleep(longest) => None,
        };
        let got = got.ok_or(BodyError::Refused(StatusCode::SERVICE_UNAVAILABLE))?;
        match room {
            Some(room) => room.merge(got),
            None => *room = Some(got),
        }
        Ok(())
    }
}

/// Prepares an answer as faults ask for.
///
/// # Errors
/// [`DropConnection`] if a fault drops the answer.
async fn deliver(
    response: Response<ResponseBody>,
    delivery: Delivery,
) -> Result<Response<Body>, DropConnection> {
    match delivery {
        Delivery::Whole => Ok(response.map(Body::whole)),
        Delivery::Cut(after) => Ok(response.map(|body| Body::cut(body, after))),
        Delivery::Broken => Err(DropConnection),
        // Waits until the caller closes the connection, which drops this future.
        Delivery::Silent => match std::future::pending::<Infallible>().await {},
    }
}

/// Reason for a request without a body.
enum BodyError {
    /// Too large, too slow, or without room.
    Refused(StatusCode),
    /// The connection broke.
    Broken,
}

/// Reads the body into one buffer.
async fn read_body(
    server: &Server,
    head: &http::request::Parts,
    mut body: HyperBody,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
    let too_large = BodyError::Refused(StatusCode::PAYLOAD_TOO_LARGE);
    let limit = limits::REQUEST_BODY_BYTES as u64;
    let declared = head.headers.get(http::header::CONTENT_LENGTH);
    let declared: Option<u64> = declared
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large);
    }

    // Memory that is not written yet is not used yet, so only received bytes take room.
    let mut all = BytesMut::with_capacity(declared.unwrap_or(0).min(BODY_AHEAD) as usize);
    let mut room = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Some(chunk) = frame.data_ref() else {
            continue;
        };
        let length = all.len() + chunk.len();
        if length as u64 > limit {
            return Err(too_large);
        }
        server.grow_room(&mut room, length).await?;
        all.extend_from_slice(chunk);
    }
    Ok((all.freeze(), room))
}

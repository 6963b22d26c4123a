//! The embedded Kinesis over HTTP/1.1 and HTTP/2, in clear (h2c) or with a self-made certificate.

mod admin;
mod body;
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
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dispatch::{self, Incoming, Note};
use crate::faults::Delivery;
use crate::local::Local;
use body::Body;
pub use request_log::RequestLog;
pub use tls::{Certificate, TlsError};

/// How long connections have to end after [`Handle::shutdown`].
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait before accepting again after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's body that room is made for before they have come.
const BODY_AHEAD: u64 = 16 * 1024 * 1024;

/// How to serve.
#[derive(Debug)]
pub struct ServerOptions {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTPS with this certificate; plain HTTP if `None`.
    pub tls: Option<Certificate>,
    /// Where a line for each request goes.
    pub request_log: RequestLog,
    /// The paths under `/_distributary/`: misbehaviour and numbers, for callers on this machine only.
    pub admin: bool,
}

impl Default for ServerOptions {
    /// `127.0.0.1:4567`, plain HTTP, no request log, with the admin paths.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4567)),
            tls: None,
            request_log: RequestLog::off(),
            admin: true,
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}; choose another address, or port 0 for a free one")]
    Listen {
        /// As given.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[source] TlsError),
}

/// A stream to create at the start, as `name:shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// How many shards; 1 if not said.
    pub shards: u32,
}

/// Why a text is no [`StreamSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no stream; give name:shards, such as orders:4")]
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

/// A running server. It goes on if this is dropped.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    secure: bool,
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Handle {
    /// The address it listens on, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client is given as endpoint.
    pub fn endpoint(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Accepts no more, ends subscriptions, lets requests finish for up to five seconds, and returns.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // It cannot fail but by a panic, which has been reported by then.
        let _ = self.accepting.await;
    }
}

struct Server {
    local: Local,
    log: RequestLog,
    admin: bool,
}

/// Serves `local` until [`Handle::shutdown`]. Must be called in a tokio runtime with I/O and time.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(local: Local, options: ServerOptions) -> Result<Handle, ServeError> {
    let ServerOptions {
        listen,
        tls,
        request_log,
        admin,
    } = options;
    let failed = |source| ServeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let acceptor = match &tls {
        Some(certificate) => Some(certificate.acceptor().map_err(ServeError::Tls)?),
        None => None,
    };
    let (stop, stopped) = watch::channel(false);
    let server = Arc::new(Server {
        local,
        log: request_log,
        admin,
    });
    let secure = acceptor.is_some();
    let accepting = tokio::spawn(accept(server, listener, acceptor, stopped));
    Ok(Handle {
        addr,
        secure,
        stop,
        accepting,
    })
}

/// Completes when the server is to stop; never if its handle is dropped.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    if stopped.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn accept(
    server: Arc<Server>,
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Ends the loop, so it must not wait behind new connections.
            biased;
            () = told_to_stop(&mut stopped) => break,
            // Takes ended connections away; pending while there are none.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let connection = connect(Arc::clone(&server), socket, peer, acceptor.clone(), stopped.clone());
                    connections.spawn(connection);
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
        () = timeout => tracing::warn!("connections were still open after {GRACE:?}; they are cut"),
    }
}

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
    match acceptor {
        None => converse(server, socket, peer, stopped).await,
        Some(acceptor) => match acceptor.accept(socket).await {
            Ok(secured) => converse(server, secured, peer, stopped).await,
            Err(error) => tracing::debug!(%peer, %error, "no TLS"),
        },
    }
}

async fn converse<S>(
    server: Arc<Server>,
    socket: S,
    peer: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request, peer).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Windows that a 10 MiB body fits in, so that one connection is not held up by acknowledgements.
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
        () = told_to_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

/// The connection breaks without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped on command")]
struct Dropped;

impl Server {
    async fn answer(
        &self,
        request: Request<HyperBody>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Dropped> {
        let started = self.local.inner.env.monotonic();
        let (head, body) = request.into_parts();
        let body = match read_body(&head, body).await {
            Ok(body) => body,
            Err(Unread::TooLarge) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE)),
            Err(Unread::Broken) => return Err(Dropped),
        };
        let (response, note) = if head.uri.path().starts_with(admin::PREFIX) {
            (admin::answer(self, &head, &body, peer), Note::default())
        } else {
            let incoming = Incoming {
                method: &head.method,
                path: head.uri.path(),
                query: head.uri.query(),
                headers: &head.headers,
                body,
            };
            let served = dispatch::serve(&self.local.inner, incoming).await;
            let delivery = if served.dropped {
                Delivery::Broken
            } else {
                served.delivery
            };
            (self.deliver(served.response, delivery).await?, served.note)
        };
        self.log.line(
            &self.local.inner,
            &request_log::Entry {
                peer,
                head: &head,
                status: response.status(),
                bytes: response.body().length(),
                note: &note,
                started,
            },
        );
        Ok(response)
    }

    /// # Errors
    /// [`Dropped`] where misbehaviour wants no answer.
    async fn deliver(
        &self,
        response: Response<ResponseBody>,
        delivery: Delivery,
    ) -> Result<Response<Body>, Dropped> {
        match delivery {
            Delivery::Whole => Ok(response.map(Body::whole)),
            Delivery::Cut(after) => Ok(response.map(|body| Body::cut(body, after))),
            Delivery::Broken => Err(Dropped),
            // Until the caller closes the connection, which drops this.
            Delivery::Silent => match std::future::pending::<Infallible>().await {},
        }
    }
}

enum Unread {
    TooLarge,
    Broken,
}

/// The whole body in one piece.
async fn read_body(head: &http::request::Parts, mut body: HyperBody) -> Result<Bytes, Unread> {
    let limit = limits::REQUEST_BODY_BYTES as u64;
    let declared = head.headers.get(http::header::CONTENT_LENGTH);
    let declared: Option<u64> = declared
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge);
    }
    let mut all = BytesMut::with_capacity(declared.unwrap_or(0).min(BODY_AHEAD) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Some(chunk) = frame.data_ref() else {
            continue;
        };
        if (all.len() + chunk.len()) as u64 > limit {
            return Err(Unread::TooLarge);
        }
        all.extend_from_slice(chunk);
    }
    Ok(all.freeze())
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::whole(ResponseBody::Full(Bytes::new())));
    *response.status_mut() = status;
    response
}

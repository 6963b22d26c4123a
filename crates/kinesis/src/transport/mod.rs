//! HTTP/1.1 over TCP and TLS: one request, one answer, over connections that are kept.
//!
//! A request that may have been sent is not sent again. A kept connection that turns out to be
//! closed before the first byte was sent is replaced by another.

mod body;
mod connect;
mod lookup;
mod pool;
mod sdk;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::clock::Clock;
use distributary_wire::transport::{Request, Response, ResponseBody, Transport, TransportError};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, HOST};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::sync::SemaphorePermit;

pub use connect::TlsError;
pub use sdk::SdkHttpClient;

use body::{AnswerRoom, TwoParts};
use connect::{Connected, Connector, NoConnection};
use pool::{ClassPool, Connection, Origin};

/// The class of a request, which the caller names by an extension of the request. Each class has
/// its own connections, so that requests of one class without an answer take no connection from
/// another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestClass {
    /// Reads of the source.
    Read,
    /// Writes to outputs.
    Write,
    /// All others: commands, credentials. The class of a request that names none.
    #[default]
    Control,
}

/// Bytes that the answer to a request may have, which the caller names by an extension of the
/// request; `ANSWER_BYTES` for a request that names no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimit(pub usize);

/// The limit of answers of other services than Kinesis: DynamoDB answers with up to 16 MB.
const ANSWER_BYTES: usize = 24 * 1024 * 1024;

/// An extension of a request that never goes through a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct;

/// Settings of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// [`RequestClass::Read`] requests in flight, to all servers together (default 128); further
    /// requests wait.
    pub reads: usize,
    /// [`RequestClass::Write`] requests in flight (default 512).
    pub writes: usize,
    /// [`RequestClass::Control`] requests in flight (default 64).
    pub controls: usize,
    /// Idle connections of one class that are kept to one server (default 128).
    pub idle: usize,
    /// The time for which an idle connection is used again (default 20 s: less than servers and
    /// load balancers keep connections, so that few are closed just as a request is sent, which
    /// leaves the outcome unknown).
    pub idle_for: Duration,
    /// The time that name lookup, TCP and TLS handshakes may take together (default 5 s).
    pub connect: Duration,
    /// Bytes of the answers that are received together, but for reads, whose memory the engine
    /// reserves (default 32 MiB). An answer without room waits.
    pub answers: usize,
}

impl TransportSettings {
    /// The settings of a process with a memory budget of `memory` bytes: an eighth of `memory`,
    /// 32 MiB at most, is for answers.
    pub fn within(memory: usize) -> Self {
        let default = Self::default();
        Self {
            answers: default.answers.min(memory / 8),
            ..default
        }
    }
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            reads: 128,
            writes: 512,
            controls: 64,
            idle: 128,
            idle_for: Duration::from_secs(20),
            connect: Duration::from_secs(5),
            answers: 32 * 1024 * 1024,
        }
    }
}

/// [`Transport`] over TCP and TLS.
pub struct HttpTransport {
    connector: Connector,
    clock: Clock,
    settings: TransportSettings,
    reads: ClassPool,
    writes: ClassPool,
    controls: ClassPool,
    answers: AnswerRoom,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpTransport({:?})", self.settings)
    }
}

/// The reason why nothing was sent.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("{uri} is neither http:// nor https://")]
    Scheme { uri: String },
    #[error("no connection within {after:?}")]
    Timeout { after: Duration },
    #[error("the transport is shut down")]
    Closed,
}

impl NotSent {
    fn at(self, endpoint: String) -> TransportError {
        TransportError::Connect {
            endpoint,
            source: Box::new(self),
        }
    }
}

/// Tells if a request may be on its way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NotSent,
    Sent,
}

impl HttpTransport {
    /// A transport with the system's root certificates (or those of the file that `AWS_CA_BUNDLE`
    /// names) and the proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`TlsError`] if the file of `AWS_CA_BUNDLE` cannot be read or has no certificate.
    pub fn new(clock: Clock, settings: TransportSettings) -> Result<Self, TlsError> {
        let connector = Connector::from_env(settings.connect, None)?;
        Ok(Self::with_connector(connector, clock, settings))
    }

    /// As [`new`](Self::new), but with the certificates of the PEM file `ca_bundle` alone.
    ///
    /// # Errors
    /// [`TlsError`] if the file cannot be read or has no certificate.
    pub fn trusting(
        clock: Clock,
        settings: TransportSettings,
        ca_bundle: &std::path::Path,
    ) -> Result<Self, TlsError> {
        let connector = Connector::from_env(settings.connect, Some(ca_bundle))?;
        Ok(Self::with_connector(connector, clock, settings))
    }

    /// As [`new`](Self::new), but with the certificates of the PEM file `ca_bundle` alone, and
    /// through `proxy` alone (`None`: no proxy). The environment is not read.
    ///
    /// # Errors
    /// [`TlsError`] if the file cannot be read or has no certificate.
    pub fn with_ca_bundle(
        clock: Clock,
        settings: TransportSettings,
        ca_bundle: &std::path::Path,
        proxy: Option<&str>,
    ) -> Result<Self, TlsError> {
        let connector = Connector::new(settings.connect, Some(ca_bundle), proxy)?;
        Ok(Self::with_connector(connector, clock, settings))
    }

    fn with_connector(connector: Connector, clock: Clock, settings: TransportSettings) -> Self {
        let pool = |requests| ClassPool::new(clock.clone(), settings, requests);
        Self {
            connector,
            reads: pool(settings.reads),
            writes: pool(settings.writes),
            controls: pool(settings.controls),
            answers: AnswerRoom::new(settings.answers),
            clock,
            settings,
        }
    }

    fn pool(&self, class: RequestClass) -> &ClassPool {
        match class {
            RequestClass::Read => &self.reads,
            RequestClass::Write => &self.writes,
            RequestClass::Control => &self.controls,
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, TransportError> {
        let failed = |source| TransportError::Connect {
            endpoint: origin.to_string(),
            source,
        };
        let connecting = self.connector.connect(origin);
        let after = self.settings.connect;
        let connected = self.clock.timeout(after, connecting).await;
        let connected = connected.unwrap_or_else(|| Err(NotSent::Timeout { after }.into()));
        let Connected { io, forward } = connected.map_err(failed)?;

        let handshake = http1::handshake(io).await;
        let (sender, driver) = handshake.map_err(|e| failed(Box::new(e)))?;
        // Ends when either side closes the connection, or the sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(error = %error, "a connection ended");
            }
        });
        Ok(Connection { sender, forward })
    }

    /// Sends on kept connections until one takes the request, else on a new one.
    async fn send(
        &self,
        pool: &ClassPool,
        origin: &Origin,
        request: Request,
        progress: &mut Progress,
    ) -> Result<(Connection, http::Response<Incoming>), TransportError> {
        let (parts, body) = request.into_parts();
        let mut request = http::Request::from_parts(parts, TwoParts::new(body));
        loop {
            let (mut connection, is_new) = match pool.kept(origin) {
                Some(connection) => (connection, false),
                None => (self.connect(origin).await?, true),
            };
            if connection.sender.ready().await.is_err() && !is_new {
                continue;
            }

            let target = request.uri().clone();
            connect::address(&mut request, connection.forward.as_ref());
            // From here on the request may be on its way.
            *progress = Progress::Sent;
            let mut failed = match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(failed) => failed,
            };
            match failed.take_message() {
                // The request is returned: not a byte was sent.
                Some(unsent) if !is_new => {
                    *progress = Progress::NotSent;
                    request = unsent;
                    *request.uri_mut() = target;
                }
                unsent => return Err(send_error(origin, failed.into_error(), unsent.is_some())),
            }
        }
    }

    async fn exchange(
        &self,
        mut request: Request,
        progress: &mut Progress,
    ) -> Result<Response, TransportError> {
        let direct = request.extensions().get::<Direct>().is_some();
        let Some(origin) = Origin::of(request.uri(), direct) else {
            let uri = request.uri().to_string();
            return Err(NotSent::Scheme { uri: uri.clone() }.at(uri));
        };
        add_host(&mut request);

        let (class, limit) = class_and_limit(request.extensions());
        let pool = self.pool(class);
        let _in_flight: SemaphorePermit<'_> = match pool.acquire().await {
            Ok(permit) => permit,
            Err(closed) => return Err(closed.at(origin.to_string())),
        };
        let (connection, response) = self.send(pool, &origin, request, progress).await?;

        let (parts, incoming) = response.into_parts();
        if is_event_stream(&parts) {
            // The connection lives as long as its stream and is not used again.
            let stream = body::stream(incoming, connection.sender);
            let body = ResponseBody::Stream(stream);
            return Ok(http::Response::from_parts(parts, body));
        }
        let room = (class != RequestClass::Read).then_some(&self.answers);
        let body = body::collect(incoming, limit, room).await?;
        pool.keep(origin, connection);
        Ok(http::Response::from_parts(parts, ResponseBody::Full(body)))
    }
}

/// The class of a request, and the limit of its answer.
fn class_and_limit(extensions: &http::Extensions) -> (RequestClass, usize) {
    let class = extensions.get::<RequestClass>().copied();
    let class = class.unwrap_or_default();

    let limit = extensions.get::<AnswerLimit>();
    let limit = limit.map_or(ANSWER_BYTES, |limit| limit.0);
    (class, limit)
}

/// True if the reason for the missing connection names the remedy.
pub(crate) fn tells_remedy(error: &TransportError) -> bool {
    match error {
        TransportError::Connect { source, .. } => source.is::<NoConnection>(),
        TransportError::Broken { .. } | TransportError::Timeout { .. } => false,
    }
}

fn send_error(origin: &Origin, error: hyper::Error, unsent: bool) -> TransportError {
    let source = Box::new(error);
    if unsent {
        TransportError::Connect {
            endpoint: origin.to_string(),
            source,
        }
    } else {
        TransportError::Broken { source }
    }
}

fn add_host(request: &mut Request) {
    if request.headers().contains_key(HOST) {
        return;
    }
    let authority = request.uri().authority();
    let host = authority.map(|a| HeaderValue::from_str(a.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(HOST, host);
    }
}

fn is_event_stream(parts: &http::response::Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let streams =
        content_type.is_some_and(|t| t.starts_with(b"application/vnd.amazon.eventstream"));
    streams && parts.status == 200
}

#[async_trait]
impl Transport for HttpTransport {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let authority = request.uri().authority();
        let endpoint = authority.map(ToString::to_string).unwrap_or_default();

        let mut progress = Progress::NotSent;
        let exchange = self.exchange(request, &mut progress);
        let answered = self.clock.timeout(deadline, exchange).await;
        answered.unwrap_or_else(|| match progress {
            Progress::Sent => Err(TransportError::Timeout { after: deadline }),
            Progress::NotSent => Err(NotSent::Timeout { after: deadline }.at(endpoint)),
        })
    }
}

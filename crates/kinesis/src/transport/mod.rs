//! HTTP/1.1 over TCP and TLS: one request, one answer, over connections that are kept.
//!
//! Nothing is retried that may have been sent. A kept connection that turns out to be closed before anything went out is
//! replaced by another.

mod body;
mod connect;
mod sdk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::clock::{Clock, Instant};
use distributary_core::sync::lock;
use distributary_wire::op::Operation;
use distributary_wire::transport::{Request, Response, ResponseBody, Transport, TransportError};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Uri};
use hyper::client::conn::http1::{self, SendRequest};
use tokio::sync::Semaphore;

pub use connect::TlsError;
pub use sdk::SdkHttpClient;

use body::TwoParts;
use connect::{Connected, Connector};

/// Numbers of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// Writes that are under way at one time, to all servers together (default 512); others wait.
    pub writes: usize,
    /// All other requests that are under way at one time (default 128): writes that get no answer leave them alone, so
    /// that reading goes on.
    pub others: usize,
    /// Idle connections that are kept to one server (default 128).
    pub idle: usize,
    /// How long an idle connection is used again (default 20 s: less than servers and load balancers keep them, so that
    /// one is rarely closed just as a request goes out, which leaves its outcome unknown).
    pub idle_for: Duration,
    /// How long name lookup, TCP and TLS handshakes may take together (default 5 s).
    pub connect: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            writes: 512,
            others: 128,
            idle: 128,
            idle_for: Duration::from_secs(20),
            connect: Duration::from_secs(5),
        }
    }
}

/// [`Transport`] over TCP and TLS.
pub struct HttpTransport {
    connector: Connector,
    clock: Clock,
    settings: TransportSettings,
    writes: Semaphore,
    others: Semaphore,
    idle: Mutex<BTreeMap<Origin, Vec<Idle>>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpTransport({:?})", self.settings)
    }
}

/// True if records are written.
fn is_write(request: &Request) -> bool {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    match target.and_then(Operation::from_target) {
        Some(operation) => matches!(operation, Operation::PutRecords | Operation::PutRecord),
        None => false,
    }
}

/// Where connections lead to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self {
            tls,
            host: uri.host()?.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection that no request uses.
struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    sender: SendRequest<TwoParts>,
    /// It leads to a proxy that is to forward requests, and this is what the proxy wants to know.
    forward: Option<connect::Forward>,
}

/// Why nothing was sent, in the words of this module.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("{uri} is neither http:// nor https://")]
    Scheme { uri: String },
    #[error("no connection within {after:?}")]
    Timeout { after: Duration },
    #[error("the transport is shut down")]
    Closed,
}

impl HttpTransport {
    /// A transport with the system's root certificates (or those of the file that `AWS_CA_BUNDLE` names) and the proxies of
    /// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`TlsError`] if the file of `AWS_CA_BUNDLE` can't be read or has no certificate.
    pub fn new(clock: Clock, settings: TransportSettings) -> Result<Self, TlsError> {
        Ok(Self::with_connector(
            Connector::from_env(settings.connect)?,
            clock,
            settings,
        ))
    }

    /// As [`new`](Self::new), trusting only the certificates of the PEM file `ca_bundle`, and through `proxy` alone (none:
    /// no proxy), whatever the environment says.
    ///
    /// # Errors
    /// [`TlsError`] if the file can't be read or has no certificate.
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
        let (writes, others) = (
            Semaphore::new(settings.writes),
            Semaphore::new(settings.others),
        );
        Self {
            connector,
            clock,
            settings,
            writes,
            others,
            idle: Mutex::default(),
        }
    }

    /// A kept connection to `origin` that still works, as far as can be seen.
    fn kept(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        let list = idle.get_mut(origin)?;
        let now = self.clock.now();
        // The oldest are at the front; the newest is the likeliest to work.
        list.retain(|kept| {
            now.since(kept.since) < self.settings.idle_for && !kept.connection.sender.is_closed()
        });
        list.pop().map(|kept| kept.connection)
    }

    fn keep(&self, origin: Origin, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = lock(&self.idle);
        let list = idle.entry(origin).or_default();
        if list.len() >= self.settings.idle {
            list.remove(0);
        }
        list.push(Idle {
            connection,
            since: self.clock.now(),
        });
    }

    async fn connect(&self, origin: &Origin) -> Result<Connection, TransportError> {
        let refused = |source| TransportError::Connect {
            endpoint: origin.to_string(),
            source,
        };
        let connecting = self
            .connector
            .connect(origin.tls, &origin.host, origin.port);
        let after = self.settings.connect;
        let Connected { io, forward } = match self.clock.timeout(after, connecting).await {
            Some(connected) => connected.map_err(refused)?,
            None => return Err(refused(Box::new(NotSent::Timeout { after }))),
        };
        let (sender, driver) = http1::handshake(io)
            .await
            .map_err(|e| refused(Box::new(e)))?;
        // Ends when the connection is closed, by either side, or its sender is dropped.
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
        origin: &Origin,
        request: Request,
        sent: &mut bool,
    ) -> Result<(Connection, http::Response<hyper::body::Incoming>), TransportError> {
        let broken = |source| TransportError::Broken { source };
        let (parts, body) = request.into_parts();
        let mut request = http::Request::from_parts(parts, TwoParts::new(body));
        loop {
            let (mut connection, new) = match self.kept(origin) {
                Some(connection) => (connection, false),
                None => (self.connect(origin).await?, true),
            };
            if connection.sender.ready().await.is_err() && !new {
                continue;
            }
            let target = request.uri().clone();
            connect::address(&mut request, connection.forward.as_ref());
            // From here on the request may be on its way.
            *sent = true;
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut failed) => match failed.take_message() {
                    // Given back: not a byte of it was sent.
                    Some(back) if !new => {
                        *sent = false;
                        request = back;
                        *request.uri_mut() = target;
                    }
                    Some(_) => {
                        let source = failed.into_error().into();
                        return Err(TransportError::Connect {
                            endpoint: origin.to_string(),
                            source,
                        });
                    }
                    None => return Err(broken(failed.into_error().into())),
                },
            }
        }
    }

    async fn exchange(
        &self,
        mut request: Request,
        sent: &mut bool,
    ) -> Result<Response, TransportError> {
        let not_sent = |endpoint: String, why: NotSent| TransportError::Connect {
            endpoint,
            source: Box::new(why),
        };
        let Some(origin) = Origin::of(request.uri()) else {
            let uri = request.uri().to_string();
            return Err(not_sent(uri.clone(), NotSent::Scheme { uri }));
        };
        if !request.headers().contains_key(HOST)
            && let Some(host) = request
                .uri()
                .authority()
                .and_then(|a| HeaderValue::from_str(a.as_str()).ok())
        {
            request.headers_mut().insert(HOST, host);
        }
        let slots = if is_write(&request) {
            &self.writes
        } else {
            &self.others
        };
        let Ok(_slot) = slots.acquire().await else {
            return Err(not_sent(origin.to_string(), NotSent::Closed));
        };
        let (connection, response) = self.send(&origin, request, sent).await?;
        let (parts, incoming) = response.into_parts();
        let streams = parts.headers.get(CONTENT_TYPE).is_some_and(|t| {
            t.as_bytes()
                .starts_with(b"application/vnd.amazon.eventstream")
        });
        if streams && parts.status == 200 {
            // The connection lives as long as its stream and is not used again.
            let stream = body::stream(incoming, connection.sender);
            return Ok(http::Response::from_parts(
                parts,
                ResponseBody::Stream(stream),
            ));
        }
        let body = body::collect(incoming).await?;
        self.keep(origin, connection);
        Ok(http::Response::from_parts(parts, ResponseBody::Full(body)))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let endpoint = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut sent = false;
        match self
            .clock
            .timeout(deadline, self.exchange(request, &mut sent))
            .await
        {
            Some(result) => result,
            None if sent => Err(TransportError::Timeout { after: deadline }),
            None => {
                let source = Box::new(NotSent::Timeout { after: deadline });
                Err(TransportError::Connect { endpoint, source })
            }
        }
    }
}

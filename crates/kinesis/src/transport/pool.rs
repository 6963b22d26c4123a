//! The connections of one class of requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use distributary_core::clock::{Clock, Instant};
use distributary_core::sync::lock;
use http::Uri;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::TwoParts;
use super::connect::Forward;
use super::{NotSent, TransportSettings};

/// The server that a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// True if no proxy is used.
    pub(super) direct: bool,
}

impl Origin {
    /// The server of `uri`; `None` if `uri` is neither http:// nor https://.
    pub(super) fn of(uri: &Uri, direct: bool) -> Option<Self> {
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
            direct,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

pub(super) struct Connection {
    pub(super) sender: SendRequest<TwoParts>,
    /// Present if the connection leads to a proxy that forwards requests.
    pub(super) forward: Option<Forward>,
}

/// A connection without a request.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The limit of requests in flight of one class, and the idle connections of that class.
pub(super) struct ClassPool {
    clock: Clock,
    settings: TransportSettings,
    in_flight: Semaphore,
    idle: Mutex<BTreeMap<Origin, Vec<Idle>>>,
}

impl ClassPool {
    /// A pool for `requests` requests in flight.
    pub(super) fn new(clock: Clock, settings: TransportSettings, requests: usize) -> Self {
        Self {
            clock,
            settings,
            in_flight: Semaphore::new(requests),
            idle: Mutex::default(),
        }
    }

    /// Waits until one more request may be in flight.
    pub(super) async fn acquire(&self) -> Result<SemaphorePermit<'_>, NotSent> {
        let permit = self.in_flight.acquire().await;
        permit.map_err(|_| NotSent::Closed)
    }

    /// A kept connection to `origin` that works, as far as this side can tell.
    pub(super) fn kept(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        let kept = idle.get_mut(origin)?;
        let now = self.clock.now();
        kept.retain(|idle| {
            let is_young = now.since(idle.since) < self.settings.idle_for;
            is_young && !idle.connection.sender.is_closed()
        });
        // The newest, at the end, is the likeliest to work.
        kept.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, origin: Origin, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }

        let mut idle = lock(&self.idle);
        let kept = idle.entry(origin).or_default();
        if kept.len() >= self.settings.idle {
            kept.remove(0);
        }
        kept.push(Idle {
            connection,
            since: self.clock.now(),
        });
    }
}

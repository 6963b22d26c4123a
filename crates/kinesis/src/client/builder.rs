//! The settings of a client.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use distributary_core::clock::Clock;
use distributary_wire::codec::Format;
use distributary_wire::sigv4::Signer;
use distributary_wire::transport::Transport;
use http::{HeaderValue, Uri};

use super::adapt::Learned;
use super::{Client, Shared};
use crate::credentials::{CredentialsSource, Static};
use crate::transport::{RequestClass, TransportSettings};
use crate::write_slots::WriteSlots;

const USER_AGENT: &str = concat!("distributary/", env!("CARGO_PKG_VERSION"));

/// Builds a [`Client`].
pub struct ClientBuilder {
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn CredentialsSource>,
    clock: Clock,
    region: String,
    endpoint: Option<String>,
    format: Option<Format>,
    write_slots: Arc<WriteSlots>,
}

/// The endpoint is not the URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// The text is no URL of http or https.
    #[error("{endpoint:?} is no endpoint: expected http://host[:port] or https://host[:port]")]
    Form {
        /// The endpoint without user name and password.
        endpoint: String,
    },
    /// The URL has a user name or a password.
    #[error(
        "the endpoint {endpoint} was given with a user name or password, which Kinesis does not \
         take; remove that part, and give AWS credentials"
    )]
    Password {
        /// The endpoint without user name and password.
        endpoint: String,
    },
}

impl ClientBuilder {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            credentials: Arc::new(Static::local()),
            clock: Clock::real(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            format: None,
            write_slots: WriteSlots::new(TransportSettings::default().writes),
        }
    }

    /// The credentials that sign requests; [`Static::local`] by default.
    #[must_use]
    pub fn credentials(mut self, credentials: Arc<dyn CredentialsSource>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The region, `us-east-1` by default.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// The server's URL, such as `http://127.0.0.1:4567`; AWS's endpoint of the region by default.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The clock, for time and randomness; the machine's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The write slots that the client's outputs share with those of other clients. By default
    /// slots of this client alone, as many as a transport has for writes.
    #[must_use]
    pub fn write_slots(mut self, write_slots: Arc<WriteSlots>) -> Self {
        self.write_slots = write_slots;
        self
    }

    /// The one encoding to use. By default CBOR, and JSON if the server turns out not to know CBOR.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// The client, for [`RequestClass::Control`] requests. No I/O.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn build(self) -> Result<Client, BadEndpoint> {
        let endpoint = self
            .endpoint
            .unwrap_or_else(|| crate::endpoint::of_region(&self.region, false, false));
        let shared = Shared {
            transport: self.transport,
            credentials: self.credentials,
            clock: self.clock,
            region: self.region,
            endpoint: server_url(endpoint)?,
            signer: Signer::new(),
            user_agent: HeaderValue::from_static(USER_AGENT),
            skew_ms: AtomicI64::new(0),
            learned: Learned::new(self.format),
            write_slots: self.write_slots,
        };
        Ok(Client {
            shared: Arc::new(shared),
            class: RequestClass::Control,
        })
    }
}

fn server_url(endpoint: String) -> Result<Uri, BadEndpoint> {
    let public = without_password(&endpoint);
    if public != endpoint {
        return Err(BadEndpoint::Password { endpoint: public });
    }

    let is_server = |uri: &Uri| {
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        has_scheme && uri.host().is_some_and(|host| !host.is_empty())
    };
    let uri = endpoint.parse::<Uri>().ok().filter(is_server);
    uri.ok_or(BadEndpoint::Form { endpoint })
}

/// A URL without the part before `@` in the server's name.
fn without_password(url: &str) -> String {
    let start = match url.find("://") {
        Some(at) => at + "://".len(),
        None => 0,
    };
    let (scheme, rest) = url.split_at(start);
    let server = rest.split(['/', '?', '#']).next();
    let server = server.unwrap_or_default();

    match server.rfind('@') {
        None => url.to_owned(),
        Some(at) => {
            let public = &rest[at + 1..];
            format!("{scheme}{public}")
        }
    }
}

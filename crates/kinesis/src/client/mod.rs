//! One client per region, endpoint and credentials: signs requests, sends them, reads the answers,
//! and adapts to the abilities of the server. A call is made once; retries are the caller's.

mod adapt;
mod builder;
mod error;
mod exchange;
mod listing;
mod streams;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_wire::codec;
use distributary_wire::op::Operation;
use distributary_wire::sigv4::Signer;
use distributary_wire::transport::Transport;
use distributary_wire::types::Request;
use http::{HeaderValue, Uri};

use crate::credentials::CredentialsSource;
use crate::transport::RequestClass;
use crate::write_slots::{OutputSlots, WriteSlots};
use adapt::Learned;

pub use builder::{BadEndpoint, ClientBuilder};
use error::Target;
pub use error::{CallError, kind_of};
pub(crate) use exchange::RawAnswer;
pub use listing::ListedStream;
pub(crate) use streams::is_closed;
pub use streams::{OfStream, StreamDescription};

/// The longest time of one call, where the caller sets no deadline.
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// A client of one Kinesis endpoint, for requests of one class; cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    class: RequestClass,
}

/// The parts of a client that its clones share.
struct Shared {
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn CredentialsSource>,
    clock: Clock,
    region: String,
    endpoint: Uri,
    signer: Signer,
    user_agent: HeaderValue,
    /// The server's clock less this machine's, in milliseconds, once a signature was refused for
    /// its time.
    skew_ms: AtomicI64,
    learned: Learned,
    write_slots: Arc<WriteSlots>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            endpoint, region, ..
        } = &*self.shared;
        write!(f, "Client({endpoint}, {region}, {:?})", self.class)
    }
}

/// An answer, with the time at which the server gave the answer.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// The content of the answer.
    pub answer: T,
    /// The server's time (the `Date` header, in whole seconds, rounded down); `None` without such a
    /// header.
    pub date: Option<Millis>,
}

impl Client {
    /// A client over `transport`, for the rest of the settings.
    pub fn builder(transport: Arc<dyn Transport>) -> ClientBuilder {
        ClientBuilder::new(transport)
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// The URL that requests are sent to.
    pub fn endpoint(&self) -> String {
        self.shared.endpoint.to_string()
    }

    /// The client's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The same client, for requests of `class`. A client makes [`RequestClass::Control`] requests
    /// unless another class is named.
    #[must_use]
    pub fn of_class(self, class: RequestClass) -> Self {
        Self { class, ..self }
    }

    /// The write slots of one more output.
    pub(crate) fn join_write_slots(&self) -> OutputSlots {
        self.shared.write_slots.join()
    }

    /// True if `other` sends to the same server for the same account, as far as the settings tell.
    pub fn same_server(&self, other: &Self) -> bool {
        let one = &self.shared;
        let two = &other.shared;
        one.endpoint == two.endpoint && one.region == two.region
    }

    /// Makes a call that concerns no single stream (`ListStreams`, `DescribeLimits`), once.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn call<R: Request>(&self, request: &R) -> Result<Answered<R::Answer>, Trouble> {
        let called = self.call_once(request, CALL_DEADLINE).await;
        called.map_err(|error| self.trouble(error, R::OPERATION, None))
    }

    /// Makes a call, once.
    async fn call_once<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<Answered<R::Answer>, CallError> {
        self.read_call(request, deadline, |raw| {
            codec::decode_answer(raw.format, &raw.body)
        })
        .await
    }

    /// `error` as the engine takes errors.
    pub(crate) fn trouble(
        &self,
        error: CallError,
        operation: Operation,
        stream: Option<&str>,
    ) -> Trouble {
        let endpoint = self.shared.endpoint.to_string();
        let target = Target {
            operation,
            stream,
            region: &self.shared.region,
            endpoint: endpoint.trim_end_matches('/'),
        };
        error.into_trouble(target)
    }
}

//! One client per region, endpoint and credentials: signs, sends, reads, and adapts to what the server turns out to know.

mod adapt;
mod error;
mod streams;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::{Credentials, Signer, UnsignedRequest};
use distributary_wire::transport::{
    RequestBody, Response, ResponseBody, Transport, TransportError,
};
use distributary_wire::types::Request;
use http::header::{CONTENT_TYPE, DATE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Uri};
use ring::digest;

use crate::credentials::{CredentialsError, CredentialsSource, Static};
use crate::share::{Share, Shares};
use crate::transport::TransportSettings;
use adapt::Learned;

pub(crate) use error::Where;
pub use error::{CallError, kind_of};
pub(crate) use streams::is_closed;
pub use streams::{OfStream, StreamDescription};

/// How long one attempt of a control-plane call may take.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(15);
/// How often a control-plane call is tried before its failure is told.
const ATTEMPTS: u32 = 4;
/// The first wait between two attempts; each further one doubles it, with jitter.
const BACKOFF: Duration = Duration::from_millis(200);
/// A clock that differs by less than this from the server's is not what a signature is refused for: AWS allows five
/// minutes.
const SKEW_MIN: Duration = Duration::from_secs(60);
/// Renewed credentials and a corrected clock, each once.
const SIGNINGS: u32 = 3;

/// A client of one Kinesis endpoint; cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn CredentialsSource>,
    clock: Clock,
    region: String,
    endpoint: Uri,
    signer: Signer,
    user_agent: HeaderValue,
    /// The server's clock less ours, in milliseconds, as far as a refused signature made us look.
    skew_ms: AtomicI64,
    learned: Learned,
    shares: Arc<Shares>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, {})", self.0.endpoint, self.0.region)
    }
}

/// Puts a [`Client`] together.
pub struct ClientBuilder {
    transport: Arc<dyn Transport>,
    credentials: Arc<dyn CredentialsSource>,
    clock: Clock,
    region: String,
    endpoint: Option<String>,
    format: Option<Format>,
    shares: Arc<Shares>,
}

/// The endpoint is not a URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint:?} is no endpoint: expected http://host[:port] or https://host[:port]")]
pub struct BadEndpoint {
    endpoint: String,
}

impl ClientBuilder {
    /// What signs requests; [`Static::local`] by default.
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

    /// Where to send to, such as `http://127.0.0.1:4567`; AWS's endpoint of the region by default.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Time and randomness; the machine's by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What its outputs have their part of; by default one of its own with as many slots as a transport has for writes.
    #[must_use]
    pub fn shares(mut self, shares: Arc<Shares>) -> Self {
        self.shares = shares;
        self
    }

    /// Only this encoding. By default CBOR, and JSON if the server turns out not to know CBOR.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// The client. No I/O.
    ///
    /// # Errors
    /// [`BadEndpoint`].
    pub fn build(self) -> Result<Client, BadEndpoint> {
        let endpoint = self
            .endpoint
            .unwrap_or_else(|| crate::endpoint::of_region(&self.region, false, false));
        let uri = endpoint.parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|h| !h.is_empty())
        });
        let Some(uri) = uri else {
            return Err(BadEndpoint { endpoint });
        };
        Ok(Client(Arc::new(Inner {
            transport: self.transport,
            credentials: self.credentials,
            clock: self.clock,
            region: self.region,
            endpoint: uri,
            signer: Signer::new(),
            user_agent: HeaderValue::from_static(concat!(
                "distributary/",
                env!("CARGO_PKG_VERSION")
            )),
            skew_ms: AtomicI64::new(0),
            learned: Learned::new(self.format),
            shares: self.shares,
        })))
    }
}

/// An answer of status 200, not yet read.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) format: Format,
    pub(crate) body: Bytes,
    pub(crate) date: Option<Millis>,
}

/// An answer, and when the server gave it.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// What it says.
    pub answer: T,
    /// The server's time (its `Date`, in whole seconds, rounded down); `None` if it did not say.
    pub date: Option<Millis>,
}

impl Client {
    /// A client over `transport`, for the rest of its settings.
    pub fn builder(transport: Arc<dyn Transport>) -> ClientBuilder {
        ClientBuilder {
            transport,
            credentials: Arc::new(Static::local()),
            clock: Clock::real(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            format: None,
            shares: Shares::new(TransportSettings::default().writes),
        }
    }

    /// The region that it signs for.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Where it sends to.
    pub fn endpoint(&self) -> String {
        self.0.endpoint.to_string()
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// One output's part of the connections for writing.
    pub(crate) fn share(&self) -> Share {
        self.0.shares.join()
    }

    /// True if `other` writes to the same server with the same account, as far as this can be known.
    pub fn same_server(&self, other: &Self) -> bool {
        self.0.endpoint == other.0.endpoint && self.0.region == other.0.region
    }

    /// A call that concerns no one stream (`ListStreams`, `DescribeLimits`), tried a few times.
    ///
    /// # Errors
    /// [`Trouble`] with the last attempt's failure.
    pub async fn call<R: Request>(&self, request: &R) -> Result<Answered<R::Answer>, Trouble> {
        let mut attempt = 0;
        loop {
            match self.call_once(request, CALL_DEADLINE).await {
                Ok(answered) => return Ok(answered),
                Err(error) => {
                    self.wait_or_give_up(&mut attempt, error, R::OPERATION, None)
                        .await?
                }
            }
        }
    }

    /// A call, once.
    pub(crate) async fn call_once<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<Answered<R::Answer>, CallError> {
        self.read_call(request, deadline, |raw| {
            codec::decode_answer(raw.format, &raw.body)
        })
        .await
    }

    /// Waits before the next attempt, or gives the failure back if there should be none.
    async fn wait_or_give_up(
        &self,
        attempt: &mut u32,
        error: CallError,
        operation: Operation,
        stream: Option<&str>,
    ) -> Result<(), Trouble> {
        *attempt += 1;
        let again = match error.kind() {
            TroubleKind::Throttled | TroubleKind::Unavailable => *attempt < ATTEMPTS,
            TroubleKind::Unauthenticated
            | TroubleKind::Denied
            | TroubleKind::Missing
            | TroubleKind::Invalid
            | TroubleKind::Unintelligible => false,
        };
        if !again {
            return Err(self.trouble(error, operation, stream));
        }
        let longest = BACKOFF * 2u32.pow(*attempt - 1);
        let wait = longest / 2 + self.0.clock.jitter(longest / 2);
        tracing::debug!(%operation, attempt = *attempt, ?wait, error = ?error, "a call failed and is tried again");
        self.0.clock.sleep(wait).await;
        Ok(())
    }

    /// `error` as the engine takes it.
    pub(crate) fn trouble(
        &self,
        error: CallError,
        operation: Operation,
        stream: Option<&str>,
    ) -> Trouble {
        let endpoint = self.0.endpoint.to_string();
        let at = Where {
            operation,
            stream,
            region: &self.0.region,
            endpoint: endpoint.trim_end_matches('/'),
        };
        error.into_trouble(at)
    }

    /// Signs `body` and sends it; signs again if the credentials have expired or the clock is wrong. Status 200 or an
    /// error.
    pub(crate) async fn exchange(
        &self,
        operation: Operation,
        format: Format,
        body: &RequestBody,
        shared_hash: Option<&digest::Context>,
        deadline: Duration,
    ) -> Result<RawAnswer, CallError> {
        let inner = &*self.0;
        let until = inner.clock.now().plus(deadline);
        let mut credentials = self
            .within(until, deadline, inner.credentials.get())
            .await?;
        let (mut renewed, mut set) = (false, false);
        for _ in 0..SIGNINGS {
            let unsigned = UnsignedRequest {
                endpoint: &inner.endpoint,
                operation,
                format,
                region: &inner.region,
                now_ms: inner.clock.wall().0 + inner.skew_ms.load(Ordering::Relaxed),
            };
            let signed = inner
                .signer
                .request(&unsigned, &credentials, body.clone(), shared_hash);
            let mut request = signed.map_err(CallError::Sign)?;
            request
                .headers_mut()
                .insert(USER_AGENT, inner.user_agent.clone());
            let left = until.since(inner.clock.now());
            let response = inner
                .transport
                .call(request, left)
                .await
                .map_err(CallError::Transport)?;
            let in_cbor = is_cbor(&response);
            let read = read(response);
            // An answer in CBOR shows that it is spoken there, unless it says that nothing was understood.
            if in_cbor
                && !read
                    .as_ref()
                    .is_err_and(|(error, _)| self.may_lack_cbor(error))
            {
                self.cbor_works();
            }
            let (error, date) = match read {
                Ok(raw) => return Ok(raw),
                Err(failed) => failed,
            };
            match error.code().map_or(Signature::Fine, signature) {
                Signature::Stale if !renewed => {
                    renewed = true;
                    credentials = self
                        .within(until, deadline, inner.credentials.renew(&credentials))
                        .await?;
                }
                Signature::WrongTime if !set && self.set_clock(unsigned.now_ms, date) => set = true,
                Signature::Stale | Signature::WrongTime | Signature::Fine => return Err(error),
            }
        }
        // Two things can be mended, each once; the loop has one round more.
        let error = ApiError::new(
            ErrorCode::ExpiredToken,
            "the credentials are refused again and again",
        );
        Err(CallError::Api(error))
    }

    /// Credentials, within the call's deadline. If they don't come, nothing was sent.
    async fn within(
        &self,
        until: Instant,
        deadline: Duration,
        credentials: impl Future<Output = Result<Credentials, CredentialsError>>,
    ) -> Result<Credentials, CallError> {
        let left = until.since(self.0.clock.now());
        let got = self.0.clock.timeout(left, credentials).await;
        let timeout =
            || CredentialsError::Failed(Arc::new(TransportError::Timeout { after: deadline }));
        got.unwrap_or_else(|| Err(timeout()))
            .map_err(CallError::Credentials)
    }

    /// Learns the server's time from its refusal; `true` if it differs enough to have been the reason.
    fn set_clock(&self, signed_ms: i64, date: Option<Millis>) -> bool {
        let Some(Millis(server)) = date else {
            return false;
        };
        let off = Duration::from_millis(server.abs_diff(signed_ms));
        if off < SKEW_MIN {
            return false;
        }
        let skew = server - self.0.clock.wall().0;
        self.0.skew_ms.store(skew, Ordering::Relaxed);
        tracing::warn!(
            seconds = skew / 1000,
            "this machine's clock differs from the server's; signing with the server's time"
        );
        true
    }
}

/// What an error says about a request's signature.
enum Signature {
    /// Nothing.
    Fine,
    /// Other credentials may do.
    Stale,
    /// Another time may do.
    WrongTime,
}

fn signature(code: &ErrorCode) -> Signature {
    match code {
        ErrorCode::ExpiredToken
        | ErrorCode::ExpiredTokenOld
        | ErrorCode::UnrecognizedClient
        | ErrorCode::InvalidClientTokenId => Signature::Stale,
        ErrorCode::RequestTimeTooSkewed
        | ErrorCode::RequestExpired
        | ErrorCode::InvalidSignature
        | ErrorCode::SignatureDoesNotMatch => Signature::WrongTime,
        _ => Signature::Fine,
    }
}

/// True if whoever answered speaks CBOR, in success or failure.
fn is_cbor(response: &Response) -> bool {
    let ResponseBody::Full(body) = response.body() else {
        return false;
    };
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    content_type.and_then(Format::from_content_type) == Some(Format::Cbor)
        && codec::sniff(content_type, body) == Format::Cbor
}

/// Tells success from failure; gives the server's time with either.
fn read(response: Response) -> Result<RawAnswer, (CallError, Option<Millis>)> {
    let (parts, body) = response.into_parts();
    let date = date_of(&parts.headers);
    let ResponseBody::Full(body) = body else {
        let reason = "an event stream where none was asked for".to_owned();
        return Err((
            CallError::Undecodable(CodecError::Inconsistent { reason }),
            date,
        ));
    };
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let status = parts.status.as_u16();
    if status == 200 {
        return Ok(RawAnswer {
            format: codec::sniff(content_type, &body),
            body,
            date,
        });
    }
    let ours = content_type.is_some_and(|t| Format::from_content_type(t).is_some())
        || ["x-amzn-requestid", "x-amzn-errortype"]
            .iter()
            .any(|name| parts.headers.contains_key(*name));
    let error = ApiError::decode(status, &parts.headers, &body);
    Err((
        if ours {
            CallError::Api(error)
        } else {
            CallError::Foreign(error)
        },
        date,
    ))
}

fn date_of(headers: &HeaderMap) -> Option<Millis> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Millis)
}

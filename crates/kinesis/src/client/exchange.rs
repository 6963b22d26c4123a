//! One exchange with the server: signs a request, sends the request, and tells success from
//! failure.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use distributary_core::clock::{Instant, Millis};
use distributary_core::secrets;
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::sigv4::{Credentials, UnsignedRequest};
use distributary_wire::transport::{RequestBody, Response, ResponseBody};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use ring::digest;

use super::{CallError, Client};
use crate::credentials::{self, CredentialsError};
use crate::transport::AnswerLimit;

/// A smaller difference between this machine's clock and the server's is not the reason for a
/// refused signature: AWS allows five minutes.
const SKEW_MIN: Duration = Duration::from_secs(60);
/// Signatures of one exchange: the first one, one with renewed credentials, one at the server's
/// time.
const SIGNATURES_MAX: u32 = 3;

/// An answer of status 200, not yet decoded.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) format: Format,
    pub(crate) body: Bytes,
    pub(crate) date: Option<Millis>,
}

/// An answer of any other status, or one that is no answer of Kinesis.
struct FailedAnswer {
    error: CallError,
    date: Option<Millis>,
}

/// A body to sign and send, before `until`.
struct Unsigned<'a> {
    operation: Operation,
    format: Format,
    body: &'a RequestBody,
    shared_hash: Option<&'a digest::Context>,
    until: Instant,
}

/// The corrections of a refused signature; each is made once in an exchange.
#[derive(Default)]
struct Corrections {
    credentials_renewed: bool,
    clock_set: bool,
}

impl Client {
    /// Signs `body` and sends it; signs again if the credentials have expired or the clock is
    /// wrong. Returns an answer of status 200, or an error.
    pub(crate) async fn exchange(
        &self,
        operation: Operation,
        format: Format,
        body: &RequestBody,
        shared_hash: Option<&digest::Context>,
        deadline: Duration,
    ) -> Result<RawAnswer, CallError> {
        let shared = &*self.shared;
        let unsigned = Unsigned {
            operation,
            format,
            body,
            shared_hash,
            until: shared.clock.now().plus(deadline),
        };
        let getting = shared.credentials.get();
        let mut credentials = self.within(unsigned.until, deadline, getting).await?;

        let mut made = Corrections::default();
        for _ in 0..SIGNATURES_MAX {
            let signed_ms = shared.clock.wall().0 + shared.skew_ms.load(Ordering::Relaxed);
            let (response, proof) = self.send(&unsigned, &credentials, signed_ms).await?;
            let FailedAnswer { error, date } = match self.read(response) {
                Ok(raw) => return Ok(raw),
                Err(failed) => failed,
            };
            // Servers repeat the signed request in a refusal.
            remember_proof(&proof, &credentials);

            match signature(&error) {
                Signature::Stale if !made.credentials_renewed => {
                    made.credentials_renewed = true;
                    let renewing = shared.credentials.renew(&credentials);
                    let renewed = self.within(unsigned.until, deadline, renewing).await?;
                    if renewed == credentials {
                        return Err(error);
                    }
                    credentials = renewed;
                }
                Signature::WrongTime if !made.clock_set && self.set_clock(signed_ms, date) => {
                    made.clock_set = true;
                }
                Signature::Stale | Signature::WrongTime | Signature::Fine => return Err(error),
            }
        }

        // Unreachable: two corrections are made once each, and the loop has one round more.
        let text = "the credentials are refused again and again";
        let error = ApiError::new(ErrorCode::ExpiredToken, text);
        Err(CallError::Api(error))
    }

    /// Signs a request at the time `signed_ms`, and sends the request. Returns the answer, and the
    /// signature that was sent.
    async fn send(
        &self,
        unsigned: &Unsigned<'_>,
        credentials: &Credentials,
        signed_ms: i64,
    ) -> Result<(Response, Option<HeaderValue>), CallError> {
        let shared = &*self.shared;
        let head = UnsignedRequest {
            endpoint: &shared.endpoint,
            operation: unsigned.operation,
            format: unsigned.format,
            region: &shared.region,
            now_ms: signed_ms,
        };
        let body = unsigned.body.clone();
        let signed = shared
            .signer
            .request(&head, credentials, body, unsigned.shared_hash);
        let mut request = signed.map_err(CallError::Sign)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, shared.user_agent.clone());
        let proof = headers.get(AUTHORIZATION).cloned();
        let limit = AnswerLimit(limits::answer_bytes(unsigned.operation));
        let extensions = request.extensions_mut();
        extensions.insert(self.class);
        extensions.insert(limit);

        let left = unsigned.until.since(shared.clock.now());
        let sending = shared.transport.call(request, left);
        let response = sending.await.map_err(CallError::Transport)?;
        Ok((response, proof))
    }

    /// Tells success from failure, and notes an answer that shows that the server speaks CBOR.
    fn read(&self, response: Response) -> Result<RawAnswer, FailedAnswer> {
        let in_cbor = is_cbor(&response);
        let read = read(response);

        let error = read.as_ref().err().map(|failed| &failed.error);
        if in_cbor && !error.is_some_and(|error| self.may_lack_cbor(error)) {
            self.cbor_answered();
        }
        read
    }

    /// Credentials, within the call's deadline. Without credentials nothing is sent.
    async fn within(
        &self,
        until: Instant,
        deadline: Duration,
        credentials: impl Future<Output = Result<Credentials, CredentialsError>>,
    ) -> Result<Credentials, CallError> {
        let clock = &self.shared.clock;
        let got = clock.timeout(until.since(clock.now()), credentials).await;
        got.unwrap_or(Err(CredentialsError::Slow(deadline)))
            .map_err(CallError::Credentials)
    }

    /// Takes over the server's time from a refusal. True if the times differ enough to have been
    /// the reason.
    fn set_clock(&self, signed_ms: i64, date: Option<Millis>) -> bool {
        let Some(Millis(server)) = date else {
            return false;
        };
        let difference = Duration::from_millis(server.abs_diff(signed_ms));
        if difference < SKEW_MIN {
            return false;
        }

        let skew = server - self.shared.clock.wall().0;
        self.shared.skew_ms.store(skew, Ordering::Relaxed);
        tracing::warn!(
            seconds = skew / 1000,
            "this machine's clock differs from the server's; signing with the server's time"
        );
        true
    }
}

fn remember_proof(proof: &Option<HeaderValue>, credentials: &Credentials) {
    credentials::remember(credentials);

    let Some(proof) = proof else {
        return;
    };
    let Ok(proof) = proof.to_str() else {
        return;
    };
    if let Some((_, signature)) = proof.rsplit_once('=') {
        secrets::remember(signature);
    }
}

/// The state of a request's signature, as far as an error shows that state.
enum Signature {
    /// Not the reason of the error.
    Fine,
    /// Other credentials may succeed.
    Stale,
    /// Another time may succeed.
    WrongTime,
}

fn signature(error: &CallError) -> Signature {
    let (CallError::Api(error) | CallError::Foreign(error)) = error else {
        return Signature::Fine;
    };
    match &error.code {
        // Kinesis answers 400; a gateway before it, or a session that was revoked, 401.
        _ if error.status == 401 => Signature::Stale,
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

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// True if the answer is in CBOR, be it success or failure.
fn is_cbor(response: &Response) -> bool {
    let ResponseBody::Full(body) = response.body() else {
        return false;
    };
    let content_type = content_type(response.headers());
    content_type.and_then(Format::from_content_type) == Some(Format::Cbor)
        && codec::sniff(content_type, body) == Format::Cbor
}

/// Tells success from failure, and returns the server's time with both.
fn read(response: Response) -> Result<RawAnswer, FailedAnswer> {
    let (parts, body) = response.into_parts();
    let date = date_of(&parts.headers);
    let ResponseBody::Full(body) = body else {
        let reason = "an event stream where none was asked for".to_owned();
        let error = CallError::Undecodable(CodecError::Inconsistent { reason });
        return Err(FailedAnswer { error, date });
    };

    let content_type = content_type(&parts.headers);
    let status = parts.status.as_u16();
    if status == 200 {
        return Ok(RawAnswer {
            format: codec::sniff(content_type, &body),
            body,
            date,
        });
    }

    let api_error = ApiError {
        retry_after: retry_after(&parts.headers, date),
        ..ApiError::decode(status, &parts.headers, &body)
    };
    let error = if is_of_aws(&parts.headers) {
        CallError::Api(api_error)
    } else {
        CallError::Foreign(api_error)
    };
    Err(FailedAnswer { error, date })
}

/// True if an error has the marks of the protocol, so that no proxy or other service wrote it.
fn is_of_aws(headers: &HeaderMap) -> bool {
    let has_format = content_type(headers).is_some_and(|t| Format::from_content_type(t).is_some());
    let marks = ["x-amzn-requestid", "x-amzn-errortype"];
    has_format || marks.iter().any(|name| headers.contains_key(*name))
}

/// The wait that the server asks for: seconds, or a date, which is compared with the server's own.
fn retry_after(headers: &HeaderMap, date: Option<Millis>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let wait = until.0 - date?.0;
    let wait = u64::try_from(wait).ok()?;
    Some(Duration::from_millis(wait))
}

fn date_of(headers: &HeaderMap) -> Option<Millis> {
    let date = headers.get(DATE)?;
    http_date(date.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Millis> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Millis)
}

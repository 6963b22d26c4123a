//! AWS Signature Version 4 for the requests that this protocol has: `POST`s with a body to one path.
//!
//! Source: [Create a signed request](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

use http::{HeaderMap, HeaderValue, Uri};
use ring::digest;

use crate::codec::Format;
use crate::op::Operation;
use crate::transport::{Request, RequestBody};

/// The service in every credential scope here.
pub const SERVICE: &str = "kinesis";

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Such as `AKIA…`.
    pub access_key_id: String,
    /// Its secret. Not shown by `Debug`.
    pub secret_access_key: String,
    /// Of temporary credentials. Not shown by `Debug`.
    pub session_token: Option<String>,
}

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// Scheme, host and port, and perhaps a path, which the request goes to; `/` if it has none.
    pub endpoint: &'a Uri,
    /// The operation.
    pub operation: Operation,
    /// The encoding of the body (its `Content-Type`).
    pub format: Format,
    /// The region of the credential scope.
    pub region: &'a str,
    /// Now, in milliseconds since 1970, by the server's clock as far as known.
    pub now_ms: i64,
}

/// Signs requests; keeps the signing key of the last day, region and credentials. Clones and threads share it by
/// reference.
#[derive(Debug, Default)]
pub struct Signer {}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The endpoint has no host.
    #[error("the endpoint {endpoint} has no host; give it as https://host[:port]")]
    NoHost {
        /// The endpoint as given.
        endpoint: String,
    },
    /// A credential or the host has characters that no header can carry.
    #[error("the {what} has characters that an HTTP header cannot carry; check where it was read from")]
    BadHeader {
        /// Which.
        what: &'static str,
    },
    /// The time is outside the years 0 to 9999.
    #[error("the time {now_ms} ms since 1970 cannot be signed; check the clock")]
    BadTime {
        /// The time as given.
        now_ms: i64,
    },
}

impl Signer {
    /// A signer with nothing kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// The whole request: method, URI, `Content-Type`, `X-Amz-Target`, `X-Amz-Date`, `Host`, `Authorization` and, with
    /// temporary credentials, `X-Amz-Security-Token`. Headers may be added to it (`User-Agent`); these may not be changed.
    ///
    /// `shared_hash` is the SHA-256 state after `body.shared` if it is at hand ([`SharedBody`](crate::hot::SharedBody));
    /// otherwise the whole body is hashed.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn request(
        &self,
        unsigned: &Unsigned<'_>,
        credentials: &Credentials,
        body: RequestBody,
        shared_hash: Option<&digest::Context>,
    ) -> Result<Request, SignError> {
        todo!()
    }
}

/// What a server reads of a signature without checking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The access key that the request says it is signed with.
    pub access_key_id: String,
    /// The day, such as `20260131`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service.
    pub service: String,
}

/// Why a request has no usable signature. A server that wants one answers as [`ErrorCode`](crate::error::ErrorCode) says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Neither an `Authorization` header nor a presigned query: `MissingAuthenticationTokenException`.
    #[error("Missing Authentication Token")]
    Missing,
    /// One that lacks parts or is of another kind: `IncompleteSignatureException`.
    #[error("{message}")]
    Incomplete {
        /// What is missing, in AWS's words.
        message: String,
    },
}

/// Reads who a request says it is from: its `Authorization` header, else the query of a presigned URL.
///
/// # Errors
/// [`ClaimsError`].
pub fn claims(headers: &HeaderMap<HeaderValue>, query: Option<&str>) -> Result<Claims, ClaimsError> {
    todo!()
}

//! AWS Signature Version 4 for the requests that this protocol has: `POST`s with a body to one path.
//!
//! Source: [Create a signed request](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};
use ring::{digest, hmac};

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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("temporary", &self.session_token.is_some())
            .finish_non_exhaustive()
    }
}

/// A request to sign.
#[derive(Clone, Copy, Debug)]
pub struct UnsignedRequest<'a> {
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

/// Signs requests; keeps the signing key of the last day, region and credentials, so use one for each set of them.
/// Threads share it by reference.
#[derive(Default)]
pub struct Signer {
    kept: Mutex<Option<KeptKey>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// A signing key, and what it was derived from.
struct KeptKey {
    secret: String,
    day: String,
    region: String,
    key: hmac::Key,
}

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
    #[error(
        "the {what} has characters that an HTTP header cannot carry; check where it was read from"
    )]
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
        unsigned: &UnsignedRequest<'_>,
        credentials: &Credentials,
        body: RequestBody,
        shared_hash: Option<&digest::Context>,
    ) -> Result<Request, SignError> {
        let (path, host) = target(unsigned.endpoint)?;
        let time = amz_date(unsigned.now_ms).ok_or(SignError::BadTime {
            now_ms: unsigned.now_ms,
        })?;
        let day = &time[..8];
        let body_hash = hash(&body, shared_hash);
        let token = credentials.session_token.as_deref();
        let canonical = canonical_request(unsigned, &path, &host, &time, token, body_hash.as_ref());

        let scope = format!("{day}/{}/{SERVICE}/aws4_request", unsigned.region);
        let mut to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n");
        push_hex(
            &mut to_sign,
            digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref(),
        );
        let signature = hmac::sign(
            &self.key(credentials, day, unsigned.region),
            to_sign.as_bytes(),
        );
        let mut authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature=",
            credentials.access_key_id,
            signed_headers(token),
        );
        push_hex(&mut authorization, signature.as_ref());

        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = unsigned.endpoint.clone();
        let headers = request.headers_mut();
        let value = |what, text: &str| {
            HeaderValue::from_str(text).map_err(|_| SignError::BadHeader { what })
        };
        headers.insert(HOST, value("host", &host)?);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(unsigned.format.content_type()),
        );
        headers.insert(
            X_AMZ_TARGET,
            HeaderValue::from_static(unsigned.operation.target()),
        );
        headers.insert(X_AMZ_DATE, value("time", &time)?);
        if let Some(token) = token {
            let mut token = value("session token", token)?;
            token.set_sensitive(true);
            headers.insert(X_AMZ_SECURITY_TOKEN, token);
        }
        let mut authorization = value("access key", &authorization)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    /// The signing key of a day and region; derived only if it is not the one kept.
    fn key(&self, credentials: &Credentials, day: &str, region: &str) -> hmac::Key {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(k) = kept.as_ref()
            && k.day == day
            && k.region == region
            && k.secret == credentials.secret_access_key
        {
            return k.key.clone();
        }
        let key = derive_key(&credentials.secret_access_key, day, region);
        *kept = Some(KeptKey {
            secret: credentials.secret_access_key.clone(),
            day: day.to_owned(),
            region: region.to_owned(),
            key: key.clone(),
        });
        key
    }
}

const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

fn derive_key(secret: &str, day: &str, region: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let mut next = key(format!("AWS4{secret}").as_bytes());
    for part in [day, region, SERVICE, "aws4_request"] {
        next = key(hmac::sign(&next, part.as_bytes()).as_ref());
    }
    next
}

/// The canonical path and the `Host` of an endpoint; a default port is left out, as every HTTP client does.
fn target(endpoint: &Uri) -> Result<(String, String), SignError> {
    let none = || SignError::NoHost {
        endpoint: endpoint.to_string(),
    };
    let host = endpoint
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(none)?;
    let default_port = if endpoint.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let host = match endpoint.port_u16() {
        Some(port) if port != default_port => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    // Every service but S3 has the path encoded once more than it goes over the wire.
    let mut path = String::with_capacity(1);
    for byte in endpoint.path().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                path.push(char::from(byte));
            }
            _ => {
                path.push('%');
                path.push(char::from(HEX_UPPER[usize::from(byte >> 4)]));
                path.push(char::from(HEX_UPPER[usize::from(byte & 15)]));
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok((path, host))
}

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push(char::from(HEX_LOWER[usize::from(byte >> 4)]));
        out.push(char::from(HEX_LOWER[usize::from(byte & 15)]));
    }
}

/// SHA-256 of a body, of whose shared part it may be known already.
fn hash(body: &RequestBody, shared_hash: Option<&digest::Context>) -> digest::Digest {
    let mut hash = match shared_hash {
        Some(hash) => hash.clone(),
        None => {
            let mut hash = digest::Context::new(&digest::SHA256);
            hash.update(&body.shared);
            hash
        }
    };
    hash.update(&body.tail);
    hash.finish()
}

const fn signed_headers(token: Option<&str>) -> &'static str {
    match token {
        None => "content-type;host;x-amz-date;x-amz-target",
        Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
    }
}

fn canonical_request(
    unsigned: &UnsignedRequest<'_>,
    path: &str,
    host: &str,
    time: &str,
    token: Option<&str>,
    body_hash: &[u8],
) -> String {
    let mut out = String::with_capacity(400 + token.map_or(0, str::len));
    let content_type = unsigned.format.content_type();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "POST\n{path}\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{time}\n"
    );
    if let Some(token) = token {
        let _ = writeln!(out, "x-amz-security-token:{}", token.trim());
    }
    let _ = write!(
        out,
        "x-amz-target:{}\n\n{}\n",
        unsigned.operation.target(),
        signed_headers(token)
    );
    push_hex(&mut out, body_hash);
    out
}

/// A time as `20260131T235959Z`; `None` outside of the years 0 to 9999.
pub fn amz_date(now_ms: i64) -> Option<String> {
    let seconds = now_ms.div_euclid(1000);
    let (days, in_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years; the year starts in March, so that the leap day is its last.
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"))
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
pub fn claims(
    headers: &HeaderMap<HeaderValue>,
    query: Option<&str>,
) -> Result<Claims, ClaimsError> {
    let header = headers
        .get(AUTHORIZATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    let presigned = query.filter(|query| query.contains("X-Amz-Algorithm="));
    match (header, presigned) {
        (Some(header), _) => claims_of_header(
            &header,
            headers.contains_key(X_AMZ_DATE) || headers.contains_key("date"),
        ),
        (None, Some(query)) => claims_of_query(query),
        (None, None) => Err(ClaimsError::Missing),
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
fn claims_of_header(header: &str, dated: bool) -> Result<Claims, ClaimsError> {
    let parts = || {
        header
            .split([',', ' '])
            .skip(1)
            .filter_map(|part| part.trim().split_once('='))
    };
    let part = |name: &str| {
        parts()
            .find(|(n, v)| *n == name && !v.is_empty())
            .map(|(_, value)| value)
    };
    let mut message = String::new();
    for name in ["Credential", "Signature", "SignedHeaders"] {
        if part(name).is_none() {
            let _ = write!(
                message,
                "Authorization header requires '{name}' parameter. "
            );
        }
    }
    if !dated {
        message.push_str(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        );
    }
    match part("Credential") {
        Some(credential) if message.is_empty() => claims_of_credential(credential),
        _ => Err(ClaimsError::Incomplete {
            message: format!("{message}Authorization={header}"),
        }),
    }
}

/// The query of a presigned URL.
fn claims_of_query(query: &str) -> Result<Claims, ClaimsError> {
    let parts = || query.split('&').filter_map(|part| part.split_once('='));
    let part = |name: &str| {
        parts()
            .find(|(n, v)| *n == name && !v.is_empty())
            .map(|(_, value)| value)
    };
    let mut message = String::new();
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "X-Amz-Date",
    ] {
        if part(name).is_none() {
            let _ = write!(
                message,
                "AWS query-string parameters must include '{name}'. "
            );
        }
    }
    match part("X-Amz-Credential") {
        Some(credential) if message.is_empty() => {
            claims_of_credential(&percent_decoded(credential))
        }
        _ => Err(ClaimsError::Incomplete {
            message: format!("{message}Re-examine the query-string parameters."),
        }),
    }
}

/// `<access key>/<day>/<region>/<service>/aws4_request`.
fn claims_of_credential(credential: &str) -> Result<Claims, ClaimsError> {
    let parts: Vec<&str> = credential.splitn(6, '/').collect();
    match parts[..] {
        [key, date, region, service, "aws4_request"]
            if [key, date, region, service].iter().all(|p| !p.is_empty()) =>
        {
            Ok(Claims {
                access_key_id: key.to_owned(),
                date: date.to_owned(),
                region: region.to_owned(),
                service: service.to_owned(),
            })
        }
        _ => Err(ClaimsError::Incomplete {
            message: format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. \
                 keyid/date/region/service/aws4_request, got '{credential}'"
            ),
        }),
    }
}

fn percent_decoded(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are less than 256.
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

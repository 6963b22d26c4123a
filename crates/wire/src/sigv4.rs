//! AWS Signature Version 4 for the requests of this protocol: `POST` to one path, with a body.
//!
//! Source: [Create a signed request][signed-request].
//!
//! [signed-request]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};
use ring::{digest, hmac};

use crate::codec::Format;
use crate::op::Operation;
use crate::transport::{Request, RequestBody};

/// The service in the credential scope.
pub const SERVICE: &str = "kinesis";

/// The credentials that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key, such as `AKIA…`.
    pub access_key_id: String,
    /// The secret of the access key. Not shown by `Debug`.
    pub secret_access_key: String,
    /// The token of temporary credentials. Not shown by `Debug`.
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
    /// Scheme, host, port and path of the server; without a path the request goes to `/`.
    pub endpoint: &'a Uri,
    /// The operation.
    pub operation: Operation,
    /// The encoding of the body, sent as `Content-Type`.
    pub format: Format,
    /// The region of the credential scope.
    pub region: &'a str,
    /// The time, in milliseconds since 1970, by the server's clock as far as known.
    pub now_ms: i64,
}

/// Signs requests. Caches the signing key of the last day, region and credentials: use one signer
/// for each region and credentials. Threads can share a signer by reference.
#[derive(Default)]
pub struct Signer {
    cached: Mutex<Option<CachedKey>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// A signing key with the secret, day and region from which the key was derived.
struct CachedKey {
    secret: String,
    day: String,
    region: String,
    key: hmac::Key,
}

/// A request cannot be signed.
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
        "the {part} has characters that an HTTP header cannot carry; check where it was read from"
    )]
    BadHeader {
        /// The part of the request: `host`, `access key` or `session token`.
        part: &'static str,
    },
    /// The time is outside the years 0 to 9999.
    #[error("the time {now_ms} ms since 1970 cannot be signed; check the clock")]
    BadTime {
        /// The time as given.
        now_ms: i64,
    },
}

impl Signer {
    /// A signer with an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The signed request: method, URI, `Content-Type`, `X-Amz-Target`, `X-Amz-Date`, `Host`,
    /// `Authorization` and, with temporary credentials, `X-Amz-Security-Token`. The caller may add
    /// headers (`User-Agent`) but must not change these.
    ///
    /// `shared_hash` is the SHA-256 state after `body.shared`, if already known
    /// ([`SharedBody`](crate::hot::SharedBody)); with `None` the whole body is hashed.
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
        let host = host_header(unsigned.endpoint)?;
        let time = amz_date(unsigned.now_ms).ok_or(SignError::BadTime {
            now_ms: unsigned.now_ms,
        })?;
        let token = credentials.session_token.as_deref();

        let body_hash = body_hash(&body, shared_hash);
        let canonical = canonical_request(unsigned, &host, &time, token, body_hash.as_ref());
        let authorization = self.authorization(unsigned.region, credentials, &time, &canonical);

        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = unsigned.endpoint.clone();

        let headers = request.headers_mut();
        insert_signed_headers(headers, unsigned, &host, &time, token)?;
        let authorization = secret_header_value("access key", &authorization)?;
        headers.insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    /// The value of the `Authorization` header.
    fn authorization(
        &self,
        region: &str,
        credentials: &Credentials,
        time: &str,
        canonical: &str,
    ) -> String {
        let day = &time[..8];
        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");

        let mut to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n");
        let canonical_hash = digest::digest(&digest::SHA256, canonical.as_bytes());
        push_hex(&mut to_sign, canonical_hash.as_ref());
        let key = self.signing_key(credentials, day, region);
        let signature = hmac::sign(&key, to_sign.as_bytes());

        let mut authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature=",
            credentials.access_key_id,
            signed_headers(credentials.session_token.as_deref()),
        );
        push_hex(&mut authorization, signature.as_ref());
        authorization
    }

    /// The signing key of a day and region: the cached one if that fits, else a new one.
    fn signing_key(&self, credentials: &Credentials, day: &str, region: &str) -> hmac::Key {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cached.as_ref()
            && cached.day == day
            && cached.region == region
            && cached.secret == credentials.secret_access_key
        {
            return cached.key.clone();
        }

        let key = derive_key(&credentials.secret_access_key, day, region);
        *cached = Some(CachedKey {
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

/// Inserts the headers that [`signed_headers`] lists.
fn insert_signed_headers(
    headers: &mut HeaderMap,
    unsigned: &UnsignedRequest<'_>,
    host: &str,
    time: &str,
    token: Option<&str>,
) -> Result<(), SignError> {
    headers.insert(HOST, header_value("host", host)?);
    let content_type = unsigned.format.content_type();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let target = unsigned.operation.target();
    headers.insert(X_AMZ_TARGET, HeaderValue::from_static(target));
    headers.insert(X_AMZ_DATE, header_value("time", time)?);

    if let Some(token) = token {
        let token = secret_header_value("session token", token)?;
        headers.insert(X_AMZ_SECURITY_TOKEN, token);
    }
    Ok(())
}

/// A header value; `part` names the text in the error.
fn header_value(part: &'static str, text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::BadHeader { part })
}

/// A header value that `Debug` does not show.
fn secret_header_value(part: &'static str, text: &str) -> Result<HeaderValue, SignError> {
    let mut value = header_value(part, text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Derives the signing key by hashing the secret with each part of the credential scope.
fn derive_key(secret: &str, day: &str, region: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let mut next = key(format!("AWS4{secret}").as_bytes());
    for part in [day, region, SERVICE, "aws4_request"] {
        next = key(hmac::sign(&next, part.as_bytes()).as_ref());
    }
    next
}

/// The `Host` header of an endpoint. A default port is left out, as in every HTTP client.
fn host_header(endpoint: &Uri) -> Result<String, SignError> {
    let host = endpoint
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| SignError::NoHost {
            endpoint: endpoint.to_string(),
        })?;

    let default_port = match endpoint.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    Ok(match endpoint.port_u16() {
        Some(port) if port != default_port => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

/// The path of the canonical request: percent-encoded once more than on the wire, which all
/// services but S3 require.
fn canonical_path(endpoint: &Uri) -> String {
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
    path
}

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Appends bytes as hexadecimal digits.
fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push(char::from(HEX_LOWER[usize::from(byte >> 4)]));
        out.push(char::from(HEX_LOWER[usize::from(byte & 15)]));
    }
}

/// SHA-256 of a body; `shared_hash` is the state after the shared part, if already known.
fn body_hash(body: &RequestBody, shared_hash: Option<&digest::Context>) -> digest::Digest {
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

/// The names of the signed headers, sorted.
const fn signed_headers(token: Option<&str>) -> &'static str {
    match token {
        None => "content-type;host;x-amz-date;x-amz-target",
        Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
    }
}

/// The text whose hash is signed: method, path, query (none), headers, body hash.
fn canonical_request(
    unsigned: &UnsignedRequest<'_>,
    host: &str,
    time: &str,
    token: Option<&str>,
    body_hash: &[u8],
) -> String {
    let mut out = String::with_capacity(400 + token.map_or(0, str::len));
    let path = canonical_path(unsigned.endpoint);
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
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);

    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"))
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Source: [`civil_from_days`](https://howardhinnant.github.io/date_algorithms.html). Years start in
/// March, so that the leap day is the last day of a year; 400 years (146,097 days) are an era.
fn civil_date(days: i64) -> (i64, i64, i64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));

    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);

    // March is month 0; five months, March to July or August to December, have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The parts of a signature that a server reads without checking the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The access key of the signature.
    pub access_key_id: String,
    /// The day, such as `20260131`.
    pub date: String,
    /// The region.
    pub region: String,
    /// The service.
    pub service: String,
}

/// A request has no usable signature. Each kind names the
/// [`ErrorCode`](crate::error::ErrorCode) of AWS's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Neither an `Authorization` header nor a presigned query is there:
    /// `MissingAuthenticationTokenException`.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header or query lacks parts or is of another kind: `IncompleteSignatureException`.
    #[error("{message}")]
    Incomplete {
        /// The missing parts, in AWS's words.
        message: String,
    },
}

/// Reads the claims of a request: from the `Authorization` header, else from the query of a
/// presigned URL.
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
    let has_date = headers.contains_key(X_AMZ_DATE) || headers.contains_key("date");
    let presigned = query.filter(|query| query.contains("X-Amz-Algorithm="));

    match (header, presigned) {
        (Some(header), _) => claims_of_header(&header, has_date),
        (None, Some(query)) => claims_of_query(query),
        (None, None) => Err(ClaimsError::Missing),
    }
}

/// Reads `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
fn claims_of_header(header: &str, has_date: bool) -> Result<Claims, ClaimsError> {
    let parts = || header.split([',', ' ']).skip(1).map(str::trim);
    let part = |name: &str| find_part(parts(), name);
    let mut message: String = ["Credential", "Signature", "SignedHeaders"]
        .into_iter()
        .filter(|name| part(name).is_none())
        .map(|name| format!("Authorization header requires '{name}' parameter. "))
        .collect();
    if !has_date {
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

/// The value of the first part `name=value` with a value that is not empty.
fn find_part<'a>(parts: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    parts
        .filter_map(|part| part.split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

/// The parameters of a presigned URL.
const QUERY_PARAMETERS: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];

/// Reads the query of a presigned URL.
fn claims_of_query(query: &str) -> Result<Claims, ClaimsError> {
    let part = |name: &str| find_part(query.split('&'), name);
    let message: String = QUERY_PARAMETERS
        .into_iter()
        .filter(|name| part(name).is_none())
        .map(|name| format!("AWS query-string parameters must include '{name}'. "))
        .collect();

    match part("X-Amz-Credential") {
        Some(credential) if message.is_empty() => {
            claims_of_credential(&percent_decoded(credential))
        }
        _ => Err(ClaimsError::Incomplete {
            message: format!("{message}Re-examine the query-string parameters."),
        }),
    }
}

/// Reads `<access key>/<day>/<region>/<service>/aws4_request`.
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

/// Replaces each `%` with two hexadecimal digits by the byte.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex_digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));

    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, hex_digit(at + 1), hex_digit(at + 2)) {
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

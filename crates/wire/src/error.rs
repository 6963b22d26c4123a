//! Errors: the answer of a server that refuses a request or fails.
//!
//! Sources: the errors of each operation and [Common errors][common].
//!
//! [common]: https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Format};

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The code of an error, in the protocol the member `__type`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $text, "`, HTTP status ", $status, ".")]
                $(#[$meta])*
                $variant,
            )*
            /// A code that is not in this list.
            Other(String),
        }

        impl ErrorCode {
            /// Every code of the list.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as the protocol spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(code) => code,
                }
            }

            /// The HTTP status that AWS sends with the code; 400 for [`Other`](Self::Other).
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Other(_) => 400,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(code: &str) -> Self {
                match code {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

codes! {
    ResourceNotFound = "ResourceNotFoundException", 400;
    ResourceInUse = "ResourceInUseException", 400;
    LimitExceeded = "LimitExceededException", 400;
    InvalidArgument = "InvalidArgumentException", 400;
    Validation = "ValidationException", 400;
    Serialization = "SerializationException", 400;
    UnknownOperation = "UnknownOperationException", 400;
    ProvisionedThroughputExceeded = "ProvisionedThroughputExceededException", 400;
    ExpiredIterator = "ExpiredIteratorException", 400;
    ExpiredNextToken = "ExpiredNextTokenException", 400;
    AccessDenied = "AccessDeniedException", 400;
    DryRunOperation = "DryRunOperationException", 400;
    KmsAccessDenied = "KMSAccessDeniedException", 400;
    KmsDisabled = "KMSDisabledException", 400;
    KmsInvalidState = "KMSInvalidStateException", 400;
    KmsNotFound = "KMSNotFoundException", 400;
    KmsOptInRequired = "KMSOptInRequired", 400;
    KmsThrottling = "KMSThrottlingException", 400;
    InternalFailure = "InternalFailure", 500;
    /// Sent inside event streams and as the code of single `PutRecords` entries.
    InternalFailureException = "InternalFailureException", 500;
    /// Sent by some services and proxies in place of `InternalFailure`.
    InternalServerError = "InternalServerError", 500;
    ServiceUnavailable = "ServiceUnavailable", 503;
    /// Sent by some services and proxies in place of `ServiceUnavailable`.
    ServiceUnavailableException = "ServiceUnavailableException", 503;
    Throttling = "ThrottlingException", 400;
    /// An older name of `ThrottlingException`.
    ThrottlingOld = "Throttling", 400;
    RequestLimitExceeded = "RequestLimitExceeded", 400;
    TooManyRequests = "TooManyRequestsException", 429;
    /// Also stands for a 413 without a code.
    RequestTooLarge = "RequestEntityTooLargeException", 413;
    RequestExpired = "RequestExpired", 400;
    RequestTimeTooSkewed = "RequestTimeTooSkewed", 403;
    ExpiredToken = "ExpiredTokenException", 400;
    /// Another spelling of `ExpiredTokenException`.
    ExpiredTokenOld = "ExpiredToken", 400;
    UnrecognizedClient = "UnrecognizedClientException", 400;
    InvalidSignature = "InvalidSignatureException", 400;
    SignatureDoesNotMatch = "SignatureDoesNotMatch", 403;
    IncompleteSignature = "IncompleteSignatureException", 400;
    MissingAuthenticationToken = "MissingAuthenticationTokenException", 400;
    InvalidClientTokenId = "InvalidClientTokenId", 403;
    NotAuthorized = "NotAuthorized", 400;
    OptInRequired = "OptInRequired", 403;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a body that become the message if the body has no message.
const EXCERPT_MAX: usize = 200;
/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 8 * 1024;

/// An error as the protocol carries it: a code and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}){}{message}", if message.is_empty() { "" } else { ": " })]
pub struct ApiError {
    /// The kind of error.
    pub code: ErrorCode,
    /// The explanation for people; may be empty.
    pub message: String,
    /// The HTTP status of the answer; 0 inside an event stream.
    pub status: u16,
    /// `x-amzn-RequestId`, which AWS support asks for.
    pub request_id: Option<String>,
    /// The wait that the server asked for (`Retry-After`), where the caller read that header.
    pub retry_after: Option<Duration>,
}

/// The body of an error as AWS writes it.
#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

/// The body of an error as any server writes it: older services write `Message`, and `code` for
/// `__type`. Of two members that mean the same, the one that is not null counts.
#[derive(Default, Deserialize)]
struct AnyErrorBody {
    #[serde(rename = "__type", default, deserialize_with = "codec::member::read")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "codec::member::read")]
    code: Option<String>,
    #[serde(default, deserialize_with = "codec::member::read")]
    message: Option<String>,
    #[serde(rename = "Message", default, deserialize_with = "codec::member::read")]
    message_old: Option<String>,
}

impl ApiError {
    /// An error with the HTTP status that AWS sends with the code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = code.status();
        Self {
            code,
            message: message.into(),
            status,
            request_id: None,
            retry_after: None,
        }
    }

    /// The body as AWS writes it: `__type` and, unless empty, `message`.
    pub fn encode(&self, format: Format) -> Bytes {
        codec::encode(
            format,
            &ErrorBody {
                kind: self.code.as_str(),
                message: &self.message,
            },
        )
    }

    /// Reads an answer with a status other than 200. Never fails: if the body is not an error body
    /// (empty, or the page of a proxy), the status gives the code.
    pub fn decode(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let (content_type, error_type) = (header("content-type"), header("x-amzn-errortype"));
        let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));

        Self {
            request_id: request_id.map(str::to_owned),
            ..Self::decode_body(status, content_type, body, error_type)
        }
    }

    /// As [`decode`](Self::decode), given the two headers that matter: `Content-Type` and
    /// `x-amzn-ErrorType`.
    pub fn decode_body(
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
        error_type: Option<&str>,
    ) -> Self {
        let format = codec::sniff(content_type, body);
        let read: AnyErrorBody = codec::decode(format, body).unwrap_or_default();

        let kind = read.kind.or(read.code);
        let kind = kind
            .as_deref()
            .or(error_type)
            .map(bare_code)
            .filter(|code| !code.is_empty());
        let code = kind.map_or_else(|| code_of_status(status), ErrorCode::from);

        let message = match read.message.or(read.message_old) {
            Some(mut message) => {
                message.truncate(message.floor_char_boundary(MESSAGE_MAX));
                message
            }
            None if kind.is_some() => String::new(),
            None => excerpt(body),
        };

        Self {
            status,
            ..Self::new(code, message)
        }
    }
}

/// `Code` out of `com.amazonaws.kinesis#Code:http://…`.
fn bare_code(kind: &str) -> &str {
    let kind = kind.split(':').next().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default().trim()
}

/// The code that stands for an HTTP status without a code. A bare 400 does not tell the reason, so
/// none of the protocol's refusals stands for 400.
fn code_of_status(status: u16) -> ErrorCode {
    match status {
        404 => ErrorCode::UnknownOperation,
        401 | 403 => ErrorCode::AccessDenied,
        413 => ErrorCode::RequestTooLarge,
        429 => ErrorCode::Throttling,
        502..=504 => ErrorCode::ServiceUnavailable,
        500.. => ErrorCode::InternalFailure,
        other => ErrorCode::Other(format!("HTTP {other}")),
    }
}

/// The start of a body that is not an error of the protocol, on one line; for an HTML or XML page
/// the text without the tags.
fn excerpt(body: &[u8]) -> String {
    // The limit counts text only: the first bytes of a page are mostly tags.
    let text: Vec<u8> = without_tags(body)
        .skip_while(u8::is_ascii_whitespace)
        .take(EXCERPT_MAX)
        .collect();
    let text = String::from_utf8_lossy(&text);

    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The bytes of a body; each tag of an HTML or XML page becomes a space.
fn without_tags(body: &[u8]) -> impl Iterator<Item = u8> {
    let is_page = body.trim_ascii_start().starts_with(b"<");
    let mut in_tag = false;
    body.iter().filter_map(move |byte| match byte {
        b'<' if is_page => {
            in_tag = true;
            Some(b' ')
        }
        b'>' if in_tag => {
            in_tag = false;
            None
        }
        byte => (!in_tag).then_some(*byte),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(status: u16, headers: &[(&'static str, &'static str)], body: &[u8]) -> ApiError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        ApiError::decode(status, &map, body)
    }

    #[test]
    fn every_code_comes_back_in_both_formats() {
        for code in ErrorCode::KNOWN
            .iter()
            .cloned()
            .chain([ErrorCode::Other("NewException".into())])
        {
            for format in Format::ALL {
                for message in ["", "Rate exceeded for shard \"s\" – 日本"] {
                    let sent = ApiError::new(code.clone(), message);
                    let headers = [
                        ("content-type", format.content_type()),
                        ("x-amzn-requestid", "r-1"),
                    ];
                    let read = decode(sent.status, &headers, &sent.encode(format));
                    assert_eq!(
                        read,
                        ApiError {
                            request_id: Some("r-1".into()),
                            ..sent
                        }
                    );
                }
            }
        }
    }

    #[test]
    fn the_ways_to_name_a_code() {
        let body =
            br#"{"__type":"com.amazonaws.kinesis.v20131202#ResourceNotFoundException","Message":"no"}"#;
        let read = decode(400, &[], body);
        assert_eq!(
            (read.code, read.message.as_str()),
            (ErrorCode::ResourceNotFound, "no")
        );

        let read = decode(
            400,
            &[],
            br#"{"code":"LimitExceededException","message":null,"Message":"m"}"#,
        );
        assert_eq!(
            (read.code, read.message.as_str()),
            (ErrorCode::LimitExceeded, "m")
        );

        let headers = [(
            "x-amzn-errortype",
            "ExpiredIteratorException:http://internal.amazon.com/coral/",
        )];
        assert_eq!(
            decode(400, &headers, b"{}").code,
            ErrorCode::ExpiredIterator
        );
        assert_eq!(decode(400, &headers, b"").code, ErrorCode::ExpiredIterator);

        // An indefinite map, as Jackson writes it.
        let body = b"\xbf\x66__type\x76SerializationException\xff";
        assert_eq!(decode(400, &[], body).code, ErrorCode::Serialization);
    }

    #[test]
    fn bodies_of_proxies_and_other_servers() {
        let html = decode(
            503,
            &[("content-type", "text/html")],
            b"<html>\n<b>busy</b>\0\xff</html>",
        );
        assert_eq!(html.code, ErrorCode::ServiceUnavailable);
        assert_eq!(html.message, "busy \u{fffd}");
        assert_eq!(html.to_string(), "ServiceUnavailable (503): busy \u{fffd}");

        assert_eq!(
            decode(403, &[], b"<Error><Code>No</Code><Message>never</Message>").message,
            "No never"
        );
        assert_eq!(
            decode(403, &[], b"if 1 < 2 & 2 > 1").message,
            "if 1 < 2 & 2 > 1"
        );
        assert_eq!(
            decode(503, &[], b"<html></html>").to_string(),
            "ServiceUnavailable (503)"
        );

        assert_eq!(decode(500, &[], b"").code, ErrorCode::InternalFailure);
        assert_eq!(decode(500, &[], b"").to_string(), "InternalFailure (500)");
        assert_eq!(decode(413, &[], b"").code, ErrorCode::RequestTooLarge);
        assert_eq!(
            decode(302, &[], b"").code,
            ErrorCode::Other("HTTP 302".into())
        );
        assert_eq!(
            decode(400, &[], b"Bad Request").code,
            ErrorCode::Other("HTTP 400".into())
        );
        assert_eq!(decode(404, &[], b"").code, ErrorCode::UnknownOperation);

        // A body of another shape gives no code, so the status does.
        assert_eq!(
            decode(500, &[], br#"{"__type":5}"#).code,
            ErrorCode::InternalFailure
        );
        assert_eq!(
            decode(500, &[], br#"{"__type":"#).code,
            ErrorCode::InternalFailure
        );
        assert_eq!(decode(429, &[], b"\xbf\xff").code, ErrorCode::Throttling);
    }
}

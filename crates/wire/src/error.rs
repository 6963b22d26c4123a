//! What a server answers in place of an answer.
//!
//! Sources: the errors of each operation and
//! [Common errors](https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html).

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Format};

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The code of an error, as `__type` names it.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $text, "`, HTTP status ", $status, ".")]
                $(#[$meta])*
                $variant,
            )*
            /// A code that this version does not know.
            Other(String),
        }

        impl ErrorCode {
            /// Every code that this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)*];

            /// As the protocol spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(code) => code,
                }
            }

            /// The HTTP status that AWS answers it with; 400 for codes not known.
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
    /// The form that appears inside event streams and as the code of single `PutRecords` entries.
    InternalFailureException = "InternalFailureException", 500;
    /// What some services and proxies say for the same.
    InternalServerError = "InternalServerError", 500;
    ServiceUnavailable = "ServiceUnavailable", 503;
    /// What some services and proxies say for the same.
    ServiceUnavailableException = "ServiceUnavailableException", 503;
    Throttling = "ThrottlingException", 400;
    /// The older name of the same.
    ThrottlingOld = "Throttling", 400;
    RequestLimitExceeded = "RequestLimitExceeded", 400;
    TooManyRequests = "TooManyRequestsException", 429;
    /// What a 413 means that says nothing else.
    RequestTooLarge = "RequestEntityTooLargeException", 413;
    RequestExpired = "RequestExpired", 400;
    RequestTimeTooSkewed = "RequestTimeTooSkewed", 403;
    ExpiredToken = "ExpiredTokenException", 400;
    /// Another spelling of the same.
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

/// Bytes of a body without a message of its own that are shown.
const EXCERPT: usize = 200;
/// Bytes of a message that are kept.
const MESSAGE_MAX: usize = 8 * 1024;

/// An error as the protocol carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}){}{message}", if message.is_empty() { "" } else { ": " })]
pub struct ApiError {
    /// What kind of error.
    pub code: ErrorCode,
    /// For people; may be empty.
    pub message: String,
    /// The HTTP status it came or goes with; 0 inside an event stream.
    pub status: u16,
    /// `x-amzn-RequestId`, which AWS support asks for.
    pub request_id: Option<String>,
}

/// The body of an error. AWS writes `message`, older services and some servers `Message`; with both, the one not null.
#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

/// As [`ErrorBody`], as tolerant as can be.
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
    /// An error with the status that AWS gives its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = code.status();
        Self {
            code,
            message: message.into(),
            status,
            request_id: None,
        }
    }

    /// The body, as AWS writes it: `__type` and, unless empty, `message`.
    pub fn encode(&self, format: Format) -> Bytes {
        codec::encode(
            format,
            &ErrorBody {
                kind: self.code.as_str(),
                message: &self.message,
            },
        )
    }

    /// Reads an answer with a status other than 200. Never fails: what is no error body at all (a proxy's page, nothing)
    /// is named by its status.
    pub fn decode(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let mut error = Self::decode_body(
            status,
            header("content-type"),
            body,
            header("x-amzn-errortype"),
        );
        error.request_id = header("x-amzn-requestid")
            .or_else(|| header("x-amz-request-id"))
            .map(str::to_owned);
        error
    }

    /// As [`decode`](Self::decode), from what counts of the headers: `Content-Type` and `x-amzn-ErrorType`.
    pub fn decode_body(
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
        error_type: Option<&str>,
    ) -> Self {
        let format = codec::sniff(content_type, body);
        let read: AnyErrorBody = codec::decode(format, body).unwrap_or_default();
        let said = read.message.or(read.message_old);
        let kind = read.kind.or(read.code);
        let kind = kind
            .as_deref()
            .or(error_type)
            .map(bare_code)
            .filter(|code| !code.is_empty());
        let code = kind.map_or_else(|| code_of_status(status), ErrorCode::from);
        let mut message = match said {
            Some(message) => message,
            None if kind.is_some() => String::new(),
            None => excerpt(body),
        };
        if message.len() > MESSAGE_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
        }
        Self {
            code,
            message,
            status,
            request_id: None,
        }
    }
}

/// The code of `com.amazonaws.kinesis#Code:http://…`.
fn bare_code(kind: &str) -> &str {
    let kind = kind.split(':').next().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default().trim()
}

/// What a status means that came without a code. A bare 400 says nothing of what is wrong, so it isn't taken for one of
/// the refusals that the protocol has.
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

/// The beginning of a body that is no error of the protocol, on one line; of a page what a person would read.
fn excerpt(body: &[u8]) -> String {
    let page = body.trim_ascii_start().starts_with(b"<");
    let mut within = false;
    let text = body.iter().filter_map(|byte| match byte {
        b'<' if page => {
            within = true;
            // What stands before and after are two words.
            Some(b' ')
        }
        b'>' if within => {
            within = false;
            None
        }
        byte => (!within).then_some(*byte),
    });
    // The head of a page has little to read in it: the limit is one of text.
    let text: Vec<u8> = text
        .skip_while(u8::is_ascii_whitespace)
        .take(EXCERPT)
        .collect();
    let text = String::from_utf8_lossy(&text);
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
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
    fn bodies_of_others() {
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
        // A body of another shape says nothing, but the status does.
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

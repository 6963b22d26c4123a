//! The parts that all outputs over an AWS SDK share: a client's settings, and the meaning of
//! errors.

use std::error::Error;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use distributary_core::output::{Refusal, Trouble, TroubleKind, Verdict};
use distributary_core::text::chain;
use distributary_kinesis::config::{ConnectError, ConnectOptions};
use distributary_wire::transport::TransportError;

use super::Answer;
use crate::kind::{BuildContext, BuildError};

/// The settings of a client: credentials of the role, the endpoint, no retries (the engine sends
/// again).
///
/// # Errors
/// [`ConnectError::NoRegion`].
pub(crate) async fn sdk(
    context: &BuildContext,
    options: &ConnectOptions,
) -> Result<SdkConfig, BuildError> {
    let sdk = context.connector.sdk_for_writes(options).await;
    if sdk.region().is_none() {
        return Err(ConnectError::NoRegion.into());
    }

    let mut builder = sdk
        .into_builder()
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &options.endpoint_url {
        builder.set_endpoint_url(Some(endpoint.clone()));
    }
    Ok(builder.build())
}

/// The meaning of an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing was written.
    Trouble(TroubleKind),
    /// A message of the request is the cause.
    Refused,
    /// The message is durable already.
    Durable,
}

/// Codes of one service with their meanings; other codes have the meanings of all AWS services.
pub(crate) type Codes = &'static [(&'static str, Meaning)];

/// Reads the errors of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    /// The kind, for messages.
    pub(crate) kind: &'static str,
    pub(crate) codes: Codes,
}

impl Errors {
    /// The answer that `error` stands for.
    pub(crate) fn answer<E>(&self, error: SdkError<E, HttpResponse>) -> Answer
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let error = context.err();
                let code = error.code().unwrap_or_default();
                let message = error.message().unwrap_or_default();
                self.of_service(code, message, context.raw())
            }
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(error) => self.not_delivered(error),
                None => Answer::Unknown(self.unavailable("the request failed")),
            },
            SdkError::ConstructionFailure(failure) => {
                let message = format!("the {} request cannot be made: {failure:?}", self.kind);
                let trouble = Trouble::new(TroubleKind::Invalid, message);
                Answer::Rejected(trouble)
            }
            SdkError::ResponseError(context) => {
                let status = context.raw().status().as_u16();
                let message = format!("{} answers {status} in an unknown form", self.kind);
                let trouble = Trouble::new(TroubleKind::Unintelligible, message);
                Answer::Unknown(trouble)
            }
            other => Answer::Unknown(self.unavailable(&chain(&other))),
        }
    }

    fn unavailable(&self, text: &str) -> Trouble {
        Trouble::new(TroubleKind::Unavailable, format!("{}: {text}", self.kind))
    }

    /// A request that got no answer.
    fn not_delivered(&self, error: &ConnectorError) -> Answer {
        let text = chain(error);
        let mut cause = error.source();
        while let Some(found) = cause {
            match found.downcast_ref::<TransportError>() {
                Some(error) if error.not_sent() => {
                    return Answer::Rejected(self.unavailable(&text));
                }
                Some(_) => return Answer::Unknown(self.unavailable(&text)),
                None => cause = found.source(),
            }
        }

        // Nothing is sent without credentials.
        let message = format!("{}: {text}", self.kind);
        let trouble = Trouble::new(TroubleKind::Unauthenticated, message);
        Answer::Rejected(trouble)
    }

    fn of_service(&self, code: &str, message: &str, response: &HttpResponse) -> Answer {
        let status = response.status().as_u16();
        let text = format!("{} answers {status} {code}: {message}", self.kind);
        let meaning = self.meaning(code);
        let kind = match meaning {
            Some(Meaning::Refused) => {
                let refusal = Refusal::new(code, text);
                return Answer::Refused(refusal);
            }
            Some(Meaning::Durable) => return Answer::Durable,
            Some(Meaning::Trouble(kind)) => kind,
            None => trouble_of(code, status),
        };

        let mut trouble = Trouble::new(kind, text);
        trouble.retry_after = retry_after(response);
        // A server that failed may have written; one that says 503 has not.
        let has_failed = meaning.is_none() && status >= 500 && status != 503;
        if has_failed {
            Answer::Unknown(trouble)
        } else {
            Answer::Rejected(trouble)
        }
    }

    fn meaning(&self, code: &str) -> Option<Meaning> {
        let mut codes = self.codes.iter();
        let known = codes.find(|(known, _)| *known == code);
        known.map(|(_, meaning)| *meaning)
    }

    /// The verdict on one entry that a request reports as failed with `code`.
    pub(crate) fn verdict(&self, code: &str, message: &str) -> Verdict {
        let text = format!("{} answers {code}: {message}", self.kind);
        match self.meaning(code) {
            Some(Meaning::Refused) => Verdict::Refused(Refusal::new(code, text)),
            Some(Meaning::Durable) => Verdict::Durable,
            Some(Meaning::Trouble(kind)) => Verdict::Retry(Trouble::new(kind, text)),
            None => {
                let kind = trouble_of(code, 500);
                let trouble = Trouble::new(kind, text);
                Verdict::Retry(trouble)
            }
        }
    }
}

/// The class of an error by the codes that all services have (AWS general reference, "Common
/// errors"), else by the status.
fn trouble_of(code: &str, status: u16) -> TroubleKind {
    const UNAUTHENTICATED: &[&str] = &[
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ];

    let has = |part: &str| code.contains(part);
    match status {
        _ if UNAUTHENTICATED.contains(&code) => TroubleKind::Unauthenticated,
        429 => TroubleKind::Throttled,
        _ if has("Throttl") || has("TooManyRequests") || code == "RequestLimitExceeded" => {
            TroubleKind::Throttled
        }
        _ if has("AccessDenied") || has("NotAuthorized") || has("KMS") || has("Kms") => {
            TroubleKind::Denied
        }
        _ if has("NotFound") || has("DoesNotExist") => TroubleKind::Missing,
        401 => TroubleKind::Unauthenticated,
        403 => TroubleKind::Denied,
        404 => TroubleKind::Missing,
        500..=599 => TroubleKind::Unavailable,
        _ => TroubleKind::Invalid,
    }
}

/// The wait of a `Retry-After` header in seconds.
fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_all_services_have_their_classes() {
        use TroubleKind::{Denied, Invalid, Missing, Throttled, Unauthenticated, Unavailable};
        for (code, status, kind) in [
            ("ThrottlingException", 400, Throttled),
            ("RequestThrottled", 403, Throttled),
            ("KMSThrottlingException", 400, Throttled),
            ("", 429, Throttled),
            ("ExpiredTokenException", 403, Unauthenticated),
            ("AccessDeniedException", 400, Denied),
            ("KmsAccessDenied", 400, Denied),
            ("QueueDoesNotExist", 400, Missing),
            ("ResourceNotFoundException", 404, Missing),
            ("InternalFailure", 500, Unavailable),
            ("ValidationException", 400, Invalid),
        ] {
            assert_eq!(trouble_of(code, status), kind, "{code} {status}");
        }
    }
}

//! Why a call brought no answer, and what that means for whoever made it.

use distributary_core::output::{Trouble, TroubleKind};
use distributary_wire::codec::CodecError;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::SignError;
use distributary_wire::transport::TransportError;

use crate::credentials::CredentialsError;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No credentials to sign with; nothing was sent.
    #[error("no credentials")]
    Credentials(#[source] CredentialsError),
    /// The request can't be signed; nothing was sent.
    #[error("the request cannot be signed")]
    Sign(#[source] SignError),
    /// The way to the server failed.
    #[error("the server was not reached or did not answer")]
    Transport(#[source] TransportError),
    /// The server refused or failed, in the words of the protocol.
    #[error("the server answered with an error")]
    Api(#[source] ApiError),
    /// Something answered that does not speak the protocol: a proxy's page, another service.
    #[error("the answer is not one of Kinesis")]
    Foreign(#[source] ApiError),
    /// Success was answered, but what exactly can't be read.
    #[error("the answer cannot be read")]
    Undecodable(#[source] CodecError),
}

impl CallError {
    /// The error code, if the server gave one.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Api(e) => Some(&e.code),
            Self::Credentials(_)
            | Self::Sign(_)
            | Self::Transport(_)
            | Self::Foreign(_)
            | Self::Undecodable(_) => None,
        }
    }

    /// True if the server has certainly not acted on the request.
    pub fn is_without_effect(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Sign(_) => true,
            Self::Transport(e) => e.not_sent(),
            // What is answered with 4xx was refused. A server that failed may have done its work before.
            Self::Api(e) | Self::Foreign(e) => (400..500).contains(&e.status),
            Self::Undecodable(_) => false,
        }
    }

    /// What decides about what to do next.
    pub fn kind(&self) -> TroubleKind {
        match self {
            Self::Credentials(_) => TroubleKind::Unauthenticated,
            Self::Sign(_) => TroubleKind::Invalid,
            Self::Transport(_) => TroubleKind::Unavailable,
            Self::Api(e) => kind_of(&e.code, e.status),
            Self::Foreign(e) if e.status >= 500 || e.status == 429 => TroubleKind::Unavailable,
            Self::Foreign(_) | Self::Undecodable(_) => TroubleKind::Unintelligible,
        }
    }
}

/// What kind of trouble an error code means.
pub fn kind_of(code: &ErrorCode, status: u16) -> TroubleKind {
    match code {
        ErrorCode::ProvisionedThroughputExceeded
        | ErrorCode::LimitExceeded
        | ErrorCode::KmsThrottling
        | ErrorCode::Throttling
        | ErrorCode::ThrottlingOld
        | ErrorCode::RequestLimitExceeded
        | ErrorCode::TooManyRequests => TroubleKind::Throttled,
        ErrorCode::InternalFailure
        | ErrorCode::InternalFailureException
        | ErrorCode::InternalServerError
        | ErrorCode::ServiceUnavailable
        | ErrorCode::ServiceUnavailableException
        // A stream that is being created, changed or deleted.
        | ErrorCode::ResourceInUse
        // Taken again by whoever holds them.
        | ErrorCode::ExpiredIterator
        | ErrorCode::ExpiredNextToken => TroubleKind::Unavailable,
        ErrorCode::ExpiredToken
        | ErrorCode::ExpiredTokenOld
        | ErrorCode::RequestExpired
        | ErrorCode::RequestTimeTooSkewed
        | ErrorCode::UnrecognizedClient
        | ErrorCode::InvalidSignature
        | ErrorCode::SignatureDoesNotMatch
        | ErrorCode::IncompleteSignature
        | ErrorCode::MissingAuthenticationToken
        | ErrorCode::InvalidClientTokenId => TroubleKind::Unauthenticated,
        ErrorCode::AccessDenied
        | ErrorCode::NotAuthorized
        | ErrorCode::OptInRequired
        // Somebody has to mend the key or its policy.
        | ErrorCode::KmsAccessDenied
        | ErrorCode::KmsDisabled
        | ErrorCode::KmsInvalidState
        | ErrorCode::KmsNotFound
        | ErrorCode::KmsOptInRequired => TroubleKind::Denied,
        ErrorCode::ResourceNotFound => TroubleKind::Missing,
        ErrorCode::InvalidArgument
        | ErrorCode::Validation
        | ErrorCode::Serialization
        | ErrorCode::UnknownOperation
        | ErrorCode::DryRunOperation
        | ErrorCode::RequestTooLarge => TroubleKind::Invalid,
        ErrorCode::Other(_) if status >= 500 => TroubleKind::Unavailable,
        ErrorCode::Other(_) => TroubleKind::Unintelligible,
    }
}

/// Where a call was going, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Where<'a> {
    pub(crate) operation: Operation,
    pub(crate) stream: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) endpoint: &'a str,
}

impl CallError {
    /// For the engine and the user: one sentence with what happened and what to do.
    pub(crate) fn into_trouble(self, at: Where<'_>) -> Trouble {
        let message = self.message(at);
        let mut trouble = Trouble::new(self.kind(), message);
        trouble = match self {
            Self::Credentials(e) => trouble.caused_by(e),
            Self::Sign(e) => trouble.caused_by(e),
            Self::Transport(e) => trouble.caused_by(e),
            Self::Api(e) | Self::Foreign(e) => trouble.caused_by(e),
            Self::Undecodable(e) => trouble.caused_by(e),
        };
        trouble
    }

    fn message(&self, at: Where<'_>) -> String {
        let Where {
            operation,
            stream,
            region,
            endpoint,
        } = at;
        let stream = stream.map_or_else(|| "the account".to_owned(), |s| format!("stream {s}"));
        match self {
            Self::Credentials(e @ (CredentialsError::None | CredentialsError::Profile { .. })) => {
                format!("{operation} on {stream}: {e}")
            }
            Self::Credentials(e @ CredentialsError::Failed(_)) => {
                format!("{operation} on {stream}: {e}: {}", deepest(e))
            }
            Self::Sign(e) => format!("{operation} on {stream}: {e}"),
            Self::Transport(e @ TransportError::Connect { .. }) => {
                let deepest = deepest(e);
                format!(
                    "nothing answers at {endpoint} ({deepest}); check the endpoint, the network and the proxy settings"
                )
            }
            Self::Transport(e @ TransportError::Broken { .. }) => {
                format!(
                    "{operation} on {stream} at {endpoint}: {e} ({})",
                    deepest(e)
                )
            }
            Self::Transport(e @ TransportError::Timeout { .. }) => {
                format!("{operation} on {stream} at {endpoint}: {e}")
            }
            Self::Foreign(e) if self.kind() == TroubleKind::Unavailable => format!(
                "{operation} on {stream} at {endpoint}: not Kinesis answers but a proxy or load balancer before it: {e}"
            ),
            Self::Foreign(e) => format!(
                "what answers at {endpoint} is not Kinesis, or a proxy in between ({e}); check the endpoint"
            ),
            Self::Undecodable(e) => {
                format!("the answer of {endpoint} to {operation} on {stream} cannot be read: {e}")
            }
            Self::Api(e) => {
                let todo = advice(kind_of(&e.code, e.status), operation, &stream, region);
                format!("{operation} on {stream} in {region}: {e}{todo}")
            }
        }
    }
}

/// What the user should do about an error of the server.
fn advice(kind: TroubleKind, operation: Operation, stream: &str, region: &str) -> String {
    match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable => String::new(),
        TroubleKind::Unauthenticated => {
            "; renew the credentials (such as `aws sso login`), and check that they are \
                                         for this account and that the machine's clock is right"
                .to_owned()
        }
        TroubleKind::Denied => {
            format!(
                "; allow the action kinesis:{operation} on {stream} (and its KMS key, if it is encrypted) in a policy"
            )
        }
        TroubleKind::Missing => {
            format!("; check the stream's name, the region ({region}) and the account")
        }
        TroubleKind::Invalid => String::new(),
        TroubleKind::Unintelligible => "; this program does not know that answer".to_owned(),
    }
}

/// What an error comes down to.
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

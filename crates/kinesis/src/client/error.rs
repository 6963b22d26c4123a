//! The reasons why a call has no answer, and their meaning for the caller.

use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::text::chain;
use distributary_wire::codec::CodecError;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::SignError;
use distributary_wire::transport::TransportError;

use crate::credentials::CredentialsError;
use crate::transport::tells_remedy;

/// The reason why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There are no credentials to sign with; nothing was sent.
    #[error("no credentials")]
    Credentials(#[source] CredentialsError),
    /// The request can't be signed; nothing was sent.
    #[error("the request cannot be signed")]
    Sign(#[source] SignError),
    /// The connection to the server failed.
    #[error("the server was not reached or did not answer")]
    Transport(#[source] TransportError),
    /// The server refused or failed, with an error of the protocol.
    #[error("the server answered with an error")]
    Api(#[source] ApiError),
    /// The answer is not of the protocol: a proxy's page, another service.
    #[error("the answer is not one of Kinesis")]
    Foreign(#[source] ApiError),
    /// The answer reports success, but cannot be read.
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
            // A request that is answered with 4xx was refused. A server that failed may have acted
            // on the request before.
            Self::Api(e) | Self::Foreign(e) => (400..500).contains(&e.status),
            Self::Undecodable(_) => false,
        }
    }

    /// The class that decides about retries.
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

/// The class of an error code; `status` is the HTTP status of the answer, or 0.
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
        // The caller asks for a new one.
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
        // The user has to fix the key or the policy of the key.
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

/// The target of a call, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) operation: Operation,
    pub(super) stream: Option<&'a str>,
    pub(super) region: &'a str,
    pub(super) endpoint: &'a str,
}

impl CallError {
    /// The trouble for the engine and the user: one sentence with the failure and the remedy.
    pub(super) fn into_trouble(self, target: Target<'_>) -> Trouble {
        let message = self.message(target);
        let mut trouble = Trouble::new(self.kind(), message);
        if let Self::Api(e) | Self::Foreign(e) = &self {
            trouble.retry_after = e.retry_after;
        }
        match self {
            Self::Credentials(e) => trouble.caused_by(e),
            Self::Sign(e) => trouble.caused_by(e),
            Self::Transport(e) => trouble.caused_by(e),
            Self::Api(e) | Self::Foreign(e) => trouble.caused_by(e),
            Self::Undecodable(e) => trouble.caused_by(e),
        }
    }

    fn message(&self, target: Target<'_>) -> String {
        let Target {
            operation,
            stream,
            region,
            endpoint,
        } = target;
        let stream = stream.map_or_else(|| "the account".to_owned(), |s| format!("stream {s}"));
        let call = format!("{operation} on {stream}");
        match self {
            Self::Credentials(e) => format!("{call}: {e}"),
            Self::Sign(e) => format!("{call}: {}", chain(e)),
            Self::Transport(e) => transport_message(e, &call, endpoint),
            Self::Foreign(e) if e.status == 407 => format!(
                "{call} at {endpoint}: the proxy wants a user name and a password (407); give both in \
                 HTTP_PROXY: http://USER:PASSWORD@HOST:PORT"
            ),
            Self::Foreign(e) if self.kind() == TroubleKind::Unavailable => format!(
                "{call} at {endpoint}: not Kinesis answers but a proxy or load balancer before it: {e}"
            ),
            Self::Foreign(e) => format!(
                "the server at {endpoint} is not Kinesis, or a proxy in between ({e}); check the endpoint"
            ),
            Self::Undecodable(e) => {
                format!(
                    "the answer of {endpoint} to {call} cannot be read: {}",
                    chain(e)
                )
            }
            Self::Api(e) => {
                let remedy = remedy(kind_of(&e.code, e.status), operation, &stream, region);
                format!("{call} in {region}: {e}{remedy}")
            }
        }
    }
}

fn transport_message(error: &TransportError, call: &str, endpoint: &str) -> String {
    match error {
        TransportError::Connect { source, .. } => {
            let causes = chain(&**source);
            if tells_remedy(error) {
                return format!("no connection to {endpoint}: {causes}");
            }
            format!(
                "nothing answers at {endpoint} ({causes}); check the endpoint, the network and the \
                 proxy settings"
            )
        }
        TransportError::Broken { .. } | TransportError::Timeout { .. } => {
            format!("{call} at {endpoint}: {}", chain(error))
        }
    }
}

/// The remedy for an error of the server, as the end of a sentence.
fn remedy(kind: TroubleKind, operation: Operation, stream: &str, region: &str) -> String {
    match kind {
        TroubleKind::Throttled | TroubleKind::Unavailable | TroubleKind::Invalid => String::new(),
        TroubleKind::Unauthenticated => "; renew the credentials (such as `aws sso login`), and \
                                         check that they are for this account and that the \
                                         machine's clock is right"
            .to_owned(),
        TroubleKind::Denied => format!(
            "; allow the action kinesis:{operation} on {stream} (and its KMS key, if it is \
             encrypted) in a policy"
        ),
        TroubleKind::Missing => {
            format!("; check the stream's name, the region ({region}) and the account")
        }
        TroubleKind::Unintelligible => "; this program does not know that answer".to_owned(),
    }
}

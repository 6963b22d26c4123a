//! Constructors of the errors that AWS answers, with AWS's messages where these are known.

use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::types::StreamStatus;

use crate::stream::Stream;

/// The answer of an operation, or the error that is answered instead.
pub(crate) type Answer<T> = Result<T, ApiError>;

pub(crate) fn invalid_argument(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidArgument, message)
}

pub(crate) fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Validation, message)
}

pub(crate) fn in_use(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::ResourceInUse, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::ResourceNotFound, message)
}

pub(crate) fn limit_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::LimitExceeded, message)
}

pub(crate) fn stream_not_found(name: &str, account: &str) -> ApiError {
    not_found(format!("Stream {name} under account {account} not found."))
}

pub(crate) fn stream_not_active(stream: &Stream, status: &StreamStatus) -> ApiError {
    in_use(format!(
        "Stream {stream} not ACTIVE, instead in state {status}"
    ))
}

/// Answer of `GetShardIterator` and others to an unknown shard.
pub(crate) fn shard_not_found(shard: &str, stream: &Stream) -> ApiError {
    not_found(format!("Could not find shard {shard} in stream {stream}."))
}

/// Answer of `SubscribeToShard` to an unknown shard, in other words than [`shard_not_found`].
pub(crate) fn shard_does_not_exist(shard: &str, stream: &Stream) -> ApiError {
    not_found(format!("Shard {shard} in stream {stream} does not exist"))
}

pub(crate) fn consumer_not_found(consumer: &str, account: &str) -> ApiError {
    not_found(format!("Consumer {consumer}, account {account} not found."))
}

pub(crate) fn invalid_iterator() -> ApiError {
    invalid_argument("Invalid ShardIterator.")
}

pub(crate) fn invalid_next_token() -> ApiError {
    invalid_argument("NextToken is invalid.")
}

pub(crate) fn expired_token() -> ApiError {
    ApiError::new(
        ErrorCode::ExpiredToken,
        "The security token included in the request is expired",
    )
}

pub(crate) fn internal_failure() -> ApiError {
    ApiError::new(
        ErrorCode::InternalFailure,
        "The request processing has failed because of an unknown error, exception or failure.",
    )
}

pub(crate) fn dry_run() -> ApiError {
    ApiError::new(
        ErrorCode::DryRunOperation,
        "The request was rejected because the DryRun parameter was specified.",
    )
}

/// Message of a throttled `PutRecord`, `GetRecords` or entry of `PutRecords`.
pub(crate) fn rate_exceeded_message(shard: &str, stream: &Stream) -> String {
    format!("Rate exceeded for shard {shard} in stream {stream}.")
}

pub(crate) fn rate_exceeded(shard: &str, stream: &Stream) -> ApiError {
    ApiError::new(
        ErrorCode::ProvisionedThroughputExceeded,
        rate_exceeded_message(shard, stream),
    )
}

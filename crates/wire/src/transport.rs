//! The seam between a Kinesis client and whatever answers it: a TLS connection, the embedded Kinesis in the same
//! process, a simulation, or a wrapper that injects faults.
//!
//! A transport moves one HTTP request and its answer. It knows nothing of operations, retries or credentials; the
//! request it is given is already signed.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

/// The body of a request: a part that many requests share, and the part that is this request's own.
///
/// `PutRecords` bodies are encoded once for all outputs: the records are `shared`, the stream's ARN or name is in
/// `tail`. Sent one after the other without copying.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    /// The part that may be shared with other requests (may be empty).
    pub shared: Bytes,
    /// What follows it.
    pub tail: Bytes,
}

impl RequestBody {
    /// A body that shares nothing.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self {
            shared: Bytes::new(),
            tail: body.into(),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.shared.len() + self.tail.len()
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body as one piece; copies only if both parts have bytes.
    pub fn to_bytes(&self) -> Bytes {
        match (self.shared.is_empty(), self.tail.is_empty()) {
            (true, _) => self.tail.clone(),
            (_, true) => self.shared.clone(),
            _ => {
                let mut all = BytesMut::with_capacity(self.len());
                all.extend_from_slice(&self.shared);
                all.extend_from_slice(&self.tail);
                all.freeze()
            }
        }
    }
}

/// The chunks of an answer that has no end of its own (`SubscribeToShard`).
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// The body of an answer.
pub enum ResponseBody {
    /// The whole body, in one allocation.
    Full(Bytes),
    /// An event stream, chunk by chunk, cut anywhere.
    Stream(ByteStream),
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(body) => write!(f, "Full({} bytes)", body.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A signed HTTP request: method, URI (absolute), headers, body.
pub type Request = http::Request<RequestBody>;
/// An HTTP answer.
pub type Response = http::Response<ResponseBody>;

/// Why there is no answer. Sources are chained, not pasted into the text.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request was not sent: name lookup, connect or TLS failed. The server cannot have acted on it.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Host and port that were tried.
        endpoint: String,
        /// What the system or the TLS library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke after some of the request was sent: the server may have acted on it, or not.
    #[error("the connection broke before the answer was complete")]
    Broken {
        /// What the system or the HTTP library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No complete answer within the deadline: the server may have acted on the request, or not.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The deadline that passed.
        after: Duration,
    },
}

impl TransportError {
    /// True if the server cannot have seen the whole request.
    pub fn not_sent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}

/// Moves one request to a Kinesis endpoint and brings its answer back.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` and waits for the answer: for the whole body, or for an event stream its headers, within
    /// `deadline` of the call. Dropping the future abandons the request; the server may still act on it.
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError>;
}

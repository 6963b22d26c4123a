//! The seam between a Kinesis client and a server: a TLS connection, the embedded Kinesis in the
//! same process, a simulation, or a wrapper that injects faults.
//!
//! A transport sends one HTTP request and returns the answer. Operations, retries and credentials
//! are the client's: the request is already signed.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

/// The body of a request: a part that many requests share, then a part of this request only.
///
/// `PutRecords` bodies are encoded once for all outputs: the records are `shared`, the stream's ARN
/// or name is in `tail`. A transport sends one after the other without copying.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    /// The part that may be shared with other requests; may be empty.
    pub shared: Bytes,
    /// The part after `shared`; may be empty.
    pub tail: Bytes,
}

impl RequestBody {
    /// A body without a shared part.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self {
            shared: Bytes::new(),
            tail: body.into(),
        }
    }

    /// Length of both parts in bytes.
    pub fn len(&self) -> usize {
        self.shared.len() + self.tail.len()
    }

    /// True if both parts are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both parts in one buffer; copies only if neither part is empty.
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

/// The chunks of an event stream (`SubscribeToShard`).
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// The body of an answer.
pub enum ResponseBody {
    /// The whole body, in one allocation.
    Full(Bytes),
    /// An event stream; a chunk may end in the middle of a frame.
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

/// A signed HTTP request: method, absolute URI, headers, body.
pub type Request = http::Request<RequestBody>;
/// An HTTP answer.
pub type Response = http::Response<ResponseBody>;

/// The reason why there is no complete answer. The cause is in `source`, not in the text.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request was not sent: name lookup, connect or TLS failed. The server cannot have acted
    /// on the request.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Host and port that were tried.
        endpoint: String,
        /// The error of the system or of the TLS library.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke after some of the request was sent: the server may have acted on the
    /// request, or not.
    #[error("the connection broke before the answer was complete")]
    Broken {
        /// The error of the system or of the HTTP library.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No complete answer before the deadline: the server may have acted on the request, or not.
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

/// Sends one request to a Kinesis endpoint and returns the answer.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` and waits up to `deadline` from the call for the whole answer (of an event
    /// stream, for the headers). Dropping the future abandons the request; the server may still
    /// act on the request.
    ///
    /// # Errors
    /// [`TransportError`]. An HTTP status other than 200 is an answer, not an error.
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError>;
}

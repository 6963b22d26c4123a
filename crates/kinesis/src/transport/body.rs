//! Bodies: the two parts of a request without a copy, an answer in one allocation.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use distributary_wire::limits::ANSWER_BODY_BYTES;
use distributary_wire::transport::{ByteStream, RequestBody, TransportError};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

/// The body of a request: the shared part, then the part of this request only.
pub(super) struct TwoParts {
    first: Bytes,
    second: Bytes,
}

impl TwoParts {
    pub(super) fn new(body: RequestBody) -> Self {
        Self {
            first: body.shared,
            second: body.tail,
        }
    }
}

impl Body for TwoParts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { first, second } = &mut *self;
        let next = if first.is_empty() { second } else { first };
        let next = (!next.is_empty()).then(|| Ok(Frame::data(std::mem::take(next))));
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.first.len() + self.second.len()) as u64)
    }
}

/// An answer that is larger than any answer of a server should be.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {ANSWER_BODY_BYTES} bytes")]
struct TooLarge;

/// Bytes that are allocated first for an answer without a length.
const LENGTH_IF_UNKNOWN: usize = 16 * 1024;

/// The whole body, in one allocation of the size that the header tells.
pub(super) async fn collect(mut incoming: Incoming) -> Result<Bytes, TransportError> {
    let broken = |source| TransportError::Broken { source };
    let length = incoming.size_hint().exact();
    if length == Some(0) {
        return Ok(Bytes::new());
    }

    let size = match length.map(usize::try_from) {
        Some(Ok(size)) if size <= ANSWER_BODY_BYTES => size,
        Some(_) => return Err(broken(Box::new(TooLarge))),
        None => LENGTH_IF_UNKNOWN,
    };
    let mut body = BytesMut::with_capacity(size);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await
    {
        let frame = frame.map_err(|e| broken(Box::new(e)))?;
        // Trailers have no meaning here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if body.len() + data.len() > ANSWER_BODY_BYTES {
            return Err(broken(Box::new(TooLarge)));
        }
        body.extend_from_slice(&data);
    }

    Ok(body.freeze())
}

/// The chunks of a body as received. The connection is held until the stream ends.
pub(super) fn stream(incoming: Incoming, connection: SendRequest<TwoParts>) -> ByteStream {
    Box::pin(Chunks {
        incoming,
        _connection: connection,
    })
}

struct Chunks {
    incoming: Incoming,
    _connection: SendRequest<TwoParts>,
}

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
            match frame {
                None => return Poll::Ready(None),
                Some(Err(e)) => {
                    return Poll::Ready(Some(Err(TransportError::Broken {
                        source: Box::new(e),
                    })));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

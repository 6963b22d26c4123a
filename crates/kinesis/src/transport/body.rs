//! Bodies: the two parts of a request without a copy, an answer in one allocation.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use distributary_wire::transport::{ByteStream, RequestBody, TransportError};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
        if next.is_empty() {
            return Poll::Ready(None);
        }

        let data = std::mem::take(next);
        Poll::Ready(Some(Ok(Frame::data(data))))
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
#[error("the answer has more than {0} bytes, and such answers have fewer")]
struct TooLarge(usize);

/// Bytes that are allocated first for an answer without a length; smaller answers take no room.
const SMALL: usize = 16 * 1024;
/// The unit in which answers are counted.
const UNIT: usize = 1024;

/// The memory of all answers that are not small.
pub(super) struct AnswerRoom(Arc<Semaphore>, u32);

/// An answer with its room.
struct Roomed {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl AnswerRoom {
    /// Room for `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes / UNIT;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Self(Arc::new(Semaphore::new(units as usize)), units)
    }

    /// Waits for room for `bytes`. An answer that is larger than all of the room waits for all.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let all = Arc::clone(&self.0);
        let taken = all.acquire_many_owned(units.min(self.1));
        // The semaphore is never closed.
        taken.await.ok()
    }
}

/// The whole body, in one allocation of the size that the header tells, and at most `limit` bytes.
/// The body takes its part of `room` until dropped.
pub(super) async fn collect(
    incoming: Incoming,
    limit: usize,
    room: Option<&AnswerRoom>,
) -> Result<Bytes, TransportError> {
    let length = incoming.size_hint().exact();
    if length == Some(0) {
        return Ok(Bytes::new());
    }
    let (size, most) = match length.map(usize::try_from) {
        Some(Ok(size)) if size <= limit => (size, size),
        Some(_) => return Err(too_large(limit)),
        None => (SMALL, limit),
    };

    let room = match room {
        Some(room) if most > SMALL => room.take(most).await,
        Some(_) | None => None,
    };
    let body = read(incoming, size, limit).await?;
    Ok(match room {
        Some(_room) => Bytes::from_owner(Roomed { body, _room }),
        None => body,
    })
}

fn too_large(limit: usize) -> TransportError {
    TransportError::Broken {
        source: Box::new(TooLarge(limit)),
    }
}

/// The bytes of a body, into a first allocation of `size`.
async fn read(mut incoming: Incoming, size: usize, limit: usize) -> Result<Bytes, TransportError> {
    let broken = |source| TransportError::Broken { source };
    let mut body = BytesMut::with_capacity(size);
    let mut next = async || {
        let polling = |cx: &mut Context<'_>| Pin::new(&mut incoming).poll_frame(cx);
        std::future::poll_fn(polling).await
    };
    while let Some(frame) = next().await {
        let frame = frame.map_err(|e| broken(Box::new(e)))?;
        // Trailers have no meaning here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if body.len() + data.len() > limit {
            return Err(too_large(limit));
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
            let incoming = Pin::new(&mut self.incoming);
            let frame = std::task::ready!(incoming.poll_frame(cx));
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

//! The body of an answer, in the form that hyper takes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use distributary_wire::transport::{ByteStream, ResponseBody, TransportError};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::connections::InService;
use crate::transport::CutStream;

/// The body of an answer.
pub(crate) enum Body {
    Whole(Bytes),
    /// A body with a larger `Content-Length` than its bytes, so that the connection breaks.
    Cut {
        /// Bytes still to be sent; `None` after sending.
        rest: Option<Bytes>,
        /// `Content-Length`.
        announced: u64,
    },
    Stream(ByteStream),
}

impl Body {
    pub(crate) fn whole(body: ResponseBody) -> Self {
        match body {
            ResponseBody::Full(bytes) => Self::Whole(bytes),
            ResponseBody::Stream(stream) => Self::Stream(stream),
        }
    }

    /// A body whose connection breaks after a number of bytes.
    pub(crate) fn cut(body: ResponseBody, after: usize) -> Self {
        match body {
            ResponseBody::Full(bytes) => {
                let kept = bytes.slice(..bytes.len().min(after));
                Self::Cut {
                    rest: Some(kept),
                    announced: bytes.len() as u64,
                }
            }
            ResponseBody::Stream(inner) => Self::Stream(Box::pin(CutStream {
                inner,
                left: Some(after),
            })),
        }
    }

    /// The bytes to be sent; `None` for a stream.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Cut { rest, .. } => rest.as_ref().map(|bytes| bytes.len() as u64),
            Self::Stream(_) => None,
        }
    }
}

/// A body that keeps its request in service until the end.
pub(crate) struct Served {
    body: Body,
    _in_service: Option<InService>,
}

impl Served {
    pub(crate) fn new(body: Body, in_service: InService) -> Self {
        Self {
            body,
            _in_service: Some(in_service),
        }
    }

    /// An answer of a status only, to a request that was not received whole.
    pub(crate) fn empty(status: StatusCode) -> Response<Self> {
        let mut response = Response::new(Self {
            body: Body::Whole(Bytes::new()),
            _in_service: None,
        });
        *response.status_mut() = status;
        response
    }
}

impl http_body::Body for Served {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Cut { rest, .. } => {
                let bytes = rest.take_if(|bytes| !bytes.is_empty());
                Poll::Ready(Some(bytes.map(Frame::data).ok_or_else(cut)))
            }
            Self::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Cut { announced, .. } => SizeHint::with_exact(*announced),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

fn cut() -> TransportError {
    TransportError::Broken {
        source: "the answer was cut on command".into(),
    }
}

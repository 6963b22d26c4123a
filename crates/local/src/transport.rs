//! The embedded Kinesis as a transport for clients in the same process.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use distributary_wire::transport::{
    ByteStream, Request, Response, ResponseBody, Transport, TransportError,
};
use futures_core::Stream;

use crate::dispatch::{self, Incoming};
use crate::faults::Delivery;
use crate::local::Local;

/// Calls a [`Local`] in the same process.
///
/// An answer that a fault cuts or drops is [`TransportError::Broken`]. An answer that never comes
/// is [`TransportError::Timeout`] at the deadline, by the clock of the [`Env`](crate::Env).
#[derive(Clone, Debug)]
pub struct LocalTransport {
    local: Local,
}

impl Local {
    /// A transport without a socket.
    pub fn transport(&self) -> LocalTransport {
        LocalTransport {
            local: self.clone(),
        }
    }
}

fn broken(why: &'static str) -> TransportError {
    TransportError::Broken { source: why.into() }
}

#[async_trait::async_trait]
impl Transport for LocalTransport {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let timeout = self.local.inner.env.sleep(deadline);
        let work = self.answer(request);

        tokio::select! {
            // An answer that is ready at the deadline counts.
            biased;
            answer = work => answer,
            () = timeout => Err(TransportError::Timeout { after: deadline }),
        }
    }
}

impl LocalTransport {
    async fn answer(&self, request: Request) -> Result<Response, TransportError> {
        let (head, body) = request.into_parts();
        let incoming = Incoming::new(&head, body.to_bytes());
        let served = dispatch::serve(&self.local.inner, incoming).await;
        if served.drops_connection {
            return Err(broken("the connection was dropped on command"));
        }

        match served.delivery {
            Delivery::Whole => Ok(served.response),
            Delivery::Broken => Err(broken("the answer was lost on command")),
            Delivery::Silent => std::future::pending().await,
            Delivery::Cut(after) => cut(served.response, after),
        }
    }
}

/// Cuts an answer: a complete body is lost, an event stream is read up to the cut.
fn cut(response: Response, after: usize) -> Result<Response, TransportError> {
    let (head, body) = response.into_parts();
    match body {
        ResponseBody::Full(_) => Err(broken("the answer was cut on command")),
        ResponseBody::Stream(inner) => {
            let body = ResponseBody::Stream(Box::pin(CutStream {
                inner,
                left: Some(after),
            }));
            Ok(Response::from_parts(head, body))
        }
    }
}

/// Yields the first bytes of a stream, then a broken connection.
pub(crate) struct CutStream {
    pub(crate) inner: ByteStream,
    /// Bytes before the cut; `None` after the cut.
    pub(crate) left: Option<usize>,
}

impl Stream for CutStream {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(left) = self.left else {
            return Poll::Ready(None);
        };
        if left == 0 {
            self.left = None;
            return Poll::Ready(Some(Err(broken("the answer was cut on command"))));
        }

        let item = ready!(self.inner.as_mut().poll_next(cx));
        Poll::Ready(item.map(|item| {
            let chunk = item?;
            let chunk = chunk.slice(..chunk.len().min(left));
            self.left = Some(left - chunk.len());
            Ok(chunk)
        }))
    }
}

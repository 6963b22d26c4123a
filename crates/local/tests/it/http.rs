//! A transport over real sockets: HTTP/1.1 or HTTP/2, in clear or with TLS.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use distributary_wire::eventstream;
use distributary_wire::transport::{
    Request, RequestBody, Response, ResponseBody, Transport, TransportError,
};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Opens a connection for each call.
pub(crate) struct Http {
    pub(crate) addr: SocketAddr,
    pub(crate) http2: bool,
    /// The certificate to trust; `None` for plain HTTP.
    pub(crate) pem: Option<String>,
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Broken {
        source: Box::new(error),
    }
}

impl Http {
    async fn send<S>(&self, socket: S, request: Request) -> Result<Response, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = request.map(|body: RequestBody| Full::new(body.to_bytes()));
        let io = TokioIo::new(socket);
        let response = if self.http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(broken)?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(broken)?
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(broken)?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(broken)?
        };

        let (head, body) = response.into_parts();
        let is_stream = head
            .headers
            .get("content-type")
            .is_some_and(|value| value == eventstream::CONTENT_TYPE);
        let body = if is_stream {
            ResponseBody::Stream(Box::pin(Chunks(BodyStream::new(body))))
        } else {
            ResponseBody::Full(body.collect().await.map_err(broken)?.to_bytes())
        };

        Ok(Response::from_parts(head, body))
    }
}

struct Chunks(BodyStream<Incoming>);

impl futures_core::Stream for Chunks {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(item) = Pin::new(&mut self.0).poll_next(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(item.map(|frame| {
            frame
                .map(|f| f.into_data().unwrap_or_default())
                .map_err(broken)
        }))
    }
}

#[async_trait::async_trait]
impl Transport for Http {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let work = async {
            let socket = TcpStream::connect(self.addr).await.map_err(broken)?;
            let Some(pem) = &self.pem else {
                return self.send(socket, request).await;
            };
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
                .unwrap();
            let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![if self.http2 {
                b"h2".to_vec()
            } else {
                b"http/1.1".to_vec()
            }];
            let name = ServerName::try_from("localhost").unwrap();
            let secured = TlsConnector::from(Arc::new(config))
                .connect(name, socket)
                .await
                .map_err(broken)?;
            self.send(secured, request).await
        };

        // A real client would enforce the deadline. No test reaches the deadline.
        #[allow(clippy::disallowed_methods)]
        let answer = tokio::time::timeout(deadline, work).await;
        answer.unwrap_or(Err(TransportError::Timeout { after: deadline }))
    }
}

//! Lends our transport to aws-config, so that credentials are fetched over the same TLS library and proxies, and no second
//! HTTP client is built.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use distributary_wire::transport::{RequestBody, ResponseBody, Transport, TransportError};

/// How long a call of aws-config may take that sets no limit itself.
const DEADLINE: Duration = Duration::from_secs(30);

/// A [`Transport`] as an HTTP client of the AWS SDK.
#[derive(Clone)]
pub struct SdkHttpClient(Arc<dyn Transport>);

impl std::fmt::Debug for SdkHttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkHttpClient")
    }
}

impl SdkHttpClient {
    /// Lends `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self(transport)
    }
}

impl HttpClient for SdkHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Connecting has no limit of its own here, so both together make one.
        let connect = settings.connect_timeout().unwrap_or_default();
        let deadline = connect + settings.read_timeout().unwrap_or(DEADLINE);
        SharedHttpConnector::new(Lent {
            transport: Arc::clone(&self.0),
            deadline,
        })
    }
}

struct Lent {
    transport: Arc<dyn Transport>,
    deadline: Duration,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lent")
    }
}

impl HttpConnector for Lent {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (transport, deadline) = (Arc::clone(&self.transport), self.deadline);
        HttpConnectorFuture::new(async move { call(&*transport, request, deadline).await })
    }
}

async fn call(
    transport: &dyn Transport,
    request: HttpRequest,
    deadline: Duration,
) -> Result<HttpResponse, ConnectorError> {
    let request = request
        .try_into_http1x()
        .map_err(|e| ConnectorError::user(e.into()))?;
    let (parts, body) = request.into_parts();
    let Some(body) = body.bytes() else {
        return Err(ConnectorError::user(
            "a request body that is a stream".into(),
        ));
    };
    let body = RequestBody::whole(Bytes::copy_from_slice(body));
    let response = transport
        .call(http::Request::from_parts(parts, body), deadline)
        .await;
    let (parts, body) = response.map_err(connector_error)?.into_parts();
    let ResponseBody::Full(body) = body else {
        return Err(ConnectorError::other(
            "an answer that is an event stream".into(),
            None,
        ));
    };
    let response = http::Response::from_parts(parts, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
}

fn connector_error(error: TransportError) -> ConnectorError {
    match error {
        TransportError::Connect { .. } => ConnectorError::io(error.into()).never_connected(),
        TransportError::Broken { .. } => ConnectorError::io(error.into()),
        TransportError::Timeout { .. } => ConnectorError::timeout(error.into()),
    }
}

//! The transport as the HTTP client of the AWS SDK, so that credentials are fetched over the same
//! TLS library and proxies, and no second HTTP client is built.

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
use distributary_core::secrets;
use distributary_wire::transport::{RequestBody, ResponseBody, Transport, TransportError};

use super::connect::is_loopback;
use super::{Direct, RequestClass};

/// The longest time of a call for which the SDK sets no limit.
const DEADLINE: Duration = Duration::from_secs(30);

/// Path of the request for a token of EC2's metadata service; the answer is the token.
const METADATA_TOKEN: &str = "/latest/api/token";
/// Headers with a token or a signature.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "x-amz-security-token",
    "x-amz-sso_bearer_token",
    "x-aws-ec2-metadata-token",
];

/// A [`Transport`] as an HTTP client of the AWS SDK.
#[derive(Clone)]
pub struct SdkHttpClient {
    transport: Arc<dyn Transport>,
    class: RequestClass,
}

impl std::fmt::Debug for SdkHttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkHttpClient")
    }
}

impl SdkHttpClient {
    /// An HTTP client over `transport`, for requests of `class`.
    pub fn new(transport: Arc<dyn Transport>, class: RequestClass) -> Self {
        Self { transport, class }
    }
}

impl HttpClient for SdkHttpClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Connecting has no limit of its own here, so that both limits are added.
        let connect = settings.connect_timeout().unwrap_or_default();
        let deadline = connect + settings.read_timeout().unwrap_or(DEADLINE);
        SharedHttpConnector::new(SdkConnector {
            client: self.clone(),
            deadline,
        })
    }
}

struct SdkConnector {
    client: SdkHttpClient,
    deadline: Duration,
}

impl std::fmt::Debug for SdkConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkConnector")
    }
}

impl HttpConnector for SdkConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        let deadline = self.deadline;
        HttpConnectorFuture::new(async move { call(&client, request, deadline).await })
    }
}

async fn call(
    client: &SdkHttpClient,
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
    let asks_token = parts.uri.path() == METADATA_TOKEN;
    remember_headers(&parts.headers);
    let body = RequestBody::whole(Bytes::copy_from_slice(body));
    let mut request = http::Request::from_parts(parts, body);
    mark(&mut request, client.class);

    let response = client.transport.call(request, deadline).await;
    let (parts, body) = response.map_err(connector_error)?.into_parts();
    let ResponseBody::Full(body) = body else {
        return Err(ConnectorError::other(
            "an answer that is an event stream".into(),
            None,
        ));
    };
    if asks_token {
        remember_token(&body);
    }
    let response = http::Response::from_parts(parts, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
}

/// Marks a request with its class, and a request to this machine as direct: a source of credentials
/// gets a token that no proxy may see.
fn mark(request: &mut http::Request<RequestBody>, class: RequestClass) {
    let host = request.uri().host();
    let is_own = host.is_some_and(is_loopback);
    let extensions = request.extensions_mut();

    extensions.insert(class);
    if is_own {
        extensions.insert(Direct);
    }
}

/// Keeps tokens that the SDK sends out of every text of this process. Answers with keys or tokens
/// are recognised by the names of their members.
fn remember_headers(headers: &http::HeaderMap) {
    for name in SECRET_HEADERS {
        let value = headers.get(name);
        let Some(Ok(value)) = value.map(|value| value.to_str()) else {
            continue;
        };

        // A signature stands at the end of the header.
        let secret = match value.rsplit_once('=') {
            Some((_, signature)) if value.starts_with("AWS4-") => signature,
            Some(_) | None => value,
        };
        secrets::remember(secret);
    }
}

/// Keeps the answer to a request for a metadata token out of every text of this process.
fn remember_token(body: &Bytes) {
    let Ok(token) = std::str::from_utf8(body) else {
        return;
    };
    secrets::remember(token.trim());
}

fn connector_error(error: TransportError) -> ConnectorError {
    match error {
        TransportError::Connect { .. } => ConnectorError::io(error.into()).never_connected(),
        TransportError::Broken { .. } => ConnectorError::io(error.into()),
        TransportError::Timeout { .. } => ConnectorError::timeout(error.into()),
    }
}

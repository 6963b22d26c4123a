//! The server of `--metrics`: Prometheus metrics, liveness and readiness.

mod health;
mod metrics;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::secrets;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::control::FileState;
use crate::failure::Failure;
use crate::view::Snapshots;
use health::Health;

/// Connections that are served at a time; more connections wait.
const CONNECTIONS: usize = 64;
/// Time for the headers of a request, and so the time after which an idle connection is closed.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept, as with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The settings and the data of the server.
#[derive(Clone)]
pub(crate) struct Web {
    /// The snapshots of all fan-outs.
    pub(crate) snapshots: Snapshots,
    /// The last look at the configuration file.
    pub(crate) file: watch::Receiver<FileState>,
    /// Measures the time since the last progress.
    pub(crate) clock: Clock,
    /// True for metrics per output and shard, too.
    pub(crate) per_shard: bool,
}

/// Listens on `address`, and serves until the runtime ends.
pub(crate) async fn serve(address: SocketAddr, web: Web) -> Result<(), Failure> {
    let cannot = |error| {
        Failure::run(format!(
            "cannot listen on {address} for --metrics: {error}; give another address"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tracing::info!(url = %format!("http://{address}/metrics"), "serving metrics");
    let health = Arc::new(Health::new(&web));
    tokio::spawn(Arc::clone(&health).watch());
    tokio::spawn(accept(listener, web, health));
    Ok(())
}

async fn accept(listener: TcpListener, web: Web, health: Arc<Health>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("accepting a connection for --metrics: {error}");
                web.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };

        let web = web.clone();
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            serve_connection(stream, &web, &health).await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: TcpStream, web: &Web, health: &Health) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = if matches!(*request.method(), Method::GET | Method::HEAD) {
            respond(request.uri().path(), web, health)
        } else {
            text(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported")
        };
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT);
    // A client that breaks the connection gets no response.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

fn respond(path: &str, web: &Web, health: &Health) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => metrics_page(web),
        "/healthz" => text(StatusCode::OK, &health.phases()),
        "/readyz" => match health.ready() {
            Ok(report) => text(StatusCode::OK, &report),
            Err(report) => text(StatusCode::SERVICE_UNAVAILABLE, &report),
        },
        "/" => text(StatusCode::OK, "/metrics\n/healthz\n/readyz"),
        _ => text(
            StatusCode::NOT_FOUND,
            "not found; try /metrics, /healthz or /readyz",
        ),
    }
}

fn metrics_page(web: &Web) -> Response<Full<Bytes>> {
    let snapshots = web.snapshots.borrow().clone();
    let file = web.file.borrow().clone();
    match metrics::text(snapshots, file, web.per_shard) {
        Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, &text),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A plain text page.
fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", &format!("{text}\n"))
}

fn page(status: StatusCode, content_type: &'static str, text: &str) -> Response<Full<Bytes>> {
    let text = secrets::redact(text).into_owned();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}

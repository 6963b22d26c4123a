//! The server of `--metrics`: Prometheus metrics, liveness and readiness.

mod health;
mod metrics;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::secrets;
use distributary_local::RealEnv;
use distributary_local::server::{Connections, Limits, Place, is_of_page, names_this_machine};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::control::FileState;
use crate::failure::Failure;
use crate::view::Snapshots;
use health::Health;

/// Connections that are served at a time. One more closes the one that was still for the longest
/// time, so that a health check always finds a place.
const CONNECTIONS: usize = 64;
/// Time for the head of a request, for taking some bytes of the answer, and between two requests.
const STILL: Duration = Duration::from_secs(30);
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
    let limits = Limits {
        connections: CONNECTIONS,
        head: STILL,
        idle: STILL,
        write: STILL,
        ..Limits::default()
    };
    let connections = Connections::new(Arc::new(RealEnv::new()), limits);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("accepting a connection for --metrics: {error}");
                web.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };

        let (web, health, place) = (web.clone(), Arc::clone(&health), connections.admit());
        tokio::spawn(async move {
            place
                .hold(serve_connection(stream, &place, &web, &health))
                .await;
        });
    }
}

async fn serve_connection(stream: TcpStream, place: &Place, web: &Web, health: &Health) {
    let is_loopback = stream.local_addr().is_ok_and(|at| at.ip().is_loopback());
    let service = service_fn(|request: Request<Incoming>| {
        let (head, _) = request.into_parts();
        let is_foreign = is_of_page(&head) || (is_loopback && !names_this_machine(&head));
        let response = if is_foreign {
            text(StatusCode::FORBIDDEN, "not for web pages")
        } else {
            answer(&head, web, health)
        };
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(STILL);
    let socket = TokioIo::new(place.watch(stream));
    // A client that breaks the connection gets no response.
    let _ = http.serve_connection(socket, service).await;
}

fn answer(head: &Parts, web: &Web, health: &Health) -> Response<Full<Bytes>> {
    if matches!(head.method, Method::GET | Method::HEAD) {
        respond(head.uri.path(), web, health)
    } else {
        text(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported")
    }
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

//! `--metrics`: Prometheus metrics, and whether the process lives and works.

mod health;
mod metrics;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::Clock;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::view::Snapshots;

/// Connections that are served at a time; further ones wait.
const CONNECTIONS: usize = 64;
/// How long a client may take for a request's headers, and so how long an idle connection stays.
const HEADERS: Duration = Duration::from_secs(30);
/// Pause after a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is served.
#[derive(Clone)]
pub(crate) struct Web {
    /// Where the snapshots come from.
    pub(crate) snapshots: Snapshots,
    /// Tells how long ago something moved.
    pub(crate) clock: Clock,
    /// Metrics per output and shard as well.
    pub(crate) per_shard: bool,
}

/// Listens on `address`, and serves as long as the runtime lives.
pub(crate) async fn serve(address: SocketAddr, web: Web) -> Result<(), Failure> {
    let cannot = |error| {
        Failure::run(format!(
            "cannot listen on {address} for --metrics: {error}; give another address"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    tracing::info!(url = %format!("http://{address}/metrics"), "serving metrics");
    let health = Arc::new(health::Health::new(
        web.clock.clone(),
        web.snapshots.clone(),
    ));
    tokio::spawn(Arc::clone(&health).watch());
    tokio::spawn(accept(listener, web, health));
    Ok(())
}

async fn accept(listener: TcpListener, web: Web, health: Arc<health::Health>) {
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
        let (web, health) = (web.clone(), Arc::clone(&health));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &web, &health);
                async { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
            // A client that breaks off is its own affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    web: &Web,
    health: &health::Health,
) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET is answered here\n".to_owned(),
        );
    }
    match request.uri().path() {
        "/metrics" => {
            let status = web.snapshots.borrow().clone();
            match metrics::text(status, web.per_shard) {
                Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
                Err(error) => page(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    format!("{error}\n"),
                ),
            }
        }
        "/healthz" => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match health.ready() {
            Ok(()) => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/" => page(
            StatusCode::OK,
            TEXT,
            "/metrics\n/healthz\n/readyz\n".to_owned(),
        ),
        _ => page(
            StatusCode::NOT_FOUND,
            TEXT,
            "there is /metrics, /healthz and /readyz\n".to_owned(),
        ),
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}

//! The request log: one line a request, in the format of an access log.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use crate::dispatch::LogNote;
use crate::local::{Inner, lock};

/// The destination of the request log.
#[derive(Clone)]
pub struct RequestLog {
    sink: Option<Arc<Mutex<dyn Write + Send>>>,
}

impl RequestLog {
    /// No request log.
    pub const fn off() -> Self {
        Self { sink: None }
    }

    /// A request log to a file, to standard error, or to any other writer; one `write` a line.
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        Self {
            sink: Some(Arc::new(Mutex::new(sink))),
        }
    }
}

impl std::fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.sink.is_some() {
            "RequestLog(on)"
        } else {
            "RequestLog(off)"
        })
    }
}

/// An answered request.
pub(crate) struct Entry<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) head: &'a Parts,
    pub(crate) status: StatusCode,
    /// Bytes of the answer's body; `None` for a stream.
    pub(crate) bytes: Option<u64>,
    pub(crate) note: &'a LogNote,
    /// When the request was received, by the monotonic clock.
    pub(crate) started: Duration,
}

impl RequestLog {
    /// Writes `peer - - [date] "POST / HTTP/1.1" status bytes "operation stream error" "agent"
    /// seconds`.
    pub(crate) fn write_line(&self, inner: &Inner, entry: &Entry<'_>) {
        let Some(sink) = &self.sink else { return };

        let Entry { head, note, .. } = entry;
        let (method, path, version) = (&head.method, head.uri.path(), head.version);
        let (peer, status) = (entry.peer.ip(), entry.status.as_u16());
        let date = date(inner.env.now_ms());
        let bytes = entry
            .bytes
            .map_or_else(|| "-".to_owned(), |n| n.to_string());
        let operation = note.operation.unwrap_or("-");
        let stream = escape(note.stream.as_deref().unwrap_or("-"));
        let error = note.error.as_deref().unwrap_or("-");
        let agent = head.headers.get(http::header::USER_AGENT);
        let agent = escape(agent.and_then(|v| v.to_str().ok()).unwrap_or("-"));
        let took = inner.env.monotonic().saturating_sub(entry.started);
        let seconds = took.as_secs_f64();

        let line = format!(
            "{peer} - - [{date}] \"{method} {path} {version:?}\" {status} {bytes} \
             \"{operation} {stream} {error}\" \"{agent}\" {seconds:.6}\n"
        );
        if let Err(error) = lock(sink).write_all(line.as_bytes()) {
            tracing::warn!(%error, "cannot write the request log");
        }
    }
}

/// Replaces the characters that would end a field or a line.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '"' { '?' } else { c })
        .collect()
}

/// A time in the format of access logs: `24/Nov/2026:02:13:33 +0000`.
fn date(now_ms: u64) -> String {
    let format = time::macros::format_description!(
        "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"
    );
    let seconds = i64::try_from(now_ms / 1000).ok();
    let at = seconds.and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());

    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| now_ms.to_string())
}

//! A line for each request, in the style of an access log.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use crate::dispatch::Note;
use crate::local::{Inner, lock};

/// Where the lines go.
#[derive(Clone)]
pub struct RequestLog {
    sink: Option<Arc<Mutex<dyn Write + Send>>>,
}

impl RequestLog {
    /// Nowhere.
    pub const fn off() -> Self {
        Self { sink: None }
    }

    /// To a file, to standard error, or to anything else that takes text; one `write` a line.
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

/// A request that has been answered.
pub(crate) struct Entry<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) head: &'a Parts,
    pub(crate) status: StatusCode,
    pub(crate) bytes: Option<u64>,
    pub(crate) note: &'a Note,
    pub(crate) started: Duration,
}

impl RequestLog {
    /// Writes `peer - - [date] "POST / HTTP/1.1" status bytes "operation stream error" "agent" seconds`.
    pub(crate) fn line(&self, inner: &Inner, entry: &Entry<'_>) {
        let Some(sink) = &self.sink else { return };
        let Entry {
            peer,
            head,
            status,
            bytes,
            note,
            started,
        } = entry;
        let took = inner.env.monotonic().saturating_sub(*started).as_secs_f64();
        let agent = head
            .headers
            .get(http::header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("-");
        let bytes = bytes.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let line = format!(
            "{} - - [{}] \"{} {} {:?}\" {} {bytes} \"{} {} {}\" \"{}\" {took:.6}\n",
            peer.ip(),
            date(inner.env.now_ms()),
            head.method,
            head.uri.path(),
            head.version,
            status.as_u16(),
            note.operation.unwrap_or("-"),
            plain(note.stream.as_deref().unwrap_or("-")),
            note.error.as_deref().unwrap_or("-"),
            plain(agent),
        );
        if let Err(error) = lock(sink).write_all(line.as_bytes()) {
            tracing::warn!(%error, "cannot write the request log");
        }
    }
}

/// Without what would end a field or a line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '"' { '?' } else { c })
        .collect()
}

/// `24/Nov/2026:02:13:33 +0000`.
fn date(now_ms: u64) -> String {
    let format = time::macros::format_description!(
        "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"
    );
    let at = i64::try_from(now_ms / 1000)
        .ok()
        .and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| now_ms.to_string())
}

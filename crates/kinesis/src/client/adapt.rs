//! What a client learns about its server: whether it speaks CBOR, knows ARNs, and how large requests may be. Each thing is
//! learned from an answer, once, and said once.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use distributary_core::output::TroubleKind;
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::limits;
use distributary_wire::transport::{RequestBody, TransportError};
use distributary_wire::types::Request;

use super::error::deepest;
use super::{Answered, CallError, Client, RawAnswer};

/// The least that a `PutRecords` request is cut to, in bytes, whatever a server refuses.
const PUT_BYTES_MIN: usize = 256 * 1024;

/// CBOR, not tried yet.
const UNTRIED: u8 = 0;
/// CBOR, answered in.
const CBOR: u8 = 1;
/// JSON: CBOR failed, or was not wanted.
const JSON: u8 = 2;

/// What is known about the server.
pub(super) struct Learned {
    format: AtomicU8,
    /// False if the encoding was chosen for good.
    may_change: bool,
    /// The server takes names where others take ARNs.
    by_name: AtomicBool,
    put_bytes: AtomicUsize,
}

impl Learned {
    pub(super) fn new(format: Option<Format>) -> Self {
        let state = match format {
            None => UNTRIED,
            Some(Format::Cbor) => CBOR,
            Some(Format::Json) => JSON,
        };
        Self {
            format: AtomicU8::new(state),
            may_change: format.is_none(),
            by_name: AtomicBool::new(false),
            put_bytes: AtomicUsize::new(limits::PUT_RECORDS_BYTES),
        }
    }
}

impl Client {
    /// The encoding that requests are sent in now.
    pub fn format(&self) -> Format {
        if self.0.learned.format.load(Ordering::Relaxed) == JSON {
            Format::Json
        } else {
            Format::Cbor
        }
    }

    /// True if no answer has said yet whether the server speaks the encoding.
    pub(crate) fn is_untried(&self) -> bool {
        self.0.learned.format.load(Ordering::Relaxed) == UNTRIED
    }

    /// True if the server is asked by name although the ARN is known.
    pub(crate) fn by_name(&self) -> bool {
        self.0.learned.by_name.load(Ordering::Relaxed)
    }

    /// Bytes that a `PutRecords` request may hold, as far as known.
    pub fn put_records_bytes(&self) -> usize {
        self.0.learned.put_bytes.load(Ordering::Relaxed)
    }

    /// Sends a request in the encoding at hand and reads its answer with `parse`; if that fails in a way that a server
    /// without CBOR fails in, asks again in JSON and stays with what works. (What may have been chance must happen twice.)
    pub(crate) async fn read_call<R: Request, T>(
        &self,
        request: &R,
        deadline: Duration,
        parse: impl Fn(RawAnswer) -> Result<T, CodecError>,
    ) -> Result<Answered<T>, CallError> {
        let ask = async |format| {
            let body = RequestBody::whole(codec::encode(format, request));
            let raw = self
                .exchange(R::OPERATION, format, &body, None, deadline)
                .await?;
            let date = raw.date;
            let answer = parse(raw).map_err(CallError::Undecodable)?;
            Ok(Answered { answer, date })
        };
        let format = self.format();
        let first = ask(format).await;
        match &first {
            // Or another call has learned it while this one was under way: reading again costs nothing but the call.
            Err(error)
                if format == Format::Cbor
                    && (self.format() == Format::Json || self.may_lack_cbor(error)) =>
            {
                let second = ask(Format::Json).await;
                // A server that was away for a moment fails just so, and JSON would be kept to for ever.
                if is_protocol(&second) && may_pass(error) {
                    let third = ask(Format::Cbor).await;
                    if third.is_ok() {
                        self.cbor_works();
                    }
                    // An error may be of something in front of the server: that says nothing of either encoding.
                    if is_protocol(&third) {
                        return second;
                    }
                }
                if is_protocol(&second) {
                    self.learn_json(error);
                    return second;
                }
                first
            }
            Ok(_) => {
                self.cbor_works();
                first
            }
            // Whatever stands in front of the server may say no before anything is read.
            Err(_) => first,
        }
    }

    /// Takes note that something was answered in CBOR, or understood.
    pub(super) fn cbor_works(&self) {
        // Only from "untried": what was learned stays.
        let _ = self.0.learned.format.compare_exchange(
            UNTRIED,
            CBOR,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// True if this failure is how servers fail that do not speak CBOR.
    pub(crate) fn may_lack_cbor(&self, error: &CallError) -> bool {
        if !self.0.learned.may_change || self.format() == Format::Json {
            return false;
        }
        let untried = self.is_untried();
        match error {
            CallError::Api(e) => {
                matches!(e.code, ErrorCode::Serialization) || (untried && asks_nothing(&e.code))
            }
            CallError::Foreign(_) | CallError::Transport(TransportError::Broken { .. }) => untried,
            CallError::Undecodable(_) => true,
            CallError::Transport(
                TransportError::Connect { .. } | TransportError::Timeout { .. },
            )
            | CallError::Credentials(_)
            | CallError::Sign(_) => false,
        }
    }

    /// Sends JSON from now on.
    pub(crate) fn learn_json(&self, because: &CallError) {
        if self.0.learned.format.swap(JSON, Ordering::Relaxed) != JSON {
            tracing::info!(
                endpoint = %self.0.endpoint, reason = deepest(because),
                "this server does not speak CBOR as AWS does: using JSON, which costs more CPU time and bytes"
            );
        }
    }

    /// If `error` says that the server wants a name instead of an ARN, sends names from now on; `true` if so.
    pub(crate) fn learn_by_name(&self, error: &CallError) -> bool {
        let CallError::Api(error) = error else {
            return false;
        };
        if !wants_name(error) {
            return false;
        }
        if !self.0.learned.by_name.swap(true, Ordering::Relaxed) {
            tracing::info!(
                endpoint = %self.0.endpoint,
                "this server does not know streams by ARN: naming them by name"
            );
        }
        true
    }

    /// If `error` says that a `PutRecords` request of `size` bytes is too large, sends smaller ones from now on; `true` if
    /// so.
    pub(crate) fn learn_put_limit(&self, error: &CallError, size: usize) -> bool {
        let (CallError::Api(e) | CallError::Foreign(e)) = error else {
            return false;
        };
        if !is_too_large(e) || size <= PUT_BYTES_MIN {
            return false;
        }
        let smaller = if size > limits::PUT_RECORDS_BYTES_OLD {
            limits::PUT_RECORDS_BYTES_OLD
        } else {
            size / 2
        };
        let smaller = smaller.max(PUT_BYTES_MIN);
        if self
            .0
            .learned
            .put_bytes
            .fetch_min(smaller, Ordering::Relaxed)
            > smaller
        {
            tracing::info!(
                endpoint = %self.0.endpoint, bytes = smaller,
                "this server takes smaller PutRecords requests than AWS: sending no more than that in one"
            );
        }
        true
    }
}

/// True for a failure that says nothing of the encoding if it does not come again: a broken connection, or that of a load
/// balancer or a proxy with nobody behind it.
fn may_pass(error: &CallError) -> bool {
    error.kind() == TroubleKind::Unavailable
}

/// True if what answered speaks the protocol, in success or failure.
fn is_protocol<T>(result: &Result<T, CallError>) -> bool {
    match result {
        Ok(_) => true,
        Err(CallError::Api(e)) => e.code != ErrorCode::Serialization && !asks_nothing(&e.code),
        Err(_) => false,
    }
}

/// True for the codes of a server that could not make out what was asked.
fn asks_nothing(code: &ErrorCode) -> bool {
    match code {
        ErrorCode::UnknownOperation => true,
        ErrorCode::Other(code) => code == "InvalidAction" || code == "UnknownOperation",
        _ => false,
    }
}

/// True if a request with an ARN is refused for want of a name: "Value null at 'streamName'", "Either NextToken or
/// StreamName should be provided".
fn wants_name(error: &ApiError) -> bool {
    matches!(
        error.code,
        ErrorCode::Validation | ErrorCode::InvalidArgument | ErrorCode::Serialization
    ) && error.message.to_ascii_lowercase().contains("streamname")
}

/// True if a request is refused for its size: 413, or "Records size exceeds 5 MB limit".
fn is_too_large(error: &ApiError) -> bool {
    match error.code {
        ErrorCode::RequestTooLarge => true,
        ErrorCode::Validation | ErrorCode::InvalidArgument => {
            let text = error.message.to_ascii_lowercase();
            text.contains("size exceeds") && text.contains("limit")
        }
        _ => error.status == 413,
    }
}

//! The abilities of a server that a client learns from answers: whether the server speaks CBOR,
//! knows ARNs, and how large requests may be. Each is learned once, and logged once.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use distributary_core::output::TroubleKind;
use distributary_core::text::chain;
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::limits;
use distributary_wire::transport::{RequestBody, TransportError};
use distributary_wire::types::Request;

use super::{Answered, CallError, Client, RawAnswer};

/// The smallest limit of a `PutRecords` request in bytes, however many requests a server refuses.
const PUT_BYTES_MIN: usize = 256 * 1024;

/// Strange answers in a row to writes after which a server that has spoken CBOR is taken for one
/// that does not take writes in CBOR.
const STRANGE_MAX: u32 = 3;

/// CBOR, not tried yet.
const UNTRIED: u8 = 0;
/// CBOR: the server has answered in CBOR.
const CBOR: u8 = 1;
/// JSON: CBOR failed, or was not wanted.
const JSON: u8 = 2;

/// The abilities of the server, as far as known.
pub(super) struct Learned {
    format: AtomicU8,
    /// False if the user chose the encoding.
    may_change: bool,
    /// True once an answer to a request in CBOR could be read.
    is_proven: AtomicBool,
    /// Strange answers to writes since the last answer that was read.
    strange: AtomicU32,
    /// True if the server takes names only, and no ARNs.
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
            is_proven: AtomicBool::new(false),
            strange: AtomicU32::new(0),
            by_name: AtomicBool::new(false),
            put_bytes: AtomicUsize::new(limits::PUT_RECORDS_BYTES),
        }
    }
}

impl Client {
    /// The encoding that requests are sent in now.
    pub fn format(&self) -> Format {
        if self.shared.learned.format.load(Ordering::Relaxed) == JSON {
            Format::Json
        } else {
            Format::Cbor
        }
    }

    /// True if no answer has shown yet whether the server speaks the encoding.
    pub(crate) fn is_untried(&self) -> bool {
        self.shared.learned.format.load(Ordering::Relaxed) == UNTRIED
    }

    /// True if requests name streams by name although the ARN is known.
    pub(crate) fn by_name(&self) -> bool {
        self.shared.learned.by_name.load(Ordering::Relaxed)
    }

    /// Bytes that a `PutRecords` request may hold, as far as known.
    pub fn put_records_bytes(&self) -> usize {
        self.shared.learned.put_bytes.load(Ordering::Relaxed)
    }

    /// Sends a request in the current encoding and reads the answer with `parse`. If that fails in
    /// the way in which a server without CBOR fails, asks again in JSON, and stays with the
    /// encoding that works. A failure that may have been chance must happen twice.
    pub(crate) async fn read_call<R: Request, T>(
        &self,
        request: &R,
        deadline: Duration,
        parse: impl Fn(RawAnswer) -> Result<T, CodecError>,
    ) -> Result<Answered<T>, CallError> {
        let ask = async |format| {
            let body = RequestBody::whole(codec::encode(format, request));
            let exchange = self.exchange(R::OPERATION, format, &body, None, deadline);
            let raw = exchange.await?;
            let date = raw.date;
            let answer = parse(raw).map_err(CallError::Undecodable)?;
            Ok(Answered { answer, date })
        };

        let format = self.format();
        let first = ask(format).await;
        let error = match &first {
            Ok(_) => {
                self.cbor_works();
                return first;
            }
            Err(error) if format == Format::Json || !self.wants_json(error) => return first,
            Err(error) => error,
        };

        let second = ask(Format::Json).await;
        if !is_protocol(&second) {
            return first;
        }
        // A server that was unreachable for a moment fails in the same way, and one strange answer
        // does not outweigh the good ones before: JSON would be used for ever.
        if may_pass(error) || self.is_proven() {
            let third = ask(Format::Cbor).await;
            if third.is_ok() {
                self.cbor_works();
            }
            // An error may come from a proxy before the server: such an error shows nothing about
            // either encoding.
            if is_protocol(&third) {
                return second;
            }
        }

        self.learn_json(error);
        second
    }

    /// True if a request that failed in CBOR should be sent in JSON: another call may have learned
    /// meanwhile that the server wants JSON.
    fn wants_json(&self, error: &CallError) -> bool {
        self.format() == Format::Json || self.may_lack_cbor(error)
    }

    /// Notes that the server understood CBOR, and that the answer could be read.
    pub(crate) fn cbor_works(&self) {
        let learned = &self.shared.learned;
        learned.strange.store(0, Ordering::Relaxed);
        learned.is_proven.store(true, Ordering::Relaxed);
        self.cbor_answered();
    }

    fn is_proven(&self) -> bool {
        self.shared.learned.is_proven.load(Ordering::Relaxed)
    }

    /// Notes a write that failed in the way of servers without CBOR. Every write to such a server
    /// fails so; one strange answer of a server that has spoken CBOR is chance.
    pub(crate) fn suspect_cbor(&self, error: &CallError) {
        let learned = &self.shared.learned;
        let strange = learned.strange.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.is_proven() || strange >= STRANGE_MAX {
            self.learn_json(error);
        }
    }

    /// Notes that the server has answered in CBOR.
    pub(super) fn cbor_answered(&self) {
        let format = &self.shared.learned.format;
        // Only from "untried": a format that was learned stays.
        let _ = format.compare_exchange(UNTRIED, CBOR, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// True if servers that do not speak CBOR fail in this way.
    pub(crate) fn may_lack_cbor(&self, error: &CallError) -> bool {
        if !self.shared.learned.may_change || self.format() == Format::Json {
            return false;
        }
        let untried = self.is_untried();
        match error {
            CallError::Api(e) => {
                matches!(e.code, ErrorCode::Serialization)
                    || (untried && is_not_understood(&e.code))
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
    fn learn_json(&self, because: &CallError) {
        if self.shared.learned.format.swap(JSON, Ordering::Relaxed) != JSON {
            tracing::info!(
                endpoint = %self.shared.endpoint, reason = chain(because),
                "this server does not speak CBOR as AWS does: using JSON, which costs more CPU \
                 time and bytes"
            );
        }
    }

    /// If `error` says that the server wants a name instead of an ARN, sends names from now on.
    /// Returns true if so.
    pub(crate) fn learn_by_name(&self, error: &CallError) -> bool {
        let CallError::Api(error) = error else {
            return false;
        };
        if !wants_name(error) {
            return false;
        }
        if !self.shared.learned.by_name.swap(true, Ordering::Relaxed) {
            tracing::info!(
                endpoint = %self.shared.endpoint,
                "this server does not know streams by ARN: naming them by name"
            );
        }
        true
    }

    /// If `error` says that a `PutRecords` request of `size` bytes is too large, sends smaller
    /// requests from now on. Returns true if so.
    pub(crate) fn learn_put_limit(&self, error: &CallError, size: usize) -> bool {
        let (CallError::Api(error) | CallError::Foreign(error)) = error else {
            return false;
        };
        if !is_too_large(error) || size <= PUT_BYTES_MIN {
            return false;
        }

        let smaller = if size > limits::PUT_RECORDS_BYTES_OLD {
            limits::PUT_RECORDS_BYTES_OLD
        } else {
            size / 2
        };
        let smaller = smaller.max(PUT_BYTES_MIN);
        let put_bytes = &self.shared.learned.put_bytes;
        if put_bytes.fetch_min(smaller, Ordering::Relaxed) > smaller {
            tracing::info!(
                endpoint = %self.shared.endpoint, bytes = smaller,
                "this server takes smaller PutRecords requests than AWS: sending at most that many \
                 bytes in one"
            );
        }
        true
    }
}

/// True for a failure that shows nothing about the encoding unless the failure repeats: a broken
/// connection, or the error of a load balancer or proxy without a server.
fn may_pass(error: &CallError) -> bool {
    error.kind() == TroubleKind::Unavailable
}

/// True if the server speaks the protocol, be it success or failure.
fn is_protocol<T>(result: &Result<T, CallError>) -> bool {
    match result {
        Ok(_) => true,
        Err(CallError::Api(ApiError { code, .. })) => {
            let is_of_encoding = *code == ErrorCode::Serialization;
            !is_of_encoding && !is_not_understood(code)
        }
        Err(_) => false,
    }
}

/// True for the codes of a server that did not understand the request.
fn is_not_understood(code: &ErrorCode) -> bool {
    match code {
        ErrorCode::UnknownOperation => true,
        ErrorCode::Other(code) => code == "InvalidAction" || code == "UnknownOperation",
        _ => false,
    }
}

/// True if a request with an ARN is refused for lack of a name: "Value null at 'streamName'",
/// "Either NextToken or StreamName should be provided".
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

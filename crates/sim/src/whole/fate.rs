//! What befalls one call on its way.

use std::time::Duration;

use bytes::Bytes;
use distributary_core::output::TroubleKind;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng};
use distributary_wire::codec::{self, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::{Response, ResponseBody};
use distributary_wire::types::PutRecordsResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All is well.
    Well,
    /// Nothing listens.
    Refused,
    /// The connection breaks before the server has all of it.
    Lost,
    /// It is carried out, and the connection breaks before the answer.
    AnswerLost,
    /// Only the first entries are taken, and the connection breaks before the answer.
    Cut,
    /// The connection breaks at once; it is carried out so much later.
    Late(Duration),
    /// It is not carried out, and no answer comes by the deadline.
    Held,
    /// It is carried out, and no answer comes by the deadline.
    Hangs,
    /// No answer comes by the deadline; it is carried out so much after that.
    Stuck(Duration),
    /// It is not carried out, and this is the answer.
    Error(Failure),
    /// It is carried out, and this is the answer all the same.
    ErrorAfter(Failure),
    /// So many of a thousand entries are not taken.
    Partial(u32),
    /// It is carried out, and what comes is no answer to it.
    Garbled(Garble),
    /// A read brings nothing, though there is something.
    Empty,
}

/// An answer that is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// In the words of the protocol.
    Code(Code),
    /// A page of something in between, with this status.
    Proxy(u16),
}

/// The codes that are drawn, a copy of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Throttled,
    Limit,
    Internal,
    Unavailable,
    ExpiredToken,
    ExpiredIterator,
    UnknownKey,
    Denied,
    Skewed,
}

/// How an answer of status 200 is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Garble {
    /// A page of something in between.
    Page,
    /// Nothing.
    Nothing,
    /// An object without members.
    Blank,
    /// The first so many thousandths of it.
    Begun(u32),
    /// One entry less than were sent.
    OneShort,
    /// One more failed than the entries say.
    Miscounted,
    /// An entry that is neither written nor failed.
    Undecided,
}

/// Failures that pass by themselves and say that nothing was done.
const REFUSALS: &[Fate] = &[
    Fate::Refused,
    Fate::Error(Failure::Code(Code::Throttled)),
    Fate::Error(Failure::Code(Code::Throttled)),
    Fate::Error(Failure::Code(Code::Limit)),
    Fate::Error(Failure::Code(Code::ExpiredToken)),
    Fate::Error(Failure::Proxy(429)),
    Fate::Error(Failure::Proxy(407)),
];

/// Failures that say nothing about what was done, and nothing was.
const LOSSES: &[Fate] = &[
    Fate::Lost,
    Fate::Lost,
    Fate::Error(Failure::Code(Code::Internal)),
    Fate::Error(Failure::Code(Code::Unavailable)),
    Fate::Error(Failure::Proxy(503)),
];

/// Failures that say nothing about what was done, and all was.
const ANSWER_LOSSES: &[Fate] = &[
    Fate::AnswerLost,
    Fate::AnswerLost,
    Fate::ErrorAfter(Failure::Code(Code::Internal)),
    Fate::ErrorAfter(Failure::Proxy(502)),
    Fate::ErrorAfter(Failure::Proxy(504)),
];

impl Fate {
    /// What befalls a call that is to be carried out at a service.
    pub(super) fn of_write(faults: &OutputFaults, rng: &mut Rng) -> Self {
        let later = Duration::from_millis(rng.between(1, 20_000));
        // One in eight, one in two, all but a few.
        let share = *rng.pick(&[125, 500, 950]);
        let all = [
            (faults.rejected, *rng.pick(REFUSALS)),
            (faults.partial, Self::Partial(share)),
            (faults.answer_lost, *rng.pick(ANSWER_LOSSES)),
            (faults.cut, Self::Cut),
            (faults.request_lost, *rng.pick(LOSSES)),
            (faults.late, Self::Late(later)),
            (faults.hangs, Self::Hangs),
            (faults.stuck, Self::Stuck(later)),
            (faults.garbled, Self::Garbled(Garble::draw(rng, true))),
        ];
        all.into_iter()
            .find(|(n, _)| rng.per_mille(*n))
            .map_or(Self::Well, |(_, fate)| fate)
    }

    /// What befalls a read of the source.
    pub(super) fn of_read(faults: &ReadFaults, operation: Operation, rng: &mut Rng) -> Self {
        let expired = Self::Error(Failure::Code(Code::ExpiredIterator));
        let failed = match rng.below(6) {
            0 => *rng.pick(REFUSALS),
            1 | 2 => *rng.pick(LOSSES),
            3 => *rng.pick(ANSWER_LOSSES),
            4 if operation == Operation::GetRecords => expired,
            _ => Self::Garbled(Garble::draw(rng, false)),
        };
        let empty = if operation == Operation::GetRecords {
            faults.short + faults.empty
        } else {
            0
        };
        let all = [
            (
                faults.throttled,
                Self::Error(Failure::Code(Code::Throttled)),
            ),
            (faults.unavailable, failed),
            (faults.hang, Self::Held),
            (empty, Self::Empty),
        ];
        all.into_iter()
            .find(|(n, _)| rng.per_mille(*n))
            .map_or(Self::Well, |(_, fate)| fate)
    }

    /// What befalls a call that neither reads nor writes records, if so many of a thousand fail.
    pub(super) fn of_control(fails: u32, rng: &mut Rng) -> Self {
        let fate = match rng.below(5) {
            0 | 1 => *rng.pick(REFUSALS),
            2 => *rng.pick(LOSSES),
            3 => *rng.pick(ANSWER_LOSSES),
            _ if rng.below(3) == 0 => Self::Held,
            _ => Self::Garbled(Garble::draw(rng, false)),
        };
        if rng.per_mille(fails) {
            fate
        } else {
            Self::Well
        }
    }

    /// What befalls every call while a service is in that mood, if that decides it.
    pub(super) fn of_mood(mood: Mood) -> Option<Self> {
        let code = |code| Some(Self::Error(Failure::Code(code)));
        match mood {
            Mood::Held => Some(Self::Held),
            Mood::Rejects(TroubleKind::Throttled) => code(Code::Throttled),
            Mood::Rejects(TroubleKind::Denied) => code(Code::Denied),
            Mood::Rejects(TroubleKind::Unauthenticated) => code(Code::UnknownKey),
            // The stream is not there: its server says so by itself.
            Mood::Rejects(TroubleKind::Missing) => None,
            Mood::Rejects(_) => code(Code::Unavailable),
            // An output that panics is no fault of the network.
            Mood::Well | Mood::Crawls(_) | Mood::Panics => None,
        }
    }

    /// Its name among the faults; none if it is none.
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Well => return None,
            Self::Refused => "connection refused",
            Self::Lost => "broken before the server had it",
            Self::AnswerLost => "carried out, and the connection broke",
            Self::Cut => "written in part, and the answer lost",
            Self::Late(_) => "broken, and carried out late",
            Self::Held => "no answer by the deadline",
            Self::Hangs => "carried out, and no answer by the deadline",
            Self::Stuck(_) => "no answer by the deadline, and carried out after it",
            Self::Error(Failure::Proxy(_)) => "a proxy's error",
            Self::Error(Failure::Code(code)) => code.name(),
            Self::ErrorAfter(_) => "carried out, and answered with 5xx",
            Self::Partial(_) => "entries failed",
            Self::Garbled(_) => "an answer that is none",
            Self::Empty => "a read brought nothing though there is something",
        })
    }
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::Throttled => "a whole call throttled",
            Self::Limit => "LimitExceededException",
            Self::Internal => "InternalFailure",
            Self::Unavailable => "ServiceUnavailable",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Denied => "AccessDeniedException",
            Self::Skewed => "a signature of another time",
        }
    }

    fn code(self) -> ErrorCode {
        match self {
            Self::Throttled => ErrorCode::ProvisionedThroughputExceeded,
            Self::Limit => ErrorCode::LimitExceeded,
            Self::Internal => ErrorCode::InternalFailure,
            Self::Unavailable => ErrorCode::ServiceUnavailable,
            Self::ExpiredToken => ErrorCode::ExpiredToken,
            Self::ExpiredIterator => ErrorCode::ExpiredIterator,
            Self::UnknownKey => ErrorCode::UnrecognizedClient,
            Self::Denied => ErrorCode::AccessDenied,
            Self::Skewed => ErrorCode::InvalidSignature,
        }
    }
}

impl Failure {
    /// The answer.
    pub(super) fn answer(self, format: Format) -> Response {
        match self {
            Self::Code(code) => error(format, &ApiError::new(code.code(), "this call fails")),
            Self::Proxy(status) => page(status),
        }
    }
}

/// An error in the words of the protocol.
pub(super) fn error(format: Format, error: &ApiError) -> Response {
    let mut answer = Response::new(ResponseBody::Full(error.encode(format)));
    *answer.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    answer
        .headers_mut()
        .insert("x-amzn-requestid", HeaderValue::from_static("simulated"));
    answer
}

/// A page of something in between.
fn page(status: u16) -> Response {
    let body = Bytes::from_static(b"<html><body>the gateway is not well</body></html>");
    let mut answer = Response::new(ResponseBody::Full(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer
}

impl Garble {
    fn draw(rng: &mut Rng, entries: bool) -> Self {
        match rng.below(if entries { 7 } else { 4 }) {
            0 => Self::Page,
            1 => Self::Nothing,
            2 => Self::Blank,
            3 => Self::Begun(u32::try_from(rng.below(1000)).unwrap_or(0)),
            4 => Self::OneShort,
            5 => Self::Miscounted,
            _ => Self::Undecided,
        }
    }

    /// What comes in place of `answer`.
    pub(super) fn spoil(self, answer: Response, format: Format) -> Response {
        let (head, body) = answer.into_parts();
        let ResponseBody::Full(body) = body else {
            return page(200);
        };
        let body = match self {
            Self::Page => return page(200),
            Self::Nothing => Bytes::new(),
            Self::Blank => codec::encode(format, &std::collections::BTreeMap::<String, u8>::new()),
            // Never all of it.
            Self::Begun(part) => body.slice(..body.len().saturating_sub(1) * part as usize / 1000),
            Self::OneShort | Self::Miscounted | Self::Undecided => {
                self.spoil_entries(&body, format).unwrap_or_default()
            }
        };
        Response::from_parts(head, ResponseBody::Full(body))
    }

    fn spoil_entries(self, body: &[u8], format: Format) -> Option<Bytes> {
        let mut answer: PutRecordsResponse = codec::decode(format, body).ok()?;
        match self {
            Self::OneShort => {
                let gone = answer.records.pop()?;
                let failed = answer.failed_record_count.unwrap_or(0);
                answer.failed_record_count = Some(failed - i32::from(gone.error_code.is_some()));
            }
            Self::Miscounted => {
                answer.failed_record_count = Some(answer.failed_record_count.unwrap_or(0) + 1);
            }
            _ => {
                let last = answer.records.last_mut()?;
                (last.sequence_number, last.shard_id) = (None, None);
                (last.error_code, last.error_message) = (None, None);
            }
        }
        Some(codec::encode(format, &answer))
    }
}

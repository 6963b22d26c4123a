//! The outcome that the network and the server give one call, drawn from the seed.

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

/// How one call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The call is carried out and answered.
    Well,
    /// The connection is refused.
    Refused,
    /// The connection breaks before the server has the whole request.
    Lost,
    /// The call is carried out; the connection breaks before the answer.
    AnswerLost,
    /// Only the first entries are written; the connection breaks before the answer.
    Cut,
    /// The connection breaks at once; the call is carried out this much later.
    Late(Duration),
    /// The call is not carried out, and no answer arrives by the deadline.
    Held,
    /// The call is carried out, and no answer arrives by the deadline.
    Hangs,
    /// No answer arrives by the deadline; the call is carried out this much after that.
    Stuck(Duration),
    /// The call is not carried out and is answered with this error.
    Error(Failure),
    /// The call is carried out and still answered with this error.
    ErrorAfter(Failure),
    /// Each entry fails with this probability, in thousandths.
    Partial(u32),
    /// The call is carried out, and the answer is spoiled.
    Garbled(Garble),
    /// A read returns no records although the shard has some.
    Empty,
}

/// An answer that is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// An error of the Kinesis protocol.
    Code(Code),
    /// An HTML page of a proxy, with this HTTP status.
    Proxy(u16),
}

/// The error codes that can be drawn.
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

/// How an answer with status 200 is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Garble {
    /// An HTML page of a proxy.
    Page,
    /// An empty body.
    Empty,
    /// An object without members.
    NoMembers,
    /// Only the first thousandths of the body, this many.
    Truncated(u32),
    /// One entry less than the request had.
    OneEntryShort,
    /// A count of failed records that is one too high.
    Miscounted,
    /// A last entry that is neither written nor failed.
    Undecided,
    /// A page of records without the iterator of the next page.
    NoIterator,
}

/// Temporary failures after which nothing was done, for certain.
const REFUSALS: &[Fate] = &[
    Fate::Refused,
    Fate::Error(Failure::Code(Code::Throttled)),
    Fate::Error(Failure::Code(Code::Throttled)),
    Fate::Error(Failure::Code(Code::Limit)),
    Fate::Error(Failure::Code(Code::ExpiredToken)),
    Fate::Error(Failure::Proxy(429)),
    Fate::Error(Failure::Proxy(407)),
];

/// Failures that leave open whether the call was carried out; in fact, nothing was done.
const LOSSES: &[Fate] = &[
    Fate::Lost,
    Fate::Lost,
    Fate::Error(Failure::Code(Code::Internal)),
    Fate::Error(Failure::Code(Code::Unavailable)),
    Fate::Error(Failure::Proxy(503)),
];

/// Failures that leave open whether the call was carried out; in fact, everything was done.
const ANSWER_LOSSES: &[Fate] = &[
    Fate::AnswerLost,
    Fate::AnswerLost,
    Fate::ErrorAfter(Failure::Code(Code::Internal)),
    Fate::ErrorAfter(Failure::Proxy(502)),
    Fate::ErrorAfter(Failure::Proxy(504)),
];

impl Fate {
    /// Draws the fate of a write.
    pub(super) fn of_write(faults: &OutputFaults, rng: &mut Rng) -> Self {
        let later = Duration::from_millis(rng.between(1, 20_000));

        // One entry in eight, one in two, or nearly all.
        let share = *rng.pick(&[125, 500, 950]);

        let choices = [
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
        Self::first_drawn(&choices, rng)
    }

    /// The first choice that comes true, each with its own probability in thousandths.
    fn first_drawn(choices: &[(u32, Self)], rng: &mut Rng) -> Self {
        choices
            .iter()
            .find(|(probability, _)| rng.per_mille(*probability))
            .map_or(Self::Well, |(_, fate)| *fate)
    }

    /// Draws the fate of a read of the source.
    pub(super) fn of_read(faults: &ReadFaults, operation: Operation, rng: &mut Rng) -> Self {
        let failed = Self::failed_read(operation, rng);
        let empty = match operation {
            Operation::GetRecords => faults.short + faults.empty,
            _ => 0,
        };

        let choices = [
            (
                faults.throttled,
                Self::Error(Failure::Code(Code::Throttled)),
            ),
            (faults.unavailable, failed),
            (faults.hang, Self::Held),
            (empty, Self::Empty),
        ];
        Self::first_drawn(&choices, rng)
    }

    fn failed_read(operation: Operation, rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => *rng.pick(REFUSALS),
            1 | 2 => *rng.pick(LOSSES),
            3 => *rng.pick(ANSWER_LOSSES),
            4 if operation == Operation::GetRecords => {
                Self::Error(Failure::Code(Code::ExpiredIterator))
            }
            5 if operation == Operation::GetRecords && rng.below(2) == 0 => {
                Self::Garbled(Garble::NoIterator)
            }
            _ => Self::Garbled(Garble::draw(rng, false)),
        }
    }

    /// Draws the fate of a call that neither reads nor writes records; `fails` is the probability
    /// of a failure, in thousandths.
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

    /// The fate of every call while a service is in this mood, if the mood decides.
    pub(super) fn of_mood(mood: Mood) -> Option<Self> {
        let code = |code| Some(Self::Error(Failure::Code(code)));
        match mood {
            Mood::Held => Some(Self::Held),
            Mood::Rejects(TroubleKind::Throttled) => code(Code::Throttled),
            Mood::Rejects(TroubleKind::Denied) => code(Code::Denied),
            Mood::Rejects(TroubleKind::Unauthenticated) => code(Code::UnknownKey),
            // The stream was deleted: the embedded Kinesis answers so without a fault.
            Mood::Rejects(TroubleKind::Missing) => None,
            Mood::Rejects(_) => code(Code::Unavailable),
            // A panic of an output is no fault of the network.
            Mood::Well | Mood::Crawls(_) | Mood::Panics => None,
        }
    }

    /// The name in the counts of faults; `None` if nothing went wrong.
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
    /// Encodes the failure as a response.
    pub(super) fn answer(self, format: Format) -> Response {
        match self {
            Self::Code(code) => error(format, &ApiError::new(code.code(), "this call fails")),
            Self::Proxy(status) => page(status),
        }
    }
}

/// Encodes an error of the Kinesis protocol as a response.
pub(super) fn error(format: Format, error: &ApiError) -> Response {
    let mut answer = Response::new(ResponseBody::Full(error.encode(format)));
    *answer.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);

    let content_type = HeaderValue::from_static(format.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
        .headers_mut()
        .insert("x-amzn-requestid", HeaderValue::from_static("simulated"));
    answer
}

/// The HTML page of a proxy.
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
            1 => Self::Empty,
            2 => Self::NoMembers,
            3 => Self::Truncated(u32::try_from(rng.below(1000)).unwrap_or(0)),
            4 => Self::OneEntryShort,
            5 => Self::Miscounted,
            _ => Self::Undecided,
        }
    }

    /// Spoils `answer`.
    pub(super) fn spoil(self, answer: Response, format: Format) -> Response {
        let (head, body) = answer.into_parts();
        let ResponseBody::Full(body) = body else {
            return page(200);
        };

        let body = match self {
            Self::Page => return page(200),
            Self::Empty => Bytes::new(),
            Self::NoMembers => {
                codec::encode(format, &std::collections::BTreeMap::<String, u8>::new())
            }
            // Always at least one byte short.
            Self::Truncated(part) => {
                body.slice(..body.len().saturating_sub(1) * part as usize / 1000)
            }
            Self::NoIterator => without_iterator(&body),
            Self::OneEntryShort | Self::Miscounted | Self::Undecided => {
                self.spoil_entries(&body, format).unwrap_or_default()
            }
        };
        Response::from_parts(head, ResponseBody::Full(body))
    }

    fn spoil_entries(self, body: &[u8], format: Format) -> Option<Bytes> {
        let mut answer: PutRecordsResponse = codec::decode(format, body).ok()?;

        match self {
            Self::OneEntryShort => {
                let removed = answer.records.pop()?;
                let failed = answer.failed_record_count.unwrap_or(0);
                answer.failed_record_count = Some(failed - i32::from(removed.error_code.is_some()));
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

/// The body with another name for the member that has the next iterator. Readers pass over a member
/// that they don't know.
fn without_iterator(body: &[u8]) -> Bytes {
    const NAME: &[u8] = b"NextShardIterator";
    let mut body = body.to_vec();
    let place = body.windows(NAME.len()).position(|part| part == NAME);

    if let Some(place) = place {
        body[place..place + NAME.len()].copy_from_slice(b"NextShardIteratoX");
    }
    Bytes::from(body)
}

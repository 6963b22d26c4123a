//! Calls about one stream: by ARN or by name, as the server knows streams, and with substitutes for
//! calls that the server lacks.

use std::time::Duration;

use distributary_core::clock::Millis;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::source::StreamIdentity;
use distributary_wire::codec::CodecError;
use distributary_wire::error::ErrorCode;
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::types::{
    self, CreateStreamRequest, DeleteStreamRequest, DescribeStreamRequest,
    DescribeStreamSummaryRequest, DescribeStreamSummaryResponse, GetShardIteratorRequest,
    ListShardsRequest, ListShardsResponse, ListTagsForStreamRequest, PutRecordRequest,
    PutRecordsRequest, RecordDistributionStrategy, Request, Shard, StreamMode, StreamModeDetails,
    StreamStatus, Timestamp,
};

use super::{Answered, CALL_DEADLINE, CallError, Client};
use crate::names::StreamRef;

/// Pages of one listing that are read.
const PAGES_MAX: usize = 1000;

/// A request about one stream.
pub trait OfStream: Request {
    /// Names the stream, by name or by ARN.
    fn name_stream(&mut self, name: Option<String>, arn: Option<String>);
}

macro_rules! of_stream {
    ($($request:ty),*) => {$(
        impl OfStream for $request {
            fn name_stream(&mut self, name: Option<String>, arn: Option<String>) {
                self.stream_name = name;
                self.stream_arn = arn;
            }
        }
    )*};
}

of_stream!(
    DeleteStreamRequest,
    DescribeStreamRequest,
    DescribeStreamSummaryRequest,
    GetShardIteratorRequest,
    ListShardsRequest,
    ListTagsForStreamRequest,
    PutRecordRequest,
    PutRecordsRequest
);

/// A stream as the server describes the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// The ARN; the name where the server has no ARNs.
    pub arn: String,
    /// The name.
    pub name: String,
    /// Tells if the stream can be used.
    pub status: StreamStatus,
    /// Provisioned or on demand.
    pub mode: StreamMode,
    /// The time for which the stream keeps records.
    pub retention: Duration,
    /// The creation time; `None` where the server does not return a creation time.
    pub created: Option<Millis>,
    /// Shards that take records; 0 where the server does not return their number.
    pub open_shards: u32,
    /// Bytes that a record may have, its partition key included.
    pub record_bytes: usize,
    /// True if the stream places records by itself, so that records need no partition key.
    pub places_by_itself: bool,
}

impl StreamDescription {
    /// ARN and creation time.
    pub fn identity(&self) -> StreamIdentity {
        StreamIdentity {
            arn: self.arn.clone(),
            created: self.created,
        }
    }

    fn of_summary(s: types::StreamDescriptionSummary) -> Self {
        let strategy = s.record_distribution_strategy;
        Self {
            mode: mode(s.stream_mode_details),
            retention: retention(s.retention_period_hours),
            created: created(s.stream_creation_timestamp),
            open_shards: u32::try_from(s.open_shard_count).unwrap_or(0),
            record_bytes: record_bytes(s.max_record_size_in_kib),
            places_by_itself: strategy == Some(RecordDistributionStrategy::Auto),
            status: s.stream_status,
            arn: arn_or_name(s.stream_arn, &s.stream_name),
            name: s.stream_name,
        }
    }

    fn of_description(d: types::StreamDescription, open_shards: u32) -> Self {
        Self {
            mode: mode(d.stream_mode_details),
            retention: retention(d.retention_period_hours),
            created: created(d.stream_creation_timestamp),
            open_shards,
            record_bytes: limits::RECORD_BYTES_DEFAULT,
            places_by_itself: false,
            status: d.stream_status,
            arn: arn_or_name(d.stream_arn, &d.stream_name),
            name: d.stream_name,
        }
    }
}

fn arn_or_name(arn: String, name: &str) -> String {
    if arn.is_empty() { name.to_owned() } else { arn }
}

fn record_bytes(max_kib: Option<i32>) -> usize {
    let max_kib = max_kib.filter(|kib| limits::MAX_RECORD_SIZE_KIB.contains(kib));
    let max_kib = max_kib.and_then(|kib| usize::try_from(kib).ok());
    max_kib.map_or(limits::RECORD_BYTES_DEFAULT, |kib| kib * 1024)
}

fn mode(details: Option<StreamModeDetails>) -> StreamMode {
    let mode = details.and_then(|details| details.stream_mode);
    mode.unwrap_or(StreamMode::Provisioned)
}

/// The creation time of a stream. One server writes whole seconds where CBOR has milliseconds.
/// Since 1973 every time in milliseconds is above 10^11, and no time in seconds will be for long.
pub(super) fn created(at: Timestamp) -> Option<Millis> {
    match at.0 {
        0 => None,
        seconds @ 1..100_000_000_000 => Some(Millis(seconds * 1000)),
        ms => Some(Millis(ms)),
    }
}

fn retention(hours: i32) -> Duration {
    let hours = if limits::RETENTION_HOURS.contains(&hours) {
        hours
    } else {
        limits::RETENTION_HOURS_DEFAULT
    };
    Duration::from_secs(u64::from(hours.unsigned_abs()) * 3600)
}

/// True if a shard takes no more records.
pub(crate) fn is_closed(shard: &Shard) -> bool {
    let range = shard.sequence_number_range.as_ref();
    range.is_some_and(|range| range.ending_sequence_number.is_some())
}

/// True if the server does not know the operation at all.
fn is_unknown_operation(error: &CallError) -> bool {
    match error.code() {
        Some(ErrorCode::UnknownOperation) => true,
        Some(ErrorCode::Other(code)) => code == "InvalidAction" || code == "UnknownOperation",
        _ => false,
    }
}

/// A stream with all its shards.
struct WholeDescription {
    stream: types::StreamDescription,
    shards: Vec<Shard>,
    date: Option<Millis>,
}

impl Client {
    /// Makes a call about `stream`, once. The stream that `request` names is replaced.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn on<R: OfStream>(
        &self,
        stream: &StreamRef,
        mut request: R,
    ) -> Result<Answered<R::Answer>, Trouble> {
        let called = self.once_on(stream, &mut request, CALL_DEADLINE).await;
        called.map_err(|error| self.trouble_on(stream, error, R::OPERATION))
    }

    /// Makes a call about `stream`, once, and once more by name if the server knows no ARNs.
    pub(crate) async fn once_on<R: OfStream>(
        &self,
        stream: &StreamRef,
        request: &mut R,
        deadline: Duration,
    ) -> Result<Answered<R::Answer>, CallError> {
        if let Some(arn) = self.arn_to_send(stream) {
            request.name_stream(None, Some(arn));
            match self.call_once(request, deadline).await {
                Err(error) if self.learn_by_name(&error) => {}
                answered => return answered,
            }
        }
        request.name_stream(Some(stream.name().to_owned()), None);
        self.call_once(request, deadline).await
    }

    /// The ARN of `stream`, if `stream` was given by ARN and the server knows ARNs.
    pub(crate) fn arn_to_send(&self, stream: &StreamRef) -> Option<String> {
        let arn = stream.arn().filter(|_| !self.by_name());
        arn.map(ToString::to_string)
    }

    fn trouble_on(&self, stream: &StreamRef, error: CallError, operation: Operation) -> Trouble {
        self.trouble(error, operation, Some(&stream.to_string()))
    }

    /// Describes `stream`: `DescribeStreamSummary`, or `DescribeStream` where the server lacks that
    /// call.
    ///
    /// # Errors
    /// [`Trouble`]; of kind `Missing` if there is no such stream.
    pub async fn describe(
        &self,
        stream: &StreamRef,
    ) -> Result<Answered<StreamDescription>, Trouble> {
        let mut request = DescribeStreamSummaryRequest::default();
        match self.once_on(stream, &mut request, CALL_DEADLINE).await {
            Ok(answered) => self.described(stream, answered),
            Err(error) if is_unknown_operation(&error) => self.describe_by_pages(stream).await,
            Err(error) => Err(self.trouble_on(stream, error, Operation::DescribeStreamSummary)),
        }
    }

    fn described(
        &self,
        stream: &StreamRef,
        answered: Answered<DescribeStreamSummaryResponse>,
    ) -> Result<Answered<StreamDescription>, Trouble> {
        let summary = answered.answer.stream_description_summary;
        if summary.stream_name.is_empty() {
            return Err(self.blank(Operation::DescribeStreamSummary, stream));
        }
        Ok(Answered {
            answer: StreamDescription::of_summary(summary),
            date: answered.date,
        })
    }

    async fn describe_by_pages(
        &self,
        stream: &StreamRef,
    ) -> Result<Answered<StreamDescription>, Trouble> {
        let whole = self.describe_whole(stream).await?;
        let open = whole.shards.iter().filter(|shard| !is_closed(shard));
        let open = u32::try_from(open.count()).unwrap_or(u32::MAX);
        Ok(Answered {
            answer: StreamDescription::of_description(whole.stream, open),
            date: whole.date,
        })
    }

    /// Every page of `DescribeStream`.
    async fn describe_whole(&self, stream: &StreamRef) -> Result<WholeDescription, Trouble> {
        let mut shards: Vec<Shard> = Vec::new();
        let mut request = DescribeStreamRequest::default();
        for _ in 0..PAGES_MAX {
            let Answered { answer, date } = self.on(stream, request).await?;
            let mut described = answer.stream_description;
            if described.stream_name.is_empty() {
                return Err(self.blank(Operation::DescribeStream, stream));
            }

            let more = described.has_more_shards && !described.shards.is_empty();
            shards.append(&mut described.shards);
            if !more {
                return Ok(WholeDescription {
                    stream: described,
                    shards,
                    date,
                });
            }

            request = DescribeStreamRequest {
                exclusive_start_shard_id: shards.last().map(|shard| shard.shard_id.clone()),
                ..Default::default()
            };
        }
        Err(endless(Operation::DescribeStream, stream))
    }

    /// All shards of `stream`, open and closed: every page of `ListShards`, or of `DescribeStream`
    /// where the server lacks that call.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn list_shards(&self, stream: &StreamRef) -> Result<Answered<Vec<Shard>>, Trouble> {
        let mut first = ListShardsRequest::default();
        let mut page = match self.once_on(stream, &mut first, CALL_DEADLINE).await {
            Ok(page) => page,
            Err(error) if is_unknown_operation(&error) => {
                let whole = self.describe_whole(stream).await?;
                return Ok(Answered {
                    answer: whole.shards,
                    date: whole.date,
                });
            }
            Err(error) => return Err(self.trouble_on(stream, error, Operation::ListShards)),
        };

        let mut shards = Vec::new();
        for _ in 0..PAGES_MAX {
            // Every stream has shards, and each page lists some: an answer without is no listing.
            let Some(listed) = page.answer.shards.take() else {
                return Err(self.blank(Operation::ListShards, stream));
            };
            shards.extend(listed);

            match next_page(page.answer) {
                Some(next) => page = self.call(&next).await?,
                None => {
                    return Ok(Answered {
                        answer: shards,
                        date: page.date,
                    });
                }
            }
        }
        Err(endless(Operation::ListShards, stream))
    }

    /// Creates the stream `stream`, once. A stream that exists, or that an earlier attempt created,
    /// is left as it is.
    pub(crate) async fn create(
        &self,
        stream: &StreamRef,
        shards: u32,
        mode: &StreamMode,
    ) -> Result<(), Trouble> {
        let on_demand = *mode == StreamMode::OnDemand;
        let shard_count = i32::try_from(shards.max(1)).unwrap_or(i32::MAX);
        let request = CreateStreamRequest {
            stream_name: Some(stream.name().to_owned()),
            shard_count: (!on_demand).then_some(shard_count),
            // Left out for the default, which older servers have no name for.
            stream_mode_details: on_demand.then_some(StreamModeDetails {
                stream_mode: Some(StreamMode::OnDemand),
            }),
            ..Default::default()
        };

        match self.call_once(&request, CALL_DEADLINE).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(&ErrorCode::ResourceInUse) => Ok(()),
            Err(error) => Err(self.trouble_on(stream, error, CreateStreamRequest::OPERATION)),
        }
    }

    /// The trouble of an answer of status 200 without content: such an answer is never taken for a
    /// stream without content.
    fn blank(&self, operation: Operation, stream: &StreamRef) -> Trouble {
        let reason = "a field that every such answer has is absent".to_owned();
        let error = CallError::Undecodable(CodecError::Inconsistent { reason });
        self.trouble_on(stream, error, operation)
    }
}

/// The request for the page after `page`. A token names the stream; AWS refuses a token together
/// with a stream.
fn next_page(page: ListShardsResponse) -> Option<ListShardsRequest> {
    let token = page.next_token.filter(|token| !token.is_empty())?;
    Some(ListShardsRequest {
        next_token: Some(token),
        ..Default::default()
    })
}

fn endless(operation: Operation, stream: &StreamRef) -> Trouble {
    let text = format!("{operation} on stream {stream} has more than {PAGES_MAX} pages");
    Trouble::new(TroubleKind::Unintelligible, text)
}

//! Calls about one stream: by ARN or by name as the server knows it, and with substitutes for calls that it lacks.

use std::time::Duration;

use distributary_core::clock::Millis;
use distributary_core::output::Trouble;
use distributary_wire::codec::CodecError;
use distributary_wire::error::ErrorCode;
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::types::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamRequest, DescribeStreamSummaryRequest,
    GetShardIteratorRequest, ListShardsRequest, PutRecordRequest, PutRecordsRequest,
    RecordDistributionStrategy, Request, Shard, StreamMode, StreamModeDetails, StreamStatus,
    Timestamp,
};

use super::{Answered, CALL_DEADLINE, CallError, Client};
use crate::names::StreamRef;

/// Pages of one listing that are read.
const PAGES_MAX: usize = 1000;

/// A request about one stream.
pub trait OfStream: Request {
    /// Names the stream, by one of the two.
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
    PutRecordRequest,
    PutRecordsRequest
);

/// What a stream is, as far as the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its ARN; its name where the server has none.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    pub status: StreamStatus,
    /// Provisioned or on demand.
    pub mode: StreamMode,
    /// How long it keeps records.
    pub retention: Duration,
    /// When it was created.
    pub created: Option<Millis>,
    /// Shards that take records; 0 if the server does not say.
    pub open_shards: u32,
    /// Bytes that a record may have, its partition key included.
    pub record_bytes: usize,
    /// True if the stream places records by itself, so that they need no partition key.
    pub places_by_itself: bool,
}

/// A summary, or what a whole description says of it.
impl StreamDescription {
    fn of_summary(s: distributary_wire::types::StreamDescriptionSummary) -> Self {
        let kib = s
            .max_record_size_in_kib
            .filter(|kib| limits::MAX_RECORD_SIZE_KIB.contains(kib));
        let record_bytes = kib
            .and_then(|kib| usize::try_from(kib).ok())
            .map(|kib| kib * 1024);
        Self {
            mode: mode(s.stream_mode_details),
            retention: retention(s.retention_period_hours),
            created: created(s.stream_creation_timestamp),
            open_shards: u32::try_from(s.open_shard_count).unwrap_or(0),
            record_bytes: record_bytes.unwrap_or(limits::RECORD_BYTES_DEFAULT),
            places_by_itself: s.record_distribution_strategy
                == Some(RecordDistributionStrategy::Auto),
            status: s.stream_status,
            arn: if s.stream_arn.is_empty() {
                s.stream_name.clone()
            } else {
                s.stream_arn
            },
            name: s.stream_name,
        }
    }

    fn of_description(d: distributary_wire::types::StreamDescription, open_shards: u32) -> Self {
        Self {
            mode: mode(d.stream_mode_details),
            retention: retention(d.retention_period_hours),
            created: created(d.stream_creation_timestamp),
            open_shards,
            record_bytes: limits::RECORD_BYTES_DEFAULT,
            places_by_itself: false,
            status: d.stream_status,
            arn: if d.stream_arn.is_empty() {
                d.stream_name.clone()
            } else {
                d.stream_arn
            },
            name: d.stream_name,
        }
    }
}

fn mode(details: Option<StreamModeDetails>) -> StreamMode {
    details
        .and_then(|d| d.stream_mode)
        .unwrap_or(StreamMode::Provisioned)
}

/// When a stream was created. One server writes whole seconds where CBOR has milliseconds; since 1973 every time in
/// milliseconds is above 10^11, and no time in seconds will be for long.
fn created(at: Timestamp) -> Option<Millis> {
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
    shard
        .sequence_number_range
        .as_ref()
        .is_some_and(|r| r.ending_sequence_number.is_some())
}

/// True if the server does not know the operation at all.
fn unknown_operation(error: &CallError) -> bool {
    match error.code() {
        Some(ErrorCode::UnknownOperation) => true,
        Some(ErrorCode::Other(code)) => code == "InvalidAction" || code == "UnknownOperation",
        _ => false,
    }
}

impl Client {
    /// A call about `stream`, tried a few times. What `request` says of the stream is replaced.
    ///
    /// # Errors
    /// [`Trouble`] with the last attempt's failure.
    pub async fn on<R: OfStream>(
        &self,
        stream: &StreamRef,
        request: R,
    ) -> Result<Answered<R::Answer>, Trouble> {
        match self.retry_on(stream, request).await? {
            Ok(answered) => Ok(answered),
            Err(error) => Err(self.trouble(error, R::OPERATION, Some(&stream.to_string()))),
        }
    }

    /// A call about `stream`, tried a few times; one that the server does not know is given back.
    async fn retry_on<R: OfStream>(
        &self,
        stream: &StreamRef,
        mut request: R,
    ) -> Result<Result<Answered<R::Answer>, CallError>, Trouble> {
        let mut attempt = 0;
        let text = stream.to_string();
        loop {
            match self.once_on(stream, &mut request, CALL_DEADLINE).await {
                Ok(answered) => return Ok(Ok(answered)),
                Err(error) if unknown_operation(&error) => return Ok(Err(error)),
                Err(error) => {
                    self.wait_or_give_up(&mut attempt, error, R::OPERATION, Some(&text))
                        .await?
                }
            }
        }
    }

    /// A call about `stream`, once (and once more by name, if the server knows no ARNs).
    pub(crate) async fn once_on<R: OfStream>(
        &self,
        stream: &StreamRef,
        request: &mut R,
        deadline: Duration,
    ) -> Result<Answered<R::Answer>, CallError> {
        let by_arn = stream
            .arn()
            .filter(|_| !self.by_name())
            .map(ToString::to_string);
        if let Some(arn) = by_arn {
            request.name_stream(None, Some(arn));
            match self.call_once(request, deadline).await {
                Err(error) if self.learn_by_name(&error) => {}
                answered => return answered,
            }
        }
        request.name_stream(Some(stream.name().to_owned()), None);
        self.call_once(request, deadline).await
    }

    /// What `stream` is: `DescribeStreamSummary`, or `DescribeStream` where the server lacks it.
    ///
    /// # Errors
    /// [`Trouble`]; of kind `Missing` if there is no such stream.
    pub async fn describe(
        &self,
        stream: &StreamRef,
    ) -> Result<Answered<StreamDescription>, Trouble> {
        let request = DescribeStreamSummaryRequest::default();
        if let Ok(Answered { answer, date }) = self.retry_on(stream, request).await? {
            let summary = answer.stream_description_summary;
            if summary.stream_name.is_empty() {
                return Err(self.blank(Operation::DescribeStreamSummary, stream));
            }
            return Ok(Answered {
                answer: StreamDescription::of_summary(summary),
                date,
            });
        }
        let (described, shards, date) = self.describe_whole(stream).await?;
        let open = shards.iter().filter(|shard| !is_closed(shard)).count();
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        Ok(Answered {
            answer: StreamDescription::of_description(described, open),
            date,
        })
    }

    /// Every page of `DescribeStream`.
    async fn describe_whole(
        &self,
        stream: &StreamRef,
    ) -> Result<
        (
            distributary_wire::types::StreamDescription,
            Vec<Shard>,
            Option<Millis>,
        ),
        Trouble,
    > {
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
                return Ok((described, shards, date));
            }
            let last = shards.last().map(|shard| shard.shard_id.clone());
            request = DescribeStreamRequest {
                exclusive_start_shard_id: last,
                ..Default::default()
            };
        }
        Err(endless("DescribeStream", stream))
    }

    /// All shards of `stream`, open and closed: every page of `ListShards`, or of `DescribeStream` where the server
    /// lacks it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn list_shards(&self, stream: &StreamRef) -> Result<Answered<Vec<Shard>>, Trouble> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = match token.take() {
                None => match self.retry_on(stream, ListShardsRequest::default()).await? {
                    Ok(page) => page,
                    Err(_) => {
                        let (_, shards, date) = self.describe_whole(stream).await?;
                        return Ok(Answered {
                            answer: shards,
                            date,
                        });
                    }
                },
                // A token names the stream; AWS refuses both together.
                token => {
                    self.call(&ListShardsRequest {
                        next_token: token,
                        ..Default::default()
                    })
                    .await?
                }
            };
            // Every stream has shards, and each page of them says which: without, it is no answer to this.
            let Some(page_of) = page.answer.shards else {
                return Err(self.blank(Operation::ListShards, stream));
            };
            shards.extend(page_of);
            token = page.answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(Answered {
                    answer: shards,
                    date: page.date,
                });
            }
        }
        Err(endless("ListShards", stream))
    }
}

impl Client {
    /// Creates the stream `stream`. One that is there already, or that an earlier attempt made, is left as it is.
    pub(crate) async fn create(
        &self,
        stream: &StreamRef,
        shards: u32,
        mode: &StreamMode,
    ) -> Result<(), Trouble> {
        let provisioned = *mode != StreamMode::OnDemand;
        let request = CreateStreamRequest {
            stream_name: Some(stream.name().to_owned()),
            shard_count: provisioned.then(|| i32::try_from(shards.max(1)).unwrap_or(i32::MAX)),
            // Left out for the default, which older servers know no name for.
            stream_mode_details: (!provisioned).then_some(StreamModeDetails {
                stream_mode: Some(StreamMode::OnDemand),
            }),
            ..Default::default()
        };
        let (mut attempt, text) = (0, stream.to_string());
        loop {
            match self.call_once(&request, CALL_DEADLINE).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(&ErrorCode::ResourceInUse) => return Ok(()),
                Err(error) => {
                    self.wait_or_give_up(
                        &mut attempt,
                        error,
                        CreateStreamRequest::OPERATION,
                        Some(&text),
                    )
                    .await?;
                }
            }
        }
    }
}

impl Client {
    /// For an answer of status 200 that says nothing: never taken for one that says that there is nothing.
    fn blank(&self, operation: Operation, stream: &StreamRef) -> Trouble {
        let reason = "it lacks what every such answer has".to_owned();
        let error = CallError::Undecodable(CodecError::Inconsistent { reason });
        self.trouble(error, operation, Some(&stream.to_string()))
    }
}

fn endless(operation: &str, stream: &StreamRef) -> Trouble {
    let text = format!("{operation} on stream {stream} goes on for more than {PAGES_MAX} pages");
    Trouble::new(distributary_core::output::TroubleKind::Unintelligible, text)
}

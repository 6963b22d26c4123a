//! From an HTTP request to an answer: which operation, for whom, in which format; what misbehaviour does to it; and the
//! operation itself. The server and the in-process transport both come here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_wire::codec::{self, CodecError, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::eventstream;
use distributary_wire::hot::PutRecordsParsed;
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::sigv4;
use distributary_wire::transport::{Response, ResponseBody};
use distributary_wire::types::*;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use crate::errors::{Answer, internal_failure};
use crate::faults::{Delivery, Effects, Shards, Subject, Wait};
use crate::local::{Inner, lock};
use crate::names::Addressed;
use crate::ops::{Call, Names, consumers, records, settings, shards, streams, tags};
use crate::push::Subscription;
use crate::stream::Namespace;

/// Calls that wait to be carried out late, at one time.
const LATE_MAX: usize = 10_000;

/// An answer, how it goes out, and what the log says about it.
pub(crate) struct Served {
    pub(crate) response: Response,
    pub(crate) delivery: Delivery,
    /// Not answered at all: the connection breaks.
    pub(crate) dropped: bool,
    pub(crate) note: Note,
}

/// What a log line says of a request besides HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note {
    pub(crate) operation: Option<&'static str>,
    pub(crate) stream: Option<String>,
    pub(crate) error: Option<String>,
}

/// What an operation answers with.
enum Reply {
    Body(Bytes),
    Events(Box<Subscription>),
}

/// A call that is carried out later, without answer.
pub(crate) struct LateCall {
    due_ms: u64,
    operation: Operation,
    namespace: Namespace,
    format: Format,
    body: Bytes,
}

/// A request as it came.
pub(crate) struct Incoming<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap<HeaderValue>,
    pub(crate) body: Bytes,
}

fn text<'a>(headers: &'a HeaderMap<HeaderValue>, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Answers a request.
pub(crate) async fn serve(inner: &Arc<Inner>, incoming: Incoming<'_>) -> Served {
    let now_ms = inner.env.now_ms();
    inner.sweep(now_ms);
    carry_out_late(inner, now_ms);
    let format = text(incoming.headers, CONTENT_TYPE.as_str()).and_then(Format::from_content_type);
    let target = text(incoming.headers, "x-amz-target").unwrap_or_default();
    let Some(format) = format.filter(|_| incoming.method == Method::POST && incoming.path == "/")
    else {
        return not_kinesis(inner);
    };
    let mut note = Note::default();
    let Some(operation) = Operation::from_target(target) else {
        let error = ApiError::new(ErrorCode::UnknownOperation, "");
        return failed(inner, format, &error, note);
    };
    note.operation = Some(operation.name());
    let namespace = namespace_of(inner, &incoming);
    let mut effects = Effects::default();
    let answer = {
        let call = new_call(inner, operation, namespace, format);
        run(call, incoming.body, &mut effects, &mut note).await
    };
    let answer = match &inner.store {
        Some(store) if !only_reads(operation) => store
            .settled()
            .await
            .map_err(|_| internal_failure())
            .and(answer),
        Some(_) | None => answer,
    };
    let delivery = effects.delivery;
    let dropped = effects.dropped;
    let mut served = match answer {
        Ok(Reply::Body(body)) => Served {
            response: response(
                inner,
                StatusCode::OK,
                format.content_type(),
                ResponseBody::Full(body),
            ),
            delivery,
            dropped,
            note,
        },
        Ok(Reply::Events(subscription)) => {
            let body = ResponseBody::Stream(Box::pin(*subscription));
            let response = response(inner, StatusCode::OK, eventstream::CONTENT_TYPE, body);
            Served {
                response,
                delivery,
                dropped,
                note,
            }
        }
        Err(error) => failed(inner, format, &error, note),
    };
    served.delivery = delivery;
    served.dropped = dropped;
    for wait in &effects.after {
        pause(inner, wait).await;
    }
    served
}

fn new_call(
    inner: &Arc<Inner>,
    operation: Operation,
    namespace: Namespace,
    format: Format,
) -> Call<'_> {
    let (now_ms, now) = (inner.env.now_ms(), inner.env.monotonic());
    Call {
        inner,
        operation,
        namespace,
        format,
        now_ms,
        now,
    }
}

/// True for operations that change nothing which must be stored before they are answered.
fn only_reads(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::DescribeAccountSettings
            | Operation::DescribeLimits
            | Operation::DescribeStream
            | Operation::DescribeStreamConsumer
            | Operation::DescribeStreamSummary
            | Operation::GetRecords
            | Operation::GetResourcePolicy
            | Operation::GetShardIterator
            | Operation::ListShards
            | Operation::ListStreamConsumers
            | Operation::ListStreams
            | Operation::ListTagsForResource
            | Operation::ListTagsForStream
            | Operation::SubscribeToShard
    )
}

/// Account and region: what the signature says, where it says it. An access key of twelve digits is an account.
fn namespace_of(inner: &Inner, incoming: &Incoming<'_>) -> Namespace {
    let mut namespace = inner.home();
    if let Ok(claims) = sigv4::claims(incoming.headers, incoming.query) {
        if !claims.region.is_empty() {
            namespace.region = claims.region;
        }
        let key = claims.access_key_id;
        if key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit()) {
            namespace.account = key;
        }
    }
    namespace
}

/// Sixteen bytes as a UUID, such as AWS names requests by.
fn request_id(inner: &Inner) -> String {
    let (a, b) = (inner.env.random(), inner.env.random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

fn response(
    inner: &Inner,
    status: StatusCode,
    content_type: &'static str,
    body: ResponseBody,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&request_id(inner)) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

fn failed(inner: &Inner, format: Format, error: &ApiError, mut note: Note) -> Served {
    note.error = Some(error.code.as_str().to_owned());
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = ResponseBody::Full(error.encode(format));
    let mut response = response(inner, status, format.content_type(), body);
    if let Ok(kind) = HeaderValue::from_str(error.code.as_str()) {
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    Served {
        response,
        delivery: Delivery::Whole,
        dropped: false,
        note,
    }
}

/// What AWS answers to anything that is no call of its protocol.
fn not_kinesis(inner: &Inner) -> Served {
    let body = ResponseBody::Full(Bytes::from_static(b"<UnknownOperationException/>\n"));
    let note = Note {
        error: Some("UnknownOperationException".to_owned()),
        ..Note::default()
    };
    let response = response(inner, StatusCode::NOT_FOUND, "application/xml", body);
    Served {
        response,
        delivery: Delivery::Whole,
        dropped: false,
        note,
    }
}

/// The error that answers a body which cannot be read.
fn unreadable(error: &CodecError) -> ApiError {
    match error {
        CodecError::TooLarge { .. } => ApiError::new(ErrorCode::RequestTooLarge, error.to_string()),
        CodecError::Malformed { .. }
        | CodecError::Shape { .. }
        | CodecError::Inconsistent { .. } => ApiError::new(
            ErrorCode::Serialization,
            error.aws_message().unwrap_or_default(),
        ),
    }
}

async fn pause(inner: &Inner, wait: &Wait) {
    match wait {
        Wait::Ms(ms) => inner.env.sleep(Duration::from_millis(*ms)).await,
        Wait::Gate(gate) => inner.faults.wait_at(gate, inner.waiter()).await,
    }
}

/// A call with its body, and where to say what was done to it.
struct Job<'a, 'b> {
    call: Call<'a>,
    body: Bytes,
    effects: &'b mut Effects,
    note: &'b mut Note,
}

/// The error that a call with a late or lost effect is given up with; nobody sees it.
fn given_up() -> ApiError {
    ApiError::new(ErrorCode::ServiceUnavailable, "")
}

impl Job<'_, '_> {
    fn read<R: Request>(&self) -> Answer<R> {
        let body: &[u8] = if self.body.is_empty() && self.call.format == Format::Json {
            b"{}"
        } else {
            &self.body
        };
        codec::decode(self.call.format, body).map_err(|e| unreadable(&e))
    }

    /// Decides what misbehaviour does to the call, and does what comes before it is carried out.
    ///
    /// # Errors
    /// Whatever the call is answered with instead of being carried out.
    async fn before(
        &mut self,
        names: &Names<'_>,
        shard: impl Fn(&Call<'_>) -> Effects,
    ) -> Answer<()> {
        self.note.stream = names.stream().map(str::to_owned);
        *self.effects = shard(&self.call);
        for wait in std::mem::take(&mut self.effects.before) {
            pause(self.call.inner, &wait).await;
            self.call.now_ms = self.call.inner.env.now_ms();
            self.call.now = self.call.inner.env.monotonic();
        }
        if let Some(ms) = self.effects.late_ms {
            let due_ms = self.call.now_ms.saturating_add(ms);
            put_late(&self.call, due_ms, self.body.clone());
            self.effects.delivery = Delivery::Silent;
            return Err(given_up());
        }
        if self.effects.dropped {
            return Err(given_up());
        }
        match self.effects.error.clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Decodes, carries out and encodes.
    async fn plain<R: Request + Addressed>(
        mut self,
        operation: impl FnOnce(&Call<'_>, &R) -> Answer<R::Answer>,
    ) -> Answer<Reply> {
        let request: R = self.read()?;
        let names = request.names();
        self.before(&names, |call| {
            decide(call, &names, names.shard.map_or(Shards::None, Shards::One))
        })
        .await?;
        let answer = operation(&self.call, &request)?;
        Ok(Reply::Body(codec::encode_answer(self.call.format, &answer)))
    }

    async fn put_records(mut self) -> Answer<Reply> {
        let parsed =
            PutRecordsParsed::parse(self.call.format, &self.body).map_err(|e| unreadable(&e))?;
        let names = Names {
            name: parsed.stream_name.as_deref(),
            arn: parsed.stream_arn.as_deref(),
            ..Names::default()
        };
        let decide = |call: &Call<'_>| {
            decide(
                call,
                &names,
                Shards::Of(&|shard| records::put_records_touches(call, &parsed, shard)),
            )
        };
        self.before(&names, decide).await?;
        records::put_records(&self.call, &parsed, self.effects).map(Reply::Body)
    }

    async fn put_record(mut self) -> Answer<Reply> {
        let request: PutRecordRequest = self.read()?;
        let names = request.names();
        let decide = |call: &Call<'_>| {
            decide(
                call,
                &names,
                Shards::Of(&|shard| records::put_record_touches(call, &request, shard)),
            )
        };
        self.before(&names, decide).await?;
        let answer = records::put_record(&self.call, &request, self.effects)?;
        Ok(Reply::Body(codec::encode_answer(self.call.format, &answer)))
    }

    async fn get_records(mut self) -> Answer<Reply> {
        let request: GetRecordsRequest = self.read()?;
        let found = records::get_records_subject(&self.call, &request);
        let names = found
            .as_ref()
            .map_or(Names::default(), |(stream, shard)| Names {
                name: Some(&stream.name),
                shard: Some(shard),
                ..Names::default()
            });
        let region = found
            .as_ref()
            .map(|(stream, _)| stream.namespace.region.clone());
        let decide = |call: &Call<'_>| {
            let subject = Subject {
                operation: call.operation,
                stream: names.stream(),
                region: region.as_deref().unwrap_or(&call.namespace.region),
                shard: names.shard.map_or(Shards::None, Shards::One),
                consumer: None,
            };
            call.inner.faults.decide(&subject)
        };
        self.before(&names, decide).await?;
        records::get_records(&self.call, &request, self.effects).map(Reply::Body)
    }

    async fn subscribe(mut self) -> Answer<Reply> {
        let request: SubscribeToShardRequest = self.read()?;
        let names = Names {
            arn: request.consumer_arn.as_deref(),
            shard: request.shard_id.as_deref(),
            ..Names::default()
        };
        self.before(&names, |call| {
            decide(call, &names, names.shard.map_or(Shards::None, Shards::One))
        })
        .await?;
        let subscription = consumers::subscribe(&self.call, &request, self.effects)?;
        Ok(Reply::Events(Box::new(subscription)))
    }
}

fn decide(call: &Call<'_>, names: &Names<'_>, shard: Shards<'_>) -> Effects {
    call.inner.faults.decide(&Subject {
        operation: call.operation,
        stream: names.stream(),
        region: names.region().unwrap_or(&call.namespace.region),
        shard,
        consumer: names.consumer(),
    })
}

async fn run(call: Call<'_>, body: Bytes, effects: &mut Effects, note: &mut Note) -> Answer<Reply> {
    if body.len() > limits::REQUEST_BODY_BYTES {
        return Err(ApiError::new(ErrorCode::RequestTooLarge, ""));
    }
    let operation = call.operation;
    let job = Job {
        call,
        body,
        effects,
        note,
    };
    match operation {
        Operation::AddTagsToStream => job.plain(tags::add_to_stream).await,
        Operation::CreateStream => job.plain(streams::create).await,
        Operation::DecreaseStreamRetentionPeriod => job.plain(settings::decrease_retention).await,
        Operation::DeleteResourcePolicy => job.plain(tags::delete_policy).await,
        Operation::DeleteStream => job.plain(streams::delete).await,
        Operation::DeregisterStreamConsumer => job.plain(consumers::deregister).await,
        Operation::DescribeAccountSettings => job.plain(settings::describe_account).await,
        Operation::DescribeLimits => job.plain(settings::describe_limits).await,
        Operation::DescribeStream => job.plain(streams::describe).await,
        Operation::DescribeStreamConsumer => job.plain(consumers::describe).await,
        Operation::DescribeStreamSummary => job.plain(streams::describe_summary).await,
        Operation::DisableEnhancedMonitoring => job.plain(settings::disable_monitoring).await,
        Operation::EnableEnhancedMonitoring => job.plain(settings::enable_monitoring).await,
        Operation::GetRecords => job.get_records().await,
        Operation::GetResourcePolicy => job.plain(tags::get_policy).await,
        Operation::GetShardIterator => job.plain(records::get_iterator).await,
        Operation::IncreaseStreamRetentionPeriod => job.plain(settings::increase_retention).await,
        Operation::ListShards => job.plain(shards::list).await,
        Operation::ListStreamConsumers => job.plain(consumers::list).await,
        Operation::ListStreams => job.plain(streams::list).await,
        Operation::ListTagsForResource => job.plain(tags::list_of_resource).await,
        Operation::ListTagsForStream => job.plain(tags::list_of_stream).await,
        Operation::MergeShards => job.plain(shards::merge).await,
        Operation::PutRecord => job.put_record().await,
        Operation::PutRecords => job.put_records().await,
        Operation::PutResourcePolicy => job.plain(tags::put_policy).await,
        Operation::RegisterStreamConsumer => job.plain(consumers::register).await,
        Operation::RemoveTagsFromStream => job.plain(tags::remove_from_stream).await,
        Operation::SplitShard => job.plain(shards::split).await,
        Operation::StartStreamEncryption => job.plain(settings::start_encryption).await,
        Operation::StopStreamEncryption => job.plain(settings::stop_encryption).await,
        Operation::SubscribeToShard => job.subscribe().await,
        Operation::TagResource => job.plain(tags::tag_resource).await,
        Operation::UntagResource => job.plain(tags::untag_resource).await,
        Operation::UpdateAccountSettings => job.plain(settings::update_account).await,
        Operation::UpdateMaxRecordSize => job.plain(settings::max_record_size).await,
        Operation::UpdateShardCount => job.plain(shards::update_count).await,
        Operation::UpdateStreamMode => job.plain(settings::mode).await,
        Operation::UpdateStreamRecordDistributionStrategy => {
            job.plain(settings::distribution).await
        }
        Operation::UpdateStreamWarmThroughput => job.plain(settings::warm_throughput).await,
    }
}

fn put_late(call: &Call<'_>, due_ms: u64, body: Bytes) {
    let mut late = lock(&call.inner.late);
    if late.len() < LATE_MAX {
        late.push(LateCall {
            due_ms,
            operation: call.operation,
            namespace: call.namespace.clone(),
            format: call.format,
            body,
        });
    }
}

/// Carries out what is due of the late calls: only writes have an effect without an answer.
fn carry_out_late(inner: &Arc<Inner>, now_ms: u64) {
    let due: Vec<LateCall> = {
        let mut late = lock(&inner.late);
        if late.is_empty() {
            return;
        }
        late.extract_if(.., |call| call.due_ms <= now_ms).collect()
    };
    for late in due {
        let call = new_call(inner, late.operation, late.namespace, late.format);
        let effects = Effects::default();
        let done = match late.operation {
            Operation::PutRecords => PutRecordsParsed::parse(late.format, &late.body)
                .map_err(|e| unreadable(&e))
                .and_then(|parsed| records::put_records(&call, &parsed, &effects).map(|_| ())),
            Operation::PutRecord => codec::decode(late.format, &late.body)
                .map_err(|e| unreadable(&e))
                .and_then(|request| records::put_record(&call, &request, &effects).map(|_| ())),
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::info!(operation = %late.operation, %error, "a late call failed");
        }
    }
}

//! From an HTTP request to an answer: finds the operation, the caller's account and region, and the
//! format; applies faults; and runs the operation. Both the server and the in-process transport
//! call [`serve`].

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
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use crate::errors::{Answer, internal_failure};
use crate::faults::{Delivery, Effects, Shards, Subject, Wait};
use crate::local::{Inner, lock};
use crate::ops::{Call, consumers, get, put, settings, shards, streams, tags};
use crate::push::Subscription;
use crate::stream::Namespace;
use crate::target::{Target, Targeted};

/// Late calls that wait at one time; further late calls are never carried out.
const LATE_MAX: usize = 10_000;

/// An answer, the way in which faults deliver the answer, and the note for the request log.
pub(crate) struct Served {
    pub(crate) response: Response,
    pub(crate) delivery: Delivery,
    /// The call was not carried out and the connection breaks.
    pub(crate) drops_connection: bool,
    pub(crate) note: LogNote,
}

/// The parts of a line of the request log that HTTP does not show.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogNote {
    pub(crate) operation: Option<&'static str>,
    pub(crate) stream: Option<String>,
    pub(crate) error: Option<String>,
}

/// The answer of an operation.
enum Reply {
    Body(Bytes),
    Events(Box<Subscription>),
}

/// A write that is carried out later, without an answer.
pub(crate) struct LateCall {
    due_ms: u64,
    operation: Operation,
    namespace: Namespace,
    format: Format,
    body: Bytes,
}

/// An HTTP request with a complete body.
pub(crate) struct Incoming<'a> {
    method: &'a Method,
    path: &'a str,
    query: Option<&'a str>,
    headers: &'a HeaderMap<HeaderValue>,
    body: Bytes,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(head: &'a Parts, body: Bytes) -> Self {
        Self {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            body,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The format of a call of the Kinesis protocol; `None` for any other request.
    fn format(&self) -> Option<Format> {
        let is_call = self.method == Method::POST && self.path == "/";
        let content_type = self.header(CONTENT_TYPE.as_str()).filter(|_| is_call)?;
        Format::from_content_type(content_type)
    }
}

/// Answers a request.
pub(crate) async fn serve(inner: &Arc<Inner>, incoming: Incoming<'_>) -> Served {
    let now_ms = inner.env.now_ms();
    inner.drop_expired(now_ms);
    carry_out_late(inner, now_ms);

    let Some(format) = incoming.format() else {
        return not_kinesis(inner);
    };
    let target = incoming.header("x-amz-target").unwrap_or_default();
    let mut note = LogNote::default();
    let mut effects = Effects::default();

    let answer = match Operation::from_target(target) {
        Some(operation) => {
            let namespace = namespace_of(inner, &incoming);
            let call = new_call(inner, operation, namespace, format);
            let answer = run(call, incoming.body, &mut effects, &mut note).await;
            wait_until_stored(inner, operation, answer).await
        }
        None => Err(ApiError::new(ErrorCode::UnknownOperation, "")),
    };

    if let Err(error) = &answer {
        note.error = Some(error.code.as_str().to_owned());
    }
    let response = encode_reply(inner, format, answer);

    for wait in &effects.after {
        pause(inner, wait).await;
    }
    Served {
        response,
        delivery: effects.delivery,
        drops_connection: effects.drops_connection,
        note,
    }
}

/// The HTTP response with the answer of an operation.
fn encode_reply(inner: &Inner, format: Format, answer: Answer<Reply>) -> Response {
    match answer {
        Ok(Reply::Body(body)) => {
            let body = ResponseBody::Full(body);
            response(inner, StatusCode::OK, format.content_type(), body)
        }
        Ok(Reply::Events(subscription)) => {
            let body = ResponseBody::Stream(Box::pin(*subscription));
            response(inner, StatusCode::OK, eventstream::CONTENT_TYPE, body)
        }
        Err(error) => error_response(inner, format, &error),
    }
}

/// Delays the answer of a write until the store has the write.
///
/// # Errors
/// `InternalFailure` if the store cannot be written to.
async fn wait_until_stored<T>(inner: &Inner, operation: Operation, answer: Answer<T>) -> Answer<T> {
    match &inner.store {
        Some(store) if !only_reads(operation) => {
            store.settled().await.map_err(|_| internal_failure())?;
            answer
        }
        Some(_) | None => answer,
    }
}

fn new_call(
    inner: &Arc<Inner>,
    operation: Operation,
    namespace: Namespace,
    format: Format,
) -> Call<'_> {
    Call {
        inner,
        operation,
        namespace,
        format,
        now_ms: inner.env.now_ms(),
        now: inner.env.monotonic(),
    }
}

/// True for an operation without a change that the store must have before the answer.
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

/// The region in the signature, and an access key of twelve digits as the account; else the account
/// and region of the settings.
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

/// A random UUID, the form of AWS's request ids.
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

fn error_response(inner: &Inner, format: Format, error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = ResponseBody::Full(error.encode(format));
    let mut response = response(inner, status, format.content_type(), body);
    if let Ok(kind) = HeaderValue::from_str(error.code.as_str()) {
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    response
}

/// AWS's answer to a request that is no call of the protocol.
fn not_kinesis(inner: &Inner) -> Served {
    let body = ResponseBody::Full(Bytes::from_static(b"<UnknownOperationException/>\n"));
    Served {
        response: response(inner, StatusCode::NOT_FOUND, "application/xml", body),
        delivery: Delivery::Whole,
        drops_connection: false,
        note: LogNote {
            error: Some("UnknownOperationException".to_owned()),
            ..LogNote::default()
        },
    }
}

/// The answer to a body that cannot be decoded.
fn decode_error(error: &CodecError) -> ApiError {
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

fn decode<R: Request>(format: Format, body: &[u8]) -> Answer<R> {
    codec::decode(format, body).map_err(|error| decode_error(&error))
}

fn parse_put_records(format: Format, body: &Bytes) -> Answer<PutRecordsParsed> {
    PutRecordsParsed::parse(format, body).map_err(|error| decode_error(&error))
}

async fn pause(inner: &Inner, wait: &Wait) {
    match wait {
        Wait::Millis(ms) => inner.env.sleep(Duration::from_millis(*ms)).await,
        Wait::Gate(gate) => inner.faults.wait_at(gate, inner.new_waiter()).await,
    }
}

/// A call with a body. Running a job fills in the effects of faults and the note.
struct Job<'a, 'b> {
    call: Call<'a>,
    body: Bytes,
    effects: &'b mut Effects,
    note: &'b mut LogNote,
}

/// The answer of a call that faults drop or delay: the caller never sees this error.
fn unseen_error() -> ApiError {
    ApiError::new(ErrorCode::ServiceUnavailable, "")
}

impl Job<'_, '_> {
    fn decode<R: Request>(&self) -> Answer<R> {
        let body: &[u8] = if self.body.is_empty() && self.call.format == Format::Json {
            b"{}"
        } else {
            &self.body
        };
        decode(self.call.format, body)
    }

    /// Asks `decide` for the effects of faults on the call, and applies the effects that come
    /// before the call is carried out.
    ///
    /// # Errors
    /// The answer of a call that faults prevent.
    async fn apply_faults(
        &mut self,
        target: &Target<'_>,
        decide: impl Fn(&Call<'_>) -> Effects,
    ) -> Answer<()> {
        self.note.stream = target.stream().map(str::to_owned);
        *self.effects = decide(&self.call);

        self.wait_before().await;

        self.check_effects()
    }

    /// # Errors
    /// As [`apply_faults`](Self::apply_faults).
    fn check_effects(&mut self) -> Answer<()> {
        if let Some(ms) = self.effects.late_ms {
            let due_ms = self.call.now_ms.saturating_add(ms);
            put_late(&self.call, due_ms, self.body.clone());
            self.effects.delivery = Delivery::Silent;
            return Err(unseen_error());
        }
        if self.effects.drops_connection {
            return Err(unseen_error());
        }
        match self.effects.error.clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits as faults ask for, and moves the call to the time after the wait.
    async fn wait_before(&mut self) {
        for wait in std::mem::take(&mut self.effects.before) {
            pause(self.call.inner, &wait).await;
            self.call.now_ms = self.call.inner.env.now_ms();
            self.call.now = self.call.inner.env.monotonic();
        }
    }

    /// Decodes the request, carries out the operation and encodes the answer.
    async fn answer<R: Request + Targeted>(
        mut self,
        operation: impl FnOnce(&Call<'_>, &R) -> Answer<R::Answer>,
    ) -> Answer<Reply> {
        let request: R = self.decode()?;
        let target = request.target();
        self.apply_faults(&target, |call| decide(call, &target, shard_of(&target)))
            .await?;

        let answer = operation(&self.call, &request)?;
        let body = codec::encode_answer(self.call.format, &answer);
        Ok(Reply::Body(body))
    }

    async fn put_records(mut self) -> Answer<Reply> {
        let parsed = parse_put_records(self.call.format, &self.body)?;
        let target = parsed.target();
        let decide = |call: &Call<'_>| {
            let touches = |shard: &str| put::put_records_touches(call, &parsed, shard);
            decide(call, &target, Shards::Touched(&touches))
        };
        self.apply_faults(&target, decide).await?;

        put::put_records(&self.call, &parsed, self.effects).map(Reply::Body)
    }

    async fn put_record(mut self) -> Answer<Reply> {
        let request: PutRecordRequest = self.decode()?;
        let target = request.target();
        let decide = |call: &Call<'_>| {
            let touches = |shard: &str| put::put_record_touches(call, &request, shard);
            decide(call, &target, Shards::Touched(&touches))
        };
        self.apply_faults(&target, decide).await?;

        let answer = put::put_record(&self.call, &request, self.effects)?;
        let body = codec::encode_answer(self.call.format, &answer);
        Ok(Reply::Body(body))
    }

    async fn get_records(mut self) -> Answer<Reply> {
        let request: GetRecordsRequest = self.decode()?;
        let found = get::get_records_target(&self.call, &request);
        let found = found.as_ref();
        let target = found.map_or(Target::default(), |(stream, shard)| Target {
            stream_name: Some(&stream.name),
            shard_id: Some(shard),
            ..Target::default()
        });
        let region = found.map(|(stream, _)| stream.namespace.region.as_str());

        let decide = |call: &Call<'_>| {
            let region = region.unwrap_or(&call.namespace.region);
            decide_in_region(call, &target, region, shard_of(&target))
        };
        self.apply_faults(&target, decide).await?;

        get::get_records(&self.call, &request, self.effects).map(Reply::Body)
    }

    async fn subscribe(mut self) -> Answer<Reply> {
        let request: SubscribeToShardRequest = self.decode()?;
        let target = Target {
            arn: request.consumer_arn.as_deref(),
            shard_id: request.shard_id.as_deref(),
            ..Target::default()
        };
        self.apply_faults(&target, |call| decide(call, &target, shard_of(&target)))
            .await?;

        let subscription = consumers::subscribe(&self.call, &request, self.effects)?;
        Ok(Reply::Events(Box::new(subscription)))
    }
}

fn shard_of<'a>(target: &Target<'a>) -> Shards<'a> {
    target.shard_id.map_or(Shards::None, Shards::One)
}

/// The effects of faults on a call.
fn decide(call: &Call<'_>, target: &Target<'_>, shard: Shards<'_>) -> Effects {
    let region = target.region().unwrap_or(&call.namespace.region);
    decide_in_region(call, target, region, shard)
}

fn decide_in_region(
    call: &Call<'_>,
    target: &Target<'_>,
    region: &str,
    shard: Shards<'_>,
) -> Effects {
    call.inner.faults.decide(&Subject {
        operation: call.operation,
        stream: target.stream(),
        region,
        shard,
        consumer: target.consumer(),
    })
}

// tidy: long because there is one arm for each operation
async fn run(
    call: Call<'_>,
    body: Bytes,
    effects: &mut Effects,
    note: &mut LogNote,
) -> Answer<Reply> {
    use Operation::*;
    note.operation = Some(call.operation.name());
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
        AddTagsToStream => job.answer(tags::add_to_stream).await,
        CreateStream => job.answer(streams::create).await,
        DecreaseStreamRetentionPeriod => job.answer(settings::decrease_retention).await,
        DeleteResourcePolicy => job.answer(tags::delete_policy).await,
        DeleteStream => job.answer(streams::delete).await,
        DeregisterStreamConsumer => job.answer(consumers::deregister).await,
        DescribeAccountSettings => job.answer(settings::describe_account).await,
        DescribeLimits => job.answer(settings::describe_limits).await,
        DescribeStream => job.answer(streams::describe).await,
        DescribeStreamConsumer => job.answer(consumers::describe).await,
        DescribeStreamSummary => job.answer(streams::describe_summary).await,
        DisableEnhancedMonitoring => job.answer(settings::disable_monitoring).await,
        EnableEnhancedMonitoring => job.answer(settings::enable_monitoring).await,
        GetRecords => job.get_records().await,
        GetResourcePolicy => job.answer(tags::get_policy).await,
        GetShardIterator => job.answer(get::get_iterator).await,
        IncreaseStreamRetentionPeriod => job.answer(settings::increase_retention).await,
        ListShards => job.answer(shards::list).await,
        ListStreamConsumers => job.answer(consumers::list).await,
        ListStreams => job.answer(streams::list).await,
        ListTagsForResource => job.answer(tags::list_of_resource).await,
        ListTagsForStream => job.answer(tags::list_of_stream).await,
        MergeShards => job.answer(shards::merge).await,
        PutRecord => job.put_record().await,
        PutRecords => job.put_records().await,
        PutResourcePolicy => job.answer(tags::put_policy).await,
        RegisterStreamConsumer => job.answer(consumers::register).await,
        RemoveTagsFromStream => job.answer(tags::remove_from_stream).await,
        SplitShard => job.answer(shards::split).await,
        StartStreamEncryption => job.answer(settings::start_encryption).await,
        StopStreamEncryption => job.answer(settings::stop_encryption).await,
        SubscribeToShard => job.subscribe().await,
        TagResource => job.answer(tags::tag_resource).await,
        UntagResource => job.answer(tags::untag_resource).await,
        UpdateAccountSettings => job.answer(settings::update_account).await,
        UpdateMaxRecordSize => job.answer(settings::max_record_size).await,
        UpdateShardCount => job.answer(shards::update_count).await,
        UpdateStreamMode => job.answer(settings::mode).await,
        UpdateStreamRecordDistributionStrategy => job.answer(settings::distribution).await,
        UpdateStreamWarmThroughput => job.answer(settings::warm_throughput).await,
    }
}

/// Adds a write to the late calls.
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

/// Carries out the late calls that are due.
fn carry_out_late(inner: &Arc<Inner>, now_ms: u64) {
    let due: Vec<LateCall> = {
        let mut late = lock(&inner.late);
        if late.is_empty() {
            return;
        }
        late.extract_if(.., |call| call.due_ms <= now_ms).collect()
    };

    for late in due {
        let operation = late.operation;
        if let Err(error) = carry_out(inner, late) {
            tracing::info!(%operation, %error, "a late call failed");
        }
    }
}

/// Carries out a late call. Only writes have an effect without an answer.
fn carry_out(inner: &Arc<Inner>, late: LateCall) -> Answer<()> {
    let (format, body) = (late.format, &late.body);
    let call = new_call(inner, late.operation, late.namespace, format);
    let effects = Effects::default();

    match late.operation {
        Operation::PutRecords => {
            let parsed = parse_put_records(format, body)?;
            put::put_records(&call, &parsed, &effects)?;
        }
        Operation::PutRecord => {
            let request = decode(format, body)?;
            put::put_record(&call, &request, &effects)?;
        }
        _ => {}
    }
    Ok(())
}

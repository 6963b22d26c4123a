//! A small typed client over the in-process transport, and a clock that only a test moves.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use distributary_local::{Builder, Env, Local, Sleep};
use distributary_wire::codec::{self, Format};
use distributary_wire::error::ApiError;
use distributary_wire::eventstream::{Decoder, SubscribeEvent};
use distributary_wire::hot::GetRecordsAnswer;
use distributary_wire::transport::{
    ByteStream, RequestBody, ResponseBody, Transport, TransportError,
};
use distributary_wire::types::{self, *};

/// A clock that a test moves.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    state: Mutex<ClockState>,
}

#[derive(Debug, Default)]
struct ClockState {
    now: Duration,
    random: u64,
    next: u64,
    sleepers: BTreeMap<u64, (Duration, Option<Waker>)>,
}

/// The first time of the clock, in milliseconds since 1970.
pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn advance(&self, by: Duration) {
        let woken: Vec<Waker> = {
            let mut state = self.state.lock().unwrap();
            state.now += by;
            let now = state.now;
            let due = state.sleepers.values_mut().filter(|(at, _)| *at <= now);
            due.filter_map(|(_, waker)| waker.take()).collect()
        };

        woken.into_iter().for_each(Waker::wake);
    }
}

/// A sleep by a [`Clock`].
struct ClockSleep {
    clock: Arc<Clock>,
    id: u64,
}

impl Future for ClockSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state.lock().unwrap();
        let now = state.now;
        let Some((at, waker)) = state.sleepers.get_mut(&self.id) else {
            return Poll::Ready(());
        };
        if *at <= now {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for ClockSleep {
    fn drop(&mut self) {
        self.clock.state.lock().unwrap().sleepers.remove(&self.id);
    }
}

/// [`Clock`] as an [`Env`].
pub(crate) struct TestEnv(pub(crate) Arc<Clock>);

impl Env for TestEnv {
    fn now_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.monotonic().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.state.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.0.state.lock().unwrap();
        let (id, at) = (state.next, state.now + duration);
        state.next += 1;
        state.sleepers.insert(id, (at, None));
        Box::pin(ClockSleep {
            clock: Arc::clone(&self.0),
            id,
        })
    }

    fn random(&self) -> u64 {
        let mut state = self.0.state.lock().unwrap();
        state.random += 1;
        state.random
    }
}

/// An embedded Kinesis with a clock, built with further settings.
pub(crate) fn local(set: impl FnOnce(Builder) -> Builder) -> (Local, Arc<Clock>) {
    let clock = Clock::new();
    let builder = Local::builder()
        .env(Arc::new(TestEnv(Arc::clone(&clock))))
        .seed(1);
    (set(builder).build(), clock)
}

/// The error of a call.
#[derive(Debug)]
pub(crate) enum Failure {
    Api(ApiError),
    Transport(TransportError),
}

impl Failure {
    /// The code of an error that the server answered.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Api(error) => error.code.as_str(),
            Self::Transport(TransportError::Broken { .. }) => "Broken",
            Self::Transport(TransportError::Timeout { .. }) => "Timeout",
            Self::Transport(TransportError::Connect { .. }) => "Connect",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Api(error) => error.message.clone(),
            Self::Transport(error) => error.to_string(),
        }
    }
}

/// A client of one format and region.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) format: Format,
    pub(crate) region: &'static str,
}

impl Client {
    pub(crate) fn new(local: &Local) -> Self {
        Self {
            transport: Arc::new(local.transport()),
            format: Format::Cbor,
            region: "us-east-1",
        }
    }

    pub(crate) fn json(self) -> Self {
        Self {
            format: Format::Json,
            ..self
        }
    }

    pub(crate) fn request(
        &self,
        target: &str,
        body: Bytes,
    ) -> distributary_wire::transport::Request {
        let scope = format!("AKID/20260101/{}/kinesis/aws4_request", self.region);
        http::Request::post("http://localhost/")
            .header("content-type", self.format.content_type())
            .header("x-amz-target", target)
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00"),
            )
            .body(RequestBody::whole(body))
            .unwrap()
    }

    async fn raw<R: types::Request>(&self, request: &R) -> Result<(bool, ResponseBody), Failure> {
        let request = self.request(R::OPERATION.target(), codec::encode(self.format, request));
        let response = self
            .transport
            .call(request, Duration::from_secs(30))
            .await
            .map_err(Failure::Transport)?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok((true, body));
        }
        let ResponseBody::Full(body) = body else {
            panic!("an error with a stream as body")
        };
        Err(Failure::Api(ApiError::decode(
            head.status.as_u16(),
            &head.headers,
            &body,
        )))
    }

    pub(crate) async fn call<R: types::Request>(&self, request: R) -> Result<R::Answer, Failure> {
        let (_, body) = self.raw(&request).await?;
        let ResponseBody::Full(body) = body else {
            panic!("a stream where a body is due")
        };
        Ok(codec::decode_answer(self.format, &body).unwrap())
    }

    pub(crate) async fn subscribe(
        &self,
        request: SubscribeToShardRequest,
    ) -> Result<Events, Failure> {
        let (_, body) = self.raw(&request).await?;
        let ResponseBody::Stream(stream) = body else {
            panic!("a body where a stream is due")
        };
        let mut events = Events {
            stream,
            decoder: Decoder::new(),
        };
        match events.next().await {
            Some(Ok(SubscribeEvent::InitialResponse)) => Ok(events),
            other => panic!("{other:?} where the initial response is due"),
        }
    }

    pub(crate) async fn put(&self, stream: &str, keys: &[&str]) -> PutRecordsResponse {
        let records = keys.iter().map(|key| entry(key, key.as_bytes())).collect();
        let request = PutRecordsRequest {
            stream_name: Some(stream.into()),
            records: Some(records),
            ..Default::default()
        };

        self.call(request).await.unwrap()
    }

    pub(crate) async fn iterator(
        &self,
        stream: &str,
        shard: &str,
        kind: ShardIteratorType,
    ) -> String {
        let request = GetShardIteratorRequest {
            stream_name: Some(stream.into()),
            shard_id: Some(shard.into()),
            shard_iterator_type: Some(kind),
            ..Default::default()
        };

        self.call(request).await.unwrap().shard_iterator.unwrap()
    }

    pub(crate) async fn get(&self, iterator: &str) -> Result<GetRecordsResponse, Failure> {
        self.call(GetRecordsRequest {
            shard_iterator: Some(iterator.into()),
            ..Default::default()
        })
        .await
    }

    /// The data of all records of a shard, as text.
    pub(crate) async fn all(&self, stream: &str, shard: &str) -> Vec<String> {
        let mut iterator = Some(
            self.iterator(stream, shard, ShardIteratorType::TrimHorizon)
                .await,
        );
        let mut out = Vec::new();
        while let Some(at) = iterator {
            let page = self.get(&at).await.unwrap();
            let done = page.records.is_empty();
            out.extend(
                page.records
                    .iter()
                    .map(|r| String::from_utf8_lossy(&r.data.0).into_owned()),
            );
            iterator = page.next_shard_iterator.filter(|_| !done);
        }

        out
    }

    pub(crate) async fn shards(&self, stream: &str) -> Vec<Shard> {
        let request = ListShardsRequest {
            stream_name: Some(stream.into()),
            ..Default::default()
        };
        self.call(request).await.unwrap().shards.unwrap()
    }

    pub(crate) async fn consumer(&self, arn: &str, name: &str) -> String {
        let request = RegisterStreamConsumerRequest {
            stream_arn: Some(arn.into()),
            consumer_name: Some(name.into()),
            ..Default::default()
        };

        self.call(request).await.unwrap().consumer.consumer_arn
    }
}

pub(crate) fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry {
        data: Some(Bytes::copy_from_slice(data).into()),
        partition_key: Some(key.into()),
        explicit_hash_key: None,
    }
}

pub(crate) fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

pub(crate) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The events of a subscription.
pub(crate) struct Events {
    stream: ByteStream,
    decoder: Decoder,
}

impl Events {
    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<SubscribeEvent, TransportError>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(Ok(SubscribeEvent::from_frame(frame).unwrap()));
            }
            match std::future::poll_fn(|cx| self.stream.as_mut().poll_next(cx)).await? {
                Ok(chunk) => self.decoder.push(&chunk),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next event; panics at any other frame.
    pub(crate) async fn event(&mut self) -> GetRecordsAnswer {
        match self.next().await {
            Some(Ok(SubscribeEvent::Event { format, payload })) => {
                GetRecordsAnswer::parse(format, payload).unwrap()
            }
            other => panic!("{other:?} where an event is due"),
        }
    }

    /// The next frame, if a frame is ready.
    pub(crate) async fn poll_now(
        &mut self,
    ) -> Poll<Option<Result<SubscribeEvent, TransportError>>> {
        let mut next = Box::pin(self.next());
        std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await
    }

    /// True if no frame is ready. A frame that is ready is dropped.
    pub(crate) async fn is_silent(&mut self) -> bool {
        self.poll_now().await.is_pending()
    }
}

/// The data of the records of an event, as text.
pub(crate) fn texts(answer: &GetRecordsAnswer) -> Vec<String> {
    let data = answer
        .records
        .iter()
        .map(|r| answer.data(r).decode().unwrap());
    data.map(|d| String::from_utf8(d).unwrap()).collect()
}

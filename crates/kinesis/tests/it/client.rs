//! A client learns the abilities of its server, and corrects credentials and clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use distributary_core::output::TroubleKind;
use distributary_kinesis::client::{CallError, Client, kind_of};
use distributary_kinesis::create;
use distributary_kinesis::credentials::{CredentialsError, CredentialsSource};
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::retry::{COMMAND_ATTEMPTS, with_retries};
use distributary_wire::codec::Format;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::sigv4::Credentials;
use distributary_wire::transport::{Request, Response, Transport, TransportError};
use distributary_wire::types::*;

use crate::script::{Call, DATE_MS, Script, reply};

const ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders";

pub(crate) fn by_arn() -> StreamRef {
    ARN.parse().unwrap()
}

pub(crate) fn by_name() -> StreamRef {
    "orders".parse().unwrap()
}

pub(crate) fn summary(status: StreamStatus) -> DescribeStreamSummaryResponse {
    let stream_description_summary = StreamDescriptionSummary {
        stream_name: "orders".into(),
        stream_arn: ARN.into(),
        stream_status: status,
        retention_period_hours: 24,
        open_shard_count: 3,
        stream_creation_timestamp: Timestamp(1_700_000_000_000),
        ..Default::default()
    };
    DescribeStreamSummaryResponse {
        stream_description_summary,
    }
}

fn operations(script: &Script) -> Vec<(Operation, Format)> {
    script
        .calls()
        .iter()
        .map(|call| (call.operation, call.format))
        .collect()
}

const CBOR: (Operation, Format) = (Operation::ListStreams, Format::Cbor);
const JSON: (Operation, Format) = (Operation::ListStreams, Format::Json);

/// Lists streams as a command does: with retries.
async fn list(client: &Client) -> Result<(), TroubleKind> {
    let request = ListStreamsRequest::default();
    let listed = with_retries(client.clock(), || client.call(&request)).await;
    listed.map(drop).map_err(|trouble| trouble.kind)
}

#[tokio::test]
async fn cbor_stays_where_it_works() {
    let script = Script::default();
    let client = script.client();
    script.ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    assert_eq!(operations(&script), [CBOR]);
    // A proxy's page is no reason to stop using CBOR any more.
    script.html(403);
    assert_eq!(list(&client).await, Err(TroubleKind::Unintelligible));
    assert_eq!(client.format(), Format::Cbor);
    assert_eq!(operations(&script), [CBOR]);
}

#[tokio::test]
async fn json_where_cbor_is_answered_with_a_page() {
    let script = Script::default();
    let client = script.client();
    script
        .html(500)
        .ok(ListStreamsResponse::default())
        .html(500)
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    list(&client).await.unwrap();
    assert_eq!(operations(&script), [CBOR, JSON, CBOR, JSON]);
}

#[tokio::test]
async fn json_where_cbor_breaks_the_connection() {
    let script = Script::default();
    let client = script.client();
    script.broken().err(ErrorCode::AccessDenied, "no").broken();
    assert_eq!(list(&client).await, Err(TroubleKind::Denied));
    assert_eq!(
        (operations(&script), client.format()),
        (vec![CBOR, JSON, CBOR], Format::Json)
    );
}

#[tokio::test(start_paused = true)]
async fn cbor_stays_where_the_first_connection_breaks_by_chance() {
    for page in [false, true] {
        let script = Script::default();
        let client = script.client();
        if page {
            script.html(502);
        } else {
            script.broken();
        }
        script
            .ok(ListStreamsResponse::default())
            .err(ErrorCode::AccessDenied, "no");
        list(&client).await.unwrap();
        assert_eq!(
            (operations(&script), client.format()),
            (vec![CBOR, JSON, CBOR], Format::Cbor)
        );
        script.broken();
        script.ok(ListStreamsResponse::default());
        list(&client).await.unwrap();
        assert_eq!(operations(&script), [CBOR, CBOR]);
    }
}

#[tokio::test]
async fn json_although_a_front_refused_a_request_before() {
    let script = Script::default();
    let client = script.client();
    // A front that only checks signatures answers in a form of its own: that shows nothing about
    // the server behind.
    let in_json = |code| {
        let error = ApiError::new(code, "no");
        move |_: &Call| {
            reply(
                400,
                Some("application/x-amz-json-1.1"),
                error.encode(Format::Json),
            )
        }
    };
    script.then(in_json(ErrorCode::AccessDenied));
    assert_eq!(list(&client).await, Err(TroubleKind::Denied));
    script
        .then(in_json(ErrorCode::UnknownOperation))
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    assert_eq!(
        (operations(&script), client.format()),
        (vec![CBOR, CBOR, JSON], Format::Json)
    );
}

#[tokio::test(start_paused = true)]
async fn a_blank_answer_is_none() {
    let script = Script::default();
    let client = script.client();
    script.ok(DescribeStreamSummaryResponse::default());
    let trouble = client.describe(&by_name()).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unintelligible, "{trouble}");
    script.ok(ListShardsResponse::default());
    let trouble = client.list_shards(&by_name()).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unintelligible, "{trouble}");
    script.calls();
}

#[tokio::test(start_paused = true)]
async fn cbor_stays_where_json_fails_as_well() {
    let script = Script::default();
    let client = script.client();
    for _ in 0..2 * COMMAND_ATTEMPTS {
        script.html(503);
    }
    assert_eq!(list(&client).await, Err(TroubleKind::Unavailable));
    assert_eq!(
        operations(&script),
        [CBOR, JSON, CBOR, JSON, CBOR, JSON, CBOR, JSON]
    );
    script.ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    assert_eq!(operations(&script), [CBOR]);
}

#[tokio::test]
async fn json_where_one_request_is_not_understood_in_cbor() {
    let script = Script::default();
    let client = script.client();
    script.ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    // Answered in JSON to a request in CBOR.
    let error = ApiError::new(
        ErrorCode::Serialization,
        "error decoding epoch-form datetime",
    );
    let refusal = move || {
        reply(
            400,
            Some("application/x-amz-json-1.1"),
            error.encode(Format::Json),
        )
    };
    script.then({
        let refusal = refusal.clone();
        move |_| refusal()
    });
    script.ok(ListStreamsResponse::default());
    script.then(move |_| refusal());
    list(&client).await.unwrap();
    assert_eq!(
        (operations(&script), client.format()),
        (vec![CBOR, CBOR, JSON, CBOR], Format::Json)
    );
    // JSON stays after every answer.
    script.err(ErrorCode::Serialization, "no");
    assert_eq!(list(&client).await, Err(TroubleKind::Invalid));
    assert_eq!(operations(&script), [JSON]);
}

#[tokio::test]
async fn json_where_answers_in_cbor_are_cut() {
    let script = Script::default();
    let client = script.client();
    script.then(|call| {
        reply(
            200,
            Some(call.format.content_type()),
            Bytes::from_static(b"\xbf\x6bStreamN"),
        )
    });
    script.ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    assert_eq!(operations(&script), [CBOR, JSON]);
}

/// Answers requests in CBOR only in pairs.
struct Pairs {
    script: Script,
    both: tokio::sync::Barrier,
}

#[async_trait]
impl Transport for Pairs {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        if request
            .headers()
            .get("content-type")
            .is_some_and(|t| t == Format::Cbor.content_type())
        {
            self.both.wait().await;
        }
        Transport::call(&self.script, request, deadline).await
    }
}

#[tokio::test]
async fn json_for_a_call_that_was_under_way_when_another_learned_it() {
    let script = Script::default();
    let transport = Arc::new(Pairs {
        script: script.clone(),
        both: tokio::sync::Barrier::new(2),
    });
    let client = Client::builder(transport)
        .endpoint("http://server:4567")
        .build()
        .unwrap();
    for _ in 0..2 {
        script.then(|call| {
            reply(
                200,
                Some(call.format.content_type()),
                Bytes::from_static(b"\xbf\x6bStreamN"),
            )
        });
        script.ok(ListStreamsResponse::default());
    }
    let (one, two) = tokio::join!(list(&client), list(&client));
    assert_eq!((one, two), (Ok(()), Ok(())));
    // The second answer in CBOR is read when JSON is in use.
    assert_eq!(operations(&script), [CBOR, JSON, CBOR, JSON]);
}

#[tokio::test]
async fn a_format_that_was_chosen_is_kept() {
    let script = Script::default();
    let builder = Client::builder(Arc::new(script.clone()))
        .endpoint("http://s")
        .format(Format::Cbor);
    let client = builder.build().unwrap();
    script.err(ErrorCode::Serialization, "no");
    assert_eq!(list(&client).await, Err(TroubleKind::Invalid));
    assert_eq!(operations(&script), [CBOR]);
}

#[tokio::test]
async fn a_server_without_arns_is_asked_by_name() {
    for (code, message) in [
        (
            ErrorCode::Validation,
            "1 validation error detected: Value null at 'streamName' failed to satisfy …",
        ),
        (
            ErrorCode::InvalidArgument,
            "Either NextToken or StreamName should be provided.",
        ),
    ] {
        let script = Script::default();
        let client = script.client();
        script
            .err(code, message)
            .ok(summary(StreamStatus::Active))
            .ok(summary(StreamStatus::Active));
        client.describe(&by_arn()).await.unwrap();
        client.describe(&by_arn()).await.unwrap();
        let names: Vec<_> = script
            .calls()
            .iter()
            .map(|call| {
                let request: DescribeStreamSummaryRequest = call.read();
                (request.stream_name, request.stream_arn)
            })
            .collect();
        let name = (Some("orders".to_owned()), None);
        assert_eq!(names, [(None, Some(ARN.to_owned())), name.clone(), name]);
    }
}

#[tokio::test(start_paused = true)]
async fn commands_retry_failures_that_may_pass_and_report_the_others() {
    let script = Script::default();
    let client = script.client();
    script
        .err(ErrorCode::LimitExceeded, "Rate exceeded")
        .err(ErrorCode::InternalFailure, "");
    script.then(|_| {
        Err(TransportError::Connect {
            endpoint: "s".into(),
            source: "refused".into(),
        })
    });
    script.ok(ListStreamsResponse::default());
    let before = client.clock().now();
    list(&client).await.unwrap();
    assert_eq!(script.calls().len(), 4);
    let waited = client.clock().now().since(before);
    assert!(waited < Duration::from_secs(2), "{waited:?}");

    for _ in 0..COMMAND_ATTEMPTS {
        script.err(ErrorCode::Throttling, "Rate exceeded");
    }
    assert_eq!(list(&client).await, Err(TroubleKind::Throttled));
    script.calls();
    script.err(ErrorCode::AccessDenied, "User: x is not authorized");
    assert_eq!(list(&client).await, Err(TroubleKind::Denied));
    script.call();
}

/// Returns `key-0`, then another key with each renewal.
#[derive(Debug, Default)]
struct Rotating(AtomicU32);

fn key(n: u32) -> Credentials {
    Credentials {
        access_key_id: format!("key-{n}"),
        secret_access_key: "secret".into(),
        session_token: Some("token".into()),
    }
}

#[async_trait]
impl CredentialsSource for Rotating {
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        Ok(key(self.0.load(Ordering::SeqCst)))
    }

    async fn renew(&self, stale: &Credentials) -> Result<Credentials, CredentialsError> {
        assert_eq!(*stale, key(self.0.load(Ordering::SeqCst)));
        Ok(key(self.0.fetch_add(1, Ordering::SeqCst) + 1))
    }
}

fn rotating(script: &Script) -> Client {
    let builder = Client::builder(Arc::new(script.clone())).endpoint("http://s");
    builder
        .credentials(Arc::new(Rotating::default()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn expired_credentials_are_renewed_at_once_and_once() {
    let script = Script::default();
    let client = rotating(&script);
    script
        .err(ErrorCode::ExpiredToken, "expired")
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    let keys: Vec<bool> = script
        .calls()
        .iter()
        .map(|c| c.header("authorization").contains("Credential=key-1/"))
        .collect();
    assert_eq!(keys, [false, true]);
    script
        .err(ErrorCode::ExpiredToken, "expired")
        .err(ErrorCode::ExpiredToken, "expired");
    let trouble = client
        .call(&ListStreamsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unauthenticated);
    assert!(trouble.message.contains("aws sso login"), "{trouble}");
    assert_eq!(script.calls().len(), 2);
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl CredentialsSource for Nobody {
    async fn get(&self) -> Result<Credentials, CredentialsError> {
        Err(CredentialsError::None)
    }

    async fn renew(&self, _: &Credentials) -> Result<Credentials, CredentialsError> {
        Err(CredentialsError::None)
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let script = Script::default();
    let builder = Client::builder(Arc::new(script.clone())).credentials(Arc::new(Nobody));
    let trouble = builder
        .build()
        .unwrap()
        .describe(&by_name())
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unauthenticated);
    assert!(
        trouble
            .message
            .contains("no AWS credentials were found; set AWS_ACCESS_KEY_ID"),
        "{trouble}"
    );
    assert!(script.calls().is_empty());
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_servers() {
    for code in [
        ErrorCode::RequestTimeTooSkewed,
        ErrorCode::InvalidSignature,
        ErrorCode::RequestExpired,
    ] {
        let script = Script::default();
        let client = script.client();
        script
            .err(code, "Signature expired")
            .ok(ListStreamsResponse::default());
        script.ok(ListStreamsResponse::default());
        list(&client).await.unwrap();
        list(&client).await.unwrap();
        let dates: Vec<String> = script
            .calls()
            .iter()
            .map(|call| call.header("x-amz-date")[..11].to_owned())
            .collect();
        // This machine's clock is not in that hour; the server's is, and stays learned.
        assert_ne!(dates[0], "20260102T03");
        assert_eq!(dates[1..], ["20260102T03", "20260102T03"]);
        // A refusal at the right time is final.
        script.err(
            ErrorCode::InvalidSignature,
            "The request signature we calculated does not match",
        );
        assert_eq!(list(&client).await, Err(TroubleKind::Unauthenticated));
        script.call();
    }
}

#[tokio::test]
async fn troubles_tell_the_remedy() {
    let script = Script::default();
    let client = script.client();
    script.err(
        ErrorCode::ResourceNotFound,
        "Stream orders under account 1 not found.",
    );
    let trouble = client.describe(&by_name()).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Missing);
    assert_eq!(
        trouble.message,
        "DescribeStreamSummary on stream orders in us-east-1: ResourceNotFoundException (400): Stream orders under \
         account 1 not found.; check the stream's name, the region (us-east-1) and the account"
    );
    script.err(ErrorCode::AccessDenied, "User: u is not authorized");
    let trouble = client.describe(&by_name()).await.unwrap_err();
    assert!(
        trouble
            .message
            .contains("allow the action kinesis:DescribeStreamSummary on stream orders"),
        "{trouble}"
    );
    assert!(
        std::error::Error::source(&trouble).is_some(),
        "the source is chained"
    );
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_without_a_server_is_named() {
    let script = Script::default();
    let refused = || TransportError::Connect {
        endpoint: "server:4567".into(),
        source: "refused".into(),
    };
    script.then(move |_| Err(refused()));
    let trouble = script.client().describe(&by_name()).await.unwrap_err();
    assert_eq!(
        trouble.message,
        "nothing answers at http://server:4567 (refused); check the endpoint, the network and the proxy settings"
    );
}

#[test]
fn a_request_that_is_answered_with_4xx_has_no_effect() {
    for code in ErrorCode::KNOWN
        .iter()
        .cloned()
        .chain([ErrorCode::Other("Newer".into())])
    {
        let error = ApiError::new(code.clone(), "");
        let (status, kind) = (error.status, kind_of(&code, error.status));
        assert_eq!(
            CallError::Api(error.clone()).is_without_effect(),
            status < 500,
            "{code}"
        );
        assert_eq!(CallError::Api(error).kind(), kind, "{code}");
        if status >= 500 {
            assert_eq!(kind, TroubleKind::Unavailable, "{code}");
        }
    }
    assert_eq!(
        kind_of(&ErrorCode::Other("Newer".into()), 500),
        TroubleKind::Unavailable
    );
    assert_eq!(
        kind_of(&ErrorCode::Other("Newer".into()), 400),
        TroubleKind::Unintelligible
    );
    let broken = TransportError::Broken {
        source: "cut".into(),
    };
    assert!(!CallError::Transport(broken).is_without_effect());
    let timeout = TransportError::Timeout {
        after: Duration::from_secs(1),
    };
    assert!(!CallError::Transport(timeout).is_without_effect());
    let refused = TransportError::Connect {
        endpoint: "e".into(),
        source: "refused".into(),
    };
    assert!(CallError::Transport(refused).is_without_effect());
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_created_like_another_and_waited_for() {
    let script = Script::default();
    let client = script.client();
    script.ok(summary(StreamStatus::Active));
    let like = client.describe(&by_name()).await.unwrap().answer;
    script.calls();
    let copy: StreamRef = "copy".parse().unwrap();
    script
        .err(ErrorCode::ResourceNotFound, "no")
        .ok(CreateStreamResponse::default());
    script
        .ok(summary(StreamStatus::Creating))
        .ok(summary(StreamStatus::Active));
    let ensured = create::ensure(&client, &copy, &like).await.unwrap();
    assert!(ensured.created && ensured.description.open_shards == 3);
    let calls = script.calls();
    let request: CreateStreamRequest = calls[1].read();
    assert_eq!(
        (request.stream_name.as_deref(), request.shard_count),
        (Some("copy"), Some(3))
    );
    assert_eq!(request.stream_mode_details, None);

    // On demand; and an attempt whose answer was lost had created the stream.
    let like = distributary_kinesis::client::StreamDescription {
        mode: StreamMode::OnDemand,
        ..like
    };
    script
        .err(ErrorCode::ResourceNotFound, "no")
        .broken()
        .err(ErrorCode::ResourceInUse, "exists");
    script.ok(summary(StreamStatus::Active));
    assert!(create::ensure(&client, &copy, &like).await.unwrap().created);
    let calls = script.calls();
    let request: CreateStreamRequest = calls[1].read();
    assert_eq!(request.shard_count, None);
    assert_eq!(
        request.stream_mode_details.unwrap().stream_mode,
        Some(StreamMode::OnDemand)
    );

    // One call for a stream that exists.
    script.ok(summary(StreamStatus::Updating));
    let ensured = create::ensure(&client, &copy, &like).await.unwrap();
    assert!(!ensured.created, "a stream that exists stays");
    script.call();
    script.ok(summary(StreamStatus::Deleting));
    assert_eq!(
        create::wait_active(&client, &copy).await.unwrap_err().kind,
        TroubleKind::Missing
    );
}

#[tokio::test]
async fn servers_without_the_newer_calls() {
    let script = Script::default();
    let client = script.client();
    let shard = |id: &str, end: Option<&str>| Shard {
        shard_id: id.into(),
        sequence_number_range: Some(SequenceNumberRange {
            starting_sequence_number: "1".into(),
            ending_sequence_number: end.map(str::to_owned),
        }),
        ..Default::default()
    };
    let page = |shards: Vec<Shard>, has_more_shards: bool| DescribeStreamResponse {
        stream_description: StreamDescription {
            stream_name: "orders".into(),
            stream_status: StreamStatus::Active,
            shards,
            has_more_shards,
            ..Default::default()
        },
    };
    let old = || ErrorCode::UnknownOperation;
    // A server without CBOR may answer UnknownOperation too: JSON is tried, with the same answer.
    script.err(old(), "").err(old(), "");
    script
        .ok(page(vec![shard("a", Some("9"))], true))
        .ok(page(vec![shard("b", None)], false));
    let described = client.describe(&by_name()).await.unwrap();
    assert_eq!(
        (described.answer.open_shards, described.answer.arn.as_str()),
        (1, "orders")
    );
    assert_eq!(described.date.unwrap().0, DATE_MS);
    let calls = script.calls();
    let second: DescribeStreamRequest = calls[3].read();
    assert_eq!(second.exclusive_start_shard_id.as_deref(), Some("a"));

    script.err(ErrorCode::Other("InvalidAction".into()), "");
    script.ok(page(vec![shard("a", Some("9")), shard("b", None)], false));
    let shards = client.list_shards(&by_name()).await.unwrap().answer;
    assert_eq!(
        shards
            .iter()
            .map(|s| s.shard_id.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(script.calls().len(), 2);
}

#[tokio::test]
async fn every_page_of_shards_is_read() {
    let script = Script::default();
    let client = script.client();
    let page = |id: &str, token: Option<&str>| ListShardsResponse {
        shards: Some(vec![Shard {
            shard_id: id.into(),
            ..Default::default()
        }]),
        next_token: token.map(str::to_owned),
    };
    script
        .ok(page("a", Some("t1")))
        .ok(page("b", Some("t2")))
        .ok(page("c", None));
    let shards = client.list_shards(&by_arn()).await.unwrap().answer;
    assert_eq!(shards.len(), 3);
    let requests: Vec<ListShardsRequest> = script.calls().iter().map(|call| call.read()).collect();
    assert_eq!(requests[0].stream_arn.as_deref(), Some(ARN));
    // A token names its stream.
    assert_eq!(
        (requests[2].next_token.as_deref(), &requests[2].stream_arn),
        (Some("t2"), &None)
    );
}

#[tokio::test]
async fn one_strange_answer_does_not_outweigh_the_good_ones() {
    let script = Script::default();
    let client = script.client();
    script.ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    script.calls();
    let strange = || {
        let body = Bytes::from_static(b"\xbf\x00strange");
        reply(200, Some(Format::Cbor.content_type()), body)
    };

    // Asked again in JSON, then in CBOR, which works.
    script
        .then(move |_| strange())
        .ok(ListStreamsResponse::default())
        .ok(ListStreamsResponse::default())
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    list(&client).await.unwrap();
    let formats: Vec<Format> = script.calls().iter().map(|call| call.format).collect();
    let (cbor, json) = (Format::Cbor, Format::Json);
    assert_eq!(formats, [cbor, json, cbor, cbor]);

    // A server that has unlearned CBOR is spoken to in JSON.
    script
        .then(move |_| strange())
        .ok(ListStreamsResponse::default())
        .then(move |_| strange())
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    list(&client).await.unwrap();
    assert_eq!(script.calls().last().unwrap().format, json);
}

#[tokio::test]
async fn retry_after_is_heeded() {
    let script = Script::default();
    let client = script.client();
    for (value, seconds) in [
        ("7", Some(7)),
        ("Fri, 02 Jan 2026 03:04:14 GMT", Some(9)),
        ("Fri, 02 Jan 2026 03:04:04 GMT", None),
        ("soon", None),
    ] {
        script.then(move |call| {
            let error = ApiError::new(ErrorCode::ServiceUnavailable, "busy");
            let mut answer = reply(
                503,
                Some(call.format.content_type()),
                error.encode(call.format),
            )?;
            let value = ::http::HeaderValue::from_static(value);
            answer.headers_mut().insert("retry-after", value);
            Ok(answer)
        });
        let trouble = client
            .call(&ListStreamsRequest::default())
            .await
            .unwrap_err();
        assert_eq!(
            trouble.retry_after,
            seconds.map(Duration::from_secs),
            "{value}"
        );
    }
}

#[tokio::test]
async fn an_answer_of_401_asks_for_other_credentials() {
    let script = Script::default();
    let client = rotating(&script);
    script
        .then(|_| reply(401, None, Bytes::new()))
        .ok(ListStreamsResponse::default());
    list(&client).await.unwrap();
    let calls = script.calls();
    assert!(
        calls[1]
            .header("authorization")
            .contains("Credential=key-1/")
    );
}

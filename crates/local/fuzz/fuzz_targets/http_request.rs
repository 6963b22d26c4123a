//! Every request is answered, without a panic or an internal failure, and an error is one of AWS's.
//!
//! The input is several requests with a NUL byte between two. Each request is lines `name: value`,
//! an empty line and a body.
#![no_main]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use distributary_local::{Env, Local, Sleep};
use distributary_wire::codec::Format;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::{RequestBody, ResponseBody, Transport};
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// An environment whose time stands still and whose sleeps never end.
struct Still;

impl Env for Still {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
    fn random(&self) -> u64 {
        7
    }
}

/// The largest number of shards of a stream. With more, the fuzzer spends most time on making
/// shards.
const SHARD_LIMIT: u32 = 50;
/// Frames read from a subscription.
const FRAMES: usize = 4;

/// Sends one request and checks the answer.
fn check_request(local: &Local, input: &[u8]) {
    let at = input
        .windows(2)
        .position(|w| w == b"\n\n")
        .unwrap_or(input.len());
    let (head, body) = (&input[..at], input.get(at + 2..).unwrap_or_default());
    let mut request = http::Request::post("http://l/");
    for line in head.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            request = request.header(name, value);
        }
    }

    let request = request
        .body(RequestBody::whole(Bytes::copy_from_slice(body)))
        .unwrap();
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|v| v.to_str().ok().map(str::to_owned))
    };

    let (kind, target) = (text("content-type"), text("x-amz-target"));
    let transport = local.transport();
    let mut call = pin!(transport.call(request, Duration::from_secs(1)));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = call.as_mut().poll(&mut cx) else {
        panic!("the call waits")
    };
    let (head, body) = answer.expect("an answer without faults").into_parts();
    let status = head.status.as_u16();
    match body {
        ResponseBody::Stream(mut frames) => {
            for _ in 0..FRAMES {
                let Poll::Ready(Some(frame)) = frames.as_mut().poll_next(&mut cx) else {
                    break;
                };
                frame.expect("a frame");
            }
        }
        ResponseBody::Full(body) if status == 200 => drop(body),
        ResponseBody::Full(body) => {
            let format = kind.as_deref().and_then(Format::from_content_type);
            assert_eq!(status == 404, format.is_none(), "{status}");
            if status == 404 {
                return;
            }
            let error = ApiError::decode(status, &head.headers, &body);
            let known = target.as_deref().and_then(Operation::from_target).is_some();
            assert_eq!(error.code == ErrorCode::UnknownOperation, !known, "{error}");
            assert!(ErrorCode::KNOWN.contains(&error.code), "{error}");
            assert_eq!(status, 400, "{error}");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let settings = distributary_local::Settings {
        shard_limit: SHARD_LIMIT,
        ..Default::default()
    };
    let local = Local::builder()
        .settings(settings)
        .env(Arc::new(Still))
        .seed(1)
        .build();
    local.create_stream("s", 2).unwrap();
    for request in input.split(|b| *b == 0).take(16) {
        check_request(&local, request);
    }
});

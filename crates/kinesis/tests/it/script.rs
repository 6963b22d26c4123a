//! A transport with prepared answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use distributary_kinesis::client::Client;
use distributary_kinesis::transport::RequestClass;
use distributary_wire::codec::{self, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::{Request, Response, ResponseBody, Transport, TransportError};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) type Reply = Result<Response, TransportError>;
type Step = Box<dyn FnOnce(&Call) -> Reply + Send>;

/// 2026-01-02T03:04:05Z, in the `Date` of every answer.
pub(crate) const DATE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";
pub(crate) const DATE_MS: i64 = 1_767_323_045_000;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) format: Format,
    /// The class that the client named.
    pub(crate) class: Option<RequestClass>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn read<R: DeserializeOwned>(&self) -> R {
        codec::decode(self.format, &self.body).expect("a request that can be read")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |v| v.to_str().expect("text"))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    steps: VecDeque<Step>,
    calls: Vec<Call>,
}

impl Script {
    pub(crate) fn client(&self) -> Client {
        Client::builder(Arc::new(self.clone()))
            .endpoint("http://server:4567")
            .build()
            .expect("an endpoint")
    }

    /// The next answer.
    pub(crate) fn then(&self, step: impl FnOnce(&Call) -> Reply + Send + 'static) -> &Self {
        self.0.lock().unwrap().steps.push_back(Box::new(step));
        self
    }

    /// The next answer: `answer`, in the format of the request.
    pub(crate) fn ok<T: Serialize + Send + 'static>(&self, answer: T) -> &Self {
        self.then(move |call| ok(call.format, &answer))
    }

    /// The next answer: an error of the protocol, in the format of the request.
    pub(crate) fn err(&self, code: ErrorCode, message: &str) -> &Self {
        let error = ApiError::new(code, message);
        self.then(move |call| {
            reply(
                error.status,
                Some(call.format.content_type()),
                error.encode(call.format),
            )
        })
    }

    /// The next answer: a page that is no answer of Kinesis.
    pub(crate) fn html(&self, status: u16) -> &Self {
        self.then(move |_| {
            reply(
                status,
                Some("text/html"),
                Bytes::from_static(b"<h1>Oops</h1>"),
            )
        })
    }

    pub(crate) fn broken(&self) -> &Self {
        self.then(|_| {
            Err(TransportError::Broken {
                source: "reset by peer".into(),
            })
        })
    }

    /// Takes the calls made so far; all steps must have been used.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut state = self.0.lock().unwrap();
        assert!(
            state.steps.is_empty(),
            "{} steps were not used",
            state.steps.len()
        );
        std::mem::take(&mut state.calls)
    }

    /// The one call made so far.
    pub(crate) fn call(&self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }
}

pub(crate) fn ok<T: Serialize>(format: Format, answer: &T) -> Reply {
    reply(
        200,
        Some(format.content_type()),
        codec::encode_answer(format, answer),
    )
}

pub(crate) fn reply(status: u16, content_type: Option<&str>, body: Bytes) -> Reply {
    let mut response = ::http::Response::builder()
        .status(status)
        .header("date", DATE);
    if let Some(content_type) = content_type {
        response = response.header("content-type", content_type);
    }
    Ok(response.body(ResponseBody::Full(body)).unwrap())
}

#[async_trait]
impl Transport for Script {
    async fn call(&self, request: Request, _deadline: Duration) -> Reply {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
        let call = Call {
            operation: Operation::from_target(&header("x-amz-target")).expect("an operation"),
            format: Format::from_content_type(&header("content-type")).expect("a format"),
            class: parts.extensions.get().copied(),
            headers: parts.headers.clone(),
            body: body.to_bytes(),
        };
        let mut state = self.0.lock().unwrap();
        state.calls.push(call.clone());
        let step = state
            .steps
            .pop_front()
            .unwrap_or_else(|| panic!("no answer for {call:?}"));
        drop(state);
        step(&call)
    }
}

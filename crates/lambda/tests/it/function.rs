//! A Runtime API, and the program that asks it for events.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use distributary_core::clock::Clock;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// The longest wait for an answer, far more than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Response(Value),
    Error(Value),
    /// The program could not start.
    Start(Value),
}

impl Answer {
    /// The identifiers in `batchItemFailures`.
    pub(crate) fn failures(&self) -> Vec<String> {
        let Self::Response(answer) = self else {
            panic!("{self:?}");
        };
        let failures = answer["batchItemFailures"].as_array().unwrap();
        let ids = failures
            .iter()
            .map(|one| one["itemIdentifier"].as_str().unwrap().to_owned());
        ids.collect()
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Error(error) | Self::Start(error) => error["errorMessage"].as_str().unwrap(),
            Self::Response(_) => panic!("{self:?}"),
        }
    }
}

#[derive(Default)]
struct State {
    events: Mutex<VecDeque<(String, i64)>>,
    answers: Mutex<VecDeque<(Answer, i64)>>,
    changed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running function.
pub(crate) struct Function {
    clock: Clock,
    state: Arc<State>,
    /// Ends with the value.
    _child: Child,
    timeout: Duration,
}

impl Function {
    /// Starts the program with these variables; each event has `timeout`.
    pub(crate) async fn start(variables: &[(&str, &str)], timeout: Duration) -> Self {
        let clock = Clock::real();
        let state = Arc::new(State::default());
        let address = serve(Arc::clone(&state), clock.clone()).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "fanout")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        for (name, value) in variables {
            command.env(name, value);
        }
        Self {
            _child: command.spawn().unwrap(),
            clock,
            state,
            timeout,
        }
    }

    /// Sends an event; the answer, and the time until the deadline that was left.
    pub(crate) async fn invoke(&mut self, event: &Value) -> (Answer, Duration) {
        let deadline = self.clock.wall().plus(self.timeout).0;
        lock(&self.state.events).push_back((event.to_string(), deadline));
        self.state.changed.notify_waiters();
        let (answer, at) = self.answer().await;
        let left = Duration::from_millis(u64::try_from(deadline - at).unwrap_or(0));
        assert!(deadline > at, "answered after the deadline: {answer:?}");
        (answer, left)
    }

    /// The next answer, with the moment.
    pub(crate) async fn answer(&mut self) -> (Answer, i64) {
        let state = Arc::clone(&self.state);
        let answered = wait(&state, || lock(&state.answers).pop_front());
        let answered = self.clock.timeout(PATIENCE, answered).await;
        answered.expect("the program did not answer")
    }
}

/// Waits until `look` finds something.
async fn wait<T>(state: &State, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let changed = state.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        changed.await;
    }
}

async fn serve(state: Arc<State>, clock: Clock) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            let clock = clock.clone();
            let service =
                service_fn(move |request| respond(request, Arc::clone(&state), clock.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<State>,
    clock: Clock,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if request.method() == Method::GET {
        let (event, deadline) = wait(&state, || lock(&state.events).pop_front()).await;
        let response = Response::builder()
            .header(
                "Lambda-Runtime-Aws-Request-Id",
                "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            )
            .header("Lambda-Runtime-Deadline-Ms", deadline)
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:1:function:fanout",
            )
            .body(Full::from(event));
        return Ok(response.unwrap());
    }

    let body = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = match path.rsplit('/').next().unwrap() {
        "response" => Answer::Response(body),
        "error" if path.ends_with("/init/error") => Answer::Start(body),
        "error" => Answer::Error(body),
        other => panic!("{other}"),
    };
    lock(&state.answers).push_back((answer, clock.wall().0));
    state.changed.notify_waiters();
    Ok(Response::builder()
        .status(202)
        .body(Full::default())
        .unwrap())
}

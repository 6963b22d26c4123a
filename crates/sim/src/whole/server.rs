//! Time and randomness of a run's embedded Kinesis servers, and calls to them without a network.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::{Rng, TestClock};
use distributary_local::{Env, Local, Sleep};
use distributary_wire::codec::{self, Format};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::transport::{Request, RequestBody, ResponseBody, Transport};
use distributary_wire::types;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

/// Deadline of direct calls, which never wait for anything.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Time and randomness of an embedded Kinesis: the servers' clock of the run, which never jumps.
pub(super) struct ServerEnvironment {
    clock: TestClock,
    random: Mutex<Rng>,
    /// Milliseconds that the server's time is ahead, set while retention must delete records.
    ahead_millis: AtomicU64,
}

impl ServerEnvironment {
    pub(super) fn new(clock: &TestClock, rng: Rng) -> Self {
        Self {
            clock: clock.clone(),
            random: Mutex::new(rng),
            ahead_millis: AtomicU64::new(0),
        }
    }

    /// Sets the server's time ahead of the run's time.
    pub(super) fn set_ahead(&self, millis: u64) {
        self.ahead_millis.store(millis, Ordering::Relaxed);
    }
}

impl Env for ServerEnvironment {
    fn now_ms(&self) -> u64 {
        let now = u64::try_from(self.clock.server().0).unwrap_or(0);
        now + self.ahead_millis.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.clock.now().0
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the run's paused clock, as this seam needs"
    )]
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u64 {
        lock(&self.random).bits()
    }
}

fn internal(error: &impl ToString) -> ApiError {
    ApiError::new(ErrorCode::InternalFailure, error.to_string())
}

/// Makes one call, without a network between.
pub(super) async fn call<R: types::Request>(
    server: &Local,
    request: &R,
) -> Result<R::Answer, ApiError> {
    let answer = server
        .transport()
        .call(encode(request), DEADLINE)
        .await
        .map_err(|e| internal(&e))?;

    let (head, body) = answer.into_parts();
    let ResponseBody::Full(body) = body else {
        return Err(internal(&"the answer is an event stream"));
    };
    match head.status.as_u16() {
        200 => codec::decode_answer(Format::Cbor, &body).map_err(|e| internal(&e)),
        status => Err(ApiError::decode(status, &head.headers, &body)),
    }
}

fn encode<R: types::Request>(request: &R) -> Request {
    let mut call = Request::new(RequestBody::whole(codec::encode(Format::Cbor, request)));
    *call.method_mut() = Method::POST;

    let content_type = HeaderValue::from_static(Format::Cbor.content_type());
    let target = HeaderValue::from_static(R::OPERATION.target());
    call.headers_mut().insert(CONTENT_TYPE, content_type);
    call.headers_mut().insert("x-amz-target", target);
    call
}

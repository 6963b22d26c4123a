//! The embedded Kinesis of a run: its time and randomness, and calls that go to it directly, past the network.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::{Rng, TestClock};
use distributary_local::{Env, Local, Sleep};
use distributary_wire::codec::{self, Format};
use distributary_wire::error::ApiError;
use distributary_wire::transport::{Request, RequestBody, ResponseBody, Transport};
use distributary_wire::types;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

/// No direct call takes so long: nothing on that way waits.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Time and randomness of an embedded Kinesis: the servers' clock of the run, which never jumps.
pub(super) struct World {
    clock: TestClock,
    random: Mutex<Rng>,
    /// Milliseconds that it is ahead, for as long as retention is to find something.
    ahead: AtomicU64,
}

impl World {
    pub(super) fn new(clock: &TestClock, rng: Rng) -> Self {
        Self {
            clock: clock.clone(),
            random: Mutex::new(rng),
            ahead: AtomicU64::new(0),
        }
    }

    /// From now on it is so many milliseconds later than it is.
    pub(super) fn set_ahead(&self, millis: u64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }
}

impl Env for World {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.server().0).unwrap_or(0) + self.ahead.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.clock.now().0
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the run's paused clock, in the form that this seam wants"
    )]
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u64 {
        lock(&self.random).bits()
    }
}

/// Carries out one call at once.
pub(super) async fn ask<R: types::Request>(
    local: &Local,
    request: &R,
) -> Result<R::Answer, ApiError> {
    let mut call = Request::new(RequestBody::whole(codec::encode(Format::Cbor, request)));
    *call.method_mut() = Method::POST;
    call.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(Format::Cbor.content_type()),
    );
    call.headers_mut().insert(
        "x-amz-target",
        HeaderValue::from_static(R::OPERATION.target()),
    );
    let internal =
        |what: String| ApiError::new(distributary_wire::error::ErrorCode::InternalFailure, what);
    let answer = local
        .transport()
        .call(call, DEADLINE)
        .await
        .map_err(|e| internal(e.to_string()))?;
    let (head, body) = answer.into_parts();
    let ResponseBody::Full(body) = body else {
        return Err(internal("an event stream".to_owned()));
    };
    match head.status.as_u16() {
        200 => codec::decode_answer(Format::Cbor, &body).map_err(|e| internal(e.to_string())),
        status => Err(ApiError::decode(status, &head.headers, &body)),
    }
}

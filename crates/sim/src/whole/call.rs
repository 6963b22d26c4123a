//! One call of a client, on its way over the simulated network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use distributary_core::clock::ClockSource;
use distributary_core::output::{Outcome, Trouble, TroubleKind};
use distributary_core::sync::lock;
use distributary_local::faults::{Action, Rule};
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;
use distributary_wire::transport::{Request, RequestBody, Response, Transport, TransportError};
use http::header::CONTENT_TYPE;

use super::fate::Fate;
use super::link::Link;
use super::output::{CURRENT_WRITE, Write};
use super::put_records;
use super::signing_time;
use crate::truth::line;

/// A call as the client sent it.
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) format: Format,
    pub(super) body: Bytes,
    request: http::request::Parts,
}

impl Call {
    /// Reads a request; `None` if the operation or the format is unknown.
    fn read(request: Request) -> Option<Self> {
        let (request, body) = request.into_parts();
        let text = |name: &str| request.headers.get(name).and_then(|v| v.to_str().ok());
        let operation = Operation::from_target(text("x-amz-target")?)?;
        let format = Format::from_content_type(text(CONTENT_TYPE.as_str())?)?;

        Some(Self {
            operation,
            format,
            body: body.to_bytes(),
            request,
        })
    }

    /// The request, built again.
    pub(super) fn to_request(&self) -> Request {
        Request::from_parts(self.request.clone(), RequestBody::whole(self.body.clone()))
    }

    /// The time of the signature, in milliseconds since 1970.
    pub(super) fn signing_time(&self) -> Option<i64> {
        let value = self.request.headers.get("x-amz-date")?;
        signing_time::parse(value.to_str().ok()?)
    }
}

/// A client's transport: sends every call over a link.
pub(super) struct LinkTransport(pub(super) Arc<Link>);

#[async_trait]
impl Transport for LinkTransport {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let link = &self.0;
        let Some(call) = Call::read(request) else {
            let description = format!("{}: a call with an unknown operation", link.name());
            link.observer().truth().violate(line::COMPLETE, description);
            return Err(broken());
        };

        let write = current_write(call.operation);
        if let Some(write) = &write {
            *lock(&write.last_answer) = None;
            link.check_request(&call, write);
        }
        let mut flight = CallInFlight::start(link, call, write);
        tokio::select! {
            // An answer that arrives exactly at the deadline counts.
            biased;
            answer = flight.run() => answer,
            () = link.clock().sleep(deadline) => Err(TransportError::Timeout { after: deadline }),
        }
    }
}

/// The engine's write that a call is for.
fn current_write(operation: Operation) -> Option<Arc<Write>> {
    match operation {
        Operation::PutRecords => CURRENT_WRITE.try_with(Arc::clone).ok(),
        _ => None,
    }
}

/// A call on its way, until the sender has an answer or is gone.
struct CallInFlight {
    link: Arc<Link>,
    call: Arc<Call>,
    write: Option<Arc<Write>>,
    fate: Fate,
    latency: Duration,
    /// The call was carried out or never will be, or its later arrival is already planned.
    settled: bool,
}

fn broken() -> TransportError {
    TransportError::Broken {
        source: "the connection broke".into(),
    }
}

impl CallInFlight {
    fn start(link: &Arc<Link>, call: Call, write: Option<Arc<Write>>) -> Self {
        let (fate, latency) = link.start_call(&call);
        Self {
            link: Arc::clone(link),
            call: Arc::new(call),
            write,
            fate,
            latency,
            settled: false,
        }
    }

    async fn run(&mut self) -> Result<Response, TransportError> {
        self.wait_latency().await;
        self.settled = !matches!(self.fate, Fate::Stuck(_));

        match self.fate {
            Fate::Refused => Err(self.refuse_connection()),
            Fate::Lost => Err(broken()),
            Fate::Late(later) => {
                self.carry_out_later(later);
                Err(broken())
            }
            Fate::Held | Fate::Stuck(_) => std::future::pending().await,
            Fate::Error(failure) => {
                self.wait_latency().await;
                Ok(self.deliver(self.link.failure_answer(failure, &self.call)))
            }
            Fate::Well
            | Fate::AnswerLost
            | Fate::Cut
            | Fate::Hangs
            | Fate::ErrorAfter(_)
            | Fate::Partial(_)
            | Fate::Garbled(_)
            | Fate::Empty => self.carry_out_and_answer().await,
        }
    }

    async fn carry_out_and_answer(&self) -> Result<Response, TransportError> {
        let write = self.write.as_deref();
        let answer = carry_out(&self.link, &self.call, write, self.fate, false).await;
        if self.fate == Fate::Hangs {
            return std::future::pending().await;
        }

        self.wait_latency().await;
        match self.fate {
            Fate::AnswerLost | Fate::Cut => Err(broken()),
            Fate::ErrorAfter(failure) => {
                Ok(self.deliver(self.link.failure_answer(failure, &self.call)))
            }
            Fate::Garbled(garble) => {
                let spoiled = garble.spoil(answer, self.call.format);
                Ok(self.link.finish(spoiled, self.call.operation))
            }
            _ => Ok(self.deliver(answer)),
        }
    }

    async fn wait_latency(&self) {
        if !self.latency.is_zero() {
            self.link.clock().sleep(self.latency).await;
        }
    }

    /// Delivers an answer unspoiled, and keeps its meaning for the engine's write.
    fn deliver(&self, answer: Response) -> Response {
        if let Some(write) = &self.write {
            *lock(&write.last_answer) = outcome_of(&answer, self.call.format);
        }
        self.link.finish(answer, self.call.operation)
    }

    /// Refuses the connection: nothing was written, for certain.
    fn refuse_connection(&self) -> TransportError {
        if let Some(write) = &self.write {
            let trouble = Trouble::new(TroubleKind::Unavailable, "the connection was refused");
            *lock(&write.last_answer) = Some(Outcome::Rejected(trouble));
        }

        TransportError::Connect {
            endpoint: self.link.name().to_owned(),
            source: "nothing listens there".into(),
        }
    }

    /// Plans the arrival of a write that the sender no longer waits for.
    fn carry_out_later(&self, later: Duration) {
        let Some(write) = self.write.clone() else {
            return;
        };
        // The runtime is already gone if the call is dropped at the end of the run.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };

        let (link, call, fate) = (Arc::clone(&self.link), Arc::clone(&self.call), self.fate);
        runtime.spawn(async move {
            link.clock().sleep(later).await;
            carry_out(&link, &call, Some(&write), fate, true).await;
        });
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        if self.settled || self.write.is_none() {
            return;
        }

        // Otherwise the sender was killed, or gave up, while the request was on its way.
        let later = match self.fate {
            Fate::Stuck(later) => Some(later),
            _ => self.link.draw_late_arrival(),
        };
        if let Some(later) = later {
            self.carry_out_later(later);
        }
    }
}

/// The outcome that an unspoiled answer tells; `None` if the outcome is unknown.
fn outcome_of(answer: &Response, format: Format) -> Option<Outcome> {
    if let Some(results) = put_records::results(answer, format) {
        return Some(put_records::outcome(&results));
    }

    // A status of 4xx is a refusal; a server with another error may have written before.
    let status = answer.status();
    let rejected = || Outcome::Rejected(Trouble::new(TroubleKind::Unavailable, status.as_str()));
    status.is_client_error().then(rejected)
}

/// Carries a call out at the server, with the effects of its fate.
async fn carry_out(
    link: &Link,
    call: &Call,
    write: Option<&Write>,
    fate: Fate,
    late: bool,
) -> Response {
    let rules = match write {
        Some(write) => return link.put(call, write, fate, late).await,
        None if fate == Fate::Empty => {
            let rule = Rule::always(Operation::GetRecords, Action::EmptyPage);
            vec![rule.stream(link.stream())]
        }
        None => Vec::new(),
    };
    link.carry_out(call, rules).await
}

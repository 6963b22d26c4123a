//! The network between a client and one stream, as that client has it: a transport that delays, loses, breaks and spoils
//! what goes over it, as drawn from the seed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use distributary_core::clock::ClockSource;
use distributary_core::output::{Outcome, Trouble, TroubleKind};
use distributary_core::sync::lock;
use distributary_core::testing::{
    Event, Mood, Observer, OutputFaults, ReadFaults, Rng, TestClock, counted,
};
use distributary_local::Local;
use distributary_local::faults::{Action, Entries, Rule};
use distributary_wire::codec::Format;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::{
    Request, RequestBody, Response, ResponseBody, Transport, TransportError,
};
use http::HeaderValue;
use http::header::{CONTENT_TYPE, DATE};

use super::fate::{self, Code, Failure, Fate};
use super::output::{WRITING, Writing};
use super::records::Records;
use super::wire::{self, Written};
use crate::run::Eye;
use crate::truth::line;

/// No call to an embedded Kinesis takes so long: nothing in it waits.
const DEADLINE: Duration = Duration::from_secs(3600);
/// A signature that is further off than this is refused (AWS's limit).
const SKEW_MILLIS: u64 = 5 * 60_000;

/// What does not change about a way to a stream.
pub(super) struct LinkSettings {
    /// What the run calls it.
    pub(super) name: String,
    /// The stream's name.
    pub(super) stream: String,
    /// The one that is read.
    pub(super) is_source: bool,
    /// How the server refuses CBOR, if it does.
    pub(super) no_cbor: Option<u64>,
    /// It says the time with each answer.
    pub(super) dated: bool,
}

/// See the module.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) eye: Arc<Eye>,
    pub(super) local: Local,
    pub(super) stream: String,
    settings: LinkSettings,
    clock: TestClock,
    records: Arc<Mutex<Records>>,
    /// Bytes of answers to reads that somebody still holds.
    live: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    reads: ReadFaults,
    writes: OutputFaults,
    mood: Mood,
    refused: BTreeSet<usize>,
    requests: u64,
    /// Records that were ever written.
    places: usize,
    /// What the stream holds.
    stands: Vec<Stands>,
}

/// A record that the stream holds.
#[derive(Clone, Debug)]
pub(super) struct Stands {
    /// Where the server says that it is.
    pub(super) at: Written,
    /// Its number.
    pub(super) record: usize,
    /// Its place among all that were ever written.
    pub(super) place: usize,
}

impl Link {
    /// A way over which all goes well, until told otherwise.
    pub(super) fn new(
        settings: LinkSettings,
        local: &Local,
        clock: &TestClock,
        rng: Rng,
        eye: &Arc<Eye>,
        records: &Arc<Mutex<Records>>,
        live: &Arc<AtomicUsize>,
    ) -> Arc<Self> {
        let state = State {
            rng,
            reads: ReadFaults::default(),
            writes: OutputFaults::default(),
            mood: Mood::Well,
            refused: BTreeSet::new(),
            requests: 0,
            places: 0,
            stands: Vec::new(),
        };
        Arc::new(Self {
            name: settings.name.clone(),
            stream: settings.stream.clone(),
            settings,
            eye: Arc::clone(eye),
            local: local.clone(),
            clock: clock.clone(),
            records: Arc::clone(records),
            live: Arc::clone(live),
            state: Mutex::new(state),
        })
    }

    pub(super) fn set_reads(&self, faults: ReadFaults) {
        lock(&self.state).reads = faults;
    }

    pub(super) fn set_writes(&self, faults: OutputFaults) {
        lock(&self.state).writes = faults;
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    pub(super) fn refuse(&self, record: usize, refused: bool) {
        let mut state = lock(&self.state);
        if refused {
            state.refused.insert(record);
        } else {
            state.refused.remove(&record);
        }
    }

    /// The number of a new write.
    pub(super) fn number(&self) -> u64 {
        let mut state = lock(&self.state);
        state.requests += 1;
        state.requests - 1
    }

    /// What the stream holds.
    pub(super) fn stands(&self) -> Vec<Stands> {
        lock(&self.state).stands.clone()
    }

    /// The stream was deleted.
    pub(super) fn clear(&self) {
        lock(&self.state).stands.clear();
    }

    fn fault(&self, name: &'static str) {
        self.eye.on(&Event::Fault(name));
    }

    /// What is to become of a call, and how long each way takes.
    fn begin(&self, call: &Call) -> (Fate, Duration) {
        let (fate, way) = {
            let mut state = lock(&self.state);
            let State {
                rng,
                reads,
                writes,
                mood,
                ..
            } = &mut *state;
            let (low, high) = if self.settings.is_source {
                reads.latency
            } else {
                writes.latency
            };
            let way = Duration::from_millis(rng.between(low, high.max(low)));
            let drawn = match call.operation {
                Operation::PutRecords => Fate::of_write(writes, rng),
                operation @ (Operation::GetRecords | Operation::GetShardIterator) => {
                    Fate::of_read(reads, operation, rng)
                }
                _ if self.settings.is_source => Fate::of_control(reads.control, rng),
                _ => Fate::of_control(writes.rejected + writes.request_lost, rng),
            };
            match *mood {
                Mood::Crawls(time) => (drawn, time / 2),
                mood => (Fate::of_mood(mood).unwrap_or(drawn), way),
            }
        };
        let skewed = fate == Fate::Well && self.is_skewed(call);
        let fate = if skewed {
            Fate::Error(Failure::Code(Code::Skewed))
        } else {
            fate
        };
        {
            let mut truth = self.eye.truth();
            truth.trace.text(call.operation.name());
            truth
                .trace
                .note(u64::try_from(way.as_millis()).unwrap_or(0));
            let now = self.clock.now().0;
            truth.trace.line(now, |l| {
                _ = write!(l, "{}: {} {fate:?}", self.name, call.operation)
            });
        }
        if let Some(name) = fate.name() {
            self.fault(name);
        }
        (fate, way)
    }

    /// True if the call's signature is of another time.
    fn is_skewed(&self, call: &Call) -> bool {
        let signed = call
            .request
            .headers
            .get("x-amz-date")
            .and_then(|v| v.to_str().ok());
        let signed = signed.and_then(wire::millis_of);
        signed.is_none_or(|at| at.abs_diff(self.clock.server().0) > SKEW_MILLIS)
    }

    /// An answer that is an error, in a form that the server speaks.
    fn fails(&self, failure: Failure, call: &Call) -> Response {
        failure.answer(if self.settings.no_cbor.is_some() {
            Format::Json
        } else {
            call.format
        })
    }

    /// How a server without CBOR answers it.
    fn refuse_cbor(&self, how: u64) -> Response {
        self.fault("a server that does not speak CBOR");
        match how % 3 {
            0 => fate::error(Format::Json, &ApiError::new(ErrorCode::Serialization, "")),
            1 => fate::error(
                Format::Json,
                &ApiError::new(ErrorCode::UnknownOperation, ""),
            ),
            _ => Failure::Proxy(415).answer(Format::Json),
        }
    }

    /// The server's answer to a call, which is carried out now.
    async fn carry_out(&self, call: &Call, rules: Vec<Rule>) -> Response {
        if let Some(how) = self
            .settings
            .no_cbor
            .filter(|_| call.format == Format::Cbor)
        {
            return self.refuse_cbor(how);
        }
        let faults = self.local.faults();
        // Nothing waits between here and where they are taken away: no other call meets them.
        let rules: Vec<_> = rules
            .into_iter()
            .filter_map(|rule| faults.add(rule).ok())
            .collect();
        let answer = self.local.transport().call(call.again(), DEADLINE).await;
        rules.into_iter().for_each(|rule| _ = faults.remove(rule));
        answer.unwrap_or_else(|_| Failure::Proxy(500).answer(call.format))
    }

    /// What is written is written, and said.
    async fn put(&self, call: &Call, writing: &Writing, fate: Fate, late: bool) -> Response {
        let numbers = || {
            writing
                .entries
                .iter()
                .map(|e| usize::try_from(e.sequence).unwrap_or(usize::MAX))
        };
        let (rules, refused) = {
            let mut state = lock(&self.state);
            let refused: Vec<usize> = numbers()
                .enumerate()
                .filter(|(_, n)| state.refused.contains(n))
                .map(|(place, _)| place)
                .collect();
            let mut rules = Vec::new();
            let mut fail = |action| rules.push(Rule::always(Operation::PutRecords, action));
            let places = |places: Vec<usize>| Entries {
                places: Some(places),
                ..Entries::default()
            };
            if !refused.is_empty() {
                fail(Action::FailEntries(places(refused.clone())));
            }
            match fate {
                Fate::Cut => {
                    let cut = state.rng.index(writing.entries.len());
                    fail(Action::FailEntries(places(
                        (cut..writing.entries.len()).collect(),
                    )));
                }
                Fate::Partial(share) => {
                    let some = Entries {
                        probability: Some(f64::from(share) / 1000.0),
                        ..Entries::default()
                    };
                    let throttle = state.rng.below(2) == 0;
                    fail(if throttle {
                        Action::ThrottleEntries(some)
                    } else {
                        Action::FailEntries(some)
                    });
                }
                _ => {}
            }
            (rules, refused)
        };
        let answer = self.carry_out(call, rules).await;
        let Some(results) = wire::results(&answer, call.format) else {
            return answer;
        };
        let throttled = results
            .iter()
            .any(|r| matches!(r, Err(code) if code.contains("Throughput")));
        if throttled && !matches!(fate, Fate::Partial(_)) {
            self.fault("entries over a shard's rate");
        }
        let places = self.note(&results, numbers());
        let (service, request) = (self.name.as_str(), writing.request);
        self.eye.on(&Event::Applied {
            service,
            request,
            places: &places,
            late,
        });
        if refused.is_empty() {
            answer
        } else {
            wire::refuse(answer, call.format, &refused)
        }
    }

    /// Takes note of what was written; gives the place of each.
    fn note(
        &self,
        results: &[Result<Written, String>],
        numbers: impl Iterator<Item = usize>,
    ) -> Vec<Option<usize>> {
        let mut state = lock(&self.state);
        let State { places, stands, .. } = &mut *state;
        let mut note = |(result, record): (&Result<Written, String>, usize)| {
            let at = result.as_ref().ok()?.clone();
            stands.push(Stands {
                at,
                record,
                place: *places,
            });
            *places += 1;
            Some(*places - 1)
        };
        results.iter().zip(numbers).map(&mut note).collect()
    }

    /// What goes over the wire must be what the engine asked for.
    fn judge(&self, call: &Call, writing: &Writing) {
        let records = lock(&self.records);
        if let Err(what) =
            wire::judge_request(call.format, &call.body, &self.stream, writing, &records)
        {
            drop(records);
            let what = format!("{}, request {}: {what}", self.name, writing.request);
            self.eye.truth().violate(line::COMPLETE, what);
        }
    }

    /// As it goes out: with the time, and counted as long as somebody holds it.
    fn finish(&self, mut answer: Response, operation: Operation) -> Response {
        if self.settings.dated {
            let now = u64::try_from(self.clock.server().0).unwrap_or(0);
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now));
            if let Ok(date) = HeaderValue::from_str(&date) {
                answer.headers_mut().insert(DATE, date);
            }
        }
        if operation != Operation::GetRecords {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let body = match body {
            ResponseBody::Full(body) => ResponseBody::Full(counted(body, &self.live)),
            stream @ ResponseBody::Stream(_) => stream,
        };
        Response::from_parts(head, body)
    }
}

/// A call as it came.
struct Call {
    operation: Operation,
    format: Format,
    request: http::request::Parts,
    body: Bytes,
}

impl Call {
    /// `None` if it is none of the protocol.
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

    /// The request, once more.
    fn again(&self) -> Request {
        Request::from_parts(self.request.clone(), RequestBody::whole(self.body.clone()))
    }
}

/// A client's way to its stream.
pub(super) struct Way(pub(super) Arc<Link>);

#[async_trait]
impl Transport for Way {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let link = &self.0;
        let Some(call) = Call::read(request) else {
            link.eye.truth().violate(
                line::COMPLETE,
                format!("{}: a call that is none", link.name),
            );
            return Err(broken());
        };
        let writing = if call.operation == Operation::PutRecords {
            WRITING.try_with(Arc::clone).ok()
        } else {
            None
        };
        if let Some(writing) = &writing {
            *lock(&writing.said) = None;
            link.judge(&call, writing);
        }
        let (fate, way) = link.begin(&call);
        let (done, given_up) = (false, Arc::default());
        let mut flight = Flight {
            link: Arc::clone(link),
            call: Arc::new(call),
            writing,
            fate,
            way,
            done,
            given_up,
        };
        tokio::select! {
            // An answer that is there at the deadline is one.
            biased;
            answer = flight.go() => answer,
            () = link.clock.sleep(deadline) => Err(TransportError::Timeout { after: deadline }),
        }
    }
}

/// A call on its way, until whoever made it has an answer or is gone.
struct Flight {
    link: Arc<Link>,
    call: Arc<Call>,
    writing: Option<Arc<Writing>>,
    fate: Fate,
    way: Duration,
    /// It was carried out, or never will be.
    done: bool,
    given_up: Arc<AtomicBool>,
}

fn broken() -> TransportError {
    TransportError::Broken {
        source: "the connection broke".into(),
    }
}

impl Flight {
    async fn go(&mut self) -> Result<Response, TransportError> {
        self.pass(self.way).await;
        match self.fate {
            Fate::Refused => {
                self.done = true;
                self.was_not_sent();
                let source = "nothing listens there".into();
                return Err(TransportError::Connect {
                    endpoint: self.link.name.clone(),
                    source,
                });
            }
            Fate::Lost => {
                self.done = true;
                return Err(broken());
            }
            Fate::Late(later) => {
                self.done = true;
                self.given_up.store(true, Ordering::Relaxed);
                self.carry_out_late(later);
                return Err(broken());
            }
            Fate::Held => {
                self.done = true;
                return std::future::pending().await;
            }
            Fate::Stuck(_) => return std::future::pending().await,
            Fate::Error(failure) => {
                self.done = true;
                self.pass(self.way).await;
                return Ok(self.answer(self.link.fails(failure, &self.call)));
            }
            Fate::Well
            | Fate::AnswerLost
            | Fate::Cut
            | Fate::Hangs
            | Fate::ErrorAfter(_)
            | Fate::Partial(_)
            | Fate::Garbled(_)
            | Fate::Empty => {}
        }
        self.done = true;
        let answer = carry_out(
            &self.link,
            &self.call,
            self.writing.as_deref(),
            self.fate,
            false,
        )
        .await;
        if self.fate == Fate::Hangs {
            return std::future::pending().await;
        }
        self.pass(self.way).await;
        match self.fate {
            Fate::AnswerLost | Fate::Cut => Err(broken()),
            Fate::ErrorAfter(failure) => Ok(self.answer(self.link.fails(failure, &self.call))),
            Fate::Garbled(garble) => {
                let spoiled = garble.spoil(answer, self.call.format);
                Ok(self.link.finish(spoiled, self.call.operation))
            }
            _ => Ok(self.answer(answer)),
        }
    }

    async fn pass(&self, time: Duration) {
        if !time.is_zero() {
            self.link.clock.sleep(time).await;
        }
    }

    /// An answer that comes as the server gave it.
    fn answer(&self, answer: Response) -> Response {
        if let Some(writing) = &self.writing {
            let outcome = match wire::results(&answer, self.call.format) {
                Some(results) => Some(wire::outcome(&results)),
                // What is answered with 4xx was refused. A server that failed may have done its work before.
                None => (400..500)
                    .contains(&answer.status().as_u16())
                    .then(|| rejected(&answer)),
            };
            *lock(&writing.said) = outcome;
        }
        self.link.finish(answer, self.call.operation)
    }

    /// Nothing was done, for certain.
    fn was_not_sent(&self) {
        if let Some(writing) = &self.writing {
            let trouble = Trouble::new(TroubleKind::Unavailable, "it was not sent");
            *lock(&writing.said) = Some(Outcome::Rejected(trouble));
        }
    }

    /// Nobody waits any more; what is on its way may arrive all the same.
    fn carry_out_late(&self, later: Duration) {
        let Some(writing) = self.writing.clone() else {
            return;
        };
        let (link, call, fate) = (Arc::clone(&self.link), Arc::clone(&self.call), self.fate);
        // At the end of a run there is nothing left that could carry it out.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            link.clock.sleep(later).await;
            carry_out(&link, &call, Some(&writing), fate, true).await;
        });
    }
}

fn rejected(answer: &Response) -> Outcome {
    Outcome::Rejected(Trouble::new(
        TroubleKind::Unavailable,
        answer.status().as_str(),
    ))
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.done || self.writing.is_none() {
            return;
        }
        let later = match self.fate {
            Fate::Stuck(later) => Some(later),
            // Whoever sent it was killed, or gave up, while it was on its way.
            _ => {
                let mut state = lock(&self.link.state);
                let later = Duration::from_millis(state.rng.between(0, 3000));
                (state.rng.below(2) == 0).then_some(later)
            }
        };
        if let Some(later) = later {
            self.carry_out_late(later);
        }
    }
}

/// Carries a call out, with what befalls it at the server.
async fn carry_out(
    link: &Link,
    call: &Call,
    writing: Option<&Writing>,
    fate: Fate,
    late: bool,
) -> Response {
    match writing {
        Some(writing) => link.put(call, writing, fate, late).await,
        None if fate == Fate::Empty => {
            let rule =
                Rule::always(Operation::GetRecords, Action::EmptyPage).stream(link.stream.as_str());
            link.carry_out(call, vec![rule]).await
        }
        None => link.carry_out(call, Vec::new()).await,
    }
}

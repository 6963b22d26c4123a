//! The simulated network between one client and one stream: delays, loses, breaks and spoils calls,
//! as drawn from the seed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::{
    Entry, Event, Mood, Observer, OutputFaults, ReadFaults, Rng, TestClock, counted,
};
use distributary_local::Local;
use distributary_local::faults::{Action, Entries, Rule};
use distributary_wire::codec::Format;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use distributary_wire::transport::{Response, ResponseBody, Transport};
use http::HeaderValue;
use http::header::DATE;

use super::call::Call;
use super::fate::{self, Code, Failure, Fate};
use super::output::Write;
use super::put_records::{self, EntryResult, Location};
use super::records::SourceRecords;
use crate::run::RunObserver;
use crate::truth::line;

/// Deadline of calls to an embedded Kinesis, which never waits for anything.
const DEADLINE: Duration = Duration::from_secs(3600);
/// A signature that is off by more than this is refused (the limit of AWS).
const SKEW_MILLIS: u64 = 5 * 60_000;

/// The properties of a link that never change.
pub(super) struct LinkSettings {
    /// The name of the service in events.
    pub(super) name: String,
    /// The stream's name.
    pub(super) stream: String,
    /// True for the stream that the fan-out reads.
    pub(super) is_source: bool,
    /// How the server refuses CBOR; `None` if the server accepts CBOR.
    pub(super) cbor_refusal: Option<CborRefusal>,
    /// Every answer has a `Date` header.
    pub(super) dated: bool,
}

/// How a server without CBOR refuses a call in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CborRefusal {
    SerializationException,
    UnknownOperationException,
    UnsupportedMediaType,
}

impl CborRefusal {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(3) {
            0 => Self::SerializationException,
            1 => Self::UnknownOperationException,
            _ => Self::UnsupportedMediaType,
        }
    }

    fn answer(self) -> Response {
        let error = |code| fate::error(Format::Json, &ApiError::new(code, ""));
        match self {
            Self::SerializationException => error(ErrorCode::Serialization),
            Self::UnknownOperationException => error(ErrorCode::UnknownOperation),
            Self::UnsupportedMediaType => Failure::Proxy(415).answer(Format::Json),
        }
    }
}

/// The parts of a run that links share.
#[derive(Clone)]
pub(super) struct LinkContext {
    pub(super) clock: TestClock,
    pub(super) observer: Arc<RunObserver>,
    pub(super) records: Arc<Mutex<SourceRecords>>,
    /// Bytes of answers to reads that are still held in memory.
    pub(super) live: Arc<AtomicUsize>,
}

/// The network to one stream, and the log of everything written to the stream.
pub(super) struct Link {
    pub(super) settings: LinkSettings,
    pub(super) server: Local,
    context: LinkContext,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    reads: ReadFaults,
    writes: OutputFaults,
    mood: Mood,
    /// Numbers of the records that the service refuses for good.
    refused: BTreeSet<usize>,
    /// Writes so far.
    requests: u64,
    /// Records ever written.
    places: usize,
    /// Records that the stream holds.
    stored: Vec<StoredRecord>,
}

/// A record that the stream holds.
#[derive(Clone, Debug)]
pub(super) struct StoredRecord {
    /// The location that the server's answer gave.
    pub(super) location: Location,
    /// The record's number in the source.
    pub(super) record: usize,
    /// The position among all records ever written over this link.
    pub(super) place: usize,
}

impl Link {
    /// A link without faults.
    pub(super) fn new(
        settings: LinkSettings,
        server: &Local,
        rng: Rng,
        context: LinkContext,
    ) -> Arc<Self> {
        let state = State {
            rng,
            reads: ReadFaults::default(),
            writes: OutputFaults::default(),
            mood: Mood::Well,
            refused: BTreeSet::new(),
            requests: 0,
            places: 0,
            stored: Vec::new(),
        };

        Arc::new(Self {
            settings,
            server: server.clone(),
            context,
            state: Mutex::new(state),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn stream(&self) -> &str {
        &self.settings.stream
    }

    pub(super) fn observer(&self) -> &RunObserver {
        &self.context.observer
    }

    pub(super) fn clock(&self) -> &TestClock {
        &self.context.clock
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

    /// The number of a new write; the first is 0.
    pub(super) fn next_request(&self) -> u64 {
        let mut state = lock(&self.state);
        state.requests += 1;
        state.requests - 1
    }

    /// The records that the stream holds, in the order of writing.
    pub(super) fn stored(&self) -> Vec<StoredRecord> {
        lock(&self.state).stored.clone()
    }

    /// Forgets the stream's records, after the stream was deleted.
    pub(super) fn clear(&self) {
        lock(&self.state).stored.clear();
    }

    fn fault(&self, name: &'static str) {
        self.context.observer.on(&Event::Fault(name));
    }

    /// Decides and traces how a call goes and how long each direction takes.
    pub(super) fn start_call(&self, call: &Call) -> (Fate, Duration) {
        let (drawn, latency) = self.draw(call.operation);
        let fate = if drawn == Fate::Well && self.is_skewed(call) {
            Fate::Error(Failure::Code(Code::Skewed))
        } else {
            drawn
        };

        self.trace_call(call, fate, latency);
        if let Some(name) = fate.name() {
            self.fault(name);
        }
        (fate, latency)
    }

    fn draw(&self, operation: Operation) -> (Fate, Duration) {
        let mut state = lock(&self.state);
        let State {
            rng,
            reads,
            writes,
            mood,
            ..
        } = &mut *state;

        let is_source = self.settings.is_source;
        let (low, high) = if is_source {
            reads.latency
        } else {
            writes.latency
        };
        let latency = Duration::from_millis(rng.between(low, high.max(low)));

        let drawn = match operation {
            Operation::PutRecords => Fate::of_write(writes, rng),
            Operation::GetRecords | Operation::GetShardIterator => {
                Fate::of_read(reads, operation, rng)
            }
            _ if is_source => Fate::of_control(reads.control, rng),
            _ => Fate::of_control(writes.rejected + writes.request_lost, rng),
        };

        match *mood {
            Mood::Crawls(time) => (drawn, time / 2),
            mood => (Fate::of_mood(mood).unwrap_or(drawn), latency),
        }
    }

    fn trace_call(&self, call: &Call, fate: Fate, latency: Duration) {
        let millis = u64::try_from(latency.as_millis()).unwrap_or(0);
        let now = self.context.clock.now().0;

        let trace = &mut self.context.observer.truth().trace;
        trace.text(call.operation.name());
        trace.note(millis);
        trace.line(now, |l| {
            _ = write!(l, "{}: {} {fate:?}", self.name(), call.operation);
        });
    }

    /// True if the call's signature has a time that the server refuses.
    fn is_skewed(&self, call: &Call) -> bool {
        let now = self.context.clock.server().0;
        call.signing_time()
            .is_none_or(|at| at.abs_diff(now) > SKEW_MILLIS)
    }

    /// The failure's answer, in a format that the server speaks.
    pub(super) fn failure_answer(&self, failure: Failure, call: &Call) -> Response {
        let format = match self.settings.cbor_refusal {
            Some(_) => Format::Json,
            None => call.format,
        };
        failure.answer(format)
    }

    /// Carries a call out now, under these rules of the embedded Kinesis, and returns the answer.
    pub(super) async fn carry_out(&self, call: &Call, rules: Vec<Rule>) -> Response {
        let refusal = self.settings.cbor_refusal;
        if let Some(refusal) = refusal.filter(|_| call.format == Format::Cbor) {
            self.fault("a server that does not speak CBOR");
            return refusal.answer();
        }

        // The embedded Kinesis answers without waiting, so the rules meet no other call.
        let faults = self.server.faults();
        let rules: Vec<_> = rules
            .into_iter()
            .filter_map(|rule| faults.add(rule).ok())
            .collect();
        let transport = self.server.transport();
        let answer = transport.call(call.to_request(), DEADLINE).await;

        rules.into_iter().for_each(|rule| _ = faults.remove(rule));
        answer.unwrap_or_else(|_| Failure::Proxy(500).answer(call.format))
    }

    /// Carries a write out, logs the written records and reports them to the observer.
    pub(super) async fn put(&self, call: &Call, write: &Write, fate: Fate, late: bool) -> Response {
        let refused = self.refused_places(&write.entries);
        let rules = self.put_rules(write.entries.len(), fate, &refused);
        let answer = self.carry_out(call, rules).await;
        let Some(results) = put_records::results(&answer, call.format) else {
            return answer;
        };

        if !matches!(fate, Fate::Partial(_)) && results.iter().any(is_throttled) {
            self.fault("entries over a shard's rate");
        }
        let places = self.log_results(&results, &write.entries);
        self.context.observer.on(&Event::Applied {
            service: self.name(),
            request: write.request,
            places: &places,
            late,
        });

        if refused.is_empty() {
            answer
        } else {
            put_records::refuse(answer, call.format, &refused)
        }
    }

    /// The places in a request of the records that the service refuses for good.
    fn refused_places(&self, entries: &[Entry]) -> Vec<usize> {
        let state = lock(&self.state);
        let is_refused = |entry: &Entry| state.refused.contains(&record_number(entry));
        let places = entries.iter().enumerate();
        places
            .filter(|(_, entry)| is_refused(entry))
            .map(|(place, _)| place)
            .collect()
    }

    /// The embedded Kinesis's rules that give a write of `count` entries its fate.
    fn put_rules(&self, count: usize, fate: Fate, refused: &[usize]) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut add = |action| rules.push(Rule::always(Operation::PutRecords, action));
        let at = |places: Vec<usize>| Entries {
            places: Some(places),
            ..Entries::default()
        };

        if !refused.is_empty() {
            add(Action::FailEntries(at(refused.to_vec())));
        }
        match fate {
            Fate::Cut => {
                let cut = lock(&self.state).rng.index(count);
                add(Action::FailEntries(at((cut..count).collect())));
            }
            Fate::Partial(per_mille) => add(self.partial_failure(per_mille)),
            _ => {}
        }
        rules
    }

    /// Fails entries with this probability, in thousandths, in one of two ways.
    fn partial_failure(&self, per_mille: u32) -> Action {
        let some = Entries {
            probability: Some(f64::from(per_mille) / 1000.0),
            ..Entries::default()
        };
        match lock(&self.state).rng.below(2) {
            0 => Action::ThrottleEntries(some),
            _ => Action::FailEntries(some),
        }
    }

    /// Logs the written records; returns the place of each entry that was written.
    fn log_results(&self, results: &[EntryResult], entries: &[Entry]) -> Vec<Option<usize>> {
        let mut state = lock(&self.state);
        let mut log = |(result, entry): (&EntryResult, &Entry)| {
            let location = result.as_ref().ok()?.clone();
            let place = state.places;
            state.places += 1;
            state.stored.push(StoredRecord {
                location,
                record: record_number(entry),
                place,
            });
            Some(place)
        };
        results.iter().zip(entries).map(&mut log).collect()
    }

    /// Checks that a request holds the entries that the engine asked for.
    pub(super) fn check_request(&self, call: &Call, write: &Write) {
        let records = lock(&self.context.records);
        let checked = put_records::check_request(call, self.stream(), write, &records);
        drop(records);

        if let Err(problem) = checked {
            let description = format!("{}, request {}: {problem}", self.name(), write.request);
            let mut truth = self.context.observer.truth();
            truth.violate(line::COMPLETE, description);
        }
    }

    /// Adds the date to an answer, and counts the bytes of an answer to a read while they are held.
    pub(super) fn finish(&self, mut answer: Response, operation: Operation) -> Response {
        if self.settings.dated {
            let now = u64::try_from(self.context.clock.server().0).unwrap_or(0);
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
            ResponseBody::Full(body) => ResponseBody::Full(counted(body, &self.context.live)),
            stream @ ResponseBody::Stream(_) => stream,
        };
        Response::from_parts(head, body)
    }

    /// Draws whether and when a request still arrives that was given up on the way.
    pub(super) fn draw_late_arrival(&self) -> Option<Duration> {
        let rng = &mut lock(&self.state).rng;
        let later = Duration::from_millis(rng.between(0, 3000));
        (rng.below(2) == 0).then_some(later)
    }
}

/// The number of an entry's record in the source; `usize::MAX` for an unknown record.
fn record_number(entry: &Entry) -> usize {
    usize::try_from(entry.sequence).unwrap_or(usize::MAX)
}

fn is_throttled(result: &EntryResult) -> bool {
    matches!(result, Err(code) if code.contains("Throughput"))
}

//! One run: the engine, with the parts around it, through a scenario.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::engine::{Change, Engine, EngineError, FanOut, OutputSpec, Status};
use distributary_core::store::OutputId;
use distributary_core::sync::lock;
use distributary_core::testing::{Event, FakeStore, Mood, Observer, OutputFaults, Rng, TestClock};
use tokio::sync::Notify;

use crate::environment::{Environment, LiveBytes};
use crate::fakes::Fakes;
use crate::scenario::{Action, MOST_OUTPUTS, OutputShape, Scenario};
use crate::trace::Trace;
use crate::truth::{Truth, Violation, line};
use crate::whole::WholePath;

/// The status is looked at so often.
const STEP: Duration = Duration::from_millis(500);
/// How long outputs where nothing goes wrong may take to have everything, whatever goes wrong elsewhere.
const PRISTINE_LIMIT: Duration = Duration::from_secs(300);
/// How long an output where nothing goes wrong may stand still in a shard that has something for it, while others are held
/// and reading is well; and as long as that many of the largest answers take, where reading is limited.
const STANDSTILL: Duration = Duration::from_secs(8);
const STANDSTILL_ANSWERS: u32 = 4;
/// How long all may take when everything is well again.
const HEALED_LIMIT: Duration = Duration::from_secs(3600);
/// How long a change to a running engine may take before the process is killed.
const APPLY_LIMIT: Duration = Duration::from_secs(60);
/// A commit that begins while the store is slow is over by then.
const SLOWEST_COMMIT: Duration = Duration::from_secs(10);
/// Tries to start an engine in a row.
const STARTS: u32 = 500;

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// The first line that did not hold.
    pub violation: Option<Violation>,
    /// All that happened, as one number.
    pub hash: u64,
    /// Faults that were played, by kind; crashes and changes included.
    pub faults: BTreeMap<&'static str, u64>,
    /// Records that were written to the source.
    pub records: usize,
    /// Simulated time.
    pub time: Duration,
    /// The last things that happened, if they were asked for.
    pub lines: Vec<String>,
}

/// Plays `scenario`. The same scenario gives the same report. `text`: with lines for people.
///
/// # Panics
/// If no runtime can be made.
#[allow(
    clippy::expect_used,
    reason = "a machine without resources for a runtime can run nothing"
)]
pub fn play(scenario: &Scenario, text: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut run = Run::new(scenario, text);
        run.drive().await;
        run.report()
    })
}

/// Sees what happens at the seams.
pub(crate) struct Eye {
    truth: Mutex<Truth>,
    clock: TestClock,
    /// The process is killed when this comes to zero.
    fuse: AtomicI64,
    crash: Notify,
    /// What holds memory, and how much it may.
    memory: Mutex<Option<Memory>>,
}

struct Memory {
    live: LiveBytes,
    most: usize,
}

impl Eye {
    /// What really happened, by now.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        let mut truth = lock(&self.truth);
        truth.set_now(self.clock.now().0);
        truth
    }

    fn memory(&self) -> Option<(usize, usize)> {
        lock(&self.memory).as_ref().map(|m| ((m.live)(), m.most))
    }
}

impl Observer for Eye {
    fn on(&self, event: &Event<'_>) {
        let memory = self.memory();
        let mut truth = self.truth();
        truth.on(event);
        if let Some((used, most)) = memory
            && used > most
        {
            truth.violate(
                line::BOUNDED,
                format!("{used} bytes are held, and {most} are the most"),
            );
        }
        if self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crash.notify_one();
        }
    }
}

/// One output.
struct Case {
    name: String,
    id: OutputId,
    shape: OutputShape,
    paused: bool,
    removed: bool,
    refused: Vec<u128>,
}

struct Run<'a> {
    scenario: &'a Scenario,
    clock: TestClock,
    eye: Arc<Eye>,
    parts: Box<dyn Environment>,
    store: FakeStore,
    cases: Vec<Case>,
    /// Names of outputs that were removed without trouble.
    free: Vec<OutputId>,
    engine: Option<Engine>,
    up_at: Option<Duration>,
    /// Since when the store and the engine have been well.
    calm_since: Duration,
    store_is_calm: bool,
    /// Retention has deleted something.
    expired: bool,
    /// Since when reading has been well, with the shards and the outputs that there are.
    reads_since: Duration,
    reads_are_calm: bool,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, text: bool) -> Self {
        let rng = Rng::new(scenario.seed);
        let shape = &scenario.shape;
        let clock = TestClock::new(scenario.seed);
        // The whole path counts its records from 0.
        let first = if scenario.whole.is_some() {
            0
        } else {
            shape.stream.first
        };
        let eye = Arc::new(Eye {
            truth: Mutex::new(Truth::new(first, Trace::new(text))),
            clock: clock.clone(),
            fuse: AtomicI64::new(0),
            crash: Notify::new(),
            memory: Mutex::new(None),
        });
        let parts: Box<dyn Environment> = match &scenario.whole {
            None => Box::new(Fakes::new(scenario, &clock, &eye)),
            Some(whole) => Box::new(WholePath::new(scenario, whole, &clock, &eye)),
        };
        let store = FakeStore::new(&clock, rng.fork("store"), eye.clone());
        store.set_faults(shape.store);
        *lock(&eye.memory) = Some(Memory {
            live: parts.live_bytes(),
            most: scenario.most_memory(),
        });
        let mut run = Self {
            scenario,
            clock,
            eye,
            parts,
            store,
            cases: Vec::new(),
            free: Vec::new(),
            engine: None,
            up_at: Some(Duration::ZERO),
            calm_since: Duration::ZERO,
            store_is_calm: true,
            expired: false,
            reads_since: Duration::ZERO,
            reads_are_calm: true,
        };
        for shape in &scenario.shape.outputs {
            run.new_case(shape, None);
        }
        run
    }

    fn now(&self) -> Duration {
        self.clock.now().0
    }

    fn violated(&self) -> bool {
        lock(&self.eye.truth).violation.is_some()
    }

    fn new_case(&mut self, shape: &OutputShape, id: Option<OutputId>) -> usize {
        let name = format!("service-{}", self.cases.len());
        let id = id.unwrap_or_else(|| OutputId::new(&format!("output-{}", self.cases.len())));
        self.parts.add_service(&name, shape);
        self.eye.truth().add_output(&name, &id, shape.order);
        let (paused, removed, shape) = (false, false, shape.clone());
        self.cases.push(Case {
            name,
            id,
            shape,
            paused,
            removed,
            refused: Vec::new(),
        });
        self.cases.len() - 1
    }

    fn spec(&self, case: &Case) -> OutputSpec {
        OutputSpec {
            id: case.id.clone(),
            output: self.parts.output(&case.name, &case.shape),
            order: case.shape.order,
            start: case.shape.start.resolve(self.clock.server()),
            paused: case.paused,
        }
    }

    /// From the first event to the last check.
    async fn drive(&mut self) {
        for (at, action) in &self.scenario.events {
            self.until(*at).await;
            if self.violated() {
                return;
            }
            self.act(action).await;
            self.look();
        }
        if !self.violated() {
            self.come_to_an_end().await;
        }
    }

    /// Lets time pass until `at`.
    async fn until(&mut self, at: Duration) {
        loop {
            if self.up_at.is_some_and(|up| up <= self.now())
                && (at > Duration::ZERO || self.now() > at)
            {
                self.up_at = None;
                self.start().await;
            }
            if self.now() >= at || self.violated() {
                return;
            }
            let next = at.min(self.now() + STEP).min(self.up_at.unwrap_or(at));
            let wait = next.saturating_sub(self.now());
            let crashed = {
                let crash = self.eye.crash.notified();
                tokio::select! {
                    biased;
                    () = crash => true,
                    () = self.clock.sleep(wait) => false,
                }
            };
            if crashed {
                self.kill(Duration::ZERO);
            } else {
                self.look();
            }
        }
    }

    /// `work`, unless the process is killed meanwhile.
    async fn or_crash<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let clock = self.clock.clock();
        tokio::select! {
            biased;
            () = self.eye.crash.notified() => None,
            done = clock.timeout(APPLY_LIMIT, work) => done,
        }
    }

    async fn start(&mut self) {
        let settings = &self.scenario.shape.settings;
        for _ in 0..STARTS {
            // What is left of the process before is gone by then.
            self.clock.sleep(Duration::from_millis(1)).await;
            let outputs = self
                .cases
                .iter()
                .filter(|c| !c.removed)
                .map(|c| self.spec(c))
                .collect();
            self.eye.truth().engine_starts();
            let fan_out = FanOut {
                name: "sim".to_owned(),
                source: self.parts.source(),
                outputs,
                store: Arc::new(self.store.clone()),
                clock: self.clock.clock(),
                settings: settings.clone(),
            };
            let started = tokio::select! {
                biased;
                () = self.eye.crash.notified() => None,
                started = Engine::start(fan_out) => Some(started),
            };
            match started {
                Some(Ok(engine)) => {
                    self.engine = Some(engine);
                    self.calm_since = self.calm_since.max(self.now());
                    self.reads_since = self.reads_since.max(self.now());
                    return;
                }
                // The disk is full, the source is away: whoever runs it starts it again.
                Some(Err(EngineError::Store { .. } | EngineError::Source { .. })) => {
                    self.eye.truth().engine_ended();
                    self.clock.sleep(Duration::from_secs(1)).await;
                }
                Some(Err(error)) => {
                    return self
                        .eye
                        .truth()
                        .violate(line::ENGINE, format!("it does not start: {error}"));
                }
                None => self.eye.truth().engine_ended(),
            }
        }
        self.eye
            .truth()
            .violate(line::ENGINE, "it does not start, again and again");
    }

    /// The process is killed. What it said last was said.
    fn kill(&mut self, down: Duration) {
        self.look();
        self.eye.fuse.store(0, Ordering::Relaxed);
        if let Some(engine) = self.engine.take() {
            drop(engine);
            let mut truth = self.eye.truth();
            truth.engine_ended();
            *truth.faults.entry("a crash").or_default() += 1;
        }
        self.up_at = Some(self.now() + down);
    }

    /// What the engine says must be true, too.
    fn look(&mut self) {
        let Some(engine) = &self.engine else { return };
        let status = engine.status();
        if let Some(error) = ended(engine) {
            self.eye
                .truth()
                .violate(line::ENGINE, format!("it ended: {error}"));
        }
        self.judge(&status, false);
        self.judge_standstill();
    }

    /// Whatever goes wrong at others, an output where nothing does goes on.
    fn judge_standstill(&self) {
        let shape = &self.scenario.shape;
        let answer = shape
            .stream
            .limits
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(shape.stream.answer_bytes as f64 / rate as f64)
            });
        let limit = STANDSTILL + shape.settings.grouping_patience + answer * STANDSTILL_ANSWERS;
        let well = self
            .now()
            .saturating_sub(self.reads_since.max(self.calm_since));
        // On the whole path the network is never well.
        if !self.reads_are_calm || !self.roomy() || well < limit || self.scenario.whole.is_some() {
            return;
        }
        let (before, since) = (self.clock.server().minus(limit), self.now() - limit);
        for case in self
            .cases
            .iter()
            .filter(|c| c.shape.pristine && !c.paused && !c.removed)
        {
            let mut truth = self.eye.truth();
            if let Some(n) = truth.stalled(&case.name, before, since) {
                let status = self.engine.as_ref().map(|e| format!("{:?}", e.status()));
                truth
                    .trace
                    .line(self.now(), |l| l.push_str(&status.unwrap_or_default()));
                let text = format!("{} stands still for {limit:?} before record {n}", case.name);
                truth.violate(line::ISOLATION, text);
            }
        }
    }

    /// The budget has room for several reads: a request in flight holds its memory, so that where there is room for one
    /// or two only, others' deadlines have to be waited for.
    fn roomy(&self) -> bool {
        let shape = &self.scenario.shape;
        shape.settings.memory_budget >= 5 * self.scenario.largest_read(3)
    }

    fn judge(&self, status: &Status, quiet: bool) {
        let memory = self.eye.memory();
        let mut truth = self.eye.truth();
        truth.trace.note(status.memory.used as u64);
        for gap in &status.source.recent_gaps {
            gap.outputs
                .iter()
                .for_each(|output| truth.gap(&gap.shard, output));
        }
        if let Some((_, most)) = memory
            && status.memory.peak > most
        {
            let text = format!(
                "{} bytes were reserved, and {most} are the most",
                status.memory.peak
            );
            truth.violate(line::BOUNDED, text);
        }
        for output in &status.outputs {
            let Some(case) = self.cases.iter().find(|c| c.id == output.id && !c.removed) else {
                continue;
            };
            let counts = &output.counts;
            truth
                .trace
                .note(counts.durable ^ counts.read << 20 ^ counts.requests << 40);
            if !counts.balanced() || output.lanes.iter().any(|l| !l.counts.balanced()) {
                truth.violate(
                    line::SILENT,
                    format!("{}: the books are not balanced: {counts:?}", case.name),
                );
            }
            let Some(seen) = truth.counted(&case.name) else {
                continue;
            };
            let right = counts.durable <= seen.acked && counts.repeats <= seen.resent;
            // A record is counted as read once, whatever becomes of it.
            let records = truth.record_count() as u64;
            if !right || counts.read > records {
                let text = format!(
                    "{}: counted {counts:?}, seen {seen:?} of {records} records",
                    case.name
                );
                truth.violate(line::SILENT, text);
                continue;
            }
            // What is acknowledged beyond a gap is not durable: what stood before it is gone.
            let same =
                counts.durable == seen.acked || (counts.durable < seen.acked && self.expired);
            let repeats = self.expired || counts.repeats >= seen.rewritten;
            if quiet && (!same || counts.in_flight > 0 || !repeats) {
                let text = format!(
                    "{}: in the end counted {counts:?}, seen {seen:?}",
                    case.name
                );
                truth.violate(line::SILENT, text);
            }
        }
        let settings = &self.scenario.shape.settings;
        let slack = settings.checkpoint_interval * 3 + Duration::from_secs(1);
        if self.store_is_calm
            && self.now() > self.calm_since + slack * 3
            && let Some((service, n)) = truth.late_for_checkpoint(slack)
        {
            let text = format!(
                "{service}: record {n} has been acknowledged for {slack:?} and is under no checkpoint"
            );
            truth.violate(line::CRASH, text);
        }
    }

    async fn act(&mut self, action: &Action) {
        self.eye.truth().trace.text(&format!("{action:?}"));
        let now = self.now();
        self.eye
            .truth()
            .trace
            .line(now, |l| _ = write!(l, "{action:?}"));
        let happens = match action {
            Action::Put { .. } => None,
            Action::Split(_) | Action::Merge(_) => Some("a reshard"),
            Action::Jump(_) => Some("a clock jump"),
            Action::Pause(_)
            | Action::Resume(_)
            | Action::Update(..)
            | Action::Add(..)
            | Action::Remove(_) => Some("a live change"),
            Action::Restart(_) => Some("a restart"),
            Action::Expire(_) => Some("retention deletes"),
            _ => Some("something gets worse, or better"),
        };
        if let Some(name) = happens {
            *self.eye.truth().faults.entry(name).or_default() += 1;
        }
        match action {
            Action::Put { count, seed } => self.parts.put(*count, *seed).await,
            Action::Split(i) => {
                self.parts.split(*i).await;
                self.reshaped();
            }
            Action::Merge(i) => {
                self.parts.merge(*i).await;
                self.reshaped();
            }
            Action::Reads(faults) => {
                self.parts.set_reads(*faults);
                self.reads_are_calm = *faults == self.scenario.shape.calm;
                self.reads_since = self.now() + self.scenario.shape.settings.read_deadline;
            }
            Action::Store(faults) => {
                self.store.set_faults(*faults);
                self.store_is_calm = *faults == self.scenario.shape.store;
                self.calm_since = self.now() + SLOWEST_COMMIT;
            }
            Action::Jump(millis) => self.clock.jump(*millis),
            Action::Crash(down) => self.kill(Duration::from_millis(*down)),
            Action::CrashAfter(n) => {
                if self.engine.is_some() {
                    self.eye
                        .fuse
                        .store(i64::try_from(*n).unwrap_or(1), Ordering::Relaxed);
                }
            }
            Action::Restart(limit) => self.restart(Duration::from_millis(*limit)).await,
            Action::Expire(age) => {
                self.expired |= self.parts.expire(Duration::from_millis(*age)).await;
                // A shard that is gone may be gone from the map before its children are in it.
                self.reshaped();
            }
            Action::Add(shape, reuse) => self.add(shape, *reuse).await,
            Action::Faults(i, _)
            | Action::Mood(i, _)
            | Action::Reshard(i, _)
            | Action::Refuse(i)
            | Action::Pause(i)
            | Action::Resume(i)
            | Action::Update(i, _)
            | Action::Remove(i) => self.act_on(*i, action).await,
        }
    }

    fn reshaped(&mut self) {
        let settings = &self.scenario.shape.settings;
        self.reads_since = self.now() + settings.map_refresh + self.scenario.shape.stream.map_lag;
    }

    /// What happens to one output.
    async fn act_on(&mut self, i: usize, action: &Action) {
        let Some(case) = self.cases.get_mut(i).filter(|c| !c.removed) else {
            return;
        };
        let pristine = case.shape.pristine;
        match action {
            Action::Faults(_, faults) if !pristine => self.parts.set_faults(&case.name, *faults),
            Action::Mood(_, mood) if !pristine => self.parts.set_mood(&case.name, *mood).await,
            Action::Reshard(_, shards) => self.parts.reshard(&case.name, *shards).await,
            Action::Refuse(_) if !pristine => {
                let rng = &mut Rng::new(self.scenario.seed ^ 0x5eed);
                let open = lock(&self.eye.truth).pick_lacking(&case.name, |n| rng.index(n));
                if let Some(number) = open {
                    self.parts.refuse(&case.name, number, true);
                    case.refused.push(number);
                }
            }
            Action::Pause(_) if self.engine.is_some() => self.pause(i, true).await,
            Action::Resume(_) if self.engine.is_some() => self.pause(i, false).await,
            Action::Update(_, new) if self.engine.is_some() && !pristine => {
                let OutputShape {
                    order,
                    limits,
                    encoding,
                    ..
                } = **new;
                case.shape = OutputShape {
                    order,
                    limits,
                    encoding,
                    ..case.shape.clone()
                };
                case.paused = false;
                let name = case.name.clone();
                let spec = self.spec(&self.cases[i]);
                self.eye.truth().set_paused(&name, false);
                self.eye.truth().update_output(&name, order);
                self.apply(Change::Update(spec)).await;
            }
            Action::Remove(_) if self.engine.is_some() => {
                let (name, id) = (case.name.clone(), case.id.clone());
                let done = self.apply(Change::Remove(id.clone())).await;
                self.cases[i].removed = true;
                self.eye.truth().remove_output(&name);
                if done {
                    self.free.push(id);
                }
            }
            _ => {}
        }
    }

    async fn pause(&mut self, i: usize, paused: bool) {
        let case = &mut self.cases[i];
        case.paused = paused;
        let (id, name) = (case.id.clone(), case.name.clone());
        if paused {
            self.apply(Change::Pause(id)).await;
            self.eye.truth().set_paused(&name, true);
        } else {
            self.eye.truth().set_paused(&name, false);
            self.apply(Change::Resume(id)).await;
            self.reads_since = self.reads_since.max(self.now());
        }
    }

    async fn add(&mut self, shape: &OutputShape, reuse: bool) {
        if self.engine.is_none() || self.cases.len() >= MOST_OUTPUTS {
            return;
        }
        let id = if reuse { self.free.pop() } else { None };
        let i = self.new_case(shape, id);
        let spec = self.spec(&self.cases[i]);
        let added = self.apply(Change::Add(spec)).await;
        self.reads_since = self.reads_since.max(self.now());
        if !added && self.engine.is_some() {
            // It said no; and the configuration has it no more.
            self.cases[i].removed = true;
            let name = self.cases[i].name.clone();
            self.eye.truth().remove_output(&name);
        }
    }

    /// True if the engine did it. It may be killed on the way.
    async fn apply(&mut self, change: Change) -> bool {
        let Some(engine) = &self.engine else {
            return false;
        };
        let done = self.or_crash(engine.apply(change)).await;
        match done {
            Some(Ok(())) => true,
            Some(Err(EngineError::Store { .. } | EngineError::Source { .. })) => false,
            Some(Err(error)) => {
                self.eye
                    .truth()
                    .violate(line::LIVE, format!("a change was refused: {error}"));
                false
            }
            None => {
                self.kill(Duration::ZERO);
                false
            }
        }
    }

    async fn restart(&mut self, limit: Duration) {
        let Some(engine) = self.engine.take() else {
            return;
        };
        self.eye.fuse.store(0, Ordering::Relaxed);
        let ended = self
            .clock
            .clock()
            .timeout(limit + HEALED_LIMIT, engine.shutdown(limit))
            .await;
        match ended {
            Some(Ok(status)) => {
                self.judge(&status, false);
                let mut truth = self.eye.truth();
                if let Some((service, n)) = truth.late_for_checkpoint(Duration::ZERO) {
                    truth.violate(
                        line::CRASH,
                        format!("{service}: record {n} is under no checkpoint after the end"),
                    );
                }
            }
            Some(Err(EngineError::Store { .. })) => {}
            Some(Err(error)) => self
                .eye
                .truth()
                .violate(line::ENGINE, format!("it does not end: {error}")),
            None => self.eye.truth().violate(line::ENGINE, "it does not end"),
        }
        self.eye.truth().engine_ended();
        self.up_at = Some(self.now());
    }

    /// Everything becomes well, step by step, and what should be there must be there.
    async fn come_to_an_end(&mut self) {
        let shape = &self.scenario.shape;
        self.eye.fuse.store(0, Ordering::Relaxed);
        self.parts.set_reads(shape.calm);
        self.store.set_faults(shape.store);
        (self.store_is_calm, self.calm_since) = (true, self.now() + SLOWEST_COMMIT);
        self.until(self.now() + Duration::from_millis(20_000)).await;
        // Those at which nothing ever went wrong have all, whatever the others do.
        let limit = if self.roomy() {
            PRISTINE_LIMIT
        } else {
            HEALED_LIMIT
        };
        self.wait_for(limit, line::ISOLATION, |case| {
            case.shape.pristine && !case.paused
        })
        .await;
        for i in 0..self.cases.len() {
            let case = &mut self.cases[i];
            let latency = case.shape.faults.latency;
            self.parts.set_mood(&case.name, Mood::Well).await;
            self.parts.set_faults(
                &case.name,
                OutputFaults {
                    latency,
                    ..OutputFaults::default()
                },
            );
            for number in case.refused.drain(..) {
                self.parts.refuse(&case.name, number, false);
            }
            if !case.removed {
                self.pause(i, false).await;
            }
        }
        self.wait_for(HEALED_LIMIT, line::COMPLETE, |case| !case.removed)
            .await;
        if self.violated() {
            return;
        }
        self.become_quiet().await;
        self.restart(Duration::from_secs(60)).await;
        self.until(self.now() + Duration::from_millis(2)).await;
        if !self.violated()
            && let Some(engine) = &self.engine
        {
            let caught_up = self
                .clock
                .clock()
                .timeout(PRISTINE_LIMIT, engine.caught_up())
                .await;
            if !matches!(caught_up, Some(Ok(()))) {
                let text = format!("everything is there, and it does not say so: {caught_up:?}");
                let now = self.now();
                let status = format!("{:?}", engine.status());
                self.eye.truth().trace.line(now, |l| l.push_str(&status));
                self.eye.truth().violate(line::COMPLETE, text);
            }
            self.look();
        }
        self.eye.truth().check_end();
        let services: Vec<String> = self
            .cases
            .iter()
            .filter(|c| !c.removed)
            .map(|c| c.name.clone())
            .collect();
        self.parts.check_end(&services).await;
    }

    /// Waits until nothing is in flight: what retention took meanwhile may still be.
    async fn become_quiet(&mut self) {
        let until = self.now() + HEALED_LIMIT;
        loop {
            self.until(self.now() + STEP).await;
            let Some(status) = self.engine.as_ref().map(Engine::status) else {
                return;
            };
            let quiet = status.outputs.iter().all(|o| o.counts.in_flight == 0);
            if quiet || self.now() >= until || self.violated() {
                return self.judge(&status, true);
            }
        }
    }

    /// Waits until the chosen outputs have all that they should, at most `limit`.
    async fn wait_for(
        &mut self,
        limit: Duration,
        line: &'static str,
        chosen: impl Fn(&Case) -> bool,
    ) {
        let until = self.now() + limit;
        loop {
            if self.violated() {
                return;
            }
            let missing = self
                .cases
                .iter()
                .filter(|c| !c.removed && chosen(c))
                .find_map(|case| {
                    let n = lock(&self.eye.truth).missing(&case.name)?;
                    Some((case.name.clone(), n))
                });
            let Some((name, n)) = missing else { return };
            if self.now() >= until {
                let status = self.engine.as_ref().map(|e| format!("{:?}", e.status()));
                let mut truth = self.eye.truth();
                truth
                    .trace
                    .line(until, |l| l.push_str(&status.unwrap_or_default()));
                return truth.violate(
                    line,
                    format!("{name} does not have record {n} after {limit:?}"),
                );
            }
            self.until(self.now() + STEP).await;
        }
    }

    fn report(self) -> Report {
        drop(self.engine);
        // The parts and the eye hold each other.
        lock(&self.eye.memory).take();
        let truth = lock(&self.eye.truth);
        Report {
            violation: truth.violation.clone(),
            hash: truth.trace.hash(),
            faults: truth.faults.clone(),
            records: truth.record_count(),
            time: self.clock.now().0,
            lines: truth.trace.lines(),
        }
    }
}

/// Why the engine can't go on, if it said so.
fn ended(engine: &Engine) -> Option<EngineError> {
    let ended = std::pin::pin!(engine.ended());
    match ended.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(error) => Some(error),
        std::task::Poll::Pending => None,
    }
}

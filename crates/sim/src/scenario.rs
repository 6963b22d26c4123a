//! What a seed stands for: a stream, outputs, settings, and what happens to them when. Plain data, so that a run can be
//! played again with parts left out.

use std::num::NonZeroUsize;
use std::time::Duration;

use distributary_core::engine::{Order, Settings, Start};
use distributary_core::output::{RequestLimits, TroubleKind};
use distributary_core::source::ReadLimits;
use distributary_core::testing::{
    Mood, OutputFaults, READ_LIMITS, Rate, ReadFaults, Rng, ServiceSettings, StoreFaults,
    StreamSettings,
};

mod whole;

pub use whole::WholeShape;
use whole::encoded_bound;

/// Bytes that a record takes in an answer besides its data and key, at most: sequence number and index.
const RECORD_OVERHEAD: usize = 128;

/// Outputs in a run.
pub(crate) const MOST_OUTPUTS: usize = 8;

/// What is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The engine, over fakes of its seams.
    #[default]
    Engine,
    /// The engine, the Kinesis client and an embedded Kinesis, with a faulty network between the last two.
    WholePath,
}

/// One seed's run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// What there is from the beginning.
    pub shape: Shape,
    /// What happens, by time since the beginning; in order.
    pub events: Vec<(Duration, Action)>,
    /// What the whole path has besides; `None`: only the engine is simulated.
    pub whole: Option<WholeShape>,
}

/// What does not change in a run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The source.
    pub stream: StreamSettings,
    /// How reading it goes while nothing is out of order.
    pub calm: ReadFaults,
    /// The outputs there are from the beginning.
    pub outputs: Vec<OutputShape>,
    /// The partition keys.
    pub keys: Keys,
    /// The sizes of records.
    pub sizes: Sizes,
    /// The engine's.
    pub settings: Settings,
    /// How the store goes while nothing is out of order.
    pub store: StoreFaults,
}

/// One output.
#[derive(Clone, Debug)]
pub struct OutputShape {
    /// Order per key.
    pub order: Order,
    /// Where it begins.
    pub start: Begin,
    /// Limits of its requests.
    pub limits: RequestLimits,
    /// Which way of encoding it has; the same number is the same way.
    pub encoding: u8,
    /// Requests of one lane that may be in flight together.
    pub in_flight: NonZeroUsize,
    /// The service behind it.
    pub service: Service,
    /// How it goes wrong from the beginning.
    pub faults: OutputFaults,
    /// Nothing ever goes wrong at this one, nor is it slow: it must not notice what goes wrong elsewhere.
    pub pristine: bool,
}

/// What a service is like.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its shards.
    pub shards: usize,
    /// What each of them takes in a second.
    pub rate: Option<Rate>,
}

impl Service {
    /// As the fake takes it.
    pub fn settings(self, name: &str) -> ServiceSettings {
        ServiceSettings {
            name: name.to_owned(),
            shards: self.shards,
            rate: self.rate,
        }
    }
}

/// Where an output begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At the oldest record.
    TrimHorizon,
    /// Now.
    Latest,
    /// So many milliseconds before now.
    Ago(u64),
}

impl Begin {
    /// As the engine takes it, by the server's clock.
    pub fn resolve(self, now: distributary_core::clock::Millis) -> Start {
        match self {
            Self::TrimHorizon => Start::TrimHorizon,
            Self::Latest => Start::Latest,
            Self::Ago(millis) => Start::At(now.minus(Duration::from_millis(millis))),
        }
    }
}

/// How keys are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// How many there are.
    pub count: u64,
    /// How much more often the first are drawn.
    pub skew: Skew,
    /// Records without a key, of a thousand.
    pub none: u32,
}

/// How much more often some keys are drawn than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// All alike.
    Uniform,
    /// The nth has an nth of the first's share.
    Zipf,
    /// A third of all records have the first.
    Hot,
}

impl Keys {
    /// One record's key.
    pub fn draw(&self, rng: &mut Rng) -> Option<String> {
        if rng.per_mille(self.none) {
            return None;
        }
        let n = match self.skew {
            Skew::Uniform => rng.below(self.count),
            Skew::Hot if rng.below(3) == 0 => 0,
            Skew::Hot => rng.below(self.count),
            Skew::Zipf => {
                // The inverse of the harmonic sum, about: a power of the count between 0 and 1.
                let fraction = rng.below(1 << 20) as f64 / f64::from(1u32 << 20);
                ((self.count as f64).powf(fraction) as u64)
                    .saturating_sub(1)
                    .min(self.count - 1)
            }
        };
        Some(format!("key-{n}"))
    }
}

/// How sizes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Most records are at most so large.
    pub usual: u64,
    /// A few are as large as this.
    pub largest: u64,
}

impl Sizes {
    /// One record's data; what it holds says which it is.
    pub fn draw(&self, rng: &mut Rng) -> Vec<u8> {
        let size = match rng.below(100) {
            0..5 => 0,
            5 => self.largest,
            _ => rng.below(self.usual + 1),
        };
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        for part in data.chunks_mut(256) {
            let bits = rng.bits().to_le_bytes();
            let n = part.len().min(8);
            part[..n].copy_from_slice(&bits[..n]);
        }
        data
    }
}

/// Something that happens. Outputs are counted as they come, shards by their place among the open ones; what does not
/// fit is passed over.
#[derive(Clone, Debug)]
pub enum Action {
    /// Records are written to the source.
    Put {
        /// How many.
        count: u64,
        /// What they are.
        seed: u64,
    },
    /// A shard of the source is split.
    Split(usize),
    /// Two neighbours are merged.
    Merge(usize),
    /// Reading gets worse, or better again.
    Reads(ReadFaults),
    /// The store gets worse, or better again.
    Store(StoreFaults),
    /// An output gets worse, or better again.
    Faults(usize, OutputFaults),
    /// An output is held, deleted, slow, or well again.
    Mood(usize, Mood),
    /// An output has so many shards.
    Reshard(usize, usize),
    /// An output will never take one of the records that it does not have yet.
    Refuse(usize),
    /// The program's clock jumps, in milliseconds.
    Jump(i64),
    /// The process is killed, and started again so many milliseconds later.
    Crash(u64),
    /// The process is killed just after so many more things have happened at the seams, and started again at once.
    CrashAfter(u64),
    /// The process ends in order, with so much time to drain, and is started again at once.
    Restart(u64),
    /// An output is paused.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// An output gets other settings.
    Update(usize, Box<OutputShape>),
    /// An output is added; where so, under the name of one that was removed.
    Add(Box<OutputShape>, bool),
    /// An output is removed.
    Remove(usize),
    /// Retention deletes what is older than so many milliseconds.
    Expire(u64),
}

impl Scenario {
    /// What `seed` stands for.
    pub fn draw(level: Level, seed: u64) -> Self {
        let rng = Rng::new(seed);
        let mut shape = Shape::draw(&mut rng.fork("shape"));
        let mut events = events(&shape, &mut rng.fork("events"));
        if level == Level::Engine {
            draw_kinds(&mut shape, &mut events, &mut rng.fork("kinds"));
        }
        let scenario = Self {
            seed,
            shape,
            events,
            whole: None,
        };
        match level {
            Level::Engine => scenario,
            Level::WholePath => scenario.make_whole(&mut rng.fork("whole")),
        }
    }

    /// The most memory that may ever be held: three quarters of the budget and one are granted for themselves; one request
    /// always is.
    pub fn most_memory(&self) -> usize {
        let shape = &self.shape;
        let budget = shape.settings.memory_budget;
        let (encodings, one): (usize, fn(usize, usize) -> usize) = match &self.whole {
            None => (3, |entries, bytes| bytes + entries * 16),
            Some(_) => (MOST_OUTPUTS, encoded_bound),
        };
        let read = (budget - budget / 4).max(self.largest_read(encodings));
        let own = shape
            .outputs
            .iter()
            .map(|o| one(o.limits.entries, o.limits.bytes))
            .max()
            .unwrap_or(0);
        let own = own.max(usize::try_from(shape.sizes.largest).unwrap_or(0) + 1024) * 2;
        read + own.max(budget / 4)
    }

    /// The most that one reservation for a read can be, with so many ways of encoding.
    pub fn largest_read(&self, encodings: usize) -> usize {
        let ReadLimits {
            answer_records: read_limit,
            answer_bytes: largest_answer,
            ..
        } = self.shape.stream.limits;
        match &self.whole {
            None => largest_answer * (1 + encodings) + read_limit as usize * 16 * encodings,
            Some(_) => {
                largest_answer + encodings * encoded_bound(read_limit as usize, largest_answer)
            }
        }
    }
}

/// Nothing wrong, but not instant.
fn calm_reads(rng: &mut Rng) -> ReadFaults {
    let high = *rng.pick(&[0, 3, 20, 90]);
    ReadFaults {
        latency: (0, high),
        ..ReadFaults::default()
    }
}

impl Shape {
    fn draw(rng: &mut Rng) -> Self {
        let sizes = *rng.pick(&[
            Sizes {
                usual: 40,
                largest: 200,
            },
            Sizes {
                usual: 40,
                largest: 4_000,
            },
            Sizes {
                usual: 3_000,
                largest: 16_000,
            },
            Sizes {
                usual: 3_000,
                largest: 16_000,
            },
            Sizes {
                usual: 12_000,
                largest: 100_000,
            },
            Sizes {
                usual: 200,
                largest: 1 << 20,
            },
        ]);
        let largest = usize::try_from(sizes.largest).unwrap_or(0) + 8;
        let mut stream = StreamSettings {
            shards: 1 + rng.index(4),
            // The number of digits changes on the way.
            first: 10u128.pow(3 + u32::try_from(rng.below(30)).unwrap_or(0))
                - u128::from(rng.below(400))
                - 1,
            answer_bytes: largest.max(*rng.pick(&[4_000, 16_000, 100_000])),
            date_millis: *rng.pick(&[1, 1000]),
            names_children: rng.below(4) > 0,
            map_lag: Duration::from_millis(*rng.pick(&[0, 0, 300, 4000])),
            retention: Duration::from_secs(86_400),
            limits: READ_LIMITS,
        };
        let count = 1 + rng.index(4);
        let some_pristine = rng.below(2) == 0;
        let outputs = (0..count)
            .map(|i| OutputShape::draw(rng, &sizes, i == 0 && some_pristine))
            .collect();
        let keys = Keys {
            count: *rng.pick(&[1, 3, 20, 300]),
            skew: *rng.pick(&[Skew::Uniform, Skew::Zipf, Skew::Hot]),
            none: *rng.pick(&[0, 0, 0, 100]),
        };
        let settings = settings(rng, &mut stream);
        let store = StoreFaults {
            latency: (0, *rng.pick(&[0, 5, 60])),
            ..StoreFaults::default()
        };
        Self {
            calm: calm_reads(rng),
            stream,
            outputs,
            keys,
            sizes,
            settings,
            store,
        }
    }
}

fn settings(rng: &mut Rng, stream: &mut StreamSettings) -> Settings {
    let read_limit = *rng.pick(&[20u32, 100, 500]);
    let largest_answer = stream.answer_bytes + read_limit as usize * RECORD_OVERHEAD;
    // From just enough for one read with three ways of encoding to far more than there is.
    let one = largest_answer * 4 + read_limit as usize * 48;
    let memory_budget = one * 4 / 3 * *rng.pick(&[1, 1, 2, 5, 40]) + 4096;
    let millis = |rng: &mut Rng, choices: &[u64]| Duration::from_millis(*rng.pick(choices));
    let checkpoint_interval = millis(rng, &[50, 400, 1000, 5000]);
    let request_deadline = millis(rng, &[1000, 5000, 30_000]);
    let read_deadline = millis(rng, &[1000, 10_000]);
    let backoff_base = millis(rng, &[10, 100]);
    let backoff_cap = millis(rng, &[500, 5000]);
    let slow_backoff_cap = millis(rng, &[1000, 10_000]);
    let interval = millis(rng, &[20, 200]);
    stream.limits = ReadLimits {
        per: interval * READ_LIMITS.calls.get(),
        bytes_per_second: *rng.pick(&[None, Some(200_000), Some(2 << 20)]),
        answer_records: read_limit,
        answer_bytes: largest_answer,
        ..READ_LIMITS
    };

    Settings {
        memory_budget,
        checkpoint_interval,
        request_deadline,
        read_deadline,
        backoff_base,
        backoff_cap,
        slow_backoff_cap,
        idle_poll: millis(rng, &[200, 1000]),
        read_target: *rng.pick(&[8 << 10, 64 << 10, 1 << 20]),
        read_ahead: *rng.pick(&[1, 2, 4]),
        catch_up_readers: *rng.pick(&[1, 2]),
        grouping_patience: millis(rng, &[0, 500, 5000]),
        map_refresh: millis(rng, &[2000, 20_000]),
        store_patience: Duration::from_secs(3600),
        source_patience: Duration::from_secs(3600),
        start_attempts: 50,
        ..Settings::default()
    }
}

impl OutputShape {
    fn draw(rng: &mut Rng, sizes: &Sizes, pristine: bool) -> Self {
        let largest = usize::try_from(sizes.largest).unwrap_or(0) + 8;
        let encoding = u8::try_from(rng.below(3)).unwrap_or(0);
        // What encodes alike has the same limits.
        let (entries, bytes) = [(7, 5_000), (50, 100_000), (500, 20_000)][usize::from(encoding)];
        let rate = if pristine || rng.below(3) > 0 {
            None
        } else {
            Some(Rate {
                records: *rng.pick(&[20, 100]),
                bytes: *rng.pick(&[50_000, 1 << 20]),
            })
        };
        Self {
            order: *rng.pick(&[
                Order::Resend,
                Order::Resend,
                Order::Strict,
                Order::Unordered,
            ]),
            start: *rng.pick(&[
                Begin::TrimHorizon,
                Begin::TrimHorizon,
                Begin::Latest,
                Begin::Ago(2000),
            ]),
            limits: RequestLimits {
                entries,
                bytes: largest.max(bytes),
            },
            encoding,
            in_flight: NonZeroUsize::MIN,
            service: Service {
                shards: 1 + rng.index(3),
                rate,
            },
            faults: if pristine || rng.below(3) == 0 {
                calm_output(rng)
            } else {
                bad_output(rng)
            },
            pristine,
        }
    }
}

/// Makes some outputs of another kind than a stream. Draws of its own change nothing of the other draws.
fn draw_kinds(shape: &mut Shape, events: &mut [(Duration, Action)], rng: &mut Rng) {
    let added = events.iter_mut().filter_map(|(_, action)| match action {
        Action::Add(output, _) => Some(&mut **output),
        _ => None,
    });
    for output in shape.outputs.iter_mut().chain(added) {
        let in_flight = NonZeroUsize::new(1 + rng.index(8));
        if let Some(in_flight) = in_flight.filter(|_| rng.below(2) == 0) {
            output.in_flight = in_flight;
        }
    }
}

fn calm_output(rng: &mut Rng) -> OutputFaults {
    OutputFaults {
        latency: (0, *rng.pick(&[0, 5, 30])),
        ..OutputFaults::default()
    }
}

fn bad_output(rng: &mut Rng) -> OutputFaults {
    let mut some = |n: u32| {
        if rng.below(2) == 0 {
            0
        } else {
            u32::try_from(rng.below(u64::from(n))).unwrap_or(0)
        }
    };
    let (rejected, partial, answer_lost, cut) = (some(200), some(600), some(150), some(150));
    let (request_lost, late, hangs, stuck, garbled) =
        (some(150), some(100), some(60), some(30), some(60));
    let holds = some(400);
    OutputFaults {
        rejected,
        partial,
        answer_lost,
        cut,
        request_lost,
        late,
        hangs,
        stuck,
        garbled,
        holds,
        ..calm_output(rng)
    }
}

fn bad_reads(rng: &mut Rng) -> ReadFaults {
    let mut some = |n: u32| u32::try_from(rng.below(u64::from(n))).unwrap_or(0);
    let (throttled, unavailable, hang, short, empty) =
        (some(300), some(200), some(60), some(400), some(300));
    let control = some(400);
    ReadFaults {
        throttled,
        unavailable,
        hang,
        short,
        empty,
        control,
        ..calm_reads(rng)
    }
}

fn bad_store(rng: &mut Rng) -> StoreFaults {
    *rng.pick(&[
        StoreFaults {
            latency: (500, 4000),
            ..StoreFaults::default()
        },
        StoreFaults {
            fail: 700,
            ..StoreFaults::default()
        },
        StoreFaults {
            fail_after: 700,
            latency: (0, 100),
            ..StoreFaults::default()
        },
    ])
}

/// What happens, in order.
fn events(shape: &Shape, rng: &mut Rng) -> Vec<(Duration, Action)> {
    let span = *rng.pick(&[8_000, 20_000, 45_000]);
    let mut events = Vec::new();
    let mut add = |at: u64, action| events.push((Duration::from_millis(at), action));
    // As many records as make about so many bytes, at most.
    let most = 1_500_000 / (shape.sizes.usual / 2 + shape.sizes.largest / 100 + 1);
    let records = most.min(*rng.pick(&[60, 300, 1200]));
    let puts = rng.between(5, 60);
    for _ in 0..puts {
        let count = 1 + rng.below(2 * records / puts + 1);
        add(
            rng.below(span),
            Action::Put {
                count,
                seed: rng.bits(),
            },
        );
    }
    for _ in 0..rng.below(30) {
        let at = rng.below(span);
        let (action, back) = one(shape, rng);
        if let Some(back) = back {
            add(at + rng.between(100, span / 2), back);
        }
        add(at, action);
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// One thing that happens, and what makes up for it later.
fn one(shape: &Shape, rng: &mut Rng) -> (Action, Option<Action>) {
    // Two more than there are from the beginning: some are added.
    let output = rng.index(shape.outputs.len() + 2);
    match rng.below(100) {
        0..9 => (Action::Split(rng.index(8)), None),
        9..15 => (Action::Merge(rng.index(8)), None),
        15..23 => (
            Action::Reads(bad_reads(rng)),
            Some(Action::Reads(shape.calm)),
        ),
        23..30 => (
            Action::Store(bad_store(rng)),
            Some(Action::Store(shape.store)),
        ),
        30..38 => (
            Action::Faults(output, bad_output(rng)),
            Some(Action::Faults(output, calm_output(rng))),
        ),
        38..52 => {
            let mood = *rng.pick(&[
                Mood::Held,
                Mood::Held,
                Mood::Rejects(TroubleKind::Missing),
                Mood::Rejects(TroubleKind::Denied),
                Mood::Rejects(TroubleKind::Unauthenticated),
                Mood::Rejects(TroubleKind::Throttled),
                Mood::Crawls(Duration::from_millis(900)),
                Mood::Crawls(Duration::from_secs(4)),
            ]);
            (
                Action::Mood(output, mood),
                Some(Action::Mood(output, Mood::Well)),
            )
        }
        52..56 => (Action::Reshard(output, 1 + rng.index(4)), None),
        56..58 => (Action::Refuse(output), None),
        58..61 => {
            let size = i64::try_from(rng.below(7_200_000)).unwrap_or(0);
            (Action::Jump(size - 3_600_000), None)
        }
        61..69 => (Action::Crash(*rng.pick(&[0, 0, 500, 10_000])), None),
        69..77 => (Action::CrashAfter(rng.between(1, 60)), None),
        77..80 => (Action::Restart(*rng.pick(&[0, 300, 20_000])), None),
        80..85 => (Action::Pause(output), Some(Action::Resume(output))),
        85..88 => {
            let new = OutputShape::draw(rng, &shape.sizes, false);
            (Action::Update(output, Box::new(new)), None)
        }
        88..93 => {
            let new = OutputShape::draw(rng, &shape.sizes, false);
            (Action::Add(Box::new(new), rng.below(2) == 0), None)
        }
        93..96 => (Action::Remove(output), None),
        _ => (Action::Expire(rng.below(20_000)), None),
    }
}

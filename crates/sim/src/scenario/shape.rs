//! The parts of a scenario that don't change during the run.

use std::num::NonZeroUsize;
use std::time::Duration;

use distributary_core::clock::Millis;
use distributary_core::engine::{Order, Settings, Start};
use distributary_core::output::{Gathers, RequestLimits};
use distributary_core::source::ReadLimits;
use distributary_core::testing::{
    LeaseFaults, OutputFaults, READ_LIMITS, Rate, ReadFaults, Rng, ServiceSettings, StoreFaults,
    StreamSettings,
};

use super::faults::{bad_output, calm_output, calm_reads};

/// Bytes that a record takes in an answer besides data and key, at most: sequence number and index.
const RECORD_OVERHEAD: usize = 128;

/// The parts of a scenario that don't change during the run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The source.
    pub stream: StreamSettings,
    /// The faults of reads while nothing is wrong.
    pub calm: ReadFaults,
    /// The outputs at the start.
    pub outputs: Vec<OutputShape>,
    /// The partition keys.
    pub keys: Keys,
    /// The sizes of records.
    pub sizes: Sizes,
    /// The engine's settings.
    pub settings: Settings,
    /// The faults of the store while nothing is wrong.
    pub store: StoreFaults,
    /// The life of leases where shards are gained and lost; `None`: the engine owns every shard.
    pub leases: Option<LeaseFaults>,
}

/// One output.
#[derive(Clone, Debug)]
pub struct OutputShape {
    /// The order per key.
    pub order: Order,
    /// The position of the output's first record.
    pub start: StartPosition,
    /// The limits of a request.
    pub limits: RequestLimits,
    /// The number of the output's encoding; outputs with the same number encode alike.
    pub encoding: u8,
    /// Requests of one lane that may be in flight together.
    pub in_flight: NonZeroUsize,
    /// The limits of gathering, if the output gathers.
    pub gathers: Option<Gathers>,
    /// The stream of the run's pump that the output takes; `None`: the records.
    pub stream: Option<usize>,
    /// Refused records go to a service of their own.
    pub has_dead_letter: bool,
    /// The service that the output writes to.
    pub service: Service,
    /// The faults at the start.
    pub faults: OutputFaults,
    /// The output never fails and is never slow, so faults elsewhere must not affect the output.
    pub pristine: bool,
}

/// The properties of a service.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The number of shards at the start.
    pub shards: usize,
    /// The limit of each shard.
    pub rate: Option<Rate>,
}

impl Service {
    /// The settings of a fake service.
    pub fn settings(self, name: &str) -> ServiceSettings {
        ServiceSettings {
            name: name.to_owned(),
            shards: self.shards,
            rate: self.rate,
        }
    }
}

/// The position of an output's first record.
#[derive(Clone, Copy, Debug)]
pub enum StartPosition {
    /// The oldest record.
    TrimHorizon,
    /// The next record to arrive.
    Latest,
    /// The first record that arrived at most this many milliseconds ago.
    Ago(u64),
}

impl StartPosition {
    /// The engine's form of the position, at the server's time `now`.
    pub fn resolve(self, now: Millis) -> Start {
        match self {
            Self::TrimHorizon => Start::TrimHorizon,
            Self::Latest => Start::Latest,
            Self::Ago(millis) => Start::At(now.minus(Duration::from_millis(millis))),
        }
    }
}

/// The distribution of partition keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The number of different keys.
    pub count: u64,
    /// How the keys' frequencies differ.
    pub skew: Skew,
    /// Records without a key, in thousandths.
    pub without_key: u32,
}

/// How the keys' frequencies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// All keys are equally frequent.
    Uniform,
    /// The nth key has an nth of the first key's frequency.
    Zipf,
    /// A third of all records have the first key.
    Hot,
}

impl Keys {
    /// Draws the key of one record.
    pub fn draw(&self, rng: &mut Rng) -> Option<String> {
        if rng.per_mille(self.without_key) {
            return None;
        }

        let n = match self.skew {
            Skew::Uniform => rng.below(self.count),
            Skew::Hot if rng.below(3) == 0 => 0,
            Skew::Hot => rng.below(self.count),
            Skew::Zipf => {
                // Approximates the inverse of the harmonic sum: a power of the count.
                let exponent = rng.below(1 << 20) as f64 / f64::from(1u32 << 20);
                let rank = (self.count as f64).powf(exponent) as u64;
                rank.saturating_sub(1).min(self.count - 1)
            }
        };
        Some(format!("key-{n}"))
    }
}

/// The distribution of records' sizes, in bytes of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The largest size of most records.
    pub usual: u64,
    /// The size of a few records.
    pub largest: u64,
}

impl Sizes {
    const fn new(usual: u64, largest: u64) -> Self {
        Self { usual, largest }
    }

    /// The largest size of data and key.
    fn largest_record(self) -> usize {
        usize::try_from(self.largest).unwrap_or(0) + 8
    }

    /// Draws the data of one record. The data identify the record unless they are empty.
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

impl Shape {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let sizes = draw_sizes(rng);
        let mut stream = draw_stream(sizes, rng);

        let outputs = draw_outputs(&sizes, rng);
        let keys = draw_keys(rng);
        let settings = draw_settings(rng, &mut stream);
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
            leases: None,
        }
    }
}

fn draw_outputs(sizes: &Sizes, rng: &mut Rng) -> Vec<OutputShape> {
    let count = 1 + rng.index(4);
    let has_pristine = rng.below(2) == 0;
    (0..count)
        .map(|i| OutputShape::draw(rng, sizes, i == 0 && has_pristine))
        .collect()
}

fn draw_sizes(rng: &mut Rng) -> Sizes {
    *rng.pick(&[
        Sizes::new(40, 200),
        Sizes::new(40, 4_000),
        Sizes::new(3_000, 16_000),
        Sizes::new(3_000, 16_000),
        Sizes::new(12_000, 100_000),
        Sizes::new(200, 1 << 20),
    ])
}

fn draw_keys(rng: &mut Rng) -> Keys {
    Keys {
        count: *rng.pick(&[1, 3, 20, 300]),
        skew: *rng.pick(&[Skew::Uniform, Skew::Zipf, Skew::Hot]),
        without_key: *rng.pick(&[0, 0, 0, 100]),
    }
}

/// Draws the first sequence number, so that the number of digits grows during the run.
fn draw_first_sequence(rng: &mut Rng) -> u128 {
    let digits = 3 + u32::try_from(rng.below(30)).unwrap_or(0);
    10u128.pow(digits) - u128::from(rng.below(400)) - 1
}

fn draw_stream(sizes: Sizes, rng: &mut Rng) -> StreamSettings {
    StreamSettings {
        shards: 1 + rng.index(4),
        first: draw_first_sequence(rng),
        answer_bytes: sizes
            .largest_record()
            .max(*rng.pick(&[4_000, 16_000, 100_000])),
        date_millis: *rng.pick(&[1, 1000]),
        names_children: rng.below(4) > 0,
        map_lag: Duration::from_millis(*rng.pick(&[0, 0, 300, 4000])),
        retention: Duration::from_secs(86_400),
        limits: READ_LIMITS,
    }
}

/// Draws the engine's settings, and the limits of reads to match.
fn draw_settings(rng: &mut Rng, stream: &mut StreamSettings) -> Settings {
    let answer_records = *rng.pick(&[20u32, 100, 500]);
    let answer_bytes = stream.answer_bytes + answer_records as usize * RECORD_OVERHEAD;
    // From just enough for one read with three encodings to far more than all records need.
    let one_read = answer_bytes * 4 + answer_records as usize * 48;
    let memory_budget = one_read * 4 / 3 * *rng.pick(&[1, 1, 2, 5, 40]) + 4096;

    let mut settings = draw_times(rng);
    settings.memory_budget = memory_budget;
    stream.limits = draw_limits(rng, answer_records, answer_bytes);
    draw_reading(rng, &mut settings);
    settings
}

/// Draws deadlines and waits.
fn draw_times(rng: &mut Rng) -> Settings {
    Settings {
        checkpoint_interval: draw_millis(rng, &[50, 400, 1000, 5000]),
        request_deadline: draw_millis(rng, &[1000, 5000, 30_000]),
        read_deadline: draw_millis(rng, &[1000, 10_000]),
        backoff_base: draw_millis(rng, &[10, 100]),
        backoff_cap: draw_millis(rng, &[500, 5000]),
        slow_backoff_cap: draw_millis(rng, &[1000, 10_000]),
        store_patience: Duration::from_secs(3600),
        source_patience: Duration::from_secs(3600),
        start_timeout: Duration::from_secs(600),
        last_attempts: 50,
        // The judge reads every gap from the status, also where many shards end in a stop.
        gaps_kept: 10_000,
        ..Settings::default()
    }
}

fn draw_limits(rng: &mut Rng, answer_records: u32, answer_bytes: usize) -> ReadLimits {
    let interval = draw_millis(rng, &[20, 200]);
    ReadLimits {
        per: interval * READ_LIMITS.calls.get(),
        bytes_per_second: *rng.pick(&[None, Some(200_000), Some(2 << 20)]),
        answer_records,
        answer_bytes,
        ..READ_LIMITS
    }
}

/// Draws the settings of reads.
fn draw_reading(rng: &mut Rng, settings: &mut Settings) {
    settings.idle_poll = draw_millis(rng, &[200, 1000]);
    settings.read_target = *rng.pick(&[8 << 10, 64 << 10, 1 << 20]);
    settings.read_ahead = *rng.pick(&[1, 2, 4]);
    settings.catch_up_readers = *rng.pick(&[1, 2]);
    settings.grouping_patience = draw_millis(rng, &[0, 500, 5000]);
    settings.map_refresh = draw_millis(rng, &[2000, 20_000]);
}

fn draw_millis(rng: &mut Rng, choices: &[u64]) -> Duration {
    Duration::from_millis(*rng.pick(choices))
}

impl OutputShape {
    pub(super) fn draw(rng: &mut Rng, sizes: &Sizes, pristine: bool) -> Self {
        let encoding = u8::try_from(rng.below(3)).unwrap_or(0);
        // Outputs that encode alike have the same limits.
        let (entries, bytes) = [(7, 5_000), (50, 100_000), (500, 20_000)][usize::from(encoding)];
        let rate = if pristine || rng.below(3) > 0 {
            None
        } else {
            Some(draw_rate(rng))
        };

        Self {
            order: draw_order(rng),
            start: draw_start(rng),
            limits: RequestLimits {
                entries,
                bytes: sizes.largest_record().max(bytes),
            },
            encoding,
            in_flight: NonZeroUsize::MIN,
            gathers: None,
            stream: None,
            has_dead_letter: false,
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

fn draw_rate(rng: &mut Rng) -> Rate {
    Rate {
        records: *rng.pick(&[20, 100]),
        bytes: *rng.pick(&[50_000, 1 << 20]),
    }
}

fn draw_order(rng: &mut Rng) -> Order {
    *rng.pick(&[
        Order::Resend,
        Order::Resend,
        Order::Strict,
        Order::Unordered,
    ])
}

fn draw_start(rng: &mut Rng) -> StartPosition {
    *rng.pick(&[
        StartPosition::TrimHorizon,
        StartPosition::TrimHorizon,
        StartPosition::Latest,
        StartPosition::Ago(2000),
    ])
}

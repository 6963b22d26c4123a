//! What the whole path draws besides what the engine's simulation does.

use std::time::Duration;

use distributary_core::testing::Rng;
use distributary_local::TrimmedPosition;

use super::{Action, Scenario};

/// Bytes of a record on AWS, with its key.
const RECORD_BYTES: u64 = 1 << 20;
/// The longest key that is drawn.
const KEY_BYTES: u64 = 16;
/// Records of a run, about.
const MOST_RECORDS: u64 = 400;
/// What a record takes in an answer beside its data and key, in either format.
const AROUND_RECORD: usize = 300;

/// What the whole path has besides.
#[derive(Clone, Debug)]
pub struct WholeShape {
    /// The source's server limits rates as AWS does.
    pub limits: bool,
    /// What it answers to positions that retention has deleted.
    pub trimmed: TrimmedPosition,
    /// How long a stream is UPDATING when it is split or merged.
    pub update: Duration,
    /// How long a stream is CREATING.
    pub create: Duration,
    /// Servers say the time with each answer, as AWS does.
    pub dated: bool,
}

/// What [`distributary_kinesis::output::KinesisOutput`] may ask for at most, for a chunk of so many records.
pub(super) fn encoded_bound(records: usize, bytes: usize) -> usize {
    // Base64, keys with every character escaped, names, hash keys.
    64 + bytes.div_ceil(3) * 4 + bytes.min(records * 1024) * 5 + records * (64 + 129 + 64 + 4)
}

impl Scenario {
    /// The same over the whole path. Draws of its own change nothing of what the engine's simulation draws.
    pub(super) fn make_whole(mut self, rng: &mut Rng) -> Self {
        let jumps = self
            .events
            .iter()
            .any(|(_, action)| matches!(action, Action::Jump(_)));
        let whole = WholeShape {
            limits: rng.below(4) == 0,
            trimmed: *rng.pick(&[TrimmedPosition::Refuse, TrimmedPosition::EmptyPages(20)]),
            update: Duration::from_millis(*rng.pick(&[0, 0, 500, 3000])),
            create: Duration::from_millis(*rng.pick(&[0, 1000])),
            // Without it a clock that jumps tells nothing.
            dated: jumps || rng.below(4) > 0,
        };
        if whole.limits {
            // Looking what is left costs calls, which the engine would miss.
            self.events
                .retain(|(_, action)| !matches!(action, Action::Expire(_)));
        }
        self.put_fewer();
        // Kinesis wants a key, and no more than this.
        self.shape.keys.none = 0;
        self.shape.sizes.largest = self.shape.sizes.largest.min(RECORD_BYTES - KEY_BYTES);
        self.shape.sizes.usual = self.shape.sizes.usual.min(self.shape.sizes.largest);
        let answer = self.shape.stream.answer_bytes + KEY_BYTES as usize;
        let settings = &mut self.shape.settings;
        let limits = &mut self.shape.stream.limits;
        let records = limits.answer_records as usize;
        // Each poll goes the whole way, and nothing is to be seen on most.
        settings.idle_poll = Duration::from_millis(*rng.pick(&[500, 1000, 3000]));
        limits.per = Duration::from_millis(*rng.pick(&[100, 200])) * limits.calls.get();
        limits.answer_bytes = answer.div_ceil(3) * 4 + records * AROUND_RECORD + 4096;
        self.whole = Some(whole);
        // As on the engine's level: from just enough for one read with three ways of encoding to far more than there is.
        let one = self.largest_read(3);
        self.shape.settings.memory_budget = one * 4 / 3 * *rng.pick(&[1, 1, 2, 5, 40]) + 4096;
        self
    }

    /// No more than [`MOST_RECORDS`]: what costs time here is each request.
    fn put_fewer(&mut self) {
        let counts = self
            .events
            .iter_mut()
            .filter_map(|(_, action)| match action {
                Action::Put { count, .. } => Some(count),
                _ => None,
            });
        let mut counts: Vec<&mut u64> = counts.collect();
        let all: u64 = counts.iter().map(|count| **count).sum();
        if all > MOST_RECORDS {
            counts
                .iter_mut()
                .for_each(|count| **count = (**count * MOST_RECORDS / all).max(1));
        }
    }
}

//! Draws the properties of the whole path, and fits the scenario to real Kinesis limits.

use std::time::Duration;

use distributary_core::testing::Rng;
use distributary_local::TrimmedPosition;

use super::{Action, Scenario, Shape};

/// Bytes of a record with its key, at most (the limit of AWS).
const RECORD_BYTES: u64 = 1 << 20;
/// Bytes of the longest key that is drawn.
const KEY_BYTES: u64 = 16;
/// Records of a run, approximately at most.
const MOST_RECORDS: u64 = 400;
/// Bytes of a record in an answer besides data and key, in either format.
const RECORD_OVERHEAD: usize = 300;
/// Encodings of a read for which the smallest budget has room.
const BUDGET_ENCODINGS: usize = 3;

/// The properties of the whole path.
#[derive(Clone, Debug)]
pub struct WholeShape {
    /// The source's server limits rates as AWS does.
    pub enforce_limits: bool,
    /// The source's answer for positions that retention has deleted.
    pub trimmed_position: TrimmedPosition,
    /// How long a stream is UPDATING after a split or merge.
    pub updating: Duration,
    /// How long a new stream is CREATING.
    pub creating: Duration,
    /// Servers add a date to each answer, as AWS does.
    pub dated: bool,
}

/// The most bytes that [`distributary_kinesis::output::KinesisOutput`] may ask for, for a chunk of
/// this many records and bytes.
pub(super) fn encoded_bound(records: usize, bytes: usize) -> usize {
    let data_in_base64 = bytes.div_ceil(3) * 4;
    let escaped_keys = bytes.min(records * 1024) * 5;
    let names_and_hash_keys = records * (64 + 129 + 64 + 4);
    64 + data_in_base64 + escaped_keys + names_and_hash_keys
}

impl Scenario {
    /// The same scenario on the whole path. The draws are apart from the draws of the engine's
    /// level.
    pub(super) fn make_whole(mut self, rng: &mut Rng) -> Self {
        let whole = self.draw_whole(rng);
        if whole.enforce_limits {
            // A look at the shards after a deletion costs calls that the engine would lack.
            let expires = |action: &Action| matches!(action, Action::Expire(_));
            self.events.retain(|(_, action)| !expires(action));
        }

        self.put_fewer();
        self.shape.fit_to_kinesis(rng);
        self.whole = Some(whole);

        // From just enough for one read to far more than all records need.
        let one_read = self.largest_read(BUDGET_ENCODINGS);
        let factor = *rng.pick(&[1, 1, 2, 5, 40]);
        self.shape.settings.memory_budget = one_read * 4 / 3 * factor + 4096;
        self
    }

    fn draw_whole(&self, rng: &mut Rng) -> WholeShape {
        let jumps = |(_, action): &(Duration, Action)| matches!(action, Action::Jump(_));
        let has_jumps = self.events.iter().any(jumps);

        WholeShape {
            enforce_limits: rng.below(4) == 0,
            trimmed_position: *rng
                .pick(&[TrimmedPosition::Refuse, TrimmedPosition::EmptyPages(20)]),
            updating: Duration::from_millis(*rng.pick(&[0, 0, 500, 3000])),
            creating: Duration::from_millis(*rng.pick(&[0, 1000])),
            // Without dates the client can't notice that the clock jumped.
            dated: has_jumps || rng.below(4) > 0,
        }
    }

    /// Reduces the run to about [`MOST_RECORDS`], as each request takes real time.
    fn put_fewer(&mut self) {
        let actions = self.events.iter_mut().map(|(_, action)| action);
        let counts = actions.filter_map(|action| match action {
            Action::Put { count, .. } => Some(count),
            _ => None,
        });
        let counts: Vec<&mut u64> = counts.collect();

        let sum: u64 = counts.iter().map(|count| **count).sum();
        if sum > MOST_RECORDS {
            for count in counts {
                *count = (*count * MOST_RECORDS / sum).max(1);
            }
        }
    }
}

impl Shape {
    fn fit_to_kinesis(&mut self, rng: &mut Rng) {
        // Kinesis needs a key and limits the size of records.
        self.keys.without_key = 0;
        self.sizes.largest = self.sizes.largest.min(RECORD_BYTES - KEY_BYTES);
        self.sizes.usual = self.sizes.usual.min(self.sizes.largest);

        // Each poll takes real time, and most polls find nothing.
        self.settings.idle_poll = Duration::from_millis(*rng.pick(&[500, 1000, 3000]));

        self.fit_limits(rng);
    }

    /// Sets the limits of reads to match the answers of Kinesis.
    fn fit_limits(&mut self, rng: &mut Rng) {
        let limits = &mut self.stream.limits;
        limits.per = Duration::from_millis(*rng.pick(&[100, 200])) * limits.calls.get();
        let records = limits.answer_records as usize;
        let data = (self.stream.answer_bytes + KEY_BYTES as usize).div_ceil(3) * 4;
        limits.answer_bytes = data + records * RECORD_OVERHEAD + 4096;
    }
}

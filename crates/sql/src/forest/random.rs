//! Random numbers that follow from a seed and can be saved (SplitMix64, by Steele, Lea, Flood).

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1, without 1.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;

        let bits = self.next() >> 11;
        bits as f64 / STEPS
    }

    /// The logarithm of an exponentially distributed number.
    pub(super) fn log_exponential(&mut self) -> f64 {
        let above_zero = 1.0 - self.unit();
        let exponential = -above_zero.ln();
        exponential.max(f64::MIN_POSITIVE).ln()
    }
}

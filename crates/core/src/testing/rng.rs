//! Randomness from a seed.

use crate::clock::split_mix;

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Random numbers from a seed, the same for the same seed (SplitMix64; not for secrets).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Seeded by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(split_mix(seed ^ STEP))
    }

    /// Independent random numbers for `label`: draws from one do not change the other.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        Self(split_mix(self.0 ^ hash(label.as_bytes())))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        split_mix(self.0)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias is below 2^-32 for every n that a test uses.
        if n == 0 { 0 } else { self.bits() % n }
    }

    /// An index below `n`.
    pub fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low).saturating_add(1))
    }

    /// True with this probability per thousand.
    pub fn per_mille(&mut self, n: u32) -> bool {
        n > 0 && self.below(1000) < u64::from(n)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If `choices` is empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }
}

/// FNV-1a, mixed: the same everywhere and always.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    split_mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

//! Random values of every shape, for tests.

use std::collections::BTreeMap;

use super::{Blob, Timestamp};

/// A random number generator (SplitMix64): the same seed gives the same numbers everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);

        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }
}

/// A type that can take a random value.
pub(crate) trait Fill {
    fn fill(rng: &mut Rng) -> Self;
}

/// Texts that test the escapes of an encoder.
const TEXTS: [&str; 10] = [
    "",
    "a",
    "shardId-000000000001",
    "\"",
    "\\",
    "\\\"\n\t\u{0}\u{1f}\u{7f}",
    "ключ",
    "🦀🏳️‍🌈",
    "/=+",
    "null",
];

impl Fill for String {
    fn fill(rng: &mut Rng) -> Self {
        let pieces = 1 + rng.below(3);
        let mut text: Self = (0..pieces)
            .map(|_| TEXTS[rng.below(TEXTS.len() as u64)])
            .collect();
        if rng.below(20) == 0 {
            text = text.repeat(40);
        }
        text
    }
}

impl Fill for bool {
    fn fill(rng: &mut Rng) -> Self {
        rng.below(2) == 0
    }
}

impl Fill for i32 {
    fn fill(rng: &mut Rng) -> Self {
        (rng.next() as Self) >> rng.below(32)
    }
}

impl Fill for i64 {
    fn fill(rng: &mut Rng) -> Self {
        (rng.next() as Self) >> rng.below(64)
    }
}

impl Fill for Timestamp {
    fn fill(rng: &mut Rng) -> Self {
        // From 1936 to the year 5138.
        Self(rng.below(101_000_000_000_000) as i64 - 1_000_000_000_000)
    }
}

impl Fill for Blob {
    fn fill(rng: &mut Rng) -> Self {
        let len = [0, 1, 2, 3, 23, 24, 255, 256, 70_000][rng.below(9)];
        let first = rng.next() as u8;
        Self(
            (0..len)
                .map(|i| first.wrapping_add(i as u8))
                .collect::<Vec<u8>>()
                .into(),
        )
    }
}

impl<T: Fill> Fill for Option<T> {
    fn fill(rng: &mut Rng) -> Self {
        (rng.below(3) > 0).then(|| T::fill(rng))
    }
}

impl<T: Fill> Fill for Vec<T> {
    fn fill(rng: &mut Rng) -> Self {
        let len = [0, 1, 2, 30][rng.below(4)];
        (0..len).map(|_| T::fill(rng)).collect()
    }
}

impl<T: Fill> Fill for BTreeMap<String, T> {
    fn fill(rng: &mut Rng) -> Self {
        (0..rng.below(4))
            .map(|_| (String::fill(rng), T::fill(rng)))
            .collect()
    }
}

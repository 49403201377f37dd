//! Choices that look random, the same for the same seed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A generator of choices.
#[derive(Debug)]
pub struct Dice(u64);

/// As `PALISADE_SEED` says, else `PROPTEST_RNG_SEED`, else one of its own.
pub fn seed() -> u64 {
    let given = ["PALISADE_SEED", "PROPTEST_RNG_SEED"].iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
    // Some may be counted from it.
    given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16)
}

impl Dice {
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// With [`seed`], which is printed.
    pub fn new() -> Self {
        let seed = seed();
        eprintln!("PALISADE_SEED={seed}");
        Self(seed)
    }

    /// A number, by splitmix64.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below that one.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % u64::try_from(count).expect("a small number")) as usize
    }

    /// A time below that one.
    pub fn time_below(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.next() as f64 / u64::MAX as f64)
    }

    /// Whether one in so many happens.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Whether one of a hundred, so many of which are, is.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A copy of one of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        self.choose(of).clone()
    }

    /// So many of them, in their order.
    pub fn some<T: Clone>(&mut self, of: &[T], count: usize) -> Vec<T> {
        let mut left: Vec<usize> = (0..of.len()).collect();
        while left.len() > count {
            let index = self.below(left.len());
            left.remove(index);
        }
        left.into_iter().map(|index| of[index].clone()).collect()
    }
}

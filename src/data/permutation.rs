//! A random order of any number of items that is computed, not kept.

use rand::Rng as _;

use crate::rng::Rng;

/// As many rounds as make a permutation seem random to whoever sees few of its values (Luby & Rackoff 1988); seen whole, its
/// neighbours and its stretches are as those of a shuffle (tested below).
const ROUNDS: usize = 4;

/// A random order of `0..len`: a Feistel network over the numbers of an even count of bits. It leads from each number back to
/// itself by way of others; one that is not below `len` is passed over (cycle walking, Black & Rogaway 2002). As the numbers are
/// at most four times as many, that takes at most four goes on average.
pub struct Permutation {
    len: usize,
    /// Bits of half a number.
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// An order of `len` items (at least one).
    pub fn draw(len: usize, rng: &mut Rng) -> Self {
        let bits = usize::BITS - (len - 1).leading_zeros();
        Self { len, half: bits.div_ceil(2).max(1), keys: rng.random() }
    }

    /// The item at a position below `len`.
    pub fn at(&self, position: usize) -> usize {
        let mut walk = std::iter::successors(Some(self.next(position)), |&number| Some(self.next(number)));
        walk.find(|&number| number < self.len).expect("invariant: a cycle comes back")
    }

    fn next(&self, number: usize) -> usize {
        let mask = (1 << self.half) - 1;
        let halves = (number as u64 >> self.half, number as u64 & mask);
        let round = |(left, right): (u64, u64), key: &u64| (right, left ^ (mixed(right ^ key) & mask));
        let (left, right) = self.keys.iter().fold(halves, round);
        (left << self.half | right) as usize
    }
}

/// A number whose every bit hangs on every bit of another (the finaliser of SplitMix64, Steele et al. 2014).
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use proptest::prelude::*;

    fn drawn(len: usize, seed: u64) -> Vec<usize> {
        let order = Permutation::draw(len, &mut stream(seed, "order", 0));
        (0..len).map(|position| order.at(position)).collect()
    }

    proptest! {
        #[test]
        fn every_item_has_one_position(len in 1usize..3000, seed: u64) {
            let mut items = drawn(len, seed);
            items.sort_unstable();
            prop_assert!(items.into_iter().eq(0..len));
        }
    }

    #[test]
    fn neighbours_are_parted_and_orders_differ() {
        let (one, other) = (drawn(100_000, 1), drawn(100_000, 2));
        let shared = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!(shared(&one, &other) < 10);
        let rising = one.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!(rising.abs_diff(50_000) < 500, "{rising}");
        // Of a hundred stretches of equal length each has its share of every hundredth of the items.
        let mut counts = vec![0u32; 10_000];
        one.iter().enumerate().for_each(|(at, item)| counts[at / 1000 * 100 + item / 1000] += 1);
        let squares: f64 = counts.iter().map(|&count| (f64::from(count) - 10.0).powi(2) / 10.0).sum();
        assert!((9000.0..11000.0).contains(&squares), "χ² of 9,801 degrees of freedom: {squares}");
    }
}

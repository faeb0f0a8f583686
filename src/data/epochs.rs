//! Which items a step trains on: every item once an epoch, in an order drawn anew each epoch.

use std::sync::{Mutex, PoisonError};

use rand::seq::SliceRandom as _;

use super::permutation::Permutation;
use crate::rng;

/// The most items whose order is drawn as a list, of four megabytes; that of more is computed.
const LISTED: usize = 1 << 20;

/// Endless shuffled passes over `0..len`. The items of a step are a function of the seed and the step alone, so
/// a resumed run needs to know nothing but its step.
pub struct Epochs {
    seed: u64,
    name: &'static str,
    len: usize,
    /// The order of the epoch used last, where it is listed.
    order: Mutex<(u64, Vec<u32>)>,
}

impl Epochs {
    /// Passes over `len` items (at least one) in the random stream `name`.
    pub fn new(seed: u64, name: &'static str, len: usize) -> Self {
        assert!(len > 0, "invariant: something to train on");
        Self { seed, name, len, order: Mutex::new((u64::MAX, Vec::new())) }
    }

    /// The items of step `step` (zero-based) of `batch` items each.
    pub fn batch(&self, step: usize, batch: usize) -> Vec<usize> {
        (step * batch..(step + 1) * batch).map(|i| self.item((i / self.len) as u64, i % self.len)).collect()
    }

    fn item(&self, epoch: u64, position: usize) -> usize {
        let rng = || rng::stream(self.seed, self.name, epoch);
        if self.len > LISTED {
            return Permutation::draw(self.len, &mut rng()).at(position);
        }
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.0 != epoch {
            let mut items: Vec<u32> = (0..self.len as u32).collect();
            items.shuffle(&mut rng());
            *order = (epoch, items);
        }
        order.1[position] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_once_an_epoch_wherever_one_starts() {
        let epochs = Epochs::new(5, "x", 6);
        let drawn: Vec<usize> = (0..3).flat_map(|step| epochs.batch(step, 4)).collect();
        for epoch in drawn.chunks(6) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        }
        assert_ne!(drawn[..6], drawn[6..]);
        assert_eq!(Epochs::new(5, "x", 6).batch(2, 4), drawn[8..12]);
    }

    #[test]
    fn more_items_than_are_listed_come_once_an_epoch_too() {
        let len = LISTED + 5;
        let epochs = Epochs::new(5, "x", len);
        let mut drawn = epochs.batch(0, len);
        let next = epochs.batch(len, 1);
        assert_ne!(next, drawn[..1]);
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..len));
        assert!(epochs.order.into_inner().unwrap().1.is_empty());
    }
}

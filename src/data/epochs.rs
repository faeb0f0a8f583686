//! Chooses the items of each training step: every item once an epoch, in a new random order each epoch.

use std::sync::{Mutex, PoisonError};

use rand::seq::SliceRandom as _;

use crate::rng;

/// Endless shuffled passes over `0..len`. The items of a step depend on the seed and the step alone, so a
/// resumed run needs no other state than its step.
pub struct Epochs {
    seed: u64,
    name: &'static str,
    len: usize,
    /// The latest epoch and its order: four bytes an item.
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
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.0 != epoch {
            let mut items: Vec<u32> = (0..self.len as u32).collect();
            items.shuffle(&mut rng::stream(self.seed, self.name, epoch));
            *order = (epoch, items);
        }
        order.1[position] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_once_an_epoch_from_any_start() {
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
}

//! Gradients added up over ranks while the backward pass that finds them still runs (Li et al. 2020, §3.2.3).
//!
//! A bucket is the parameters of one block ([`crate::nn::checkpoint_block`]), and is sent when the pass is through with the block. All ranks
//! add up bucket after bucket in one order, that in which passes come by the blocks.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId};

use super::packed::{Pair, packed, unpacked};
use crate::distributed::overlapped_sums::OverlappedSums;
use crate::nn::checkpoint_block::Found;

thread_local! {
    /// Those of the backward pass that this thread runs next.
    static NEXT: RefCell<Option<Early>> = const { RefCell::new(None) };
}

/// The sums over ranks that a step begins early.
pub struct Early {
    buckets: Vec<Bucket>,
    sums: OverlappedSums,
    /// What the gradients of the next pass count.
    weight: f64,
}

struct Bucket {
    /// With what passes before the next one have found.
    pairs: Vec<Pair>,
    sent: bool,
}

/// Takes and sends what a backward pass on this thread has found of a block, when it will find no more there.
///
/// # Errors
/// When the device refuses.
pub fn send(block: &[Tensor], found: &mut Found) -> Result<()> {
    NEXT.with_borrow_mut(|next| {
        let Some(early) = next else { return Ok(()) };
        let of_block = |bucket: &Bucket| bucket.pairs[0].0.id() == block[0].id();
        early.buckets.iter().position(of_block).map_or(Ok(()), |place| early.send_found(place, found))
    })
}

impl Early {
    /// Of these buckets.
    pub fn new(buckets: Vec<Vec<Pair>>, sums: OverlappedSums, weight: f64) -> Self {
        let buckets = buckets.into_iter().map(|pairs| Bucket { pairs, sent: false }).collect();
        Self { buckets, sums, weight }
    }

    /// Begins with the next backward pass on this thread.
    pub fn begin(self) {
        NEXT.set(Some(self));
    }

    /// What was begun on this thread.
    pub fn take() -> Option<Self> {
        NEXT.take()
    }

    fn send_found(&mut self, place: usize, found: &mut Found) -> Result<()> {
        for (parameter, gradient) in &mut self.buckets[place].pairs {
            let Some(own) = found.remove(&parameter.id()) else { continue };
            *gradient = Some(super::plus(gradient.as_ref(), &own, self.weight)?);
        }
        self.send(place)
    }

    fn send(&mut self, place: usize) -> Result<()> {
        let bucket = &mut self.buckets[place];
        bucket.sent = true;
        self.sums.add(place, packed(&bucket.pairs)?.to_vec1()?);
        bucket.pairs.iter_mut().for_each(|(_, gradient)| *gradient = None);
        Ok(())
    }

    /// Sends the buckets that no pass was through with, with the gradients that `found` tells; then the sums of all.
    pub fn finish(
        mut self,
        found: impl Fn(TensorId) -> Option<Tensor>,
    ) -> Result<HashMap<TensorId, Option<Tensor>>> {
        for place in 0..self.buckets.len() {
            if !self.buckets[place].sent {
                self.buckets[place]
                    .pairs
                    .iter_mut()
                    .for_each(|(parameter, own)| *own = found(parameter.id()));
                self.send(place)?;
            }
        }
        let (sums, mut all) = (self.sums.finish(), HashMap::new());
        assert_eq!(sums.len(), self.buckets.len(), "invariant: all buckets were sent");
        for (Bucket { pairs, .. }, sums) in self.buckets.into_iter().zip(sums) {
            let sums = Tensor::from_slice(&sums, sums.len(), pairs[0].0.device())?;
            let gradients = unpacked(&pairs, &sums)?;
            all.extend(pairs.iter().map(|(parameter, _)| parameter.id()).zip(gradients));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use candle_core::Device;

    use super::*;
    use crate::nn::checkpoint_block::{self, Block, Keep};
    use crate::nn::gradients::Gradients;
    use crate::nn::params::{Builder, Init};

    /// y = a·x.
    #[derive(Clone)]
    struct Scaled(Tensor);

    impl Block for Scaled {
        fn run(&self, x: &Tensor) -> crate::error::Result<Tensor> {
            Ok(x.broadcast_mul(&self.0)?)
        }
    }

    /// Two ranks that find the same: every sum is twice the number.
    #[test]
    fn blocks_are_sent_when_no_run_of_them_is_left() {
        let builder = Builder::fresh(0, &Device::Cpu);
        let [a, b, c] =
            ["a", "b", "c"].map(|name| builder.root().param(name, 1, Init::Constant(2.0)).unwrap());
        let params = builder.finish(Path::new("p")).unwrap();
        let blocks = [&b, &a, &c].map(|parameter| vec![parameter.clone()]);
        let (told, seen) = mpsc::channel();
        let double = move |numbers: &mut [f32]| {
            told.send(numbers[0]).unwrap();
            numbers.iter_mut().for_each(|number| *number *= 2.0);
        };
        let before = Tensor::new(&[100f32], &Device::Cpu).unwrap();
        let pair = |block: &Vec<Tensor>| {
            vec![(block[0].clone(), Some(before.clone()).filter(|_| block[0].id() == a.id()))]
        };
        Early::new(blocks.iter().map(pair).collect(), OverlappedSums::new(3, double), 0.5).begin();

        let trained = blocks.clone().map(checkpoint_block::TrainedParams::new);
        let run = |block: usize, x: &Tensor| {
            checkpoint_block::run(&Scaled(blocks[block][0].clone()), &trained[block], Keep::Everything, x)
                .unwrap()
        };
        // b·(a·(a·x)) with all of them 2 and x = 1; nothing asks c.
        let unused = run(0, &before);
        let x = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        let y = run(0, &run(1, &run(1, &x)));
        drop(unused);
        let found = y.sum_all().unwrap().backward().unwrap();
        // da = 2·b·a, db = a².
        assert_eq!([seen.recv().unwrap(), seen.recv().unwrap()], [0.5 * 4.0, 100.0 + 0.5 * 8.0]);
        let mut gradients = Gradients::of(&params);
        gradients.add(&found, 0.5).unwrap();
        let sums = Early::take().unwrap().finish(|_| None).unwrap();
        let value = |gradient: &Tensor| gradient.to_vec1::<f32>().unwrap()[0];
        assert_eq!([&b, &a, &c].map(|x| sums[&x.id()].as_ref().map(value)), [Some(4.0), Some(208.0), None]);
        assert!(Early::take().is_none());
    }
}

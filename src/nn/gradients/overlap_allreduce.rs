//! Gradients summed over ranks while the backward pass still runs (Li et al. 2020, §3.2.3).
//!
//! A bucket holds the parameters of one block ([`crate::nn::checkpoint_block`]). It is sent as soon as the
//! backward pass is done with the block. All ranks sum the buckets in one order: that in which backward
//! passes reach the blocks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use candle_core::{Result, Tensor, TensorId};

use super::accumulate::add_weighted;
use super::block_grads::{self, GradientMap, Listening};
use super::packed::{Pair, packed, unpacked};

/// Sums of buckets over all ranks, taken in the background.
pub trait BucketSums {
    /// Adds this rank's numbers of the bucket at `place`.
    fn add(&self, place: usize, numbers: Vec<f32>);

    /// Waits for the sums of all buckets; in the order of places.
    fn finish(self: Box<Self>) -> Vec<Vec<f32>>;
}

/// The sums of one step. Buckets are sent from the backward pass that this thread runs next.
pub struct OverlappedAllReduce {
    buckets: Rc<RefCell<Buckets>>,
    listening: Listening,
}

struct Buckets {
    all: Vec<Bucket>,
    sums: Box<dyn BucketSums>,
    /// The weight of the gradients of the next backward pass.
    weight: f64,
}

struct Bucket {
    /// The parameters, with the gradients of the passes before.
    pairs: Vec<Pair>,
    sent: bool,
}

impl OverlappedAllReduce {
    /// Listens to the next backward pass on this thread, whose gradients count `weight`. Each bucket: the
    /// parameters of a block, with the gradients that earlier passes of the step found.
    pub fn start(buckets: Vec<Vec<Pair>>, weight: f64, sums: Box<dyn BucketSums>) -> Self {
        let all = buckets.into_iter().map(|pairs| Bucket { pairs, sent: false }).collect();
        let buckets = Rc::new(RefCell::new(Buckets { all, sums, weight }));
        let shared = buckets.clone();
        let send =
            move |block: &[Tensor], found: &mut GradientMap| shared.borrow_mut().send_found(block, found);
        Self { buckets, listening: block_grads::listen(Box::new(send)) }
    }

    /// Sends the buckets that no pass was done with, with the gradients that `found` gives; returns the sums
    /// of all.
    pub fn finish(
        self,
        found: impl Fn(TensorId) -> Option<Tensor>,
    ) -> Result<HashMap<TensorId, Option<Tensor>>> {
        drop(self.listening);
        let buckets = Rc::into_inner(self.buckets).expect("invariant: the listener is gone");
        buckets.into_inner().finish(found)
    }
}

impl Buckets {
    /// Sends the bucket of a block that the backward pass is done with.
    fn send_found(&mut self, block: &[Tensor], found: &mut GradientMap) -> Result<()> {
        let is_of_block = |bucket: &Bucket| bucket.pairs[0].0.id() == block[0].id();
        let Some(place) = self.all.iter().position(is_of_block) else { return Ok(()) };
        for (parameter, gradient) in &mut self.all[place].pairs {
            let Some(own) = found.remove(&parameter.id()) else { continue };
            *gradient = Some(add_weighted(gradient.as_ref(), &own, self.weight)?);
        }
        self.send(place)
    }

    fn send(&mut self, place: usize) -> Result<()> {
        let bucket = &mut self.all[place];
        bucket.sent = true;
        self.sums.add(place, packed(&bucket.pairs)?.to_vec1()?);
        bucket.pairs.iter_mut().for_each(|(_, gradient)| *gradient = None);
        Ok(())
    }

    fn finish(
        mut self,
        found: impl Fn(TensorId) -> Option<Tensor>,
    ) -> Result<HashMap<TensorId, Option<Tensor>>> {
        for place in 0..self.all.len() {
            if !self.all[place].sent {
                let pairs = &mut self.all[place].pairs;
                pairs.iter_mut().for_each(|(parameter, gradient)| *gradient = found(parameter.id()));
                self.send(place)?;
            }
        }
        let sums = self.sums.finish();
        assert_eq!(sums.len(), self.all.len(), "invariant: all buckets were sent");
        let mut gradients = HashMap::new();
        for (Bucket { pairs, .. }, sums) in self.all.into_iter().zip(sums) {
            let sums = Tensor::from_slice(&sums, sums.len(), pairs[0].0.device())?;
            let ids = pairs.iter().map(|(parameter, _)| parameter.id());
            gradients.extend(ids.zip(unpacked(&pairs, &sums)?));
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::nn::checkpoint_block::{self, Block, Keep, TrainedParams};
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
    #[derive(Clone, Default)]
    struct Twice(Rc<RefCell<Vec<Sent>>>);

    /// The place of a bucket, and its numbers.
    type Sent = (usize, Vec<f32>);

    impl BucketSums for Twice {
        fn add(&self, place: usize, numbers: Vec<f32>) {
            self.0.borrow_mut().push((place, numbers));
        }

        fn finish(self: Box<Self>) -> Vec<Vec<f32>> {
            let mut sent = self.0.take();
            sent.sort_by_key(|(place, _)| *place);
            sent.into_iter().map(|(_, numbers)| numbers.iter().map(|number| number * 2.0).collect()).collect()
        }
    }

    #[test]
    fn blocks_are_sent_when_no_run_of_them_is_left() {
        let builder = Builder::fresh(0, &Device::Cpu);
        let [a, b, c] =
            ["a", "b", "c"].map(|name| builder.root().param(name, 1, Init::Constant(2.0)).unwrap());
        let params = builder.finish(Path::new("p")).unwrap();
        let blocks = [&b, &a, &c].map(|parameter| vec![parameter.clone()]);
        let before = Tensor::new(&[100f32], &Device::Cpu).unwrap();
        let pair = |block: &Vec<Tensor>| {
            vec![(block[0].clone(), Some(before.clone()).filter(|_| block[0].id() == a.id()))]
        };
        let sums = Twice::default();
        let buckets = blocks.iter().map(pair).collect();
        let overlapped = OverlappedAllReduce::start(buckets, 0.5, Box::new(sums.clone()));

        let trained = blocks.clone().map(TrainedParams::new);
        let run = |block: usize, x: &Tensor| {
            checkpoint_block::run(&Scaled(blocks[block][0].clone()), &trained[block], Keep::Everything, x)
                .unwrap()
        };
        // b·(a·(a·x)) with all of them 2 and x = 1; c is not used.
        let unused = run(0, &before);
        let x = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        let y = run(0, &run(1, &run(1, &x)));
        drop(unused);
        let found = y.sum_all().unwrap().backward().unwrap();
        // da = 2·b·a, db = a²; the second number says that there is a gradient.
        assert_eq!(*sums.0.borrow(), [(0, vec![0.5 * 4.0, 1.0]), (1, vec![100.0 + 0.5 * 8.0, 1.0])]);
        let mut gradients = Gradients::of(&params);
        gradients.add(&found, 0.5).unwrap();
        assert!(gradients.iter().all(|(_, gradient)| gradient.is_none()), "those of blocks were sent");
        let sums = overlapped.finish(|_| None).unwrap();
        let value = |gradient: &Tensor| gradient.to_vec1::<f32>().unwrap()[0];
        assert_eq!([&b, &a, &c].map(|x| sums[&x.id()].as_ref().map(value)), [Some(4.0), Some(208.0), None]);
    }
}

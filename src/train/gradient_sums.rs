//! Gradients summed over ranks in the background: the communicator's side of
//! [`Gradients::overlap_all_reduce`](crate::nn::gradients::Gradients::overlap_all_reduce).

use crate::distributed::Comm;
use crate::distributed::overlapped_sums::OverlappedSums;
use crate::nn::gradients::BucketSums;

impl BucketSums for OverlappedSums {
    fn add(&self, place: usize, numbers: Vec<f32>) {
        OverlappedSums::add(self, place, numbers);
    }

    fn finish(self: Box<Self>) -> Vec<Vec<f32>> {
        OverlappedSums::finish(*self)
    }
}

/// Starts the sums of `count` buckets; `None` where the ranks sum after the backward pass.
pub fn start(comm: &Comm, count: usize) -> Option<Box<dyn BucketSums>> {
    Some(Box::new(comm.overlapped_sums(count)?))
}

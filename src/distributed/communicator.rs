//! The operations that every way of connecting ranks provides, in MPI's words.

use candle_core::Tensor;

use super::overlapped_sums::OverlappedSums;
use crate::error::Result;

/// A connection between ranks. Collective operations are called by all ranks, in the same order.
///
/// [`super::Comm`] is built on it and is the type that the rest of the program uses.
pub trait Communicator {
    /// The number of this rank, from zero.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// Waits until all ranks have come here, without keeping a processor busy.
    fn barrier(&self);

    /// The first rank's number.
    fn broadcast(&self, number: f64) -> f64;

    /// Adds numbers up over all ranks, in place.
    fn all_reduce(&self, numbers: &mut [f32]);

    /// Adds a contiguous f32 tensor up over all ranks, in place, from GPU to GPU. `None` when these ranks
    /// cannot do that with this tensor; it is then summed through memory.
    fn all_reduce_on_gpu(&self, tensor: &Tensor) -> Option<Result<()>> {
        _ = tensor;
        None
    }

    /// Whether the value is true on at least one rank.
    fn any(&self, value: bool) -> bool;

    /// Whether it is worth summing gradients during the backward pass ([`Self::overlapped_sums`]).
    fn overlaps_sums(&self) -> bool {
        false
    }

    /// Starts `count` sums over all ranks on a thread of their own; `None` unless [`Self::overlaps_sums`].
    /// Until they are finished, this rank's thread must not call another collective operation.
    fn overlapped_sums(&self, count: usize) -> Option<OverlappedSums> {
        _ = count;
        None
    }

    /// Ends all ranks at once.
    fn abort(&self) -> !;
}

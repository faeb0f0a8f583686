//! The processes that embed and train together, started by `mpirun` (feature `mpi`); by far most often this one alone.
//!
//! Every rank does the same step on a share of its queries; gradients are added up between them, between machines while they are
//! still being found ([`overlapped_sums`]). Photos and captions are embedded, images encoded and queries answered by shares too
//! ([`Ranks::shared`]). What is learnt before the training, written and shown is the first rank's business. State belongs to no
//! rank, so a run may go on with any number of them.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::matrix::Matrix;

#[cfg(feature = "mpi")]
mod mpi_comm;
#[cfg(feature = "nccl")]
mod nccl_comm;
pub mod overlapped_sums;

/// This process among those that train together.
#[derive(Clone, Default)]
pub struct Ranks {
    rank: usize,
    /// One less than their number.
    others: usize,
    #[cfg(feature = "mpi")]
    world: Option<std::rc::Rc<mpi_comm::World>>,
}

/// A number that the launcher tells every process that it starts.
fn told(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// Rank and number of ranks.
pub fn launched() -> Option<(usize, usize)> {
    let pairs = [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")];
    pairs.into_iter().find_map(|(rank, size)| Some((told(rank)?, told(size)?)))
}

/// The number of this process among those of its machine; nought where the launcher does not tell it.
pub fn local() -> usize {
    ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"].into_iter().find_map(told).unwrap_or(0)
}

/// The share of so many items that one of `size` ranks has.
pub fn share(rank: usize, size: usize, items: usize) -> Range<usize> {
    rank * items / size..(rank + 1) * items / size
}

impl Ranks {
    /// This process alone.
    pub fn alone() -> Self {
        Self::default()
    }

    /// This process among those that the launcher has started with it; alone where there was none.
    ///
    /// # Errors
    /// When there are several and this program cannot speak with them.
    pub fn join() -> Result<Self> {
        match launched() {
            Some((_, size)) if size > 1 => Self::several(),
            _ => Ok(Self::alone()),
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn several() -> Result<Self> {
        Err(Error::input(
            "started as one of several ranks, and this program was built without them: build it with --features mpi, or \
             start it alone",
        ))
    }

    /// The number of this rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.others + 1
    }

    /// Whether this is the one that writes and shows.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// This rank's share of so many items.
    pub fn share(&self, items: usize) -> Range<usize> {
        share(self.rank, self.size(), items)
    }

    /// What the first rank makes and writes before the others make it of what was written.
    ///
    /// # Errors
    /// What `make` reports; the others then wait for whoever aborts.
    pub fn in_turn<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.is_first() {
            self.wait();
        }
        let made = make()?;
        if self.is_first() {
            self.wait();
        }
        Ok(made)
    }

    /// The sum of a contiguous tensor over all ranks: from GPU to GPU with the feature `nccl`, else by way of memory.
    ///
    /// # Errors
    /// When the device refuses, or a GPU cannot reach the others.
    pub fn total(&self, own: Tensor) -> Result<Tensor> {
        if self.size() == 1 {
            return Ok(own);
        }
        #[cfg(feature = "nccl")]
        if own.device().is_cuda() {
            return self.total_of_gpus(own);
        }
        let mut numbers = own.flatten_all()?.to_vec1::<f32>()?;
        self.sum(&mut numbers);
        Ok(Tensor::from_vec(numbers, own.shape(), own.device())?)
    }

    /// Rows of `width` numbers of which each rank has some, put together: `own` are this one's, each with its place among
    /// `count`. What none has is zeros.
    pub fn gathered<R: AsRef<[f32]>>(
        &self,
        own: impl Iterator<Item = (usize, R)>,
        count: usize,
        width: usize,
    ) -> Vec<f32> {
        let mut all = vec![0.0; count * width];
        own.for_each(|(place, row)| all[place * width..(place + 1) * width].copy_from_slice(row.as_ref()));
        self.sum(&mut all);
        all
    }

    /// A matrix of `rows` × `width` that the first rank makes, and all get.
    ///
    /// # Errors
    /// What `make` reports; the others then wait for whoever aborts.
    pub fn of_first(
        &self,
        rows: usize,
        width: usize,
        make: impl FnOnce() -> Result<Matrix>,
    ) -> Result<Matrix> {
        let mut made = if self.is_first() { make()? } else { Matrix::zeros(rows, width) };
        self.wait();
        self.sum(made.data_mut());
        Ok(made)
    }

    /// A matrix of `count` rows, of which each rank makes those of its share.
    ///
    /// # Errors
    /// What `make` reports; the others then wait for whoever aborts.
    pub fn shared(&self, count: usize, make: impl FnOnce(Range<usize>) -> Result<Matrix>) -> Result<Matrix> {
        let own = self.share(count);
        let rows = make(own.clone())?;
        if self.size() == 1 {
            return Ok(rows);
        }
        Ok(Matrix::new(rows.width(), self.gathered(own.zip(rows.iter()), count, rows.width())))
    }

    /// The name of a random stream that each rank has of its own; the first one's is that of a process alone.
    pub fn own(&self, stream: &str) -> String {
        if self.is_first() { stream.to_owned() } else { format!("{stream} of rank {}", self.rank) }
    }

    /// Whether all ranks have come to the same number; `what` it is of.
    ///
    /// # Errors
    /// When one has not.
    pub fn agree(&self, what: &str, own: u32) -> Result<()> {
        if self.any(self.told(f64::from(own)) != f64::from(own)) {
            return Err(Error::input(format!("the ranks differ in {what}")));
        }
        Ok(())
    }
}

#[cfg(not(feature = "mpi"))]
impl Ranks {
    /// Adds numbers up over all ranks, in place.
    pub fn sum(&self, _: &mut [f32]) {}

    /// Whether sums over all ranks may be taken while these compute.
    pub fn sums_early(&self) -> bool {
        false
    }

    /// So many sums over all ranks, taken while this one computes; none where that is not to be done.
    pub fn sums(&self, _: usize) -> Option<overlapped_sums::Sums> {
        None
    }

    /// Whether any rank says so.
    pub fn any(&self, own: bool) -> bool {
        own
    }

    /// The first rank's number.
    pub fn told(&self, own: f64) -> f64 {
        own
    }

    /// Waits for all, without taking the processor from those that work.
    pub fn wait(&self) {}

    /// Ends all ranks.
    pub fn abort(&self) -> ! {
        std::process::exit(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_items_once() {
        for (items, size) in [(48, 1), (48, 2), (7, 3), (2, 4)] {
            let shares = (0..size).map(|rank| share(rank, size, items));
            assert_eq!(shares.flatten().collect::<Vec<_>>(), (0..items).collect::<Vec<_>>());
        }
        assert_eq!(Ranks::alone().own("rivals"), "rivals");
        assert!(Ranks::alone().agree("nothing", 7).is_ok());
        let rows = [(2, [1.0, 2.0]), (0, [3.0, 4.0])].into_iter();
        assert_eq!(Ranks::alone().gathered(rows, 3, 2), [3.0, 4.0, 0.0, 0.0, 1.0, 2.0]);
        let shared =
            Ranks::alone().shared(3, |own| Ok(Matrix::new(1, own.map(|item| item as f32).collect())));
        assert_eq!(shared.unwrap().data(), [0.0, 1.0, 2.0]);
    }
}

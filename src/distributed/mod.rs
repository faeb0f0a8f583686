//! Several processes that embed, train and measure together, started by `mpirun` (feature `mpi`).
//!
//! [`Comm`] is the handle on them, in MPI's words: `rank`, `size`, `barrier`, `broadcast`, `all_reduce`.
//! Behind it is one of several [`communicator::Communicator`]s:
//!
//! | communicator | ranks | made by |
//! |---|---|---|
//! | [`single::Single`] | this process alone | [`Comm::single`] |
//! | `mpi_comm::Mpi` (feature `mpi`) | processes; their GPUs sum by NCCL with the feature `nccl` | [`Comm::world`] |
//! | [`thread_comm`] | threads of one process, for tests | [`thread_comm::run`] |
//!
//! All ranks do the same training step on different shares of its queries and sum their gradients, between
//! machines during the backward pass ([`overlapped_sums`]). They also share the embedding of photos and
//! captions, the encoding of images to docids and the answering of queries ([`Comm::gather_shares`]). Only
//! the first rank fits what precedes the training (alignment, codebooks), writes files and prints. No state
//! belongs to one rank, so a run may resume with any number of ranks.

pub mod communicator;
pub mod launcher_environment;
#[cfg(feature = "mpi")]
pub mod mpi_comm;
#[cfg(feature = "nccl")]
mod nccl_comm;
pub mod overlapped_sums;
pub mod single;
pub mod thread_comm;

use std::ops::Range;
use std::rc::Rc;

use candle_core::Tensor;

use self::communicator::Communicator;
use self::overlapped_sums::OverlappedSums;
use self::single::Single;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// This process among those that train together. Cheap to clone; it stays on the thread that made it.
///
/// Methods that exchange something are collective: all ranks call them, in the same order.
#[derive(Clone)]
pub struct Comm(Rc<dyn Communicator>);

impl Default for Comm {
    fn default() -> Self {
        Self::single()
    }
}

/// The part of `items` things that belongs to one of `size` ranks.
pub fn share(rank: usize, size: usize, items: usize) -> Range<usize> {
    rank * items / size..(rank + 1) * items / size
}

impl Comm {
    /// The handle on a communicator.
    pub fn new(communicator: impl Communicator + 'static) -> Self {
        Self(Rc::new(communicator))
    }

    /// This process alone.
    pub fn single() -> Self {
        Self::new(Single)
    }

    /// All processes that the launcher started; this one alone when there was no launcher.
    ///
    /// # Errors
    /// When there are several processes and the program was built without MPI, or MPI fails.
    pub fn world() -> Result<Self> {
        match launcher_environment::rank_and_size() {
            Some((_, size)) if size > 1 => several(),
            _ => Ok(Self::single()),
        }
    }

    /// The number of this rank, from zero.
    pub fn rank(&self) -> usize {
        self.0.rank()
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether this is the first rank, which writes and prints.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of `items` things.
    pub fn share(&self, items: usize) -> Range<usize> {
        share(self.rank(), self.size(), items)
    }

    /// The name of a random stream that differs from rank to rank; the first rank's is that of a process
    /// alone.
    pub fn stream_name(&self, stream: &str) -> String {
        if self.is_first() { stream.to_owned() } else { format!("{stream} of rank {}", self.rank()) }
    }

    /// Waits until all ranks have come here, without keeping a processor busy.
    pub fn barrier(&self) {
        self.0.barrier();
    }

    /// The first rank's number.
    pub fn broadcast(&self, number: f64) -> f64 {
        self.0.broadcast(number)
    }

    /// Whether the value is true on at least one rank.
    pub fn any(&self, value: bool) -> bool {
        self.0.any(value)
    }

    /// The value of each rank if all have one; `None` on all ranks if one has none.
    pub fn all_or_none<T>(&self, value: Option<T>) -> Option<T> {
        if self.any(value.is_none()) { None } else { value }
    }

    /// Checks that all ranks have the same `number` of something called `what`.
    ///
    /// # Errors
    /// When one rank has another number.
    pub fn agree(&self, what: &str, number: u32) -> Result<()> {
        let first = self.broadcast(f64::from(number));
        if self.any(first != f64::from(number)) {
            return Err(Error::input(format!("the ranks differ in {what}")));
        }
        Ok(())
    }

    /// Adds numbers up over all ranks, in place.
    pub fn all_reduce(&self, numbers: &mut [f32]) {
        self.0.all_reduce(numbers);
    }

    /// The sum of a contiguous f32 tensor over all ranks: from GPU to GPU with the feature `nccl`, else
    /// through memory.
    ///
    /// # Errors
    /// When the device fails, or a GPU cannot reach the others.
    pub fn all_reduce_tensor(&self, tensor: Tensor) -> Result<Tensor> {
        if self.size() == 1 {
            return Ok(tensor);
        }
        if let Some(summed) = self.0.all_reduce_on_gpu(&tensor) {
            return summed.map(|()| tensor);
        }
        let mut numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
        self.all_reduce(&mut numbers);
        Ok(Tensor::from_vec(numbers, tensor.shape(), tensor.device())?)
    }

    /// The matrix of `count` rows of `width` numbers of which each rank brings some, with their places. Rows
    /// that no rank brings are zeros.
    pub fn all_gather_rows<R: AsRef<[f32]>>(
        &self,
        rows: impl Iterator<Item = (usize, R)>,
        count: usize,
        width: usize,
    ) -> Vec<f32> {
        let mut all = vec![0.0; count * width];
        rows.for_each(|(place, row)| all[place * width..(place + 1) * width].copy_from_slice(row.as_ref()));
        self.all_reduce(&mut all);
        all
    }

    /// The matrix of `rows` × `width` that the first rank makes.
    ///
    /// # Errors
    /// What `make` reports; the other ranks then wait until this one aborts.
    pub fn broadcast_matrix(
        &self,
        rows: usize,
        width: usize,
        make: impl FnOnce() -> Result<Matrix>,
    ) -> Result<Matrix> {
        let mut matrix = if self.is_first() { make()? } else { Matrix::zeros(rows, width) };
        self.barrier();
        self.all_reduce(matrix.data_mut());
        Ok(matrix)
    }

    /// The matrix of `count` rows of which each rank makes its share.
    ///
    /// # Errors
    /// What `make` reports; the other ranks then wait until this one aborts.
    pub fn gather_shares(
        &self,
        count: usize,
        make: impl FnOnce(Range<usize>) -> Result<Matrix>,
    ) -> Result<Matrix> {
        let own = self.share(count);
        let rows = make(own.clone())?;
        if self.size() == 1 {
            return Ok(rows);
        }
        Ok(Matrix::new(rows.width(), self.all_gather_rows(own.zip(rows.iter()), count, rows.width())))
    }

    /// Lists of whole numbers, one for each of `count` things, of which each rank makes those of its share. A
    /// list has at most `longest` numbers, each below 2²⁴ − 1.
    pub fn gather_lists(
        &self,
        count: usize,
        longest: usize,
        make: impl FnOnce(Range<usize>) -> Vec<Vec<u32>>,
    ) -> Vec<Vec<u32>> {
        let own = self.share(count);
        let lists = make(own.clone());
        if self.size() == 1 {
            return lists;
        }
        // Numbers are sent as f32, which holds them exactly, counted from one; zero ends a list.
        let sent = |list: Vec<u32>| {
            let mut row: Vec<f32> = list.into_iter().map(|number| (number + 1) as f32).collect();
            row.resize(longest, 0.0);
            row
        };
        let all = self.all_gather_rows(own.zip(lists.into_iter().map(sent)), count, longest);
        let received = |row: &[f32]| row.iter().take_while(|&&x| x > 0.0).map(|&x| x as u32 - 1).collect();
        all.chunks_exact(longest).map(received).collect()
    }

    /// Runs `make` on the first rank, which may write files, and then on the others, which find them.
    ///
    /// # Errors
    /// What `make` reports; the other ranks then wait until this one aborts.
    pub fn first_rank_first<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.is_first() {
            self.barrier();
        }
        let made = make()?;
        if self.is_first() {
            self.barrier();
        }
        Ok(made)
    }

    /// Whether gradients are summed during the backward pass.
    pub fn overlaps_sums(&self) -> bool {
        self.0.overlaps_sums()
    }

    /// Starts `count` sums over all ranks on a thread of their own; `None` unless [`Self::overlaps_sums`].
    /// Until they are finished, this thread must not call another collective method.
    pub fn overlapped_sums(&self, count: usize) -> Option<OverlappedSums> {
        self.0.overlapped_sums(count)
    }

    /// Ends all ranks at once.
    pub fn abort(&self) -> ! {
        self.0.abort()
    }
}

#[cfg(feature = "mpi")]
fn several() -> Result<Comm> {
    mpi_comm::Mpi::connect().map(Comm::new)
}

#[cfg(not(feature = "mpi"))]
fn several() -> Result<Comm> {
    Err(Error::input(
        "started as one of several ranks, and this program was built without them: build it with --features mpi, or start \
         it alone",
    ))
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
    }

    /// Makes, on every rank, everything that ranks make together.
    fn together(comm: &Comm) -> (Vec<f32>, Matrix, Matrix, Vec<f32>, Vec<Vec<u32>>) {
        let own = comm.share(5);
        let rows = own.clone().map(|place| (4 - place, [place as f32, 1.0]));
        let gathered = comm.all_gather_rows(rows, 6, 2);
        let shares = comm.gather_shares(5, |own| Ok(Matrix::new(1, own.map(|item| item as f32).collect())));
        let matrix = comm.broadcast_matrix(1, 2, || Ok(Matrix::new(2, vec![3.0, 4.0])));
        let tensor =
            Tensor::new(&[own.len() as f32, f32::from(u8::from(comm.is_first()))], &candle_core::Device::Cpu)
                .unwrap();
        let sum = comm.all_reduce_tensor(tensor).unwrap().to_vec1().unwrap();
        let lists = comm.gather_lists(4, 3, |own| own.map(|item| (0..item as u32).collect()).collect());
        (gathered, shares.unwrap(), matrix.unwrap(), sum, lists)
    }

    #[test]
    fn any_number_of_ranks_makes_the_same_together() {
        let single = together(&Comm::single());
        assert_eq!(single.0, [4.0, 1.0, 3.0, 1.0, 2.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(single.1.data(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!((single.2.data(), &single.3[..]), (&[3.0, 4.0][..], &[5.0, 1.0][..]));
        assert_eq!(single.4, [vec![], vec![0], vec![0, 1], vec![0, 1, 2]]);
        for size in [1, 2, 4, 7] {
            assert!(thread_comm::run(size, together).iter().all(|ranks| *ranks == single), "{size} ranks");
        }
    }

    #[test]
    fn ranks_that_differ_are_refused_on_all_of_them() {
        assert!(Comm::single().agree("nothing", 7).is_ok());
        let refusals = thread_comm::run(3, |comm| comm.agree("their number", comm.rank() as u32).is_err());
        assert_eq!(refusals, [true; 3]);
        assert!(thread_comm::run(3, |comm| comm.agree("nothing", 7)).iter().all(Result::is_ok));
    }

    #[test]
    fn the_first_rank_writes_what_the_others_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made");
        let existed = thread_comm::run(3, |comm| {
            let make = || {
                let existed = file.exists();
                std::fs::write(&file, "made").unwrap();
                Ok(existed)
            };
            comm.first_rank_first(make).unwrap()
        });
        assert_eq!(existed, [false, true, true]);
    }

    #[test]
    fn random_streams_differ_between_ranks() {
        let names = thread_comm::run(2, |comm| comm.stream_name("rivals"));
        assert_eq!(names, ["rivals", "rivals of rank 1"]);
    }
}

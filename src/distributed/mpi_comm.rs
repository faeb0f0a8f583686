//! The communicator of several processes, by MPI.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};

use super::communicator::Communicator;
use super::launcher_environment;
use super::overlapped_sums::OverlappedSums;
use crate::error::{Error, Result};

/// Numbers in one message: four megabytes, enough to use a network and few enough to overlap.
const BUCKET: usize = 1 << 20;

/// All processes that the launcher started.
pub struct Mpi {
    world: SimpleCommunicator,
    overlaps_sums: bool,
    /// The connection between the ranks' GPUs, made at the first sum that needs it.
    #[cfg(feature = "nccl")]
    gpus: std::cell::OnceCell<super::nccl_comm::Gpus>,
    /// Ends the connection when it is dropped.
    _universe: Universe,
}

impl Mpi {
    /// Connects with the other processes.
    ///
    /// # Errors
    /// When MPI cannot be initialised, as when it was initialised before.
    pub fn connect() -> Result<Self> {
        let failed = || Error::input("MPI could not be initialised");
        let (universe, threading) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or_else(failed)?;
        let world = universe.world();
        let no_threads = any(&world, threading < Threading::Serialized);
        let overlaps_sums = !no_threads && any(&world, on_several_machines(&world));
        Ok(Self {
            world,
            overlaps_sums,
            #[cfg(feature = "nccl")]
            gpus: Default::default(),
            _universe: universe,
        })
    }

    /// The connection between GPUs. All ranks make it together, each with a GPU of its own.
    #[cfg(feature = "nccl")]
    fn gpus(&self, device: &candle_core::CudaDevice) -> Result<&super::nccl_comm::Gpus> {
        if self.gpus.get().is_none() {
            let broadcast = |id: &mut [u8]| self.world.process_at_rank(0).broadcast_into(id);
            let gpus = super::nccl_comm::Gpus::connect(device, self.rank(), self.size(), broadcast)?;
            _ = self.gpus.set(gpus);
        }
        Ok(self.gpus.get().expect("invariant: connected above"))
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn barrier(&self) {
        let mut request = self.world.immediate_barrier();
        while let Err(unfinished) = request.test() {
            request = unfinished;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn broadcast(&self, number: f64) -> f64 {
        self.barrier();
        let mut number = number;
        self.world.process_at_rank(0).broadcast_into(&mut number);
        number
    }

    fn all_reduce(&self, numbers: &mut [f32]) {
        all_reduce(&self.world, numbers, || ());
    }

    #[cfg(feature = "nccl")]
    fn all_reduce_on_gpu(&self, tensor: &candle_core::Tensor) -> Option<Result<()>> {
        let candle_core::Device::Cuda(device) = tensor.device() else { return None };
        Some(self.gpus(device).and_then(|gpus| gpus.all_reduce(tensor)))
    }

    fn any(&self, value: bool) -> bool {
        any(&self.world, value)
    }

    /// True when the ranks run on several machines. Within one machine, sums take little time, and would take
    /// it from processors that all compute.
    fn overlaps_sums(&self) -> bool {
        self.overlaps_sums
    }

    fn overlapped_sums(&self, count: usize) -> Option<OverlappedSums> {
        // The pause after each test leaves the processor to the threads that compute.
        let pause = || std::thread::sleep(Duration::from_micros(200));
        let sum = move |numbers: &mut [f32]| all_reduce(&SimpleCommunicator::world(), numbers, pause);
        self.overlaps_sums.then(|| OverlappedSums::new(count, sum))
    }

    fn abort(&self) -> ! {
        let _lock = lock_mpi();
        self.world.abort(1)
    }
}

/// Whether the ranks run on more than this machine, by what the launcher says, or else by which ranks can
/// share memory. A collective operation.
fn on_several_machines(world: &SimpleCommunicator) -> bool {
    let here = launcher_environment::local_size().unwrap_or_else(|| world.split_shared(0).size() as usize);
    here < world.size() as usize
}

/// Keeps an abort on one thread out of MPI while the thread of the overlapped sums is inside.
fn lock_mpi() -> MutexGuard<'static, ()> {
    static CALLS: Mutex<()> = Mutex::new(());
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn any(world: &SimpleCommunicator, value: bool) -> bool {
    let mut any = 0;
    world.all_reduce_into(&i32::from(value), &mut any, SystemOperation::max());
    any > 0
}

/// Sums over all ranks, in place, bucket by bucket: each is on its way while the next one begins. `pause`
/// runs after each test of whether a bucket has arrived.
fn all_reduce(world: &SimpleCommunicator, numbers: &mut [f32], pause: impl Fn()) {
    let own = numbers.to_vec();
    mpi::request::scope(|scope| {
        let buckets = own.chunks(BUCKET).zip(numbers.chunks_mut(BUCKET));
        let lock = lock_mpi();
        let begun: Vec<_> = buckets
            .map(|(own, sum)| world.immediate_all_reduce_into(scope, own, sum, SystemOperation::sum()))
            .collect();
        drop(lock);
        for mut request in begun {
            loop {
                let lock = lock_mpi();
                match request.test() {
                    Ok(_) => break,
                    Err(unfinished) => request = unfinished,
                }
                drop(lock);
                pause();
            }
        }
    });
}

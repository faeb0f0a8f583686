//! Between processes, by MPI.

use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::Ranks;
use crate::distributed::overlapped_sums::Sums;
use crate::error::{Error, Result};

/// Numbers that are sent at once: four megabytes, enough to use a network and few enough to overlap.
const BUCKET: usize = 1 << 20;

/// The connection to the other ranks.
pub struct World {
    pub(super) all: SimpleCommunicator,
    /// Whether sums over all ranks are taken while these compute.
    early: bool,
    /// That of their GPUs, once it was needed.
    #[cfg(feature = "nccl")]
    pub(super) gpus: crate::distributed::nccl_comm::Gpus,
    /// Ends the connection when it is dropped.
    _universe: Universe,
}

impl Ranks {
    pub(super) fn several() -> Result<Self> {
        let failed = || Error::input("MPI could not be initialised");
        let (universe, threading) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or_else(failed)?;
        let all = universe.world();
        let (rank, others) = (all.rank() as usize, all.size() as usize - 1);
        let early = !any(&all, threading < Threading::Serialized) && any(&all, spread(&all));
        let world = World {
            all,
            early,
            #[cfg(feature = "nccl")]
            gpus: Default::default(),
            _universe: universe,
        };
        Ok(Self { rank, others, world: Some(Rc::new(world)) })
    }

    /// Whether sums over all ranks are taken while these compute: where they go over a network. Within one machine they take
    /// little time, and that of processors which all compute.
    pub fn sums_early(&self) -> bool {
        self.world.as_ref().is_some_and(|world| world.early)
    }

    /// Adds numbers up over all ranks, in place: bucket by bucket, each on its way while the next is begun.
    pub fn sum(&self, numbers: &mut [f32]) {
        if let Some(world) = &self.world {
            add_up(&world.all, numbers, || ());
        }
    }

    /// So many sums over all ranks, taken while this one computes; none where that is not to be done. Until
    /// they are finished this thread must ask nothing of the others.
    pub fn sums(&self, count: usize) -> Option<Sums> {
        if !self.sums_early() {
            return None;
        }
        // A pause after each look: the processor is for those who compute.
        let pause = || std::thread::sleep(Duration::from_micros(200));
        Some(Sums::new(count, move |numbers| add_up(&SimpleCommunicator::world(), numbers, pause)))
    }

    /// Whether any rank says so.
    pub fn any(&self, own: bool) -> bool {
        self.world.as_ref().map_or(own, |world| any(&world.all, own))
    }

    /// The first rank's number.
    pub fn told(&self, own: f64) -> f64 {
        let Some(world) = &self.world else { return own };
        self.wait();
        let mut number = own;
        world.all.process_at_rank(0).broadcast_into(&mut number);
        number
    }

    /// Waits for all, without taking the processor from those that work.
    pub fn wait(&self) {
        let Some(world) = &self.world else { return };
        let mut request = world.all.immediate_barrier();
        while let Err(unfinished) = request.test() {
            request = unfinished;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends all ranks.
    pub fn abort(&self) -> ! {
        let _alone = one_at_a_time();
        match &self.world {
            Some(world) => world.all.abort(1),
            None => std::process::exit(1),
        }
    }
}

/// Whether ranks run on more than this machine: as the launcher tells it, or else by whose memory could be shared. All ranks ask
/// together.
fn spread(all: &SimpleCommunicator) -> bool {
    let told = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"].into_iter().find_map(super::told);
    told.unwrap_or_else(|| all.split_shared(0).size() as usize) < all.size() as usize
}

/// Keeps a rank that ends all of them out of MPI while the thread of its sums is inside.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static CALLS: Mutex<()> = Mutex::new(());
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether any rank says so.
fn any(all: &SimpleCommunicator, own: bool) -> bool {
    let (own, mut any) = (i32::from(own), 0);
    all.all_reduce_into(&own, &mut any, SystemOperation::max());
    any > 0
}

/// Adds numbers up over all ranks, in place; `pause` comes after each look at whether that is done.
fn add_up(all: &SimpleCommunicator, numbers: &mut [f32], pause: impl Fn()) {
    let own = numbers.to_vec();
    mpi::request::scope(|scope| {
        let buckets = own.chunks(BUCKET).zip(numbers.chunks_mut(BUCKET));
        let alone = one_at_a_time();
        let begun: Vec<_> = buckets
            .map(|(own, sum)| all.immediate_all_reduce_into(scope, own, sum, SystemOperation::sum()))
            .collect();
        drop(alone);
        for mut request in begun {
            loop {
                let alone = one_at_a_time();
                match request.test() {
                    Ok(_) => break,
                    Err(unfinished) => request = unfinished,
                }
                drop(alone);
                pause();
            }
        }
    });
}

//! Ranks that are threads of one process: tests of shared work need no `mpirun`.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Comm;
use super::communicator::Communicator;
use super::overlapped_sums::OverlappedSums;

/// The panic of a rank that waits for one that has ended.
const RANK_ENDED: &str = "another rank has ended";

/// Runs `work` on `size` threads, each with a rank of its own. Returns the results in the order of ranks.
///
/// # Panics
/// When `work` panics on one of the threads; the others then end too.
pub fn run<T: Send>(size: usize, work: impl Fn(&Comm) -> T + Sync) -> Vec<T> {
    run_threads(size, false, &work)
}

/// [`run`] with ranks that sum gradients during the backward pass ([`Communicator::overlaps_sums`]).
///
/// # Panics
/// As [`run`].
pub fn run_overlapping<T: Send>(size: usize, work: impl Fn(&Comm) -> T + Sync) -> Vec<T> {
    run_threads(size, true, &work)
}

fn run_threads<T: Send>(size: usize, overlaps_sums: bool, work: &(impl Fn(&Comm) -> T + Sync)) -> Vec<T> {
    let exchange = Arc::new(Exchange::new(size));
    let run_rank = |rank: usize| {
        let _guard = EndOthersOnPanic(&exchange);
        work(&Comm::new(Threads { rank, exchange: exchange.clone(), overlaps_sums }))
    };
    let joined = thread::scope(|scope| {
        let run_rank = &run_rank;
        let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || run_rank(rank))).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    all_or_panic(joined)
}

/// All results; or else the panic that came first, not those of ranks that waited for it.
fn all_or_panic<T>(joined: Vec<thread::Result<T>>) -> Vec<T> {
    let mut results = Vec::new();
    let mut panics = Vec::new();
    for result in joined {
        match result {
            Ok(result) => results.push(result),
            Err(panic) => panics.push(panic),
        }
    }
    panics.sort_by_key(is_consequence);
    match panics.into_iter().next() {
        Some(panic) => resume_unwind(panic),
        None => results,
    }
}

fn is_consequence(panic: &Box<dyn Any + Send>) -> bool {
    panic.downcast_ref() == Some(&RANK_ENDED)
}

/// One rank, which belongs to one thread.
struct Threads {
    rank: usize,
    exchange: Arc<Exchange>,
    overlaps_sums: bool,
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.exchange.size
    }

    fn barrier(&self) {
        self.exchange.all_gather(self.rank, Vec::new());
    }

    fn broadcast(&self, number: f64) -> f64 {
        self.exchange.all_gather(self.rank, vec![number])[0][0]
    }

    fn all_reduce(&self, numbers: &mut [f32]) {
        self.exchange.all_reduce(self.rank, numbers);
    }

    fn any(&self, value: bool) -> bool {
        let all = self.exchange.all_gather(self.rank, vec![f64::from(u8::from(value))]);
        all.iter().any(|value| value[0] > 0.0)
    }

    fn overlaps_sums(&self) -> bool {
        self.overlaps_sums
    }

    fn overlapped_sums(&self, count: usize) -> Option<OverlappedSums> {
        let (rank, exchange) = (self.rank, self.exchange.clone());
        let all_reduce = move |numbers: &mut [f32]| exchange.all_reduce(rank, numbers);
        self.overlaps_sums.then(|| OverlappedSums::new(count, all_reduce))
    }

    fn abort(&self) -> ! {
        resume_unwind(Box::new(format!("rank {} has ended all ranks", self.rank)))
    }
}

/// Where the threads leave and take numbers, in rounds that all of them take part in.
struct Exchange {
    size: usize,
    round: Mutex<Round>,
    changed: Condvar,
}

struct Round {
    number: u64,
    /// What each rank has brought to this round.
    brought: Vec<Option<Vec<f64>>>,
    /// What all ranks brought to the round before.
    complete: Arc<Vec<Vec<f64>>>,
    /// Whether a rank has ended, so that no later round can be complete.
    rank_ended: bool,
}

impl Exchange {
    fn new(size: usize) -> Self {
        let round =
            Round { number: 0, brought: vec![None; size], complete: Arc::default(), rank_ended: false };
        Self { size, round: Mutex::new(round), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of all ranks, in the order of ranks. No rank begins another round before all have the
    /// result.
    fn all_gather(&self, rank: usize, numbers: Vec<f64>) -> Arc<Vec<Vec<f64>>> {
        let mut round = self.lock();
        let number = round.number;
        round.brought[rank] = Some(numbers);
        if round.brought.iter().all(Option::is_some) {
            round.complete = Arc::new(round.brought.iter_mut().filter_map(Option::take).collect());
            round.number += 1;
            self.changed.notify_all();
        }
        let waiting = |round: &mut Round| round.number == number && !round.rank_ended;
        let round = self.changed.wait_while(round, waiting).unwrap_or_else(PoisonError::into_inner);
        if round.number == number {
            drop(round);
            resume_unwind(Box::new(RANK_ENDED));
        }
        round.complete.clone()
    }

    /// Sums in the order of ranks, so that the result does not depend on which thread is faster.
    fn all_reduce(&self, rank: usize, numbers: &mut [f32]) {
        let all = self.all_gather(rank, numbers.iter().copied().map(f64::from).collect());
        for (place, sum) in numbers.iter_mut().enumerate() {
            *sum = all.iter().map(|numbers| numbers[place] as f32).sum();
        }
    }

    fn end(&self) {
        self.lock().rank_ended = true;
        self.changed.notify_all();
    }
}

/// Ends the ranks that wait for this one, when it panics.
struct EndOthersOnPanic<'a>(&'a Exchange);

impl Drop for EndOthersOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_gets_the_same_results() {
        let results = run(3, |comm| {
            let mut numbers = [comm.rank() as f32, 1.0];
            comm.all_reduce(&mut numbers);
            comm.barrier();
            (numbers, comm.broadcast(comm.rank() as f64 + 7.0), comm.any(comm.rank() == 2), comm.any(false))
        });
        assert_eq!(results, [([3.0, 3.0], 7.0, true, false); 3]);
    }

    #[test]
    fn sums_can_overlap_with_computation() {
        let sums = run_overlapping(2, |comm| {
            let sums = comm.overlapped_sums(2).unwrap();
            sums.add(1, vec![1.0]);
            sums.add(0, vec![comm.rank() as f32, 2.0]);
            sums.finish()
        });
        assert_eq!(sums, [[vec![1.0, 4.0], vec![2.0]], [vec![1.0, 4.0], vec![2.0]]]);
        assert!(run(2, |comm| comm.overlapped_sums(1).is_none()).into_iter().all(|none| none));
    }

    #[test]
    fn one_rank_that_panics_or_aborts_ends_all() {
        let message = |work: fn(&Comm)| {
            let panic = std::panic::catch_unwind(|| run(3, work)).unwrap_err();
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        let abort = |comm: &Comm| if comm.rank() == 1 { comm.abort() } else { comm.barrier() };
        assert_eq!(message(abort), "rank 1 has ended all ranks");
        let panic = |comm: &Comm| {
            assert!(comm.rank() != 2, "rank {} fails", comm.rank());
            comm.barrier();
        };
        assert_eq!(message(panic), "rank 2 fails");
    }
}

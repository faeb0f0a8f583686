//! Random streams that differ from rank to rank, drawn anew for each micro-batch.

use super::step_and_micro_batch::MicroBatch;
use crate::distributed::Comm;
use crate::rng::{self, Rng};

/// The random streams of this rank.
pub struct RankStreams {
    seed: u64,
    comm: Comm,
}

impl RankStreams {
    /// The streams of a seed.
    pub fn new(seed: u64, comm: &Comm) -> Self {
        Self { seed, comm: comm.clone() }
    }

    /// The stream of this name for a micro-batch. On the first rank it is that of a process alone.
    pub fn stream(&self, name: &str, batch: MicroBatch) -> Rng {
        rng::stream(self.seed, &self.comm.stream_name(name), batch.number() as u64)
    }

    /// Whether this is the first rank.
    pub fn is_first_rank(&self) -> bool {
        self.comm.is_first()
    }
}

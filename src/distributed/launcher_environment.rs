//! What `mpirun` and its like say about this process, in environment variables. Reading them needs no MPI.

/// The rank of this process and the number of ranks; `None` when no launcher started it.
pub fn rank_and_size() -> Option<(usize, usize)> {
    let pairs = [("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")];
    pairs.into_iter().find_map(|(rank, size)| Some((number(rank)?, number(size)?)))
}

/// The rank of this process among those on its machine; zero when the launcher does not say.
pub fn local_rank() -> usize {
    ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]
        .into_iter()
        .find_map(number)
        .unwrap_or(0)
}

/// The number of ranks on this machine.
#[cfg(feature = "mpi")]
pub(super) fn local_size() -> Option<usize> {
    ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"].into_iter().find_map(number)
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

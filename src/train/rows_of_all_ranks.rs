//! Gathers embeddings of all ranks for a loss over all of them; each rank's own rows keep their gradients.

use candle_core::Tensor;

use crate::distributed::Comm;
use crate::error::Result;

/// The rows of all ranks in order, (rows of all ranks, width): those of this rank with their gradients, the
/// others as constants.
pub fn rows_of_all_ranks(rows: &Tensor, comm: &Comm) -> Result<Tensor> {
    if comm.size() == 1 {
        return Ok(rows.clone());
    }
    let (count, width) = rows.dims2()?;
    let (before, after) = rows_of_other_ranks(count, comm);
    let zeros = |count: usize| Tensor::zeros((count, width), rows.dtype(), rows.device());
    let placed = Tensor::cat(&[zeros(before)?, rows.detach(), zeros(after)?], 0)?;
    let constants = comm.all_reduce_tensor(placed)?;
    let parts = [constants.narrow(0, 0, before)?, rows.clone(), constants.narrow(0, before + count, after)?];
    let filled: Vec<&Tensor> = parts.iter().filter(|part| part.elem_count() > 0).collect();
    Ok(Tensor::cat(&filled, 0)?)
}

/// How many rows the ranks before this one have together, and those after it, when this one has `count`.
fn rows_of_other_ranks(count: usize, comm: &Comm) -> (usize, usize) {
    let mut counts = vec![0.0f32; comm.size()];
    counts[comm.rank()] = count as f32;
    comm.all_reduce(&mut counts);
    let sum = |counts: &[f32]| counts.iter().sum::<f32>() as usize;
    (sum(&counts[..comm.rank()]), sum(&counts[comm.rank() + 1..]))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::distributed::thread_comm;

    #[test]
    fn each_rank_sees_all_rows_and_has_gradients_of_its_own() {
        // Rank r has r + 1 rows of the number r + 1.
        let gathered = thread_comm::run(3, |comm| {
            let count = comm.rank() + 1;
            let rows = Var::from_vec(vec![count as f32; count], (count, 1), &Device::Cpu).unwrap();
            let all = rows_of_all_ranks(&rows, comm).unwrap();
            let gradients = all.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (numbers(&all), numbers(gradients.get(&rows).unwrap()))
        });
        for (rank, (all, gradient)) in gathered.into_iter().enumerate() {
            assert_eq!(all, [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
            assert_eq!(gradient, vec![2.0 * (rank + 1) as f32; rank + 1]);
        }
    }
}

//! Puts the embeddings of several ranks together when each rank could embed only some of its items.

use crate::distributed::Comm;
use crate::matrix::Matrix;

/// The items that any rank embedded, ascending, and their rows (item, width); all ranks get the same.
///
/// `items` are those of this rank, out of `count`, and `rows` their rows.
pub fn gather_rows(items: &[usize], rows: &Matrix, count: usize, comm: &Comm) -> (Vec<usize>, Matrix) {
    if comm.size() == 1 {
        return (items.to_vec(), rows.clone());
    }
    let embedded = comm.all_gather_rows(items.iter().map(|&item| (item, [1.0])), count, 1);
    let all = comm.all_gather_rows(items.iter().copied().zip(rows.iter()), count, rows.width());
    let embedded: Vec<usize> = (0..count).filter(|&item| embedded[item] > 0.0).collect();
    let rows = Matrix::new(rows.width(), all).select(&embedded);
    (embedded, rows)
}

//! Embeds a list batch by batch. The batches decide the last bits of the rows, so their order and size are
//! explicit.

use crate::error::Result;
use crate::matrix::Matrix;

/// The positions of tokenised captions, shortest first: captions of similar length share a batch, so little
/// of it is padding. Captions of equal length keep their order.
pub fn shortest_first(captions: &[Vec<u32>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..captions.len()).collect();
    order.sort_by_key(|&caption| captions[caption].len());
    order
}

/// Embeds the items in the given order, `batch` at once, and returns the rows by item: (item, width).
///
/// `order` lists each item once; `embed` turns the items of a batch into as many rows.
///
/// # Errors
/// The first error of `embed`.
pub fn embed_in_batches(
    order: &[usize],
    batch: usize,
    width: usize,
    mut embed: impl FnMut(&[usize]) -> Result<Matrix>,
) -> Result<Matrix> {
    let mut rows = Matrix::zeros(order.len(), width);
    for items in order.chunks(batch) {
        let embedded = embed(items)?;
        for (&item, row) in items.iter().zip(embedded.iter()) {
            rows.row_mut(item).copy_from_slice(row);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_return_to_the_place_of_their_caption() {
        let captions = [vec![7; 3], vec![8; 2], vec![9; 3], vec![6; 1]];
        let order = shortest_first(&captions);
        assert_eq!(order, [3, 1, 0, 2]);
        let mut batches = Vec::new();
        let rows = embed_in_batches(&order, 3, 1, |items| {
            batches.push(items.to_vec());
            Ok(Matrix::new(1, items.iter().map(|&item| captions[item][0] as f32).collect()))
        });
        assert_eq!(rows.unwrap().data(), [7.0, 8.0, 9.0, 6.0]);
        assert_eq!(batches, [vec![3, 1, 0], vec![2]]);
    }

    #[test]
    fn an_empty_list_keeps_the_width() {
        let rows = embed_in_batches(&[], 3, 5, |_| unreachable!()).unwrap();
        assert_eq!((rows.rows(), rows.width()), (0, 5));
    }
}

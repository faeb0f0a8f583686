//! Docids that are unique by construction: each image takes the best path of the quantiser that no image before it
//! has.
//!
//! The suffix of [`collide`](super::suffix) tells images of equal codes apart by a number that means nothing: no
//! query can foresee it. Here the second image gets its second-best sum of codewords instead, which still describes
//! it. Images choose in [`ImageIdx`](crate::ids::ImageIdx) order, so images appended to a corpus leave earlier names
//! as they were.

use std::collections::HashSet;

use super::rq::Codebooks;
use super::{Code, distributed};
use crate::distributed::Comm;
use crate::matrix::Matrix;

/// An image whose paths are all taken looks again with a beam this many times as wide.
const WIDER: usize = 8;

/// The codes of every row of `points`, all different where `beam`, or a wider one, finds enough paths. An image for
/// which it does not keeps its best path, which is another's too: [`super::suffix::unique`] has the last word.
/// All ranks have the same codebooks and points.
pub fn distinct(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Code>> {
    let mut taken = HashSet::new();
    let choose = |(row, paths): (usize, Vec<Vec<Code>>)| {
        let free = |paths: &[Vec<Code>]| paths.iter().find(|&path| !taken.contains(path)).cloned();
        let wider = || free(&books.ranked_all(&points.select(&[row]), beam * WIDER)[0]);
        let codes = free(&paths).or_else(wider).unwrap_or_else(|| paths[0].clone());
        taken.insert(codes.clone());
        codes
    };
    distributed::ranked_all(books, points, beam, comm).into_iter().enumerate().map(choose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::rng::stream;
    use proptest::prelude::*;

    #[test]
    fn the_second_of_two_equal_images_gets_the_second_best_path() {
        let books =
            Codebooks::new(vec![Matrix::new(1, vec![0.0, 10.0]), Matrix::new(1, vec![0.0, 1.0, 3.0])]);
        let points = Matrix::new(1, vec![11.0, 11.0, 0.0, 11.0]);
        let codes = distinct(&books.unwrap(), &points, 3, &Comm::single());
        assert_eq!(codes, [[1, 1], [1, 0], [0, 0], [1, 2]]);
    }

    #[test]
    fn more_images_than_paths_share_the_best_one() {
        let books = Codebooks::new(vec![Matrix::new(1, vec![0.0, 1.0])]).unwrap();
        let points = Matrix::new(1, vec![0.0; 4]);
        assert_eq!(distinct(&books, &points, 1, &Comm::single()), [[0], [1], [0], [0]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn docids_differ_and_appended_images_rename_nobody(seed: u64, copies in 1usize..40, first in 1usize..50) {
            let some = noise(10, 3);
            let rows: Vec<usize> = (0..60).map(|row| if row < copies { 0 } else { row % 10 }).collect();
            let points = some.select(&rows);
            let books = Codebooks::fit(&some, &[4; 5], 5, &mut stream(seed, "rq", 0)).unwrap();
            let codes = distinct(&books, &points, 8, &Comm::single());
            let different: HashSet<_> = codes.iter().collect();
            prop_assert_eq!(different.len(), codes.len(), "64 paths are found, and there are 60 images");
            let first_ones = points.select(&(0..first).collect::<Vec<_>>());
            let fewer = distinct(&books, &first_ones, 8, &Comm::single());
            prop_assert_eq!(&codes[..first], &fewer[..]);
        }
    }
}

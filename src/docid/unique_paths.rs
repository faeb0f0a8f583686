//! Codes that are unique by construction: each image takes the best path of the quantiser that no image
//! before it has taken.
//!
//! A [`suffix`](super::suffix) tells images of equal codes apart by a number without meaning, which no query
//! can predict. Here the second image gets its second-best sum of codewords instead, which still describes
//! it. Images choose in [`ImageIdx`](crate::ids::ImageIdx) order, so appending images to a corpus changes no
//! earlier docid.

use std::collections::HashSet;

use super::Code;
use super::rq::Codebooks;
use crate::matrix::Matrix;

/// An image whose paths are all taken searches again with a beam this many times as wide.
const WIDER: usize = 8;

/// The codes of every row of `points`, all different if `beam`, or the wider one, finds enough paths. An
/// image without a free path keeps its best one, which another image has too; [`super::suffix::unique`] then
/// tells them apart.
///
/// `ranked`: for each row its paths, best first, from [`Codebooks::ranked_all`] with this `beam`.
pub fn choose(
    books: &Codebooks,
    points: &Matrix,
    ranked: Vec<Vec<Vec<Code>>>,
    beam: usize,
) -> Vec<Vec<Code>> {
    let mut taken = HashSet::new();
    let mut chosen = Vec::with_capacity(ranked.len());
    for (row, paths) in ranked.into_iter().enumerate() {
        let wider = || free(&books.ranked_all(&points.select(&[row]), beam * WIDER)[0], &taken);
        let codes = free(&paths, &taken).or_else(wider).unwrap_or_else(|| paths[0].clone());
        taken.insert(codes.clone());
        chosen.push(codes);
    }
    chosen
}

/// The best path that no image has taken.
fn free(paths: &[Vec<Code>], taken: &HashSet<Vec<Code>>) -> Option<Vec<Code>> {
    paths.iter().find(|&path| !taken.contains(path)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::rng::stream;
    use proptest::prelude::*;

    fn unique(books: &Codebooks, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        choose(books, points, books.ranked_all(points, beam), beam)
    }

    #[test]
    fn the_second_of_two_equal_images_gets_the_second_best_path() {
        let books =
            Codebooks::new(vec![Matrix::new(1, vec![0.0, 10.0]), Matrix::new(1, vec![0.0, 1.0, 3.0])]);
        let points = Matrix::new(1, vec![11.0, 11.0, 0.0, 11.0]);
        let codes = unique(&books.unwrap(), &points, 3);
        assert_eq!(codes, [[1, 1], [1, 0], [0, 0], [1, 2]]);
    }

    #[test]
    fn more_images_than_paths_share_the_best_one() {
        let books = Codebooks::new(vec![Matrix::new(1, vec![0.0, 1.0])]).unwrap();
        let points = Matrix::new(1, vec![0.0; 4]);
        assert_eq!(unique(&books, &points, 1), [[0], [1], [0], [0]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn docids_differ_and_appended_images_rename_nobody(seed: u64, copies in 1usize..40, first in 1usize..50) {
            let some = noise(10, 3);
            let rows: Vec<usize> = (0..60).map(|row| if row < copies { 0 } else { row % 10 }).collect();
            let points = some.select(&rows);
            let books = Codebooks::fit(&some, &[4; 5], 5, &mut stream(seed, "rq", 0)).unwrap();
            let codes = unique(&books, &points, 8);
            let different: HashSet<_> = codes.iter().collect();
            prop_assert_eq!(different.len(), codes.len(), "64 paths are found, and there are 60 images");
            let first_ones = points.select(&(0..first).collect::<Vec<_>>());
            let fewer = unique(&books, &first_ones, 8);
            prop_assert_eq!(&codes[..first], &fewer[..]);
        }
    }
}

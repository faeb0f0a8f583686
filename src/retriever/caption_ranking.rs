//! Exact search the other way round: a photo asks, captions answer.
//!
//! A photo has several right captions, and the literature's image→text recall counts a hit where *any* of them is
//! among the first K (Karpathy & Fei-Fei 2015; Faghri et al. 2018, VSE++). Scores are made block by block: 64 photos
//! against the 616,767 captions of COCO take 158 MB, and no larger part of the whole matrix ever exists.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;

use super::top_k::top_k;
use crate::matrix::Matrix;

/// Photos scored by one matrix product.
const BLOCK: usize = 64;

/// What a photo was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// One-based rank of the best of its own captions among all.
    pub rank: usize,
    /// The first captions by score, ties by position: each a row of the captions, with its cosine.
    pub first: Vec<(usize, f32)>,
}

/// Ranks all `captions` for each of the `images` (unit rows both); `own[i]` are the rows of image i's captions, at
/// least one. Of each ranking the `k` best captions are kept.
pub fn rank_captions(images: &Matrix, captions: &Matrix, own: &[Range<usize>], k: usize) -> Vec<Answer> {
    assert_eq!(images.rows(), own.len(), "invariant: every image has captions");
    let blocks = images.data().chunks(BLOCK * images.width()).zip(own.chunks(BLOCK));
    let answers = blocks.flat_map(|(block, own)| {
        let block = Matrix::new(images.width(), block.to_vec());
        let scores = block.mul_transposed(captions); // (image, caption)
        let rows = scores.data().par_chunks(captions.rows().max(1)).zip(own);
        rows.map(|(scores, own)| answer(scores, own.clone(), k)).collect::<Vec<_>>()
    });
    answers.collect()
}

fn answer(scores: &[f32], own: Range<usize>, k: usize) -> Answer {
    let first = top_k(scores, k).into_iter().map(|row| (row, scores[row])).collect();
    Answer { rank: rank_of_best(scores, own), first }
}

/// One-based rank of the best of the rows `own`, when all rows stand by score descending, ties by position. (A NaN
/// scores below everything.)
fn rank_of_best(scores: &[f32], own: Range<usize>) -> usize {
    let score = |row: usize| if scores[row].is_nan() { f32::NEG_INFINITY } else { scores[row] };
    let before = |a: usize, b: usize| match score(b).partial_cmp(&score(a)) {
        Some(Ordering::Equal) | None => a < b,
        Some(order) => order == Ordering::Less,
    };
    let best = own.reduce(|best, row| if before(row, best) { row } else { best });
    let best = best.expect("invariant: an image has a caption");
    1 + (0..scores.len()).filter(|&row| before(row, best)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_own_caption_counts_and_ties_go_by_position() {
        let scores = [0.5, 0.9, 0.5, 0.7, 0.2, f32::NAN];
        assert_eq!(rank_of_best(&scores, 3..5), 2);
        assert_eq!(rank_of_best(&scores, 2..3), 4);
        assert_eq!(rank_of_best(&scores, 0..1), 3);
        assert_eq!(rank_of_best(&scores, 4..6), 5);
        assert_eq!(rank_of_best(&scores, 5..6), 6);
    }

    #[test]
    fn blocks_make_no_difference() {
        // More images than a block has; image i lies at angle i, its two captions at i + 0.1 and i + 0.3 steps.
        let angle = |x: f32| [(x / 100.0).cos(), (x / 100.0).sin()];
        let rows = |angles: Vec<f32>| Matrix::new(2, angles.into_iter().flat_map(angle).collect());
        let count = BLOCK + 7;
        let images = rows((0..count).map(|i| i as f32).collect());
        let captions = rows((0..count).flat_map(|i| [i as f32 + 0.1, i as f32 + 0.3]).collect());
        let own: Vec<_> = (0..count).map(|i| 2 * i..2 * i + 2).collect();
        let answers = rank_captions(&images, &captions, &own, 3);
        for (i, answer) in answers.iter().enumerate() {
            assert_eq!(answer.rank, 1, "{i}");
            assert_eq!(answer.first[0].0, 2 * i);
            assert_eq!(answer.first.len(), 3);
        }
        let others: Vec<_> = (0..count).map(|i| (i + 1) % count).map(|i| 2 * i..2 * i + 2).collect();
        // Asked for the captions of its neighbour (6.1, 6.3), image 5 first meets its own two and those of image 4.
        assert_eq!(rank_captions(&images, &captions, &others, 3)[5].rank, 5);
    }
}

//! Exact search for captions by photos.
//!
//! A photo has several right captions, and the image→text recall of the literature counts a hit when *any* of
//! them is among the first K (Karpathy & Fei-Fei 2015; Faghri et al. 2018, VSE++). Scores are computed block
//! by block: 64 photos against the 616,767 captions of COCO take 158 MB, and no larger part of the score
//! matrix ever exists.

use std::ops::Range;

use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::ranking::{best_first, rank_of, top_k};

/// Photos scored by one matrix product.
const BLOCK: usize = 64;

/// The captions ranked for one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptionRanking {
    /// One-based rank of the best of its own captions among all.
    pub rank: Option<usize>,
    /// The first captions with their cosines, each by its row; ties by row.
    pub first: Vec<(usize, f32)>,
}

/// Ranks all `captions` for each of the `images` (unit rows both); `own[i]` are the rows of image i's
/// captions, at least one. Of each ranking the `k` best captions are kept.
pub fn rank_captions(
    images: &Matrix,
    captions: &Matrix,
    own: &[Range<usize>],
    k: usize,
) -> Vec<CaptionRanking> {
    assert_eq!(images.rows(), own.len(), "invariant: every image has captions");
    let blocks = images.data().chunks(BLOCK * images.width()).zip(own.chunks(BLOCK));
    let rankings = blocks.flat_map(|(block, own)| {
        let block = Matrix::new(images.width(), block.to_vec());
        let scores = block.mul_transposed(captions); // (image, caption)
        let rows = scores.data().par_chunks(captions.rows().max(1)).zip(own);
        rows.map(|(scores, own)| ranking(scores, own.clone(), k)).collect::<Vec<_>>()
    });
    rankings.collect()
}

fn ranking(scores: &[f32], own: Range<usize>, k: usize) -> CaptionRanking {
    let first = top_k(scores, k).into_iter().map(|row| (row, scores[row])).collect();
    CaptionRanking { rank: rank_of_best(scores, own), first }
}

/// One-based rank of the best of the rows `own` among all; `None` when all of them score NaN.
fn rank_of_best(scores: &[f32], own: Range<usize>) -> Option<usize> {
    let scored = |row: usize| (scores[row], row);
    let best = own.map(scored).filter(|(score, _)| !score.is_nan()).min_by(best_first)?;
    rank_of(&best, (0..scores.len()).map(scored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_own_caption_counts_and_ties_go_by_position() {
        let scores = [0.5, 0.9, 0.5, 0.7, 0.2, f32::NAN];
        assert_eq!(rank_of_best(&scores, 3..5), Some(2));
        assert_eq!(rank_of_best(&scores, 2..3), Some(4));
        assert_eq!(rank_of_best(&scores, 0..1), Some(3));
        assert_eq!(rank_of_best(&scores, 4..6), Some(5));
        assert_eq!(rank_of_best(&scores, 5..6), None);
    }

    #[test]
    fn blocks_make_no_difference() {
        // More images than a block has; image i lies at angle i, its two captions at i + 0.1 and i + 0.3
        // steps.
        let angle = |x: f32| [(x / 100.0).cos(), (x / 100.0).sin()];
        let rows = |angles: Vec<f32>| Matrix::new(2, angles.into_iter().flat_map(angle).collect());
        let count = BLOCK + 7;
        let images = rows((0..count).map(|i| i as f32).collect());
        let captions = rows((0..count).flat_map(|i| [i as f32 + 0.1, i as f32 + 0.3]).collect());
        let own: Vec<_> = (0..count).map(|i| 2 * i..2 * i + 2).collect();
        let rankings = rank_captions(&images, &captions, &own, 3);
        for (i, ranking) in rankings.iter().enumerate() {
            assert_eq!(ranking.rank, Some(1), "{i}");
            assert_eq!(ranking.first[0].0, 2 * i);
            assert_eq!(ranking.first.len(), 3);
        }
        let others: Vec<_> = (0..count).map(|i| (i + 1) % count).map(|i| 2 * i..2 * i + 2).collect();
        // Before the captions of its neighbour (6.1, 6.3), image 5 finds its own two and those of image 4.
        assert_eq!(rank_captions(&images, &captions, &others, 3)[5].rank, Some(5));
    }
}

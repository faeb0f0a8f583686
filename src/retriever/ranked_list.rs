//! What every retriever returns: images in order of their scores.
//!
//! A list is well-formed by construction (sorted, each image once), so metrics, run files and `dsi search`
//! use it without checks.

use crate::ids::ImageIdx;
use crate::ranking::best_first;

/// One image of a ranked list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The image.
    pub image: ImageIdx,
    /// The retriever's score; higher is better, comparable only within one list. Never NaN.
    pub score: f32,
}

/// Images by score descending, ties by [`ImageIdx`] ascending, no image twice. May be shorter than the wanted
/// length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RankedList(Vec<Hit>);

impl RankedList {
    /// Ranks `hits`, given in any order. An image that appears more than once keeps its best score. A hit
    /// with the score NaN is dropped: it has no rank, so it is a miss.
    pub fn new(hits: impl IntoIterator<Item = Hit>) -> Self {
        let scored = hits.into_iter().filter(|hit| !hit.score.is_nan());
        let mut pairs: Vec<(f32, ImageIdx)> = scored.map(|hit| (hit.score, hit.image)).collect();
        pairs.sort_unstable_by(|a, b| a.1.cmp(&b.1).then_with(|| best_first(a, b)));
        pairs.dedup_by_key(|pair| pair.1);
        pairs.sort_unstable_by(best_first);
        Self(pairs.into_iter().map(|(score, image)| Hit { image, score }).collect())
    }

    /// The hits, best first.
    pub fn hits(&self) -> &[Hit] {
        &self.0
    }

    /// The first `k` hits, or all of them if there are fewer.
    pub fn truncated(mut self, k: usize) -> Self {
        self.0.truncate(k);
        self
    }

    /// One-based rank of `image`; `None` if the list lacks it, a miss at every cut-off.
    pub fn rank_of(&self, image: ImageIdx) -> Option<usize> {
        self.0.iter().position(|hit| hit.image == image).map(|position| position + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(pairs: &[(u32, f32)]) -> RankedList {
        RankedList::new(pairs.iter().map(|&(image, score)| Hit { image: ImageIdx(image), score }))
    }

    fn images(list: &RankedList) -> Vec<u32> {
        list.hits().iter().map(|hit| hit.image.0).collect()
    }

    #[test]
    fn sorts_by_score_then_image() {
        assert_eq!(images(&list(&[(7, 0.5), (2, 0.9), (3, 0.5), (1, -0.0), (0, 0.0)])), [2, 3, 7, 0, 1]);
    }

    #[test]
    fn a_repeated_image_keeps_its_best_score_and_nan_is_dropped() {
        let ranked = list(&[(1, 0.1), (2, 0.5), (1, 0.7), (3, f32::NAN), (2, f32::NAN)]);
        assert_eq!(ranked, list(&[(1, 0.7), (2, 0.5)]));
    }

    #[test]
    fn ranks_are_one_based_and_truncation_makes_misses() {
        let ranked = list(&[(4, 3.0), (5, 2.0), (6, 1.0)]);
        assert_eq!(ranked.rank_of(ImageIdx(4)), Some(1));
        assert_eq!(ranked.rank_of(ImageIdx(6)), Some(3));
        assert_eq!(ranked.rank_of(ImageIdx(9)), None);
        assert_eq!(ranked.clone().truncated(2).rank_of(ImageIdx(6)), None);
        assert_eq!(ranked.clone().truncated(9), ranked);
    }

    proptest! {
        #[test]
        fn is_sorted_unique_and_indifferent_to_the_order_given(
            raw in prop::collection::vec((0u32..12, (-3i8..3).prop_map(f32::from)), 0..40),
        ) {
            let ranked = list(&raw);
            let reversed: Vec<_> = raw.iter().rev().copied().collect();
            prop_assert_eq!(&ranked, &list(&reversed));
            let unique: std::collections::BTreeSet<u32> = raw.iter().map(|pair| pair.0).collect();
            prop_assert_eq!(ranked.hits().len(), unique.len());
            for pair in ranked.hits().windows(2) {
                prop_assert!((pair[1].score, pair[0].image) < (pair[0].score, pair[1].image));
            }
        }
    }
}

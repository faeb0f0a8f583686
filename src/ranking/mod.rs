//! Ranking by score: the tie rule, the best k items, and the rank of one item.
//!
//! Everything that ranks uses [`best_first`], so that equal scores rank alike on every machine:
//! retrievers, the measures of an index, validation during training. [`metrics`] turns ranks into recall,
//! MRR, nDCG and median rank. All of it is pure: scores in, positions and numbers out.

use std::cmp::Ordering;

pub mod metrics;
pub mod top_k;

pub use top_k::top_k;

/// The tie rule of the program: higher scores first, equal scores by ascending item. Zero equals minus zero.
/// A NaN has no place in any order, so callers leave it out.
pub fn best_first<I: Ord>(a: &(f32, I), b: &(f32, I)) -> Ordering {
    let by_score = b.0.partial_cmp(&a.0).expect("invariant: scores to be ordered are not NaN");
    by_score.then_with(|| a.1.cmp(&b.1))
}

/// One-based rank of `wanted` in the [`best_first`] order of `all` scored items, without sorting them; `all`
/// may contain `wanted` itself. A NaN is not ranked: `None` for `wanted`, skipped among the others.
///
/// The type of the items is the tie rule: indices rank by position, `()` gives all equal scores the best of
/// their ranks.
pub fn rank_of<I: Ord>(wanted: &(f32, I), all: impl IntoIterator<Item = (f32, I)>) -> Option<usize> {
    if wanted.0.is_nan() {
        return None;
    }
    let numbers = all.into_iter().filter(|(score, _)| !score.is_nan());
    Some(1 + numbers.filter(|other| best_first(other, wanted) == Ordering::Less).count())
}

/// Keeps the `count` items that come first in a total order, sorted by it; all of them where there are fewer.
pub fn keep_first<T>(items: &mut Vec<T>, count: usize, order: impl Fn(&T, &T) -> Ordering) {
    if items.len() > count {
        items.select_nth_unstable_by(count, &order);
        items.truncate(count);
    }
    items.sort_unstable_by(order);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_position(scores: &[f32]) -> impl Iterator<Item = (f32, usize)> {
        scores.iter().copied().zip(0..)
    }

    #[test]
    fn ties_go_by_position_or_share_the_best_rank() {
        let scores = [0.5, 0.9, 0.5, f32::NAN, 0.0, -0.0];
        let rank = |row: usize| rank_of(&(scores[row], row), by_position(&scores));
        assert_eq!([0, 1, 2, 3, 4, 5].map(rank), [Some(2), Some(1), Some(3), None, Some(4), Some(5)]);
        let shared = |row: usize| rank_of(&(scores[row], ()), scores.map(|score| (score, ())));
        assert_eq!([0, 1, 2, 3, 4, 5].map(shared), [Some(2), Some(1), Some(2), None, Some(4), Some(4)]);
    }

    #[test]
    fn the_first_few_are_kept_in_order() {
        let kept = |count| {
            let mut items = vec![3, 1, 2];
            keep_first(&mut items, count, i32::cmp);
            items
        };
        assert_eq!((kept(0), kept(2), kept(9)), (vec![], vec![1, 2], vec![1, 2, 3]));
    }

    proptest! {
        #[test]
        fn a_rank_is_the_place_in_the_sorted_list(
            scores in prop::collection::vec(prop_oneof![(-3i8..3).prop_map(f32::from), Just(f32::NAN)], 1..60),
        ) {
            let order = top_k(&scores, scores.len());
            for row in 0..scores.len() {
                let place = order.iter().position(|&other| other == row).map(|place| place + 1);
                prop_assert_eq!(rank_of(&(scores[row], row), by_position(&scores)), place);
            }
        }

        #[test]
        fn keeping_the_first_is_sorting_and_truncating(
            mut items in prop::collection::vec(0u8..9, 0..40), count in 0usize..50,
        ) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sorted.truncate(count);
            keep_first(&mut items, count, u8::cmp);
            prop_assert_eq!(items, sorted);
        }
    }
}

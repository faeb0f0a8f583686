//! Selection of the best few of many scores: what exact and exhaustive search end with.

use super::best_first;

/// The positions of the `k` highest scores, best first, ties by position. A NaN is never selected, so
/// the answer is shorter than `k` when fewer than `k` scores are numbers.
///
/// Costs O(n + k log k) time, O(k) memory: a buffer of twice `k` is cut back to the best `k` whenever
/// it is full, and after the first cut most scores fail one comparison with the worst one kept.
pub fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    let k = k.min(scores.len());
    if k == 0 {
        return Vec::new();
    }
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(2 * k);
    let mut worst_kept = None;
    for (position, &score) in scores.iter().enumerate().filter(|(_, score)| !score.is_nan()) {
        // A later position loses a tie, so an equal score cannot enter either.
        if worst_kept.is_some_and(|worst| score <= worst) {
            continue;
        }
        best.push((score, position));
        if best.len() == 2 * k {
            let (_, last, _) = best.select_nth_unstable_by(k - 1, best_first);
            worst_kept = Some(last.0);
            best.truncate(k);
        }
    }
    best.sort_unstable_by(best_first);
    best.truncate(k);
    best.into_iter().map(|(_, position)| position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_best_come_first_and_ties_keep_their_order() {
        assert_eq!(top_k(&[0.5, 2.0, 0.5, 3.0, 0.5], 4), [3, 1, 0, 2]);
        assert_eq!(top_k(&[0.0, -0.0, 0.0], 2), [0, 1]);
    }

    #[test]
    fn k_may_be_zero_or_exceed_what_there_is() {
        assert_eq!(top_k(&[1.0, 2.0], 0), Vec::<usize>::new());
        assert_eq!(top_k(&[1.0, 2.0], usize::MAX), [1, 0]);
        assert_eq!(top_k(&[], 3), Vec::<usize>::new());
    }

    #[test]
    fn infinities_are_ordered_and_nan_is_left_out() {
        assert_eq!(top_k(&[f32::NEG_INFINITY, f32::NAN, f32::INFINITY, 0.0], 4), [2, 3, 0]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_sort(
            // Few distinct values, so that ties abound.
            raw in prop::collection::vec(prop_oneof![(-4i8..4).prop_map(f32::from), Just(f32::NAN)], 0..200),
            k in 0usize..220,
        ) {
            let mut all: Vec<usize> = (0..raw.len()).filter(|&i| !raw[i].is_nan()).collect();
            all.sort_by(|&a, &b| raw[b].total_cmp(&raw[a]));
            all.truncate(k);
            prop_assert_eq!(top_k(&raw, k), all);
        }
    }
}

//! Retrieval metrics from the ranks of the right images.
//!
//! A caption has exactly one right image, so all that matters of its ranked list is the one-based rank of
//! that image; `None` means that the list lacks it, a miss at every cut-off. Values agree with `ir_measures`
//! (`R@k`, `RR@k`, `nDCG@k`) on the run files of an evaluation. A mean over no queries is 0.
//!
//! A photo that searches captions has several right ones. Its rank is that of the first of them: recall is
//! then what `ir_measures` calls `Success@k`, and nDCG has a function of its own ([`gain_of_several`]).

/// Recall at `k` of one query: 1 when its image is among the first `k`, else 0.
pub fn hit(rank: Option<usize>, k: usize) -> f64 {
    f64::from(rank.is_some_and(|rank| rank <= k))
}

/// Recall@k, in 0..=1: the share of queries whose image is among the first `k`.
pub fn recall_at(ranks: &[Option<usize>], k: usize) -> f64 {
    mean(ranks, |rank| hit(rank, k))
}

/// MRR@k, in 0..=1: the mean of 1 / rank, where an image below rank `k` counts 0 (as MS MARCO has it).
pub fn mrr_at(ranks: &[Option<usize>], k: usize) -> f64 {
    mean_within(ranks, k, |rank| 1.0 / rank)
}

/// nDCG@k of one query, in 0..=1, with binary relevance: with one right image the ideal gain is 1, which
/// leaves 1 / log2(1 + rank) (Järvelin and Kekäläinen 2002).
pub fn gain(rank: Option<usize>, k: usize) -> f64 {
    rank.filter(|&rank| rank <= k).map_or(0.0, discount)
}

/// nDCG@k of one query with `relevant` (at least one) right answers, of which those at `ranks` were returned:
/// the sum of their discounts, divided by that of an ideal list.
pub fn gain_of_several(ranks: &[usize], relevant: usize, k: usize) -> f64 {
    let found: f64 = ranks.iter().map(|&rank| gain(Some(rank), k)).sum();
    found / (1..=relevant.min(k)).map(discount).sum::<f64>()
}

fn discount(rank: usize) -> f64 {
    1.0 / (1.0 + rank as f64).log2()
}

/// Median rank of the right image; with an even number of queries the mean of the middle two. A miss counts
/// as rank `gallery_len`, the number of images that could be returned. NaN without queries.
pub fn median_rank(ranks: &[Option<usize>], gallery_len: usize) -> f64 {
    let mut known: Vec<usize> = ranks.iter().map(|rank| rank.unwrap_or(gallery_len)).collect();
    known.sort_unstable();
    match known.len() {
        0 => f64::NAN,
        n => (known[(n - 1) / 2] + known[n / 2]) as f64 / 2.0,
    }
}

/// Mean over all queries of `gain(rank)`, which is 0 for an image below rank `k`.
fn mean_within(ranks: &[Option<usize>], k: usize, gain: impl Fn(f64) -> f64) -> f64 {
    mean(ranks, |rank| rank.filter(|&rank| rank <= k).map_or(0.0, |rank| gain(rank as f64)))
}

fn mean(ranks: &[Option<usize>], gain: impl Fn(Option<usize>) -> f64) -> f64 {
    if ranks.is_empty() {
        return 0.0;
    }
    ranks.iter().map(|&rank| gain(rank)).sum::<f64>() / ranks.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ndcg_at(ranks: &[Option<usize>], k: usize) -> f64 {
        mean(ranks, |rank| gain(rank, k))
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn matches_hand_computation() {
        let ranks = [Some(1), Some(3), None, Some(7)];
        assert_eq!(recall_at(&ranks, 1), 0.25);
        assert_eq!(recall_at(&ranks, 5), 0.5);
        assert_eq!(recall_at(&ranks, 10), 0.75);
        assert!(close(mrr_at(&ranks, 10), (1.0 + 1.0 / 3.0 + 1.0 / 7.0) / 4.0));
        assert!(close(ndcg_at(&ranks, 10), (1.0 + 0.5 + 1.0 / 3.0) / 4.0));
    }

    #[test]
    fn several_right_answers_share_an_ideal_list() {
        // >>> ir_measures.calc_aggregate([nDCG@10, nDCG@3], …) with 3 relevant at ranks 1 and 4  ->  0.671386, 0.469279
        assert!((gain_of_several(&[1, 4], 3, 10) - 0.671386).abs() < 1e-6);
        assert!((gain_of_several(&[1, 4], 3, 3) - 0.469279).abs() < 1e-6);
        assert!(close(gain_of_several(&[2], 1, 10), gain(Some(2), 10)));
        assert!(close(gain_of_several(&[1, 2], 5, 2), 1.0));
    }

    #[test]
    fn the_median_averages_the_middle_two_and_counts_a_miss_as_last() {
        assert_eq!(median_rank(&[Some(4), Some(1), Some(2)], 9), 2.0);
        assert_eq!(median_rank(&[Some(4), Some(1), Some(2), None], 9), 3.0);
        assert_eq!(median_rank(&[None, None], 9), 9.0);
        assert!(median_rank(&[], 9).is_nan());
    }

    #[test]
    fn no_queries_have_a_mean_of_zero() {
        assert_eq!([recall_at(&[], 1), mrr_at(&[], 10)], [0.0; 2]);
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force_over_whole_lists(
            ranks in prop::collection::vec(prop::option::of(1usize..=30), 1..40),
            k in 1usize..15,
        ) {
            let (mut recall, mut mrr, mut ndcg) = (0.0, 0.0, 0.0);
            for &rank in &ranks {
                let relevant: Vec<bool> = (1..=30).map(|place| Some(place) == rank).collect();
                for (place, _) in relevant[..k].iter().enumerate().filter(|(_, right)| **right) {
                    recall += 1.0;
                    mrr += 1.0 / (place as f64 + 1.0);
                    ndcg += 1.0 / (place as f64 + 2.0).log2();
                }
            }
            let n = ranks.len() as f64;
            prop_assert!(close(recall_at(&ranks, k), recall / n));
            prop_assert!(close(mrr_at(&ranks, k), mrr / n));
            prop_assert!(close(ndcg_at(&ranks, k), ndcg / n));
        }

        #[test]
        fn the_median_has_half_the_ranks_on_either_side(
            ranks in prop::collection::vec(prop::option::of(1usize..=30), 1..40),
        ) {
            let median = median_rank(&ranks, 30);
            let value = |rank: &Option<usize>| rank.unwrap_or(30) as f64;
            prop_assert!(ranks.iter().filter(|rank| value(rank) < median).count() * 2 <= ranks.len());
            prop_assert!(ranks.iter().filter(|rank| value(rank) > median).count() * 2 <= ranks.len());
        }
    }
}

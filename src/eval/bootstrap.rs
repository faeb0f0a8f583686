//! Bootstrap intervals: how far a reported mean might move with another sample of images.
//!
//! The captions of one image are not independent: an odd photo fails all five. The bootstrap therefore draws
//! *images*, each with all its queries (a cluster bootstrap; Davison and Hinkley 1997, §3.8). Independent
//! captions would give intervals that are far too narrow.

use std::collections::BTreeMap;

use rand::Rng as _;

use crate::ids::ImageIdx;
use crate::rng::Rng;

/// The 95% percentile interval `[low, high]` of the mean of `values`, one per query, where
/// `clusters[q]` is the image that query `q` belongs to. Costs `resamples` × images draws.
/// Deterministic for a given generator. NaN without resamples or queries.
pub fn interval95(values: &[f64], clusters: &[ImageIdx], resamples: usize, rng: &mut Rng) -> [f64; 2] {
    assert_eq!(values.len(), clusters.len(), "invariant: every query belongs to an image");
    let totals = totals_per_cluster(values, clusters);
    let mut means: Vec<f64> = (0..resamples).map(|_| resampled_mean(&totals, rng)).collect();
    means.sort_unstable_by(f64::total_cmp);
    [0.025, 0.975].map(|share| quantile(&means, share))
}

/// Sum and number of values of each image. A resample draws whole images, so these are enough: it costs
/// images, not queries.
pub(super) fn totals_per_cluster(values: &[f64], clusters: &[ImageIdx]) -> Vec<(f64, usize)> {
    let mut totals = BTreeMap::<ImageIdx, (f64, usize)>::new();
    for (&value, &cluster) in values.iter().zip(clusters) {
        let total = totals.entry(cluster).or_default();
        *total = (total.0 + value, total.1 + 1);
    }
    totals.into_values().collect()
}

/// The mean over the queries of as many images as there are, drawn with replacement.
fn resampled_mean(totals: &[(f64, usize)], rng: &mut Rng) -> f64 {
    let draws = (0..totals.len()).map(|_| totals[rng.random_range(0..totals.len())]);
    let (sum, count) = draws.fold((0.0, 0), |(sum, count), drawn| (sum + drawn.0, count + drawn.1));
    sum / count as f64
}

/// The value below which `share` of the sorted values lie, interpolated linearly (numpy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let below = place as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    fn interval(values: &[f64], clusters: &[usize], seed: u64) -> [f64; 2] {
        let clusters: Vec<ImageIdx> = clusters.iter().map(|&row| ImageIdx::from(row)).collect();
        interval95(values, &clusters, 1000, &mut stream(seed, "test", 0))
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // >>> numpy.percentile([1, 2, 4, 8], [0, 2.5, 50, 97.5, 100])  ->  1, 1.075, 3, 7.7, 8
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            assert!((quantile(&sorted, share) - expected).abs() < 1e-12, "{share}");
        }
    }

    #[test]
    fn totals_add_all_queries_of_an_image() {
        let clusters = [5, 2, 5, 5].map(ImageIdx);
        assert_eq!(totals_per_cluster(&[1.0, 0.0, 0.0, 1.0], &clusters), [(0.0, 1), (2.0, 3)]);
    }

    #[test]
    fn a_constant_has_no_spread_and_a_seed_repeats() {
        assert_eq!(interval(&[1.0; 6], &[0, 0, 1, 1, 2, 2], 1), [1.0, 1.0]);
        let values: Vec<f64> = (1..40).map(|query| 1.0 / f64::from(query)).collect();
        let clusters: Vec<usize> = (1..40).collect();
        assert_eq!(interval(&values, &clusters, 1), interval(&values, &clusters, 1));
        assert_ne!(interval(&values, &clusters, 1), interval(&values, &clusters, 2));
    }

    #[test]
    fn width_follows_the_images_and_not_the_captions() {
        // 100 images, half of them found by all their five captions: the standard error of a mean
        // over 100 trials is 0.05, so the interval is 0.5 ± 1.96 × 0.05.
        let values: Vec<f64> = (0..500).map(|query| f64::from(query / 5 % 2 == 0)).collect();
        let by_image: Vec<usize> = (0..500).map(|query| query / 5).collect();
        let [low, high] = interval(&values, &by_image, 3);
        assert!((low - 0.402).abs() < 0.015 && (high - 0.598).abs() < 0.015, "[{low}, {high}]");
        let alone: Vec<usize> = (0..500).collect();
        let [low, high] = interval(&values, &alone, 3);
        assert!((low - 0.456).abs() < 0.01 && (high - 0.544).abs() < 0.01, "[{low}, {high}]");
    }
}

//! Whether two retrievers differ by more than chance on the same queries.
//!
//! The test is paired: it looks at the difference query by query. The p-value is that of Fisher's
//! randomisation test, two-sided, as Smucker, Allan and Carterette (2007, *A comparison of statistical
//! significance tests for information retrieval evaluation*) recommend: under the null hypothesis the two
//! results for a query can be exchanged, and with them the sign of their difference. Captions of one image
//! are not independent, so their signs flip together, as [`bootstrap`] draws them together. The interval of
//! the difference is the bootstrap's. There is no correction for several rows.

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::query_outcomes::QueryOutcomes;
use crate::ids::ImageIdx;
use crate::rng::Rng;

/// Sums of hits that differ by less are equal up to rounding.
const EQUAL: f64 = 1e-9;

/// How much more (or less) one retriever finds than another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Recall of the one minus recall of the other, in −1..=1.
    pub delta: f64,
    /// `[low, high]`, the 95% interval of `delta` over images.
    pub ci95: [f64; 2],
    /// Two-sided p-value of no difference; at least 1 / (resamples + 1).
    pub p: f64,
}

/// Recall at `k` of `ours` minus that of `theirs`, for the same queries over the same folds.
pub fn compare(
    ours: &QueryOutcomes,
    theirs: &QueryOutcomes,
    k: usize,
    resamples: usize,
    rng: &mut Rng,
) -> Difference {
    assert_eq!(ours.clusters(), theirs.clusters(), "invariant: outcomes of the same queries");
    let pairs = ours.hits(k).into_iter().zip(theirs.hits(k));
    let differences: Vec<f64> = pairs.map(|(ours, theirs)| ours - theirs).collect();
    Difference {
        delta: differences.iter().sum::<f64>() / differences.len() as f64,
        ci95: bootstrap::interval95(&differences, ours.clusters(), resamples, rng),
        p: sign_flip(&differences, ours.clusters(), resamples, rng),
    }
}

/// The share of random sign flips of whole images after which the sum of the differences is at least as far
/// from zero as without a flip. The unflipped sum counts as one of them, so p is never zero (Davison and
/// Hinkley 1997, §4.2).
fn sign_flip(differences: &[f64], clusters: &[ImageIdx], resamples: usize, rng: &mut Rng) -> f64 {
    let totals = bootstrap::totals_per_cluster(differences, clusters).into_iter().map(|(total, _)| total);
    let totals: Vec<f64> = totals.filter(|total| total.abs() > EQUAL).collect();
    let observed = totals.iter().sum::<f64>().abs() - EQUAL;
    let mut flipped = || -> f64 { totals.iter().map(|&x| if rng.random() { x } else { -x }).sum() };
    let as_far = (0..resamples).filter(|_| flipped().abs() >= observed).count();
    (1 + as_far) as f64 / (1 + resamples) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one fold")]

    use super::*;
    use crate::rng::stream;

    fn p(differences: &[f64], clusters: &[usize]) -> f64 {
        let clusters: Vec<ImageIdx> = clusters.iter().map(|&row| row.into()).collect();
        sign_flip(differences, &clusters, 20_000, &mut stream(1, "test", 0))
    }

    #[test]
    fn p_is_the_share_of_sign_patterns_that_are_as_far_out() {
        // Of the eight patterns of three equal images two reach a sum of ±3.
        assert!((p(&[1.0, 1.0, 1.0], &[0, 1, 2]) - 0.25).abs() < 0.01);
        // 2 − 1 + 1: the sums of all patterns are ±4, ±2 (twice each), 0 (twice); six of eight reach 2.
        assert!((p(&[2.0, -1.0, 1.0], &[0, 1, 2]) - 0.75).abs() < 0.01);
        // Ten images, all better: 2 / 1,024.
        assert!((p(&[1.0; 10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) - 2.0 / 1024.0).abs() < 0.001);
        assert_eq!(p(&[0.0, 0.0], &[0, 1]), 1.0);
        assert_eq!(p(&[1.0, -1.0], &[3, 3]), 1.0, "an image that both find equally often says nothing");
    }

    #[test]
    fn captions_of_one_image_are_one_trial() {
        // Five captions of one image are one coin; of five images, five.
        assert_eq!(p(&[1.0; 5], &[4; 5]), 1.0);
        assert!((p(&[1.0; 5], &[0, 1, 2, 3, 4]) - 2.0 / 32.0).abs() < 0.01);
    }

    #[test]
    fn the_difference_of_recalls_is_exact_and_a_seed_repeats_it() {
        let clusters = [0, 0, 1, 1].map(ImageIdx).to_vec();
        let of = |ranks: [Option<usize>; 4]| QueryOutcomes::new(ranks.to_vec(), clusters.clone(), vec![0..4]);
        let (ours, theirs) =
            (of([Some(1), Some(1), Some(1), None]), of([Some(1), Some(2), Some(3), Some(1)]));
        let at = |k, seed| compare(&ours, &theirs, k, 200, &mut stream(seed, "test", 0));
        // At 1 the images differ by +1 and 0 hits of 2: resamples of two images give 0, 1/4 or 1/2.
        assert_eq!((at(1, 1).delta, at(1, 1).ci95, at(1, 1).p), (0.25, [0.0, 0.5], 1.0));
        assert_eq!((at(10, 1).delta, at(10, 1).ci95), (-0.25, [-0.5, 0.0]));
        assert_eq!(at(1, 1), at(1, 1));
    }
}

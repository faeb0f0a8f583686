//! The outcomes of all queries of a row: the rank of each right image, grouped by image and by fold.
//!
//! Every figure is a mean over folds of a mean over queries. With one fold that is the mean over queries;
//! with COCO's five it is the mean of five recalls, as published, even if the folds have different numbers of
//! captions.

use std::ops::Range;

use crate::ids::ImageIdx;
use crate::ranking::metrics;

/// The outcome of every query of a row, in the order of the queries.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutcomes {
    /// One-based rank of the first right answer; `None`: a miss.
    ranks: Vec<Option<usize>>,
    /// nDCG@10 of each query.
    gains: Vec<f64>,
    /// The image that each query belongs to: resampling draws images.
    clusters: Vec<ImageIdx>,
    /// The queries of each fold; no fold is empty.
    folds: Vec<Range<usize>>,
}

impl QueryOutcomes {
    /// Outcomes of queries that have one right image each (`clusters`). Folds are consecutive and cover all
    /// queries.
    pub fn new(ranks: Vec<Option<usize>>, clusters: Vec<ImageIdx>, folds: Vec<Range<usize>>) -> Self {
        let gains = ranks.iter().map(|&rank| metrics::gain(rank, 10)).collect();
        Self::with_gains(ranks, gains, clusters, folds)
    }

    /// As [`QueryOutcomes::new`], with the nDCG@10 of each query, for queries with several right answers.
    pub fn with_gains(
        ranks: Vec<Option<usize>>,
        gains: Vec<f64>,
        clusters: Vec<ImageIdx>,
        folds: Vec<Range<usize>>,
    ) -> Self {
        assert!(
            ranks.len() == clusters.len() && ranks.len() == gains.len(),
            "invariant: a rank, a gain and a cluster for each query"
        );
        let covered = folds.iter().try_fold(0, |end, fold| (fold.start == end).then_some(fold.end));
        assert_eq!(covered, Some(ranks.len()), "invariant: folds cover the queries");
        Self { ranks, gains, clusters, folds }
    }

    /// The outcomes of several runs for the same queries as one: figures are means over the runs, and
    /// resampling draws an image's queries in all runs together.
    pub fn joined(runs: &[Self]) -> Self {
        let mut all = Self { ranks: Vec::new(), gains: Vec::new(), clusters: Vec::new(), folds: Vec::new() };
        for run in runs {
            let before = all.ranks.len();
            all.ranks.extend(&run.ranks);
            all.gains.extend(&run.gains);
            all.clusters.extend(&run.clusters);
            all.folds.extend(run.folds.iter().map(|fold| before + fold.start..before + fold.end));
        }
        all
    }

    /// Number of queries.
    pub fn count(&self) -> usize {
        self.ranks.len()
    }

    /// Number of folds.
    pub fn folds(&self) -> usize {
        self.folds.len()
    }

    /// The image of each query.
    pub fn clusters(&self) -> &[ImageIdx] {
        &self.clusters
    }

    /// The mean over the folds of a figure that is computed from the ranks of one.
    pub fn over_folds(&self, figure: impl Fn(&[Option<usize>]) -> f64) -> f64 {
        let figures = self.folds.iter().map(|fold| figure(&self.ranks[fold.clone()]));
        figures.sum::<f64>() / self.folds.len() as f64
    }

    /// nDCG@10, the mean over the folds.
    pub fn ndcg10(&self) -> f64 {
        let mean = |fold: &Range<usize>| self.gains[fold.clone()].iter().sum::<f64>() / fold.len() as f64;
        self.folds.iter().map(mean).sum::<f64>() / self.folds.len() as f64
    }

    /// Each query's hit at `k`, weighted so that the plain mean of all is the mean over the folds. With one
    /// fold, or folds of equal size, a hit is 0 or 1.
    pub fn hits(&self, k: usize) -> Vec<f64> {
        let hits = |fold: &Range<usize>| {
            let weight = self.count() as f64 / (self.folds.len() * fold.len()) as f64;
            self.ranks[fold.clone()].iter().map(move |&rank| weight * metrics::hit(rank, k))
        };
        self.folds.iter().flat_map(hits).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one fold")]

    use super::*;

    #[test]
    fn figures_are_means_over_the_folds_not_over_the_queries() {
        // Three queries found of four in the first fold, none of two in the second.
        let ranks = vec![Some(1), Some(1), Some(2), None, Some(7), None];
        let clusters = [0, 0, 1, 1, 2, 3].map(ImageIdx).to_vec();
        let outcomes = QueryOutcomes::new(ranks.clone(), clusters.clone(), vec![0..4, 4..6]);
        let recall = |outcomes: &QueryOutcomes, k| outcomes.over_folds(|ranks| metrics::recall_at(ranks, k));
        assert_eq!(recall(&outcomes, 1), (0.5 + 0.0) / 2.0);
        assert_eq!(recall(&outcomes, 5), (0.75 + 0.0) / 2.0);
        assert_eq!(recall(&outcomes, 10), (0.75 + 0.5) / 2.0);
        assert_eq!(outcomes.hits(10), [0.75, 0.75, 0.75, 0.0, 1.5, 0.0]);
        assert_eq!(outcomes.hits(10).iter().sum::<f64>() / 6.0, recall(&outcomes, 10));
        let first = (1.0 + 1.0 + 1.0 / 3f64.log2()) / 4.0;
        assert!((outcomes.ndcg10() - (first + 1.0 / 3.0 / 2.0) / 2.0).abs() < 1e-12);

        let together = QueryOutcomes::new(ranks, clusters, vec![0..6]);
        assert_eq!(recall(&together, 10), 4.0 / 6.0);
        assert_eq!(together.hits(1), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn several_runs_are_a_mean_over_runs() {
        let clusters = [0, 0, 1].map(ImageIdx).to_vec();
        let run =
            |ranks: [Option<usize>; 3]| QueryOutcomes::new(ranks.to_vec(), clusters.clone(), vec![0..3]);
        let both = QueryOutcomes::joined(&[run([Some(1), Some(1), None]), run([Some(1), None, None])]);
        assert_eq!((both.count(), both.folds()), (6, 2));
        assert_eq!(both.over_folds(|ranks| metrics::recall_at(ranks, 1)), (2.0 / 3.0 + 1.0 / 3.0) / 2.0);
        assert_eq!(both.clusters(), [0, 0, 1, 0, 0, 1].map(ImageIdx));
        assert_eq!(both.hits(1), [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }
}

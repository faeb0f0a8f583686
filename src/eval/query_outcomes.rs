//! What a retriever answered to the questions of one row: ranks, whose they are, and the folds they fall into.
//!
//! Every figure is a mean over folds of a mean over queries. With one fold that is the mean over queries; with COCO's
//! five it is the mean of five recalls, as published, even where the folds have unequally many captions.

use std::ops::Range;

use super::metrics;
use crate::ids::ImageIdx;

/// The outcome of every query of a row, in the order asked.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutcomes {
    /// One-based rank of the first right answer; `None`: not returned.
    ranks: Vec<Option<usize>>,
    /// nDCG@10 of each query.
    gains: Vec<f64>,
    /// The image each query belongs to, by which resampling goes.
    clusters: Vec<ImageIdx>,
    /// The queries of each fold; no fold is empty.
    folds: Vec<Range<usize>>,
}

impl QueryOutcomes {
    /// QueryOutcomes to queries that have one right image each: `clusters`. Folds follow one another and cover all.
    pub fn new(ranks: Vec<Option<usize>>, clusters: Vec<ImageIdx>, folds: Vec<Range<usize>>) -> Self {
        let gains = ranks.iter().map(|&rank| metrics::gain(rank, 10)).collect();
        Self::with_gains(ranks, gains, clusters, folds)
    }

    /// As [`QueryOutcomes::new`], with the nDCG@10 of each query where it does not follow from the rank alone.
    pub fn with_gains(
        ranks: Vec<Option<usize>>,
        gains: Vec<f64>,
        clusters: Vec<ImageIdx>,
        folds: Vec<Range<usize>>,
    ) -> Self {
        assert!(
            ranks.len() == clusters.len() && ranks.len() == gains.len(),
            "invariant: one of each a query"
        );
        let whole = folds.iter().try_fold(0, |end, fold| (fold.start == end).then_some(fold.end));
        assert_eq!(whole, Some(ranks.len()), "invariant: folds cover the queries");
        Self { ranks, gains, clusters, folds }
    }

    /// The answers of several runs to the same queries as one: figures are means over the runs, and an image's queries
    /// in all of them are redrawn together.
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

    /// The mean over the folds of a figure of their ranks.
    pub fn over_folds(&self, figure: impl Fn(&[Option<usize>]) -> f64) -> f64 {
        let figures = self.folds.iter().map(|fold| figure(&self.ranks[fold.clone()]));
        figures.sum::<f64>() / self.folds.len() as f64
    }

    /// nDCG@10, the mean over the folds.
    pub fn ndcg10(&self) -> f64 {
        let mean = |fold: &Range<usize>| self.gains[fold.clone()].iter().sum::<f64>() / fold.len() as f64;
        self.folds.iter().map(mean).sum::<f64>() / self.folds.len() as f64
    }

    /// Each query's hit at `k`, weighted so that the plain mean of all is the mean over the folds: with one fold, or
    /// equal ones, 0 or 1.
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
        let answers = QueryOutcomes::new(ranks.clone(), clusters.clone(), vec![0..4, 4..6]);
        let recall = |answers: &QueryOutcomes, k| answers.over_folds(|ranks| metrics::recall_at(ranks, k));
        assert_eq!(recall(&answers, 1), (0.5 + 0.0) / 2.0);
        assert_eq!(recall(&answers, 5), (0.75 + 0.0) / 2.0);
        assert_eq!(recall(&answers, 10), (0.75 + 0.5) / 2.0);
        assert_eq!(answers.hits(10), [0.75, 0.75, 0.75, 0.0, 1.5, 0.0]);
        assert_eq!(answers.hits(10).iter().sum::<f64>() / 6.0, recall(&answers, 10));
        let first = (1.0 + 1.0 + 1.0 / 3f64.log2()) / 4.0;
        assert!((answers.ndcg10() - (first + 1.0 / 3.0 / 2.0) / 2.0).abs() < 1e-12);

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

//! The gates of an index: figures that say, before any training, whether its docids can work.
//!
//! The decoder cannot repair a dead codebook or crowded docids, and they show up only after hours of
//! training. So `dsi index` fills a [`GateReport`] from the docids, the [collisions](super::suffix) and, for
//! families with codebooks, the measures of [`super::codebook_measures`]. It prints the report, and stops on
//! what [`GateReport::refuse`] returns. Levels are counted from 0, here and in the messages.

use serde::{Deserialize, Serialize};

use super::DocidSet;
use super::suffix::Collisions;

/// How many times as often as chance a search must find the right image to be more than chance.
const NEAR_CHANCE: f64 = 3.0;
/// With a larger share of all images in a list, chance says nothing.
const FEW: f64 = 0.1;

/// What an index must reach; all shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Least perplexity of a level, as a share of its codes (of the images, where these are fewer).
    pub min_perplexity: f64,
    /// Largest share of images whose codes are those of another image too.
    pub max_collisions: f64,
    /// Least share of queries whose docid survives a beam search by reconstruction. It counts only queries
    /// whose image exact search finds in a list as long as the beam: otherwise the encoder is at fault.
    pub min_survival: f64,
}

/// How one level of the docids is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelReport {
    /// Number of codes of the level.
    pub codes: usize,
    /// Number of codes that some image uses.
    pub used: usize,
    /// exp of the entropy of the codes over the images: the number of codes in even use.
    pub perplexity: f64,
    /// Mean cosine of embedding and reconstruction after this level; for levels with a codebook.
    pub cosine: Option<f64>,
    /// Share of queries whose gold prefix survives to this level, if measured.
    pub survival: Option<f64>,
}

/// Recall of an exhaustive search by reconstructions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecallAt {
    /// Length of the ranked list.
    pub k: usize,
    /// Share of the queries whose image is in the list, 0 to 1.
    pub recall: f64,
}

/// All figures of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Number of images.
    pub images: usize,
    /// One entry per level of the docids, the suffix included.
    pub levels: Vec<LevelReport>,
    /// Whether the last level is a collision suffix, which the perplexity gate ignores.
    pub suffix: bool,
    /// Share of images that have the same codes as another image; `None` where that is by design (`tree`).
    pub collisions: Option<f64>,
    /// The beam that survival was measured with, if it was.
    pub beam: Option<usize>,
    /// Recall of exact search in a list as long as that beam.
    pub exact_at_beam: Option<f64>,
    /// Recall of search by reconstructions; empty when not measured.
    pub recall: Vec<RecallAt>,
    /// Recall of exact search in the quantised space, which docids cannot exceed without training.
    pub exact: Vec<RecallAt>,
}

impl GateReport {
    /// The figures of the docids alone. The family made `family_levels` levels; a further one is the suffix.
    /// `collisions` is `None` where equal codes are not a fault.
    pub fn new(docids: &DocidSet, family_levels: usize, collisions: Option<Collisions>) -> Self {
        Self {
            images: docids.images(),
            levels: (0..docids.levels()).map(|level| level_report(docids, level)).collect(),
            suffix: docids.levels() > family_levels,
            collisions: collisions.map(|collisions| collisions.share()),
            beam: None,
            exact_at_beam: None,
            recall: Vec::new(),
            exact: Vec::new(),
        }
    }

    /// Adds the mean cosines of [`super::codebook_measures::cosines`].
    pub fn with_cosines(mut self, cosines: Vec<f64>) -> Self {
        self.levels.iter_mut().zip(cosines).for_each(|(level, cosine)| level.cosine = Some(cosine));
        self
    }

    /// Adds the shares of [`super::codebook_measures::prefix_survival`] with this `beam`, and the recall of
    /// exact search at it.
    pub fn with_survival(mut self, beam: usize, survival: Vec<f64>, exact: f64) -> Self {
        self.levels.iter_mut().zip(survival).for_each(|(level, share)| level.survival = Some(share));
        Self { beam: Some(beam), exact_at_beam: Some(exact), ..self }
    }

    /// Adds the recall, at each of `ks`, of search by reconstructions and of exact search.
    pub fn with_recall(self, ks: &[usize], reconstructions: Vec<f64>, exact: Vec<f64>) -> Self {
        let at =
            |recall: Vec<f64>| ks.iter().zip(recall).map(|(&k, recall)| RecallAt { k, recall }).collect();
        Self { recall: at(reconstructions), exact: at(exact), ..self }
    }

    /// A sentence where even exact search finds little more than chance would: the encoder does not understand these
    /// images, or not these captions.
    pub fn near_chance(&self) -> Option<String> {
        let RecallAt { k, recall } = *self.exact.last()?;
        let chance = k as f64 / self.images.max(1) as f64;
        (chance < FEW && recall < NEAR_CHANCE * chance).then(|| {
            format!(
                "exact search has the right image among the first {k} for {:.1}% of the captions, and chance for {:.1}%: this \
                 encoder does not understand these images; use another one (encoder.path)",
                100.0 * recall,
                100.0 * chance
            )
        })
    }

    /// Every gate that the index fails: the figure, the limit, the remedy. Empty when the index may be used.
    pub fn refuse(&self, limits: &Limits) -> Vec<String> {
        let with_perplexity = self.levels.len() - usize::from(self.suffix && !self.levels.is_empty());
        let levels = self.levels[..with_perplexity].iter().enumerate();
        let mut reasons: Vec<String> =
            levels.filter_map(|(level, report)| self.refuse_perplexity(level, report, limits)).collect();
        reasons.extend(self.refuse_collisions(limits));
        reasons.extend(self.refuse_survival(limits));
        reasons
    }

    fn refuse_perplexity(&self, level: usize, report: &LevelReport, limits: &Limits) -> Option<String> {
        let LevelReport { codes, used, perplexity, .. } = report;
        let possible = self.images.min(*codes);
        let wanted = limits.min_perplexity * possible as f64;
        (*perplexity < wanted).then(|| {
            format!(
                "level {level} uses {used} of {codes} codes (perplexity {perplexity:.1}); a perplexity of at \
                 least {wanted:.1} ({share} of {possible}) is wanted: fewer codes, fewer levels, or more \
                 training images",
                share = percent(limits.min_perplexity)
            )
        })
    }

    fn refuse_collisions(&self, limits: &Limits) -> Option<String> {
        let share = self.collisions.filter(|&share| share > limits.max_collisions)?;
        Some(format!(
            "{} of the images share their codes with another; at most {} may: more levels or more codes",
            percent(share),
            percent(limits.max_collisions)
        ))
    }

    fn refuse_survival(&self, limits: &Limits) -> Option<String> {
        let (share, exact) = (self.levels.last()?.survival?, self.exact_at_beam.unwrap_or(1.0));
        let wanted = limits.min_survival * exact;
        (share < wanted).then(|| {
            format!(
                "the right docid survives a beam of {} over reconstructions for {} of the queries; at least {} \
                 wanted ({} of the {} that exact search has in as long a list): a wider beam, more codes, or \
                 codebooks fitted on images and captions, aligned first",
                self.beam.unwrap_or_default(),
                percent(share),
                percent(wanted),
                percent(limits.min_survival),
                percent(exact),
            )
        })
    }
}

/// A share as `12.3%`.
fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// How the docids use the codes of one level.
fn level_report(docids: &DocidSet, level: usize) -> LevelReport {
    let mut counts = vec![0usize; docids.codes_per_level()[level]];
    for docid in docids.iter() {
        counts[docid.codes()[level] as usize] += 1;
    }
    counts.retain(|&count| count > 0);
    let shares = counts.iter().map(|&count| count as f64 / docids.images() as f64);
    let entropy: f64 = shares.map(|p| -p * p.ln()).sum();
    let codes = docids.codes_per_level()[level];
    LevelReport { codes, used: counts.len(), perplexity: entropy.exp(), cosine: None, survival: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::suffix;

    /// Level 0 even over 2 of 20 codes, level 1 dead; the suffix tells the images of each half apart.
    fn report() -> GateReport {
        let codes = (0..10).map(|row| vec![row % 2, 0]).collect();
        let (docids, collisions) = suffix::unique(codes, &[20, 20]).unwrap();
        GateReport::new(&docids, 2, Some(collisions))
    }

    #[test]
    fn a_search_that_is_little_better_than_chance_is_reported() {
        let docids = crate::docid::DocidSet::new(
            (0..1000).map(|code| crate::docid::Docid::new(vec![code])).collect(),
            vec![1000],
        );
        let report = |recall| {
            let report = GateReport::new(docids.as_ref().unwrap(), 1, None);
            report.with_recall(&[1, 10], vec![0.0; 2], vec![0.0, recall]).near_chance()
        };
        assert!(report(0.02).unwrap().contains("2.0% of the captions, and chance for 1.0%"));
        assert_eq!(report(0.05), None);
    }

    #[test]
    fn levels_are_counted_by_hand() {
        let report = report();
        let used: Vec<_> = report.levels.iter().map(|level| (level.codes, level.used)).collect();
        assert_eq!(used, [(20, 2), (20, 1), (5, 5)]);
        for (level, perplexity) in report.levels.iter().zip([2.0, 1.0, 5.0]) {
            assert!((level.perplexity - perplexity).abs() < 1e-9);
        }
        assert!(report.suffix);
        assert_eq!(report.collisions, Some(1.0));
    }

    #[test]
    fn each_failed_gate_names_figure_limit_and_remedy() {
        let report = report().with_survival(50, vec![0.9, 0.6, 0.3], 0.8);
        let limits = Limits { min_perplexity: 0.15, max_collisions: 0.2, min_survival: 0.5 };
        let reasons = report.refuse(&limits);
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert!(reasons[0].starts_with(
            "level 1 uses 1 of 20 codes (perplexity 1.0); a perplexity of at least 1.5 (15.0% of 10) is wanted"
        ));
        assert!(
            reasons[1]
                .starts_with("100.0% of the images share their codes with another; at most 20.0% may: more")
        );
        assert!(
            reasons[2].starts_with("the right docid survives a beam of 50 over reconstructions for 30.0%")
        );
    }

    #[test]
    fn figures_that_were_not_measured_refuse_nothing() {
        let report = GateReport { collisions: None, ..report() };
        let limits = Limits { min_perplexity: 0.0, max_collisions: 0.0, min_survival: 1.0 };
        assert!(report.refuse(&limits).is_empty());
    }

    #[test]
    fn a_report_survives_its_file() {
        let report =
            report().with_cosines(vec![0.5, 0.75]).with_recall(&[1, 10], vec![0.25, 0.5], vec![0.5, 0.75]);
        assert_eq!(report.levels[1].cosine, Some(0.75));
        assert_eq!(report.levels[2].cosine, None);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<GateReport>(&text).unwrap(), report);
    }
}

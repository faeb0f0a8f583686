//! What an evaluation measures, and which report belongs to it.

use super::galleries;
use super::report::Report;
use super::settings;
use crate::data::corpus::Corpus;
use crate::data::settings::Regime;
use crate::error::{Error, Result};

/// The parts of a configuration that an evaluation depends on, besides those of the retrievers.
#[derive(Debug, Clone)]
pub struct Protocol<'a> {
    /// `[eval]`
    pub section: &'a settings::Eval,
    /// Name of the data set.
    pub dataset: &'a str,
    /// Name of the encoder.
    pub encoder: &'a str,
    /// Seed of the run, and of the resamples.
    pub seed: u64,
    /// Whether training saw the images of the evaluated split.
    pub regime: Regime,
    /// Hash of all of the configuration that decides a figure, except for the seed.
    pub settings: String,
}

impl Protocol<'_> {
    /// Whether a report is of this configuration. (It does not tell which galleries the configuration
    /// wanted.)
    pub fn describes(&self, report: &Report) -> bool {
        report.dataset == self.dataset
            && report.split == self.section.split.word()
            && report.seed == self.seed
            && report.settings == self.settings
    }
}

/// Checks that the split can be measured, so that a training does not end with a refusal.
///
/// # Errors
/// When the split has no images, or fewer than folds.
pub fn require(section: &settings::Eval, corpus: &Corpus) -> Result<()> {
    let split = section.split;
    if corpus.images_in(split).is_empty() {
        return Err(Error::input(format!(
            "the corpus has no images in its {split} split; choose another with eval.split"
        )));
    }
    galleries::galleries(section, corpus).map(|_| ())
}

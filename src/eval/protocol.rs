//! What an evaluation measures, and which report belongs to it.

use super::report::Report;
use super::settings;
use crate::data::settings::Regime;

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

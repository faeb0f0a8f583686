//! What the program knows of a retriever before it builds one: its name, what it needs, how it is built.

use std::fmt;

use super::factory::RetrieverFactory;
use super::ranking_stage::Stage;
use super::sections::Sections;
use super::{Query, Retriever};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::modality::Modality;

/// What the program knows of a retriever before it builds one.
pub struct RetrieverSpec {
    /// Its own name, unique in the table.
    pub name: &'static str,
    /// What reports call it. Several entries may share this: the stages of one retriever.
    pub retriever: &'static str,
    /// What its ranking is made with.
    pub stage: Stage,
    /// Whether the other rows of a report are compared with it. One entry of a table is the baseline.
    pub baseline: bool,
    /// Whether it may answer `dsi search`: of the available entries with this mark, the one of the latest stage
    /// does, and has the main files of a report.
    pub answers_search: bool,
    /// The kinds of query that it answers.
    pub queries: &'static [Modality],
    /// What a run must have for it.
    pub needs: &'static [Need],
    /// Whether the configuration wants it in reports.
    pub enabled: fn(&Sections) -> bool,
    /// Builds it over a gallery.
    pub build: Build,
    /// Measures how often its search keeps a right prefix, for each level of the docids; `None` without
    /// such a search.
    pub survival: Option<Survival>,
}

/// A retriever that returns only these images.
pub type Build = fn(&RetrieverFactory, &[ImageIdx]) -> Result<Box<dyn Retriever>>;

/// (run, gallery, completed queries, the right image of each) → for each level of the docids the share of the
/// queries of which the search keeps a right prefix.
pub type Survival = fn(&RetrieverFactory, &[ImageIdx], &[Query], &[ImageIdx]) -> Result<Vec<f64>>;

/// What a run may or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Codebooks: docids of the families `rq` and `learned`.
    Codebooks,
    /// An alignment, or an adapter of photo queries, that was trained.
    TrainedAlignment,
}

/// The name; function pointers say nothing to a reader.
impl fmt::Debug for RetrieverSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl RetrieverSpec {
    /// Whether a run has what this retriever needs, and the configuration wants it.
    pub fn is_available(&self, run: &RetrieverFactory) -> bool {
        self.needs.iter().all(|need| need.is_met(run)) && (self.enabled)(run.sections())
    }

    /// This retriever over a gallery: it returns no other images. Reports need not have it.
    ///
    /// # Errors
    /// When it cannot be built from this run.
    pub fn build(&self, run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
        (self.build)(run, gallery)
    }
}

impl Need {
    fn is_met(self, run: &RetrieverFactory) -> bool {
        match self {
            Self::Codebooks => run.books().is_some(),
            Self::TrainedAlignment => run.sections().trains_alignment,
        }
    }
}

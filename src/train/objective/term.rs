//! One term of the loss, and what a micro-batch gives it to compute its value from.

use candle_core::Tensor;

use crate::error::Result;
use crate::model::candidate_table::Candidates;
use crate::model::generative_model::GenerativeModel;
use crate::nn::dropout::Dropout;
use crate::train::embedded_queries::{BatchQueries, QuerySource};
use crate::train::step_counters::MicroBatch;
use crate::train::step_loss::TermValue;

/// A term that is added to the main one with a weight.
pub trait Term {
    /// Its name in the log.
    fn name(&self) -> &'static str;

    /// Its value on a micro-batch; `None` if the micro-batch has nothing that the term is computed from.
    ///
    /// # Errors
    /// When data cannot be read.
    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>>;
}

/// A micro-batch after the forward pass: what terms are computed from.
pub struct TermInputs<'a> {
    /// Step scores of the candidates: (query, candidate, level). Caption queries come first, then image
    /// queries; the gold image is the first candidate.
    pub scores: Tensor,
    /// 0 or −10⁹, of the shape of `scores`: see [`super::prefix_targets::PrefixTargets::hidden`].
    pub hidden: Tensor,
    /// The target distribution, of the shape of `scores`: see [`super::prefix_targets::PrefixTargets::mass`].
    pub mass: Tensor,
    pub(super) batch: MicroBatch,
    pub(super) queries: &'a BatchQueries,
    pub(super) candidates: Candidates,
    pub(super) model: &'a GenerativeModel,
    pub(super) source: &'a QuerySource<'a>,
    pub(super) dropout: Dropout<'a>,
}

impl TermInputs<'_> {
    /// Caption queries of this rank.
    pub fn captions(&self) -> usize {
        self.queries.captions.batch.len()
    }

    /// Caption queries of all ranks.
    pub fn captions_of_all_ranks(&self) -> usize {
        self.source.captions_of_all_ranks()
    }

    /// Step scores of the caption queries' candidates under another caption of the same image:
    /// (caption query, candidate, level).
    ///
    /// # Errors
    /// When the device fails.
    pub fn sibling_scores(&mut self) -> Result<Tensor> {
        let siblings = self.source.siblings(&self.queries.captions.batch, self.batch)?;
        let candidates = self.candidates.first(self.captions())?;
        self.model.step_scores(&siblings, &candidates, &mut self.dropout)
    }

    /// The contrastive loss of the encoder in training; `None` if the encoder is not trained.
    ///
    /// # Errors
    /// When the device fails.
    pub fn contrastive_loss(&self) -> Result<Option<Tensor>> {
        self.source.contrastive_loss(&self.queries.photos, self.batch)
    }
}

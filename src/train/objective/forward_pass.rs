//! The parts of a micro-batch's forward pass that terms can use for further passes.

use candle_core::Tensor;

use super::terms::term::Extras;
use crate::error::Result;
use crate::model::candidate_table::Candidates;
use crate::model::generative_model::GenerativeModel;
use crate::nn::dropout::Dropout;
use crate::train::embedded_queries::{BatchQueries, QuerySource};
use crate::train::step_and_micro_batch::MicroBatch;

/// The model, the queries and their candidates.
pub struct ForwardPass<'a> {
    /// The micro-batch.
    pub batch: MicroBatch,
    /// This rank's queries.
    pub queries: &'a BatchQueries,
    /// The candidates of each query.
    pub candidates: Candidates,
    /// The decoder.
    pub model: &'a GenerativeModel,
    /// The embeddings of queries.
    pub source: &'a QuerySource<'a>,
    /// The dropout of the decoder, whose random stream goes on from pass to pass.
    pub dropout: Dropout<'a>,
}

impl Extras for ForwardPass<'_> {
    fn sibling_scores(&mut self) -> Result<Tensor> {
        let captions = &self.queries.captions.batch;
        let siblings = self.source.siblings(captions, self.batch)?;
        let candidates = self.candidates.first(captions.len())?;
        self.model.step_scores(&siblings, &candidates, &mut self.dropout)
    }

    fn contrastive_loss(&mut self) -> Result<Option<Tensor>> {
        self.source.contrastive_loss(&self.queries.photos, self.batch)
    }
}

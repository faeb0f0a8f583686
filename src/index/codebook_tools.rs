//! What the indexing job does for docid families: it shares work among ranks, and trains codebooks by
//! gradients.

use super::settings::Index;
use super::train_codebooks::{self, CodebookTrainingData};
use crate::context::Context;
use crate::docid::Code;
use crate::docid::families::{CodebookTools, FamilyInput};
use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::encode_across_ranks;

/// The tools of an indexing job.
pub struct SharedTools<'a> {
    /// The section `[index]`.
    pub settings: &'a Index,
    /// Where the job runs, and with whom.
    pub ctx: &'a Context,
}

impl CodebookTools for SharedTools<'_> {
    fn fit_once(
        &self,
        codes_per_level: &[usize],
        width: usize,
        fit: &mut dyn FnMut() -> Result<Codebooks>,
    ) -> Result<Codebooks> {
        encode_across_ranks::broadcast_codebooks(codes_per_level, width, &self.ctx.comm, fit)
    }

    fn train(&self, start: Codebooks, input: &FamilyInput) -> Result<Codebooks> {
        let data =
            CodebookTrainingData::new(input.images, input.train_images, input.train_captions, input.captions);
        train_codebooks::train(self.settings, &start, &data, input.seed, self.ctx)
    }

    fn encode_all(&self, books: &Codebooks, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        encode_across_ranks::encode_all(books, points, beam, &self.ctx.comm)
    }

    fn encode_unique(&self, books: &Codebooks, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        encode_across_ranks::encode_unique(books, points, beam, &self.ctx.comm)
    }
}

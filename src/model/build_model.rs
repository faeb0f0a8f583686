//! The joint model of a run: built for an index, fresh or with the weights of the best checkpoint.

use std::sync::Arc;

use candle_core::{DType, Device};

use super::checkpoint::{Checkpoint, Which};
use super::decoder::Shape;
use super::generative_model::{GenerativeModel, Scoring};
use super::grounded_logits::Books;
use super::index_folder::DocidIndex;
use super::settings;
use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::modality::Modality;
use crate::nn::params::{Builder, Params};
use crate::run_folder::RunFolder;

/// A model with its parameters.
pub struct Model {
    /// The joint model.
    pub generative: Arc<GenerativeModel>,
    /// Its parameters.
    pub params: Params,
}

/// What a model is built for: the space of its queries, and the docids that it spells.
#[derive(Debug, Clone, Copy)]
pub struct DocidSpace<'a> {
    /// Numbers of a query.
    pub query_width: usize,
    /// Number of codes at each level.
    pub codes_per_level: &'a [usize],
    /// The codebooks, if docids have some.
    pub codebooks: Option<&'a Codebooks>,
}

impl<'a> From<&'a DocidIndex> for DocidSpace<'a> {
    fn from(index: &'a DocidIndex) -> Self {
        Self {
            query_width: index.align.side(Modality::Caption).map.width(),
            codes_per_level: index.docids.codes_per_level(),
            codebooks: index.codebooks.as_ref(),
        }
    }
}

impl Model {
    /// A fresh model for these docids. `scoring` is that of the loss which trains it.
    ///
    /// # Errors
    /// When the device has no room for it.
    pub fn fresh(
        seed: u64,
        decoder: &settings::Decoder,
        scoring: Scoring,
        space: &DocidSpace,
        device: &Device,
    ) -> Result<Self> {
        let builder = Builder::fresh(seed, device);
        let books = space.codebooks.filter(|_| decoder.grounded);
        let books = books.map(|books| Books::new(books, device)).transpose()?;
        let shape = Shape {
            query: space.query_width,
            width: decoder.width,
            layers: decoder.layers,
            heads: decoder.heads,
            memory: decoder.memory,
            codes: space.codes_per_level.to_vec(),
            silent: books.is_some(),
        };
        let grounding = books.map(|books| (books, decoder.temperature));
        let model = GenerativeModel::new(&builder.root(), shape, grounding, decoder.plan, scoring)?;
        Ok(Self { generative: Arc::new(model), params: builder.finish("model".as_ref())? })
    }

    /// The same with the weights of the best checkpoint of a run.
    ///
    /// # Errors
    /// When the run has no checkpoint, or one that is damaged or of another configuration.
    pub fn with_best_weights(self, run: &RunFolder) -> Result<Self> {
        let checkpoint = Checkpoint::read(&run.checkpoints(), Which::Best)?;
        self.params.assign(checkpoint.parts().0, &run.checkpoints())?;
        Ok(self)
    }

    /// Makes its blocks compute in this type, even if the parameters have another.
    pub fn compute_in(&mut self, dtype: DType) {
        Arc::make_mut(&mut self.generative).compute_in(dtype);
    }
}

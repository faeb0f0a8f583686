//! The exact cosine as a [`Scorer`], and the beam search that it re-ranks.

use std::sync::Arc;

use super::factory::RetrieverFactory;
use super::generative::Generative;
use super::generative_variants::{DECODER, fused};
use super::ranking_stage::Stage;
use super::rerank::{Rerank, Scorer};
use super::retriever_entry::RetrieverSpec;
use super::{Query, query};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::{Matrix, dot};

/// The candidates of the beam, re-ranked by their exact cosine.
pub static RERANK: RetrieverSpec = RetrieverSpec {
    name: "rerank",
    stage: Stage::Rerank,
    answers_search: true,
    enabled: |sections| sections.search.rerank,
    build: |run, gallery| Ok(Box::new(reranked_beam(run, gallery))),
    survival: None,
    ..DECODER
};

/// The beam search fused with geometry and prior, re-ranked by the exact cosine.
pub fn reranked_beam(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Rerank<Generative, ExactCosine> {
    let sections = run.sections();
    Rerank {
        retriever: fused(run, gallery),
        scorer: ExactCosine {
            images: Arc::clone(run.aligned_images()),
            temperature: sections.decoder.temperature as f32,
            bonus: Arc::clone(run.prior_bonus()),
        },
        candidates: run.docid_search().beam(),
        weight: sections.search.rerank_weight as f32,
    }
}

/// cos(q, x)/τ plus a bonus: the exact cosine on the scale of a sequence score.
pub struct ExactCosine {
    /// Aligned unit rows of all images of the corpus.
    pub images: Arc<Matrix>,
    /// τ
    pub temperature: f32,
    /// What each image of the corpus gets on top, −η·log p(c), which is in a sequence score already; may be
    /// empty.
    pub bonus: Arc<Vec<f32>>,
}

impl Scorer for ExactCosine {
    fn scores(&self, query: &Query, images: &[ImageIdx]) -> Result<Vec<f32>> {
        let query = query::aligned_rows(std::slice::from_ref(query), self.images.width())?;
        let score = |image: &ImageIdx| {
            let cosine = dot(query.row(0), self.images.row(image.row()));
            cosine / self.temperature + self.bonus.get(image.row()).copied().unwrap_or(0.0)
        };
        Ok(images.iter().map(score).collect())
    }
}

//! Re-ranking: the few candidates of a generative retriever, ordered again by their exact cosine fused with
//! their sequence score.

use std::sync::Arc;

use super::generative::{Generative, aligned};
use super::{Hit, Query, RankedList, Retriever};
use crate::error::Result;
use crate::matrix::{Matrix, dot};

/// A generative retriever whose candidates are re-ranked.
pub struct Rerank {
    /// Finds the candidates.
    pub inner: Generative,
    /// Candidates a query: the beam.
    pub candidates: usize,
    /// Aligned unit rows of all images of the corpus.
    pub images: Arc<Matrix>,
    /// Share of the cosine in the fused score, 0 to 1.
    pub weight: f32,
    /// The cosine is divided by this, which puts it on the scale of a sequence score.
    pub temperature: f32,
}

impl Retriever for Rerank {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn touched(&self) -> usize {
        self.candidates
    }

    /// weight · cos(q, x)/τ + (1 − weight) · sequence score.
    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let (embeddings, modalities) = self.inner.embedder.embed(queries)?;
        let embedded: Vec<Query> = modalities
            .iter()
            .zip(embeddings.iter())
            .map(|(&modality, row)| Query::Embedding(modality, row.to_vec()))
            .collect();
        let found = self.inner.retrieve(&embedded, self.candidates)?;
        let queries = aligned(&self.inner.align, &embeddings, &modalities);
        let fuse = |(list, query): (RankedList, &[f32])| {
            let fused = list.hits().iter().map(|hit| {
                let cosine = dot(query, self.images.row(hit.image.row()));
                let score = self.weight * cosine / self.temperature + (1.0 - self.weight) * hit.score;
                Hit { image: hit.image, score }
            });
            RankedList::new(fused).truncated(k)
        };
        Ok(found.into_iter().zip(queries.iter()).map(fuse).collect())
    }
}

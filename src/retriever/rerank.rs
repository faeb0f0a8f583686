//! Re-ranking: the few candidates of a generative retriever, ordered again by their exact cosine fused with
//! their sequence score.

use std::sync::Arc;

use super::generative::Generative;
use super::{Hit, Query, RankedList, Retriever};
use crate::error::Result;
use crate::ids::ImageIdx;
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
    /// What each image of the corpus gets beside its score, and is already in a sequence score; may be empty.
    pub beside: Arc<Vec<f32>>,
}

/// What speaks for one candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The candidate.
    pub image: ImageIdx,
    /// cos(q, x)/τ − η·log p(c)
    pub exact: f32,
    /// The sequence score.
    pub sequence: f32,
}

impl Evidence {
    /// weight · exact + (1 − weight) · sequence score.
    pub fn fused(&self, weight: f32) -> Hit {
        Hit { image: self.image, score: weight * self.exact + (1.0 - weight) * self.sequence }
    }
}

impl Rerank {
    /// The candidates of each query with what speaks for them.
    ///
    /// # Errors
    /// As [`Retriever::retrieve`].
    pub fn evidence(&self, queries: &[Query]) -> Result<Vec<Vec<Evidence>>> {
        let (embeddings, modalities) = self.inner.embedder.embed(queries)?;
        let embedded: Vec<Query> = modalities
            .iter()
            .zip(embeddings.iter())
            .map(|(&modality, row)| Query::Embedding(modality, row.to_vec()))
            .collect();
        let found = self.inner.retrieve(&embedded, self.candidates)?;
        let queries = self.inner.align.queries(&embeddings, &modalities)?;
        let weigh = |(list, query): (RankedList, &[f32])| {
            let hits = list.hits().iter().map(|hit| {
                let cosine = dot(query, self.images.row(hit.image.row()));
                let beside = self.beside.get(hit.image.row()).copied().unwrap_or(0.0);
                Evidence { image: hit.image, exact: cosine / self.temperature + beside, sequence: hit.score }
            });
            hits.collect()
        };
        Ok(found.into_iter().zip(queries.iter()).map(weigh).collect())
    }
}

impl Retriever for Rerank {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn touched(&self) -> usize {
        self.candidates
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let fuse = |evidence: Vec<Evidence>| {
            RankedList::new(evidence.iter().map(|candidate| candidate.fused(self.weight))).truncated(k)
        };
        Ok(self.evidence(queries)?.into_iter().map(fuse).collect())
    }
}

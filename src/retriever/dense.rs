//! Exact search: the cosine of the query with every image of the gallery.

use std::sync::Arc;

use super::topk::top_k;
use super::{Hit, Query, RankedList, Retriever};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::encoder::Encoder;
use crate::model::modality::Modality;

/// The dense row that every table has beside the generative ones.
pub struct Dense {
    gallery: Vec<ImageIdx>,
    /// One unit row an image of the gallery.
    embeddings: Matrix,
    embedder: Embedder,
}

impl Dense {
    /// Exact search over these images; `embeddings` has one unit row each, in the same order.
    pub fn new(gallery: Vec<ImageIdx>, embeddings: Matrix, embedder: Embedder) -> Self {
        Self { gallery, embeddings, embedder }
    }
}

impl Retriever for Dense {
    fn name(&self) -> &str {
        "dense"
    }

    fn touched(&self) -> usize {
        self.gallery.len()
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let (queries, _) = self.embedder.embed(queries)?;
        let scores = queries.mul_transposed(&self.embeddings);
        let ranked = |scores: &[f32]| {
            let hits = top_k(scores, k).into_iter();
            RankedList::new(hits.map(|row| Hit { image: self.gallery[row], score: scores[row] }))
        };
        Ok(scores.iter().map(ranked).collect())
    }
}

/// Embeds the queries of a retriever: with CLIP, or not at all where only ready-made embeddings exist.
#[derive(Clone)]
pub struct Embedder(Option<Arc<Encoder>>);

impl Embedder {
    /// Captions and photos are embedded by this encoder.
    pub fn clip(encoder: Arc<Encoder>) -> Self {
        Self(Some(encoder))
    }

    /// Only queries that are embeddings already can be answered.
    pub fn none() -> Self {
        Self(None)
    }

    /// The unit rows of the queries, and what each is made of.
    ///
    /// # Errors
    /// When a query cannot be embedded.
    pub fn embed(&self, queries: &[Query]) -> Result<(Matrix, Vec<Modality>)> {
        let mut rows = Vec::new();
        let mut modalities = Vec::with_capacity(queries.len());
        for query in queries {
            let (modality, row) = self.one(query)?;
            modalities.push(modality);
            rows.push(row);
        }
        let width = rows.first().map_or(1, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(Error::input("the embeddings of a batch of queries differ in width"));
        }
        Ok((Matrix::new(width, rows.concat()), modalities))
    }

    fn one(&self, query: &Query) -> Result<(Modality, Vec<f32>)> {
        let encoder = || {
            self.0.as_deref().ok_or_else(|| {
                Error::input("ready-made features cannot embed a new caption or photo; use encoder.kind = \"clip\"")
            })
        };
        match query {
            Query::Embedding(modality, row) => Ok((*modality, row.clone())),
            Query::Caption(text) => Ok((Modality::Caption, encoder()?.captions(&[text], &|_| ())?.row(0).to_vec())),
            Query::Image(path) => {
                let row = encoder()?.photos(&[path], &|_| ())?.pop().expect("invariant: one row a photo")?;
                Ok((Modality::Image, row))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_cosine_and_serves_the_gallery_alone() {
        let embeddings = Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        let dense = Dense::new([4, 7, 9].map(ImageIdx).to_vec(), embeddings, Embedder::none());
        let query = Query::Embedding(Modality::Caption, vec![0.0, 1.0]);
        let images = |k| -> Vec<u32> {
            dense.retrieve(std::slice::from_ref(&query), k).unwrap()[0].hits().iter().map(|h| h.image.0).collect()
        };
        assert_eq!(images(2), [7, 9]);
        assert_eq!(images(10), [7, 9, 4]);
        assert!(dense.retrieve(&[Query::Caption("a dog".into())], 1).is_err());
    }
}

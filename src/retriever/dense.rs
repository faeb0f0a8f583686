//! Exact search: the cosine of the query with every image of the gallery.

use super::embedder::Embedder;
use super::topk::top_k;
use super::{Hit, Query, RankedList, Retriever};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::modality::Modality;

    #[test]
    fn ranks_by_cosine_and_serves_the_gallery_alone() {
        let embeddings = Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        let dense = Dense::new([4, 7, 9].map(ImageIdx).to_vec(), embeddings, Embedder::new(None, 2));
        let query = Query::Embedding(Modality::Caption, vec![0.0, 1.0]);
        let images = |k| -> Vec<u32> {
            dense.retrieve(std::slice::from_ref(&query), k).unwrap()[0]
                .hits()
                .iter()
                .map(|h| h.image.0)
                .collect()
        };
        assert_eq!(images(2), [7, 9]);
        assert_eq!(images(10), [7, 9, 4]);
        assert!(dense.retrieve(&[Query::Caption("a dog".into())], 1).is_err());
    }
}

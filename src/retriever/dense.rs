//! Exact search: the cosine of the query with every image of the gallery.

use std::sync::Arc;

use rayon::prelude::*;

use super::query_embedder::Embedder;
use super::top_k::top_k;
use super::{Hit, Query, Ranked, RankedList, Retriever};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::alignment::Alignment;

/// The dense rows that every table has beside the generative ones: with the encoder as it is, and with the trained
/// alignment on both sides, which is the row to beat for what else is trained.
pub struct Dense {
    name: &'static str,
    align: Option<Arc<Alignment>>,
    gallery: Vec<ImageIdx>,
    /// One unit row an image of the gallery.
    embeddings: Matrix,
    embedder: Embedder,
}

impl Dense {
    /// Exact search over these images; `embeddings` has one unit row each, in the same order.
    pub fn new(gallery: Vec<ImageIdx>, embeddings: Matrix, embedder: Embedder) -> Self {
        Self { name: "dense", align: None, gallery, embeddings, embedder }
    }

    /// The same through an alignment; `embeddings` are aligned already.
    pub fn adapted(self, align: Arc<Alignment>) -> Self {
        Self { name: "adapted", align: Some(align), ..self }
    }

    /// (query, image)
    fn scores(&self, queries: &[Query]) -> Result<Matrix> {
        let (mut embedded, modalities) = self.embedder.embed(queries)?;
        if let Some(align) = &self.align {
            embedded = align.queries(&embedded, &modalities)?;
        }
        Ok(embedded.mul_transposed(&self.embeddings))
    }

    fn best(&self, scores: &[f32], k: usize) -> RankedList {
        let hits = top_k(scores, k).into_iter();
        RankedList::new(hits.map(|row| Hit { image: self.gallery[row], score: scores[row] }))
    }

    /// Where `gold` stands in the list of the whole gallery.
    fn rank(&self, scores: &[f32], gold: ImageIdx) -> Option<usize> {
        let at = self.gallery.iter().position(|&image| image == gold)?;
        let own = scores[at];
        let before = |(&score, &image): (&f32, &ImageIdx)| score > own || (score == own && image < gold);
        (!own.is_nan()).then(|| 1 + scores.iter().zip(&self.gallery).filter(|pair| before(*pair)).count())
    }
}

impl Retriever for Dense {
    fn name(&self) -> &str {
        self.name
    }

    fn touched(&self) -> usize {
        self.gallery.len()
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let scores = self.scores(queries)?;
        let rows = scores.data().par_chunks(self.gallery.len().max(1));
        Ok(rows.map(|scores| self.best(scores, k)).collect())
    }

    /// Counts the images that come before the right one: sorting all of a large gallery for every query, only to see
    /// where one image stands, would take most of the time of an evaluation.
    fn ranked(&self, queries: &[Query], gold: &[ImageIdx], k: usize) -> Result<Vec<Ranked>> {
        let scores = self.scores(queries)?;
        let rows = scores.data().par_chunks(self.gallery.len().max(1)).zip(gold);
        Ok(rows.map(|(scores, &gold)| (self.best(scores, k), self.rank(scores, gold))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::embeddings::Embeddings;
    use crate::encoder::MirrorTta;
    use crate::encoder::precomputed_features::PrecomputedFeatures;
    use crate::modality::Modality;

    #[test]
    fn ranks_by_cosine_and_serves_the_gallery_alone() {
        let embeddings = Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        let features = Embeddings { images: embeddings.clone(), captions: Matrix::zeros(0, 2) };
        let embedder = Embedder::new(Arc::new(PrecomputedFeatures::new(features)), MirrorTta::Off);
        let dense = Dense::new([4, 7, 9].map(ImageIdx).to_vec(), embeddings, embedder);
        let query = Query::Embedding(Modality::Caption, vec![0.0, 1.0]);
        let images = |k| -> Vec<u32> {
            dense.retrieve(std::slice::from_ref(&query), k).unwrap()[0]
                .hits()
                .iter()
                .map(|h| h.image.0)
                .collect()
        };
        // Where the right image stands is told beyond the end of the list, and of strangers it is not.
        for (gold, rank) in [(7, Some(1)), (9, Some(2)), (4, Some(3)), (5, None)] {
            let ranked = dense.ranked(std::slice::from_ref(&query), &[ImageIdx(gold)], 1).unwrap();
            assert_eq!((ranked[0].0.hits().len(), ranked[0].1), (1, rank));
        }
        assert_eq!(images(2), [7, 9]);
        assert_eq!(images(10), [7, 9, 4]);
        assert!(dense.retrieve(&[Query::Caption("a dog".into())], 1).is_err());
    }
}

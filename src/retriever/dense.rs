//! Exact search: the cosine of a query with every image of the gallery.
//!
//! Every table has two dense rows: with the encoder as it is, and with the trained alignment on both sides.
//! The second one is the baseline that every other trained part must beat.

use rayon::prelude::*;

use super::factory::RetrieverFactory;
use super::ranking_stage::Stage;
use super::retriever_entry::{Need, RetrieverSpec};
use super::{Hit, Query, Ranked, RankedList, Retriever, query};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::ranking::{rank_of, top_k};

/// Exact search by the encoder alone.
pub static DENSE: RetrieverSpec = RetrieverSpec {
    name: "dense",
    retriever: "dense",
    stage: Stage::Exact,
    baseline: true,
    answers_search: false,
    queries: &Modality::ALL,
    needs: &[],
    enabled: |_| true,
    build: build_plain,
    survival: None,
};

/// Exact search by the encoder and the trained alignment.
pub static ADAPTED: RetrieverSpec = RetrieverSpec {
    name: "adapted",
    retriever: "adapted",
    baseline: false,
    needs: &[Need::TrainedAlignment],
    build: build_aligned,
    ..DENSE
};

fn build_plain(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    Ok(Box::new(Dense::new(gallery, &run.prepared().embeddings.images, Space::Encoder)))
}

fn build_aligned(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    Ok(Box::new(Dense::new(gallery, run.aligned_images(), Space::Aligned)))
}

/// Where queries and images are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// As the encoder embeds them.
    Encoder,
    /// After the alignment of the index.
    Aligned,
}

/// Exact search over a gallery.
pub struct Dense {
    space: Space,
    gallery: Vec<ImageIdx>,
    /// One unit row an image of the gallery.
    embeddings: Matrix,
}

impl Dense {
    /// Exact search over these images of a corpus; `images` has the unit rows of all of them in that space.
    pub fn new(gallery: &[ImageIdx], images: &Matrix, space: Space) -> Self {
        let rows: Vec<usize> = gallery.iter().map(|image| image.row()).collect();
        Self { space, gallery: gallery.to_vec(), embeddings: images.select(&rows) }
    }

    /// (query, image)
    fn scores(&self, queries: &[Query]) -> Result<Matrix> {
        let width = self.embeddings.width();
        let rows = match self.space {
            Space::Encoder => query::rows(queries, width)?,
            Space::Aligned => query::aligned_rows(queries, width)?,
        };
        Ok(rows.mul_transposed(&self.embeddings))
    }

    fn best(&self, scores: &[f32], k: usize) -> RankedList {
        let hit = |row: usize| Hit { image: self.gallery[row], score: scores[row] };
        RankedList::new(top_k(scores, k).into_iter().map(hit))
    }

    /// The rank of `gold` in the list of the whole gallery.
    fn rank(&self, scores: &[f32], gold: ImageIdx) -> Option<usize> {
        let position = self.gallery.iter().position(|&image| image == gold)?;
        let scored = scores.iter().copied().zip(self.gallery.iter().copied());
        rank_of(&(scores[position], gold), scored)
    }
}

impl Retriever for Dense {
    fn embeddings_scored(&self) -> usize {
        self.gallery.len()
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let scores = self.scores(queries)?;
        let rows = scores.data().par_chunks(self.gallery.len().max(1));
        Ok(rows.map(|scores| self.best(scores, k)).collect())
    }

    /// Counts the images before the right one instead of sorting the gallery for every query, which would
    /// take most of the time of an evaluation.
    fn ranked(&self, queries: &[Query], gold: &[ImageIdx], k: usize) -> Result<Vec<Ranked>> {
        let scores = self.scores(queries)?;
        let rows = scores.data().par_chunks(self.gallery.len().max(1)).zip(gold);
        Ok(rows.map(|(scores, &gold)| (self.best(scores, k), self.rank(scores, gold))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images_of(list: &RankedList) -> Vec<u32> {
        list.hits().iter().map(|hit| hit.image.0).collect()
    }

    #[test]
    fn ranks_by_cosine_within_the_gallery_alone() {
        let mut images = Matrix::zeros(10, 2);
        for (image, row) in [(4, [1.0, 0.0]), (7, [0.0, 1.0]), (9, [0.6, 0.8]), (5, [0.0, 1.0])] {
            images.row_mut(image).copy_from_slice(&row);
        }
        let dense = Dense::new(&[4, 7, 9].map(ImageIdx), &images, Space::Encoder);
        let query = [Query::embedded(Modality::Caption, vec![0.0, 1.0])];
        assert_eq!(images_of(&dense.retrieve(&query, 2).unwrap()[0]), [7, 9]);
        assert_eq!(images_of(&dense.retrieve(&query, 10).unwrap()[0]), [7, 9, 4]);
        // The rank reaches beyond the end of the list; an image outside the gallery has none.
        for (gold, rank) in [(7, Some(1)), (9, Some(2)), (4, Some(3)), (5, None)] {
            let ranked = dense.ranked(&query, &[ImageIdx(gold)], 1).unwrap();
            assert_eq!((ranked[0].0.hits().len(), ranked[0].1), (1, rank));
        }
        assert!(dense.retrieve(&[Query::caption("a dog")], 1).is_err(), "not embedded");
    }
}

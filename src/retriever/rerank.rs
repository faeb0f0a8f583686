//! Re-ranking: the candidates of any retriever, ordered again by the scores of any scorer.
//!
//! The fused score of a candidate is weight · scorer's score + (1 − weight) · retriever's score.
//! [`super::exact_cosine`] is the first scorer.

use super::{Hit, Query, RankedList, Retriever};
use crate::error::Result;
use crate::ids::ImageIdx;

/// Scores the images that a retriever has found: the second stage of a search.
pub trait Scorer: Send + Sync {
    /// The scores of these images for a query, in their order; on the scale of the retriever's.
    ///
    /// # Errors
    /// When the query lacks what the scorer needs.
    fn scores(&self, query: &Query, images: &[ImageIdx]) -> Result<Vec<f32>>;
}

/// A retriever whose candidates are re-ranked by a scorer.
pub struct Rerank<R, S> {
    /// Finds the candidates.
    pub retriever: R,
    /// Scores them.
    pub scorer: S,
    /// Candidates a query.
    pub candidates: usize,
    /// Share of the scorer's score in the fused one, 0 to 1.
    pub weight: f32,
}

/// An image with the scores of both stages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The image.
    pub image: ImageIdx,
    /// The retriever's score.
    pub retrieved: f32,
    /// The scorer's score.
    pub rescored: f32,
}

impl Candidate {
    /// weight · rescored + (1 − weight) · retrieved.
    pub fn fused(&self, weight: f32) -> Hit {
        Hit { image: self.image, score: weight * self.rescored + (1.0 - weight) * self.retrieved }
    }
}

impl<R: Retriever, S: Scorer> Rerank<R, S> {
    /// The candidates of each query with both scores.
    ///
    /// # Errors
    /// As [`Retriever::retrieve`].
    pub fn scored(&self, queries: &[Query]) -> Result<Vec<Vec<Candidate>>> {
        let lists = self.retriever.retrieve(queries, self.candidates)?;
        queries.iter().zip(&lists).map(|(query, list)| self.rescore(query, list)).collect()
    }

    fn rescore(&self, query: &Query, list: &RankedList) -> Result<Vec<Candidate>> {
        let images: Vec<ImageIdx> = list.hits().iter().map(|hit| hit.image).collect();
        let scores = self.scorer.scores(query, &images)?;
        let candidate =
            |(hit, rescored): (&Hit, f32)| Candidate { image: hit.image, retrieved: hit.score, rescored };
        Ok(list.hits().iter().zip(scores).map(candidate).collect())
    }
}

impl<R: Retriever, S: Scorer> Retriever for Rerank<R, S> {
    fn embeddings_scored(&self) -> usize {
        self.retriever.embeddings_scored() + self.candidates
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let fuse = |candidates: Vec<Candidate>| {
            RankedList::new(candidates.iter().map(|candidate| candidate.fused(self.weight))).truncated(k)
        };
        Ok(self.scored(queries)?.into_iter().map(fuse).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns images 0, 1, 2 in this order.
    struct InOrder;

    impl Retriever for InOrder {
        fn embeddings_scored(&self) -> usize {
            5
        }

        fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
            let hits = [0, 1, 2].map(|image| Hit { image: ImageIdx(image), score: -(image as f32) });
            Ok(queries.iter().map(|_| RankedList::new(hits).truncated(k)).collect())
        }
    }

    /// A scorer that reads words: the longer the caption, the more it likes later images.
    struct ByLength;

    impl Scorer for ByLength {
        fn scores(&self, query: &Query, images: &[ImageIdx]) -> Result<Vec<f32>> {
            let length = query.text.as_ref().map_or(0, String::len) as f32;
            Ok(images.iter().map(|image| length * image.0 as f32).collect())
        }
    }

    #[test]
    fn any_retriever_is_reranked_by_any_scorer() {
        let order = |weight, candidates| {
            let retriever: Box<dyn Retriever> = Box::new(InOrder);
            let rerank = Rerank { retriever, scorer: ByLength, candidates, weight };
            assert_eq!(rerank.embeddings_scored(), 5 + candidates);
            let list = rerank.retrieve(&[Query::caption("dog")], 10).unwrap().remove(0);
            list.hits().iter().map(|hit| (hit.image.0, hit.score)).collect::<Vec<_>>()
        };
        assert_eq!(order(0.0, 3), [(0, 0.0), (1, -1.0), (2, -2.0)]);
        assert_eq!(order(1.0, 3), [(2, 6.0), (1, 3.0), (0, 0.0)]);
        assert_eq!(order(0.5, 2), [(1, 1.0), (0, 0.0)]);
    }
}

//! Retrievers: the one door for evaluation, search and validation during training.
//!
//! A [`Retriever`] turns queries into [`RankedList`]s; what stands behind it (a decoder, exact search) is nobody
//! else's business. A new retriever is one file here, one arm in `build`, one line in the contract test.

pub mod caption_ranking;
pub mod dense;
pub mod factory;
pub mod generative;
pub mod query_embedder;
pub mod ranked_list;
pub mod rerank;
pub mod survival;
pub mod top_k;

use std::path::PathBuf;

pub use ranked_list::{Hit, RankedList};

use crate::error::Result;
use crate::ids::ImageIdx;
use crate::modality::Modality;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// A sentence.
    Caption(String),
    /// A photo on disk.
    Image(PathBuf),
    /// Either of them, already embedded by the retriever's own encoder (unit length).
    Embedding(Modality, Vec<f32>),
}

/// What measuring needs of an answer: the list, and the one-based rank of the image that was asked for.
pub type Ranked = (RankedList, Option<usize>);

/// Something that answers queries with ranked lists of images.
pub trait Retriever: Send + Sync {
    /// The retriever's name in reports.
    fn name(&self) -> &str;

    /// Image embeddings compared with a query, at most: the cost that a generative retriever avoids.
    fn touched(&self) -> usize;

    /// One ranked list a query, in order, each of at most `k` images. The answer to a query does not depend on
    /// the other queries of the call.
    ///
    /// # Errors
    /// When a query cannot be embedded: an empty caption, a photo that cannot be read.
    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>>;

    /// For each query the list of at most `k` images, and the one-based rank of the image it asks for among *all*
    /// that this retriever can return, not only the first `k`: what measuring needs.
    ///
    /// # Errors
    /// As [`Retriever::retrieve`].
    fn ranked(&self, queries: &[Query], gold: &[ImageIdx], k: usize) -> Result<Vec<Ranked>> {
        let lists = self.retrieve(queries, usize::MAX)?.into_iter().zip(gold);
        let ranked = |(list, gold): (RankedList, &ImageIdx)| {
            let rank = list.rank_of(*gold);
            (list.truncated(k), rank)
        };
        Ok(lists.map(ranked).collect())
    }
}

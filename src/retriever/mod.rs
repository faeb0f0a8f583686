//! Retrievers: the one door for evaluation, search and validation during training.
//!
//! A [`Retriever`] turns queries into [`RankedList`]s; what stands behind it (a decoder, exact search) is nobody
//! else's business. A new retriever is one file here, one arm in `build`, one line in the contract test.

pub mod build;
pub mod dense;
pub mod embedder;
pub mod generative;
pub mod ranked;
pub mod rerank;
pub mod topk;

use std::path::PathBuf;

pub use ranked::{Hit, RankedList};

use crate::error::Result;
use crate::model::modality::Modality;

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
}

//! Retrievers: queries in, ranked lists of images out. Evaluation, search and validation know nothing else of
//! them.
//!
//! ```text
//! Query { text, photo } ─ query_embedder ─▶ Query { …, embedding } ─ any Retriever ─▶ RankedList
//! ```
//!
//! # How to add a retriever
//! 1. Write a file here with a type that implements [`Retriever`] and a `pub static` [`RetrieverSpec`] whose
//!    `build` makes one from the parts of a run that [`RetrieverFactory`] offers: corpus, embeddings, docids,
//!    model. A retriever reads from a [`Query`] what it needs, words or pixels or vectors.
//! 2. Here, add `pub mod NAME;` and its line in [`RETRIEVERS`].
//!
//! It then has its rows in every report, answers `dsi search --retriever NAME`, and is checked by the
//! contract test.
//!
//! A second stage, such as a cross-encoder over the candidates of another retriever, implements
//! [`Scorer`](rerank::Scorer) instead, and its spec builds a [`Rerank`](rerank::Rerank).
//!
//! Errors: a retriever fails when a query lacks what it needs, and when the device does.

pub mod caption_ranking;
pub mod dense;
pub mod docid_search_parts;
pub mod exact_cosine;
pub mod factory;
pub mod generative;
pub mod generative_variants;
pub mod query;
pub mod query_embedder;
pub mod ranked_list;
pub mod ranking_stage;
pub mod registry;
pub mod rerank;
pub mod retriever_entry;
pub mod sections;
pub mod settings;
pub mod survival;

pub use factory::RetrieverFactory;
pub use query::Query;
pub use ranked_list::{Hit, RankedList};
pub use retriever_entry::RetrieverSpec;

use crate::error::Result;
use crate::ids::ImageIdx;

/// Every retriever of the program.
///
/// Evaluation makes a row for each of them, `dsi search --retriever` takes their names, and the contract test
/// holds each of them to the promises of [`Retriever`]. The order of the table is the order of report rows and
/// means nothing else.
pub static RETRIEVERS: &[&RetrieverSpec] = &[
    &generative_variants::DECODER,
    &generative_variants::GEOMETRY,
    &exact_cosine::RERANK,
    &generative_variants::EXHAUSTIVE,
    &dense::ADAPTED,
    &dense::DENSE,
];

/// A list, and the one-based rank of the right image among all that could be returned.
pub type Ranked = (RankedList, Option<usize>);

/// Something that answers queries with ranked lists of images.
pub trait Retriever: Send + Sync {
    /// Most image embeddings that are compared with one query: the cost that a generative retriever avoids.
    fn embeddings_scored(&self) -> usize;

    /// A ranked list of at most `k` images for each query, in their order. The list of a query does not
    /// depend on the other queries of the call.
    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>>;

    /// For each query the list of at most `k` images, and the one-based rank of its right image (`gold`)
    /// among *all* that this retriever can return, not only the first `k`. Evaluation needs both.
    fn ranked(&self, queries: &[Query], gold: &[ImageIdx], k: usize) -> Result<Vec<Ranked>> {
        let lists = self.retrieve(queries, usize::MAX)?;
        Ok(lists.into_iter().zip(gold).map(|(list, &gold)| ranked(list, gold, k)).collect())
    }
}

fn ranked(whole: RankedList, gold: ImageIdx, k: usize) -> Ranked {
    let rank = whole.rank_of(gold);
    (whole.truncated(k), rank)
}

impl<R: Retriever + ?Sized> Retriever for Box<R> {
    fn embeddings_scored(&self) -> usize {
        (**self).embeddings_scored()
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        (**self).retrieve(queries, k)
    }

    fn ranked(&self, queries: &[Query], gold: &[ImageIdx], k: usize) -> Result<Vec<Ranked>> {
        (**self).ranked(queries, gold, k)
    }
}

//! The generative retriever: a beam search for docids. It stores and touches no image embedding.

use std::sync::Arc;

use super::query_embedder::Embedder;
use super::{Hit, Query, RankedList, Retriever};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::model::alignment::Alignment;
use crate::model::beam_search::{self, Settings};
use crate::model::candidate_table::CandidateTable;
use crate::model::extra_docids::DocidTable;
use crate::model::generative_model::{GenerativeModel, Queries};
use crate::model::grounded_logits::Books;
use crate::model::lookahead::Lookahead;

/// Queries decoded at once; bounds the memory of a call.
pub(super) const BATCH: usize = 64;

/// A trained (or only grounded) decoder over the docids of a gallery.
pub struct Generative {
    /// The joint model.
    pub dsi: Arc<GenerativeModel>,
    /// The valid docids: rows of `docids`.
    pub trie: Trie,
    /// Whose they are; an image with several keeps its best score.
    pub docids: Arc<DocidTable>,
    /// What queries go through first.
    pub align: Arc<Alignment>,
    /// What embeds them.
    pub embedder: Embedder,
    /// Where the answers come from.
    pub search: Search,
}

/// How the docids of the gallery are searched.
pub enum Search {
    /// Beam search.
    Beam(Beam),
    /// Every docid of the gallery is scored: no search error.
    Exhaustive(Arc<CandidateTable>),
}

/// A beam search and what it goes by beside the model.
pub struct Beam {
    /// Hypotheses kept at each level.
    pub width: usize,
    /// Codebooks and weight of the geometric term, if any.
    pub geometry: Option<(Arc<Books>, f64)>,
    /// The constants for looking ahead, if that is wanted.
    pub lookahead: Option<Lookahead>,
    /// What each docid gets beside its score, in the order of the trie's leaves; may be empty.
    pub leaves: Vec<f32>,
    /// The doubt at which a level is a wildcard; 1: never.
    pub wildcard: f32,
}

impl Beam {
    /// As the model's search takes them.
    pub fn settings(&self) -> Settings<'_> {
        Settings {
            beam: self.width,
            geometry: self.geometry.as_ref().map(|(books, weight)| (&**books, *weight)),
            lookahead: self.lookahead.as_ref(),
            leaves: &self.leaves,
            wildcard: self.wildcard,
        }
    }
}

impl Generative {
    /// Queries, embedded and aligned.
    ///
    /// # Errors
    /// When one cannot be embedded.
    pub fn queries(&self, queries: &[Query]) -> Result<Queries> {
        let (embeddings, modalities) = self.embedder.embed(queries)?;
        Queries::new(&self.align.queries(&embeddings, &modalities)?, &modalities, self.dsi.device())
    }

    fn answer(&self, queries: &Queries, k: usize) -> Result<Vec<RankedList>> {
        let hits = |found: Vec<(ImageIdx, f32)>| {
            let hit = |(docid, score): (ImageIdx, f32)| Hit { image: self.docids.owner(docid), score };
            RankedList::new(found.into_iter().map(hit)).truncated(k)
        };
        match &self.search {
            Search::Beam(beam) => {
                let found = beam_search::beam_search(&self.dsi, &self.trie, queries, beam.settings())?;
                Ok(found.into_iter().map(hits).collect())
            }
            Search::Exhaustive(candidate_table) => {
                let docids = self.trie.images();
                let scores = beam_search::exhaustive(&self.dsi, candidate_table, docids, queries)?;
                let scored = |scores: Vec<f32>| docids.iter().copied().zip(scores).collect();
                Ok(scores.into_iter().map(scored).map(hits).collect())
            }
        }
    }
}

impl Retriever for Generative {
    fn name(&self) -> &str {
        "generative"
    }

    fn touched(&self) -> usize {
        0
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let mut lists = Vec::with_capacity(queries.len());
        for batch in queries.chunks(BATCH) {
            lists.extend(self.answer(&self.queries(batch)?, k)?);
        }
        Ok(lists)
    }
}

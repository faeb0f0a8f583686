//! The generative retriever: a search for the docids that the decoder spells. It compares no image embedding.

use std::sync::Arc;

use super::{Hit, Query, RankedList, Retriever, query};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::DocidRow;
use crate::model::beam_search::{self, Settings};
use crate::model::candidate_table::CandidateTable;
use crate::model::extra_docids::DocidTable;
use crate::model::generative_model::{GenerativeModel, Queries};
use crate::model::grounded_logits::Books;
use crate::model::lookahead::Lookahead;

/// Queries decoded at once; bounds the memory of a call.
pub(super) const BATCH: usize = 64;

/// A search over the docids of a gallery.
pub struct Generative {
    /// The joint model.
    pub model: Arc<GenerativeModel>,
    /// The valid docids: rows of `docids`.
    pub trie: Trie,
    /// Whose docids they are. An image with several keeps its best score.
    pub docids: Arc<DocidTable>,
    /// How they are searched.
    pub search: Search,
}

/// How the docids of a gallery are searched.
pub enum Search {
    /// Beam search.
    Beam(BeamSearch),
    /// Every docid of the gallery is scored: no search error.
    Exhaustive(Arc<CandidateTable>),
}

/// A beam search: [`Settings`] that own what they refer to.
pub struct BeamSearch {
    /// Prefixes kept at each level.
    pub width: usize,
    /// Codebooks and weight of the geometric term, if any.
    pub geometry: Option<(Arc<Books>, f64)>,
    /// The constants of the trie for looking ahead, if any.
    pub lookahead: Option<Lookahead>,
    /// What each docid gets on top of its steps, in the order of the trie's leaves; may be empty.
    pub leaves: Vec<f32>,
    /// The doubt at which a level is a wildcard; 1: never.
    pub wildcard: f32,
}

impl BeamSearch {
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
    /// Queries as the model takes them.
    ///
    /// # Errors
    /// When one has no aligned embedding.
    pub fn queries(&self, queries: &[Query]) -> Result<Queries> {
        let rows = query::aligned_rows(queries, self.model.query_width())?;
        Queries::new(&rows, &query::modalities(queries)?, self.model.device())
    }

    /// The docids found for each query, with their scores, in any order.
    fn search(&self, queries: &Queries) -> Result<Vec<Vec<(DocidRow, f32)>>> {
        match &self.search {
            Search::Beam(beam) => beam_search::beam_search(&self.model, &self.trie, queries, beam.settings()),
            Search::Exhaustive(candidates) => {
                let docids = self.trie.rows();
                let scores = beam_search::exhaustive(&self.model, candidates, docids, queries)?;
                let scored = |scores: Vec<f32>| docids.iter().copied().zip(scores).collect();
                Ok(scores.into_iter().map(scored).collect())
            }
        }
    }

    fn list(&self, found: Vec<(DocidRow, f32)>) -> RankedList {
        let hit = |(docid, score)| Hit { image: self.docids.owner(docid), score };
        RankedList::new(found.into_iter().map(hit))
    }
}

impl Retriever for Generative {
    fn embeddings_scored(&self) -> usize {
        0
    }

    fn retrieve(&self, queries: &[Query], k: usize) -> Result<Vec<RankedList>> {
        let mut lists = Vec::with_capacity(queries.len());
        for batch in queries.chunks(BATCH) {
            let found = self.search(&self.queries(batch)?)?;
            lists.extend(found.into_iter().map(|found| self.list(found).truncated(k)));
        }
        Ok(lists)
    }
}

//! What all searches over docids share: the model, the docids and how wide a beam is.
//!
//! This is the light way to a generative retriever: it needs no image embedding, no prior and no encoder.
//! Training validates with [`DocidSearch::decoder_alone`] and builds it again whenever docids change.

use std::sync::Arc;

use super::generative::{BeamSearch, Generative, Search};
use super::settings;
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::model::candidate_table::CandidateTable;
use crate::model::extra_docids::DocidTable;
use crate::model::generative_model::GenerativeModel;
use crate::model::index_folder::DocidIndex;
use crate::model::lookahead::Lookahead;
use crate::model::settings::Decoder;

/// The model and the docids of a corpus, ready to be searched over any gallery.
#[derive(Clone)]
pub struct DocidSearch {
    model: Arc<GenerativeModel>,
    docids: Arc<DocidTable>,
    candidates: Arc<CandidateTable>,
    beam: usize,
    lookahead: bool,
    wildcard: f32,
}

impl DocidSearch {
    /// A search for the docids of an index by a model.
    ///
    /// # Errors
    /// When further docids of the index are not unique.
    pub fn new(
        model: Arc<GenerativeModel>,
        index: &DocidIndex,
        search: &settings::Search,
        decoder: &Decoder,
    ) -> Result<Self> {
        let docids = DocidTable::new(&index.docids, &index.seconds)?;
        let candidates = CandidateTable::new(docids.set().clone(), index.codebooks.as_ref());
        Ok(Self {
            model,
            docids: Arc::new(docids),
            candidates: Arc::new(candidates),
            beam: search.beam,
            lookahead: Lookahead::is_enabled(search.lookahead, decoder),
            wildcard: search.wildcard as f32,
        })
    }

    /// The docids by row, with their images.
    pub fn docids(&self) -> &DocidTable {
        &self.docids
    }

    /// The docids with the offsets of their codes.
    pub fn candidates(&self) -> &Arc<CandidateTable> {
        &self.candidates
    }

    /// Prefixes kept at each level.
    pub fn beam(&self) -> usize {
        self.beam
    }

    /// Beam search over the docids of these images by the decoder alone.
    pub fn decoder_alone(&self, gallery: &[ImageIdx]) -> Generative {
        self.over(gallery, |trie| Search::Beam(self.plain_beam(trie)))
    }

    /// Beam search over the docids of these images; `extend` adds to the decoder's beam what else speaks for
    /// a docid.
    pub fn extended(
        &self,
        gallery: &[ImageIdx],
        extend: impl Fn(&Trie, BeamSearch) -> BeamSearch,
    ) -> Generative {
        self.over(gallery, |trie| Search::Beam(extend(trie, self.plain_beam(trie))))
    }

    /// The decoder's score of every docid of these images: no search, hence no search error.
    pub fn exhaustive(&self, gallery: &[ImageIdx]) -> Generative {
        self.over(gallery, |_| Search::Exhaustive(Arc::clone(&self.candidates)))
    }

    fn over(&self, gallery: &[ImageIdx], search: impl Fn(&Trie) -> Search) -> Generative {
        let trie = Trie::over(self.docids.set(), self.docids.rows_of(gallery));
        Generative {
            model: Arc::clone(&self.model),
            search: search(&trie),
            trie,
            docids: Arc::clone(&self.docids),
        }
    }

    fn plain_beam(&self, trie: &Trie) -> BeamSearch {
        BeamSearch {
            width: self.beam,
            geometry: None,
            lookahead: self.lookahead.then(|| Lookahead::new(trie, &self.candidates)),
            leaves: Vec::new(),
            wildcard: self.wildcard,
        }
    }
}

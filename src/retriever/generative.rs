//! The generative retriever: a beam search for docids. It stores and touches no image embedding.

use std::sync::Arc;

use super::embedder::Embedder;
use super::{Hit, Query, RankedList, Retriever};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::align::Align;
use crate::model::dsi::{Catalogue, Dsi, Queries};
use crate::model::grounding::Books;
use crate::model::lookahead::LookAhead;
use crate::model::modality::Modality;
use crate::model::search::{self, Settings};

/// Queries decoded at once; bounds the memory of a call.
const BATCH: usize = 64;

/// A trained (or only grounded) decoder over the docids of a gallery.
pub struct Generative {
    /// The joint model.
    pub dsi: Arc<Dsi>,
    /// The valid docids.
    pub trie: Arc<Trie>,
    /// What queries go through first.
    pub align: Arc<Align>,
    /// What embeds them.
    pub embedder: Embedder,
    /// Where the answers come from.
    pub search: Search,
}

/// How the docids of the gallery are searched.
pub enum Search {
    /// Beam search.
    Beam {
        /// Hypotheses kept at each level.
        width: usize,
        /// Codebooks and weight of the geometric term, if any.
        geometry: Option<(Arc<Books>, f64)>,
        /// The constants for looking ahead, if that is wanted.
        lookahead: Option<Arc<LookAhead>>,
    },
    /// Every docid of the gallery is scored: no search error.
    Exhaustive(Arc<Catalogue>),
}

impl Generative {
    fn answer(&self, embeddings: &Matrix, modalities: &[Modality], k: usize) -> Result<Vec<RankedList>> {
        let aligned = aligned(&self.align, embeddings, modalities);
        let queries = Queries::new(&aligned, modalities, self.dsi.device())?;
        let hits = |found: Vec<_>| {
            RankedList::new(found.into_iter().map(|(image, score)| Hit { image, score })).truncated(k)
        };
        match &self.search {
            Search::Beam { width, geometry, lookahead } => {
                let geometry = geometry.as_ref().map(|(books, weight)| (&**books, *weight));
                let settings = Settings { beam: *width, geometry, lookahead: lookahead.as_deref() };
                Ok(search::beam_search(&self.dsi, &self.trie, &queries, settings)?
                    .into_iter()
                    .map(hits)
                    .collect())
            }
            Search::Exhaustive(catalogue) => {
                let images = self.trie.images();
                let scores = search::exhaustive(&self.dsi, catalogue, images, &queries)?;
                let named = |scores: Vec<f32>| images.iter().copied().zip(scores).collect();
                Ok(scores.into_iter().map(named).map(hits).collect())
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
            let (embeddings, modalities) = self.embedder.embed(batch)?;
            lists.extend(self.answer(&embeddings, &modalities, k)?);
        }
        Ok(lists)
    }
}

/// Rows of mixed modality, each through the alignment of its own side.
pub fn aligned(align: &Align, embeddings: &Matrix, modalities: &[Modality]) -> Matrix {
    let mut out = Matrix::zeros(embeddings.rows(), embeddings.width());
    for modality in Modality::ALL {
        let rows: Vec<usize> = (0..embeddings.rows()).filter(|&row| modalities[row] == modality).collect();
        let moved = align.apply(modality, &embeddings.select(&rows));
        rows.iter().zip(moved.iter()).for_each(|(&row, values)| out.row_mut(row).copy_from_slice(values));
    }
    out
}

//! The generative retriever: a beam search for docids. It stores and touches no image embedding.

use std::collections::HashMap;
use std::sync::Arc;

use super::embedder::Embedder;
use super::{Hit, Query, RankedList, Retriever};
use crate::docid::trie::Trie;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::align::Align;
use crate::model::catalogue::Catalogue;
use crate::model::dsi::{Dsi, Queries};
use crate::model::grounding::Books;
use crate::model::lookahead::LookAhead;
use crate::model::modality::Modality;
use crate::model::search::{self, Settings};
use crate::model::second::Names;

/// Queries decoded at once; bounds the memory of a call.
const BATCH: usize = 64;

/// A trained (or only grounded) decoder over the docids of a gallery.
pub struct Generative {
    /// The joint model.
    pub dsi: Arc<Dsi>,
    /// The valid docids: rows of `names`.
    pub trie: Arc<Trie>,
    /// Whose they are; an image with several keeps its best score.
    pub names: Arc<Names>,
    /// What queries go through first.
    pub align: Arc<Align>,
    /// What embeds them.
    pub embedder: Embedder,
    /// What each docid gets beside its score, in the order of the trie's leaves; may be empty.
    pub leaves: Vec<f32>,
    /// The doubt at which a level is a wildcard; 1: never.
    pub wildcard: f32,
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
        let hits = |found: Vec<(ImageIdx, f32)>| {
            let owner = |name: ImageIdx| self.names.owners[name.row()];
            RankedList::new(found.into_iter().map(|(name, score)| Hit { image: owner(name), score }))
                .truncated(k)
        };
        match &self.search {
            Search::Beam { width, geometry, lookahead } => {
                let geometry = geometry.as_ref().map(|(books, weight)| (&**books, *weight));
                let (beam, lookahead) = (*width, lookahead.as_deref());
                let (leaves, wildcard) = (self.leaves.as_slice(), self.wildcard);
                let settings = Settings { beam, geometry, lookahead, leaves, wildcard };
                Ok(search::beam_search(&self.dsi, &self.trie, &queries, settings)?
                    .into_iter()
                    .map(hits)
                    .collect())
            }
            Search::Exhaustive(catalogue) => {
                let images = self.trie.images();
                let scores = search::exhaustive(&self.dsi, catalogue, images, &queries)?;
                let whole = |scores: Vec<f32>| -> Vec<f32> {
                    let leaves = self.leaves.iter().copied().chain(std::iter::repeat(0.0));
                    scores.into_iter().zip(leaves).map(|(score, leaf)| score + leaf).collect()
                };
                let named = |scores: Vec<f32>| images.iter().copied().zip(whole(scores)).collect();
                Ok(scores.into_iter().map(named).map(hits).collect())
            }
        }
    }
}

impl Generative {
    /// How often the search still holds a right prefix: for each level the share of the queries of which it kept one.
    /// Together with exhaustive scoring this tells search error from decoder error, level by level.
    ///
    /// # Errors
    /// As [`Retriever::retrieve`]; and when every docid is scored, which loses none.
    pub fn survival(&self, queries: &[Query], gold: &[ImageIdx]) -> Result<Vec<f64>> {
        let Search::Beam { width, geometry, lookahead } = &self.search else {
            return Err(Error::input("an exhaustive search loses no prefix"));
        };
        let geometry = geometry.as_ref().map(|(books, weight)| (&**books, *weight));
        let (beam, lookahead) = (*width, lookahead.as_deref());
        let (leaves, wildcard) = (self.leaves.as_slice(), self.wildcard);
        let settings = Settings { beam, geometry, lookahead, leaves, wildcard };
        let mut leaves: HashMap<ImageIdx, Vec<u32>> = HashMap::new();
        for (leaf, name) in (0..).zip(self.trie.images()) {
            leaves.entry(self.names.owners[name.row()]).or_default().push(leaf);
        }
        let mut survived = vec![0; self.trie.levels()];
        for (queries, gold) in queries.chunks(BATCH).zip(gold.chunks(BATCH)) {
            let (embeddings, modalities) = self.embedder.embed(queries)?;
            let aligned = aligned(&self.align, &embeddings, &modalities);
            let queries = Queries::new(&aligned, &modalities, self.dsi.device())?;
            for (beams, gold) in search::beams(&self.dsi, &self.trie, &queries, settings)?.iter().zip(gold) {
                let right = leaves.get(gold).map_or(&[][..], Vec::as_slice);
                for (level, kept) in beams.iter().enumerate() {
                    let holds = |node| {
                        let under = self.trie.leaves_under(level, node);
                        right.iter().any(|leaf| under.contains(leaf))
                    };
                    survived[level] += usize::from(kept.iter().any(|hypothesis| holds(hypothesis.node)));
                }
            }
        }
        Ok(survived.into_iter().map(|count| count as f64 / queries.len().max(1) as f64).collect())
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

//! How often a search still holds a right prefix, level by level: together with exhaustive scoring this tells search
//! error from decoder error.

use std::collections::HashMap;

use super::Query;
use super::generative::{BATCH, Generative, Search};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::model::beam_search::beams;

/// For each level the share of the queries of which the search kept a prefix of a docid of the image in `gold`; all, where
/// every docid is scored.
///
/// # Errors
/// As [`super::Retriever::retrieve`].
pub fn survival(of: &Generative, queries: &[Query], gold: &[ImageIdx]) -> Result<Vec<f64>> {
    let Search::Beam(beam) = &of.search else { return Ok(vec![1.0; of.trie.levels()]) };
    let mut leaves: HashMap<ImageIdx, Vec<u32>> = HashMap::new();
    for (leaf, &docid) in (0..).zip(of.trie.images()) {
        leaves.entry(of.docids.owner(docid)).or_default().push(leaf);
    }
    let mut survived = vec![0; of.trie.levels()];
    for (batch, gold) in queries.chunks(BATCH).zip(gold.chunks(BATCH)) {
        let kept = beams(&of.dsi, &of.trie, &of.queries(batch)?, beam.settings())?;
        for (levels, gold) in kept.iter().zip(gold) {
            let right = leaves.get(gold).map_or(&[][..], Vec::as_slice);
            for ((level, kept), survived) in levels.iter().enumerate().zip(&mut survived) {
                let mut under = kept.iter().map(|hypothesis| of.trie.leaves_under(level, hypothesis.node));
                *survived += usize::from(under.any(|under| right.iter().any(|leaf| under.contains(leaf))));
            }
        }
    }
    Ok(survived.into_iter().map(|count| count as f64 / queries.len().max(1) as f64).collect())
}

//! How often a beam search still holds a right prefix, level by level. Together with exhaustive scoring this
//! tells search error from decoder error.

use std::collections::HashMap;
use std::ops::Range;

use super::Query;
use super::generative::{BATCH, Generative, Search};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::model::beam_level::Hypothesis;
use crate::model::beam_search::beams;

/// For each level the share of the completed queries of which the search keeps a prefix of a docid of their
/// right image (`gold`). Exhaustive scoring keeps all.
///
/// # Errors
/// As [`super::Retriever::retrieve`].
pub fn survival(of: &Generative, queries: &[Query], gold: &[ImageIdx]) -> Result<Vec<f64>> {
    let Search::Beam(beam) = &of.search else { return Ok(vec![1.0; of.trie.levels()]) };
    let leaves = leaves_by_image(of);
    let mut survived = vec![0; of.trie.levels()];
    for (batch, gold) in queries.chunks(BATCH).zip(gold.chunks(BATCH)) {
        let kept = beams(&of.model, &of.trie, &of.queries(batch)?, beam.settings())?;
        for (levels, gold) in kept.iter().zip(gold) {
            let right = leaves.get(gold).map_or(&[][..], Vec::as_slice);
            for (level, (kept, survived)) in levels.iter().zip(&mut survived).enumerate() {
                *survived += usize::from(holds(&of.trie, level, kept, right));
            }
        }
    }
    Ok(survived.into_iter().map(|count| count as f64 / queries.len().max(1) as f64).collect())
}

/// The leaves of the docids of each image.
fn leaves_by_image(of: &Generative) -> HashMap<ImageIdx, Vec<u32>> {
    let mut leaves: HashMap<ImageIdx, Vec<u32>> = HashMap::new();
    for (leaf, &docid) in (0..).zip(of.trie.rows()) {
        leaves.entry(of.docids.owner(docid)).or_default().push(leaf);
    }
    leaves
}

/// Whether one of the `right` leaves lies under a kept prefix.
fn holds(trie: &Trie, level: usize, kept: &[Hypothesis], right: &[u32]) -> bool {
    let has_right = |under: Range<u32>| right.iter().any(|leaf| under.contains(leaf));
    kept.iter().any(|hypothesis| has_right(trie.leaves_under(level, hypothesis.node)))
}

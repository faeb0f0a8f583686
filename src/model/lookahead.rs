//! Looking ahead: the best that the codebooks' geometry can still add below a node.
//!
//! A beam search keeps the prefixes that score best *so far*, and loses the right one where its first codes fit
//! badly. With grounded logits most of the future is known: every code's term is 2⟨Wq, e⟩ plus a constant of its
//! node, so one pass over the trie, from the leaves up, gives each node the best sum any docid below it can reach.
//! Prefixes are then kept by what they have plus what they can still get, as A* does (Hart et al. 1968); the
//! decoder's own logits are the part that is not future_scores. No image embedding is stored or touched: the pass reads
//! codes and constants, as asymmetric distances of product quantisation do (Jégou et al. 2011).
//!
//! Scores are unchanged: only which prefixes survive is decided better. (PAG, Zeng et al. 2024, plans ahead with a
//! trained head; here the codebooks do it.)

use super::candidate_table::CandidateTable;
use crate::docid::trie::Trie;

/// The constants of a trie's nodes.
#[derive(Debug, Clone)]
pub struct Lookahead {
    /// −2⟨x̂_{<l}, e⟩ − ‖e‖² of each node, level by level.
    offsets: Vec<Vec<f32>>,
}

/// What a batch of queries makes of each code: one entry a level that has a codebook.
#[derive(Debug, Clone)]
pub struct LookaheadTerms {
    /// Number of queries.
    pub queries: usize,
    /// Per level, the query-dependent part of each code's term: (queries, codes), row by row.
    pub products: Vec<Vec<f32>>,
    /// Per level, the factor of the nodes' constants.
    pub weights: Vec<f32>,
}

impl Lookahead {
    /// The constants of every node of the trie.
    pub fn new(trie: &Trie, candidate_table: &CandidateTable) -> Self {
        let offset = |level: usize, node: usize| {
            // A node's constant depends on its prefix alone, so any image below it has it.
            let image = trie.images_under(level, node as u32)[0];
            candidate_table.offsets(image)[level]
        };
        let level = |level: usize| (0..trie.len(level)).map(|node| offset(level, node)).collect();
        Self { offsets: (0..trie.levels()).map(level).collect() }
    }

    /// For one query, level by level and node by node, the most that the levels below can add; `leaves` is what
    /// each whole docid gets.
    pub fn values(
        &self,
        trie: &Trie,
        lookahead_terms: &LookaheadTerms,
        query: usize,
        leaves: &[f32],
    ) -> Vec<Vec<f32>> {
        let levels = trie.levels();
        let mut values: Vec<Vec<f32>> = (0..levels).map(|level| vec![0.0; trie.len(level)]).collect();
        values[levels - 1].iter_mut().zip(leaves).for_each(|(value, leaf)| *value = *leaf);
        for level in (0..levels - 1).rev() {
            let (above, below) = values.split_at_mut(level + 1);
            let gain = |child: u32| {
                self.term(trie, lookahead_terms, query, level + 1, child) + below[0][child as usize]
            };
            for (node, value) in (0..).zip(&mut above[level]) {
                *value = trie.children(level, node).map(gain).fold(f32::NEG_INFINITY, f32::max);
            }
        }
        values
    }

    /// What the geometry adds at one node; nothing at a suffix level, which has no codebook.
    fn term(
        &self,
        trie: &Trie,
        lookahead_terms: &LookaheadTerms,
        query: usize,
        level: usize,
        node: u32,
    ) -> f32 {
        let Some(products) = lookahead_terms.products.get(level) else { return 0.0 };
        let codes = products.len() / lookahead_terms.queries;
        let product = products[query * codes + trie.code(level, node) as usize];
        product + lookahead_terms.weights[level] * self.offsets[level][node as usize]
    }
}

//! Looking ahead: the best that the codebooks' geometry can still add below a node of the trie.
//!
//! A beam search keeps the prefixes that score best *so far*, and loses the right one if its first codes fit
//! badly. With grounded logits most of the future is known: the term of a code is 2⟨Wq, e⟩ plus a constant of
//! its node, so one pass over the trie, from the leaves up, gives each node the best sum that any docid below
//! it reaches. The search then keeps prefixes by what they have plus what they can still get, as A* does
//! (Hart et al. 1968); only the decoder's own logits are unknown. The pass compares no image embedding: it
//! reads codes and constants, as asymmetric distances of product quantisation do (Jégou et al. 2011).
//!
//! Scores do not change, only the choice of the prefixes that survive. (PAG, Zeng et al. 2024, plans ahead
//! with a trained head; here the codebooks do it.)

use super::candidate_table::CandidateTable;
use super::settings;
use crate::docid::trie::Trie;

/// The constants of a trie's nodes.
#[derive(Debug, Clone)]
pub struct Lookahead {
    /// −2⟨x̂_{<l}, e⟩ − ‖e‖² of each node, level by level.
    offsets: Vec<Vec<f32>>,
}

/// The query-dependent part of every code's term: one entry for each level that has a codebook.
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
    /// Whether a search looks ahead: the configuration wants it (`search.lookahead`), and scores have a part
    /// that is known in advance.
    pub fn is_enabled(wanted: bool, decoder: &settings::Decoder) -> bool {
        wanted && (decoder.grounded || decoder.plan)
    }

    /// The constants of every node of the trie.
    pub fn new(trie: &Trie, candidate_table: &CandidateTable) -> Self {
        // A node's constant depends on its prefix alone, so any docid below it has it.
        let offset = |level: usize, node: usize| {
            candidate_table.offsets(trie.rows_under(level, node as u32)[0])[level]
        };
        let level = |level: usize| (0..trie.len(level)).map(|node| offset(level, node)).collect();
        Self { offsets: (0..trie.levels()).map(level).collect() }
    }

    /// For one query, level by level and node by node, the most that the levels below can add; `leaves` is
    /// what each whole docid gets on top.
    pub fn values(&self, trie: &Trie, terms: &LookaheadTerms, query: usize, leaves: &[f32]) -> Vec<Vec<f32>> {
        let levels = trie.levels();
        let mut values: Vec<Vec<f32>> = (0..levels).map(|level| vec![0.0; trie.len(level)]).collect();
        values[levels - 1].iter_mut().zip(leaves).for_each(|(value, leaf)| *value = *leaf);
        for level in (0..levels - 1).rev() {
            let (above, below) = values.split_at_mut(level + 1);
            let gain =
                |child: u32| self.term(trie, terms, query, level + 1, child) + below[0][child as usize];
            for (node, value) in (0..).zip(&mut above[level]) {
                *value = trie.children(level, node).map(gain).fold(f32::NEG_INFINITY, f32::max);
            }
        }
        values
    }

    /// What the geometry adds at one node; zero at a suffix level, which has no codebook.
    fn term(&self, trie: &Trie, terms: &LookaheadTerms, query: usize, level: usize, node: u32) -> f32 {
        let Some(products) = terms.products.get(level) else { return 0.0 };
        let codes = products.len() / terms.queries;
        let product = products[query * codes + trie.code(level, node) as usize];
        product + terms.weights[level] * self.offsets[level][node as usize]
    }
}

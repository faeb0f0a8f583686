//! One level of a beam search over the trie, for one query: which prefixes survive. Pure.
//!
//! Two other searches keep prefixes by other scores, so they stay apart: `docid::codebook_measures` by the
//! distance of a reconstruction, which is not a sum over levels, and `docid::rq::beam_encode` over codewords
//! without a trie. All three select with [`keep_first`].

use std::cmp::Ordering;

use crate::docid::trie::Trie;
use crate::ranking::keep_first;

/// A prefix that a search keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypothesis {
    /// Its node at the current level of the trie.
    pub node: u32,
    /// Its score so far.
    pub score: f32,
    /// The score plus the most that the levels below can still add; the search keeps the largest.
    pub promise: f32,
    /// The row of the hypothesis that it extends, among those of the level before.
    pub parent: u32,
}

/// The best `width` extensions of a query's hypotheses by one level, best first, ties by node.
///
/// `beams` are the hypotheses at `level − 1` (ignored at level 0, where the root is extended); `scores` gives
/// the scores of all codes for a row of `beams`; `ahead` the most that can still be added below each node
/// (empty: nothing), and at a leaf what the whole docid gets on top, which is then part of its score. Only
/// children that exist are enumerated and each node has one parent, so every prefix is valid and none comes
/// twice, even if a node has fewer children than `width`.
///
/// `least_doubt` is the doubt at which a level is a wildcard: its children all get the same score (1: never).
pub fn extend<'a>(
    trie: &Trie,
    level: usize,
    beams: &[Hypothesis],
    scores: impl Fn(usize) -> &'a [f32],
    ahead: &[f32],
    width: usize,
    least_doubt: f32,
) -> Vec<Hypothesis> {
    let root = [Hypothesis { node: 0, score: 0.0, promise: 0.0, parent: 0 }];
    let beams = if level == 0 { &root } else { beams };
    let mut extended = Vec::new();
    for (row, beam) in beams.iter().enumerate() {
        let children = if level == 0 { trie.roots() } else { trie.children(level - 1, beam.node) };
        let scores = scores(row);
        let step = |node| scores[trie.code(level, node) as usize];
        let shared = wildcard(children.clone().map(step), least_doubt);
        extended.extend(children.map(|node| {
            let score = beam.score + shared.unwrap_or_else(|| step(node));
            let promise = score + ahead.get(node as usize).copied().unwrap_or(0.0);
            let score = if level + 1 == trie.levels() { promise } else { score };
            Hypothesis { node, score, promise, parent: row as u32 }
        }));
    }
    keep_first(&mut extended, width, by_promise);
    extended
}

/// The shared score of a node's children when they differ too little: the logarithm of their mean exp-score,
/// so that the levels below decide. They differ too little when the entropy of their softmax, as a share of
/// the largest possible one, exceeds `least_doubt`.
fn wildcard(scores: impl Iterator<Item = f32> + Clone, least_doubt: f32) -> Option<f32> {
    if least_doubt >= 1.0 {
        return None;
    }
    let all = (scores.clone().count() as f32).ln();
    let most = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.clone().map(|s| (s - most).exp()).sum();
    let entropy: f32 =
        scores.map(|s| ((s - most).exp() / sum, s - most - sum.ln())).map(|(p, log_p)| -p * log_p).sum();
    (entropy > least_doubt * all).then(|| most + sum.ln() - all)
}

fn by_promise(a: &Hypothesis, b: &Hypothesis) -> Ordering {
    b.promise.total_cmp(&a.promise).then(a.node.cmp(&b.node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::{Docid, DocidSet};

    fn trie() -> Trie {
        let docids = [[0, 1], [0, 2], [2, 0]].map(|codes| Docid::new(codes.to_vec()));
        Trie::new(&DocidSet::new(docids.to_vec(), vec![3, 3]).unwrap())
    }

    #[test]
    fn only_valid_prefixes_survive_best_first() {
        let trie = trie();
        let first = extend(&trie, 0, &[], |_| &[1.0, 9.0, 3.0], &[], 5, 1.0);
        assert_eq!(first.iter().map(|h| (h.node, h.score)).collect::<Vec<_>>(), [(1, 3.0), (0, 1.0)]);
        let rows = [[0.5, 9.0, 9.0], [9.0, 1.0, 2.0]];
        let second = extend(&trie, 1, &first, |row| &rows[row], &[], 2, 1.0);
        let rows: Vec<_> = second.iter().map(|h| (trie.row(h.node).0, h.score, h.parent)).collect();
        assert_eq!(rows, [(2, 3.5, 0), (1, 3.0, 1)]);
    }

    #[test]
    fn a_level_whose_children_look_alike_is_a_wildcard() {
        let kept = |least_doubt| extend(&trie(), 0, &[], |_| &[1.0, 0.0, 0.9], &[], 5, least_doubt);
        let shared = ((1f32.exp() + 0.9f32.exp()) / 2.0).ln();
        assert!(kept(0.9).iter().all(|h| (h.score - shared).abs() < 1e-6));
        assert_eq!(kept(1.0)[0].score, 1.0);
        let sure = extend(&trie(), 0, &[], |_| &[9.0, 0.0, 0.0], &[], 5, 0.9);
        assert_eq!(sure[0].score, 9.0);
    }

    #[test]
    fn ties_go_to_the_smaller_node() {
        let kept = extend(&trie(), 0, &[], |_| &[1.0, 1.0, 1.0], &[], 1, 1.0);
        assert_eq!(kept[0].node, 0);
    }

    #[test]
    fn what_is_added_at_a_leaf_is_part_of_its_score() {
        let first = extend(&trie(), 0, &[], |_| &[1.0, 9.0, 3.0], &[], 5, 1.0);
        let second = extend(&trie(), 1, &first, |_| &[0.0; 3], &[0.0, 5.0, 0.0], 1, 1.0);
        assert_eq!((second[0].node, second[0].score), (1, 6.0));
    }

    #[test]
    fn a_promising_prefix_survives_a_better_one() {
        let kept = extend(&trie(), 0, &[], |_| &[2.0, 0.0, 1.0], &[0.0, 3.0], 1, 1.0);
        assert_eq!((kept[0].node, kept[0].score, kept[0].promise), (1, 1.0, 4.0));
    }
}

//! The bookkeeping of beam search over a trie: pure, one query, one level at a time.

use std::cmp::Ordering;

use crate::docid::trie::Trie;

/// A prefix that is still in the running.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypothesis {
    /// Its node at the current level of the trie.
    pub node: u32,
    /// Its score so far.
    pub score: f32,
    /// The score with what the levels below can still add: what it is kept by.
    pub promise: f32,
    /// The row, among the hypotheses of the level before, that it extends.
    pub parent: u32,
}

/// The best `width` extensions of a query's hypotheses by one level, best first, ties by node.
///
/// `beams` are the hypotheses at `level − 1` (ignored at level 0, where the root is extended); `scores` gives the
/// score of a code for a row of `beams`, `ahead` what can still be added below each node (nothing, where empty). Only children that exist are enumerated, each node has one parent, so no
/// prefix is invalid and none comes twice, also where a node has fewer children than the beam is wide.
pub fn extend<'a>(
    trie: &Trie,
    level: usize,
    beams: &[Hypothesis],
    scores: impl Fn(usize) -> &'a [f32],
    ahead: &[f32],
    width: usize,
) -> Vec<Hypothesis> {
    let root = [Hypothesis { node: 0, score: 0.0, promise: 0.0, parent: 0 }];
    let beams = if level == 0 { &root } else { beams };
    let mut extended = Vec::new();
    for (row, beam) in beams.iter().enumerate() {
        let children = if level == 0 { trie.roots() } else { trie.children(level - 1, beam.node) };
        let scores = scores(row);
        extended.extend(children.map(|node| {
            let score = beam.score + scores[trie.code(level, node) as usize];
            let promise = score + ahead.get(node as usize).copied().unwrap_or(0.0);
            Hypothesis { node, score, promise, parent: row as u32 }
        }));
    }
    if extended.len() > width {
        extended.select_nth_unstable_by(width, best_first);
        extended.truncate(width);
    }
    extended.sort_unstable_by(best_first);
    extended
}

fn best_first(a: &Hypothesis, b: &Hypothesis) -> Ordering {
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
        let first = extend(&trie, 0, &[], |_| &[1.0, 9.0, 3.0], &[], 5);
        assert_eq!(first.iter().map(|h| (h.node, h.score)).collect::<Vec<_>>(), [(1, 3.0), (0, 1.0)]);
        let rows = [[0.5, 9.0, 9.0], [9.0, 1.0, 2.0]];
        let second = extend(&trie, 1, &first, |row| &rows[row], &[], 2);
        let images: Vec<_> = second.iter().map(|h| (trie.image(h.node).0, h.score, h.parent)).collect();
        assert_eq!(images, [(2, 3.5, 0), (1, 3.0, 1)]);
    }

    #[test]
    fn ties_go_to_the_smaller_node() {
        let kept = extend(&trie(), 0, &[], |_| &[1.0, 1.0, 1.0], &[], 1);
        assert_eq!(kept[0].node, 0);
    }

    #[test]
    fn a_promising_prefix_survives_a_better_one() {
        let kept = extend(&trie(), 0, &[], |_| &[2.0, 0.0, 1.0], &[0.0, 3.0], 1);
        assert_eq!((kept[0].node, kept[0].score, kept[0].promise), (1, 1.0, 4.0));
    }
}

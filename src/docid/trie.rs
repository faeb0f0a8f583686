//! The trie of the valid docids, in flat arrays. It keeps a beam from spelling docids that no image has.
//!
//! Nodes are stored level by level in lexicographic order of their prefixes. So the children of a node are
//! one range of the next level, and the images below it are one range of the leaves (compressed sparse rows,
//! as in STATIC). There is no dense table from codes to children: a beam enumerates the children of its nodes
//! and reads the logit of each.

use std::ops::Range;

use super::{Code, DocidSet};
use crate::ids::DocidRow;

/// The docids of a gallery. A node has a level (from zero: that of its last code) and a position within the
/// level. Nodes of the last level are the leaves, one per docid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    levels: Vec<Level>,
    /// The row of each leaf's docid.
    rows: Vec<DocidRow>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Level {
    /// The last code of each node.
    codes: Vec<Code>,
    /// The first child of each node in the next level; one more entry marks the end of the last node's
    /// children.
    first_child: Vec<u32>,
}

impl Trie {
    /// The trie over all docids of a set.
    pub fn new(docids: &DocidSet) -> Self {
        Self::over(docids, (0..docids.images()).map(DocidRow::from))
    }

    /// The trie over a gallery: the rows of the docids that may be spelled (repetition is harmless).
    pub fn over(docids: &DocidSet, gallery: impl IntoIterator<Item = DocidRow>) -> Self {
        let mut rows: Vec<DocidRow> = gallery.into_iter().collect();
        rows.sort_unstable_by_key(|&row| docids.get(row));
        rows.dedup();
        let mut trie = Self { levels: vec![Level::default(); docids.levels()], rows: Vec::new() };
        let mut previous: &[Code] = &[];
        for &row in &rows {
            let codes = docids.get(row).codes();
            let shared = codes.iter().zip(previous).take_while(|(a, b)| a == b).count();
            trie.push(codes, shared);
            previous = codes;
        }
        for level in 0..trie.levels.len() {
            let end = trie.next_len(level);
            trie.levels[level].first_child.push(end);
        }
        Self { rows, ..trie }
    }

    /// Adds the nodes of a docid; those of the first `shared` levels exist already.
    fn push(&mut self, codes: &[Code], shared: usize) {
        for (level, &code) in codes.iter().enumerate().skip(shared) {
            let first_child = self.next_len(level);
            self.levels[level].codes.push(code);
            self.levels[level].first_child.push(first_child);
        }
    }

    /// Number of nodes of the level below `level` so far; zero below the leaves.
    fn next_len(&self, level: usize) -> u32 {
        self.levels.get(level + 1).map_or(0, |next| next.codes.len() as u32)
    }

    /// Number of levels, the length of every docid.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Number of nodes of a level.
    pub fn len(&self, level: usize) -> usize {
        self.levels[level].codes.len()
    }

    /// The nodes of the first level: the children of the empty prefix.
    pub fn roots(&self) -> Range<u32> {
        0..self.len(0) as u32
    }

    /// The children of a node: nodes of `level + 1`, by ascending code. A leaf has none.
    pub fn children(&self, level: usize, node: u32) -> Range<u32> {
        let bounds = &self.levels[level].first_child;
        bounds[node as usize]..bounds[node as usize + 1]
    }

    /// The last code of a node's prefix.
    pub fn code(&self, level: usize, node: u32) -> Code {
        self.levels[level].codes[node as usize]
    }

    /// The row of a leaf's docid (a leaf is a node of the last level).
    pub fn row(&self, leaf: u32) -> DocidRow {
        self.rows[leaf as usize]
    }

    /// The rows of the docids in the order of the leaves.
    pub fn rows(&self) -> &[DocidRow] {
        &self.rows
    }

    /// The leaves below a node; for a leaf, the leaf itself.
    pub fn leaves_under(&self, level: usize, node: u32) -> Range<u32> {
        let below = &self.levels[level..self.levels.len() - 1];
        below.iter().fold(node..node + 1, |nodes, level| {
            level.first_child[nodes.start as usize]..level.first_child[nodes.end as usize]
        })
    }

    /// For each level, the leaves that share the first codes of `leaf` up to that level.
    pub fn prefixes(&self, leaf: u32) -> Vec<Range<u32>> {
        let mut node = leaf;
        let mut ranges: Vec<Range<u32>> = (0..self.levels()).map(|_| leaf..leaf + 1).collect();
        for level in (0..self.levels() - 1).rev() {
            // The parent is the last node whose children begin at or before this one.
            node = self.levels[level].first_child.partition_point(|&first| first <= node) as u32 - 1;
            ranges[level] = self.leaves_under(level, node);
        }
        ranges
    }

    /// The rows of the docids that begin with a node's prefix, in docid order.
    pub fn rows_under(&self, level: usize, node: u32) -> &[DocidRow] {
        let leaves = self.leaves_under(level, node);
        &self.rows[leaves.start as usize..leaves.end as usize]
    }

    /// The node of a prefix, at level `prefix.len() − 1`; `None` if no docid begins so, or the prefix is
    /// empty.
    pub fn descend(&self, prefix: &[Code]) -> Option<u32> {
        let mut candidates = self.roots();
        let mut node = None;
        for (level, code) in prefix.iter().enumerate() {
            let codes = &self.levels.get(level)?.codes[candidates.start as usize..candidates.end as usize];
            let found = candidates.start + codes.binary_search(code).ok()? as u32;
            candidates = self.children(level, found);
            node = Some(found);
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::Docid;
    use proptest::prelude::*;

    fn set(docids: &[&[Code]], widths: &[usize]) -> DocidSet {
        let docids = docids.iter().map(|codes| Docid::new(codes.to_vec())).collect();
        DocidSet::new(docids, widths.to_vec()).unwrap()
    }

    fn numbers(rows: &[DocidRow]) -> Vec<u32> {
        rows.iter().map(|row| row.0).collect()
    }

    /// 0-1-0 (row 1), 0-1-3 (3), 2-0-0 (2), 2-1-1 (0).
    fn four() -> DocidSet {
        set(&[&[2, 1, 1], &[0, 1, 0], &[2, 0, 0], &[0, 1, 3]], &[3, 2, 4])
    }

    #[test]
    fn nodes_agree_with_hand_computation() {
        let trie = Trie::new(&four());
        assert_eq!((0..3).map(|level| trie.len(level)).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(trie.roots().map(|node| trie.code(0, node)).collect::<Vec<_>>(), [0, 2]);
        assert_eq!((trie.children(0, 0), trie.children(0, 1)), (0..1, 1..3));
        assert_eq!((trie.children(1, 0), trie.children(1, 1), trie.children(1, 2)), (0..2, 2..3, 3..4));
        assert!(trie.children(2, 3).is_empty());
        assert_eq!((0..4).map(|leaf| trie.code(2, leaf)).collect::<Vec<_>>(), [0, 3, 0, 1]);
        assert_eq!(numbers(trie.rows()), [1, 3, 2, 0]);
        assert_eq!(trie.row(2), DocidRow(2));
        assert_eq!(numbers(trie.rows_under(0, 0)), [1, 3]);
        assert_eq!(numbers(trie.rows_under(0, 1)), [2, 0]);
        assert_eq!(trie.leaves_under(2, 3), 3..4);
    }

    #[test]
    fn descending_finds_prefixes_and_nothing_else() {
        let trie = Trie::new(&four());
        assert_eq!(trie.descend(&[2]), Some(1));
        assert_eq!(trie.descend(&[2, 1]), Some(2));
        assert_eq!(trie.descend(&[2, 1, 1]), Some(3));
        for wrong in [&[][..], &[1], &[0, 0], &[2, 1, 0], &[2, 1, 1, 0]] {
            assert_eq!(trie.descend(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_gallery_holds_only_its_docids() {
        let trie = Trie::over(&four(), [0, 3, 0].map(DocidRow));
        assert_eq!(numbers(trie.rows()), [3, 0]);
        assert_eq!((0..3).map(|level| trie.len(level)).collect::<Vec<_>>(), [2, 2, 2]);
        let empty = Trie::over(&four(), []);
        assert!(empty.roots().is_empty() && empty.descend(&[0]).is_none());
    }

    proptest! {
        #[test]
        fn the_trie_is_the_set_of_its_docids(
            docids in prop::collection::hash_set(prop::collection::vec(0u32..4, 3), 1..50)
        ) {
            let docids: Vec<Vec<Code>> = docids.into_iter().collect();
            let refs: Vec<&[Code]> = docids.iter().map(Vec::as_slice).collect();
            let trie = Trie::new(&set(&refs, &[4, 4, 4]));
            for code in 0..64 {
                let codes = [code / 16, code / 4 % 4, code % 4];
                let row = trie.descend(&codes).map(|leaf| trie.row(leaf).row());
                prop_assert_eq!(row, docids.iter().position(|docid| docid == &codes));
            }
            let mut spelled = 0;
            for level in 0..3 {
                for node in 0..trie.len(level) as u32 {
                    let prefix = docids[trie.rows_under(level, node)[0].row()][..=level].to_vec();
                    prop_assert_eq!(trie.descend(&prefix), Some(node));
                    let with_prefix = docids.iter().filter(|docid| docid.starts_with(&prefix)).count();
                    prop_assert_eq!(trie.rows_under(level, node).len(), with_prefix);
                    spelled += trie.children(level, node).len();
                }
            }
            prop_assert_eq!(spelled, trie.len(1) + trie.len(2));
        }
    }
}

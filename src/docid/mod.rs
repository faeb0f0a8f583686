//! Docids: the names that the decoder spells, and the families that make them.
//!
//! A docid is a sequence of codes that names one image. How it is made decides what a decoder can learn,
//! because a beam keeps an image only if it ranks the image's first codes well:
//!
//! | family | a docid is | mathematics |
//! |---|---|---|
//! | `atomic` | one code per image (DSI, Tay et al. 2022) | |
//! | `numeric` | the digits of an arbitrary number (DSI "naive", GRACE) | |
//! | `tree` | the path in a hierarchical k-means (DSI "semantic", GRACE "structured") | [`kmeans_tree`] |
//! | `rq` | the residual quantisation of the embedding (IRGen, TIGER, GENIUS) | [`rq`] |
//! | `learned` | the same, with codebooks trained for retrieval (GenRet, PRO) | [`rq`], [`revive_codes`], [`unique_paths`] |
//!
//! The first two ignore the embeddings and serve as baselines. The others quantise embeddings with
//! [`kmeans`], so that near images share prefixes. A [`suffix`] tells images with equal codes apart. The
//! result is a [`DocidSet`]; a search walks it as a [`trie::Trie`]. Before training, [`gates`] and
//! [`codebook_measures`] measure whether the docids can work at all.
//!
//! # How to add a family
//! One file and one line, see [`families`].
//!
//! Everything here is pure: numbers in, numbers out, the same on every number of threads. Work that needs
//! several processes or gradients comes in through [`families::CodebookTools`].

pub mod codebook_measures;
pub mod families;
pub mod gates;
pub mod kmeans;
pub mod kmeans_tree;
pub mod mixed_points;
pub mod principal_directions;
pub mod prior;
pub mod revive_codes;
pub mod rq;
pub mod suffix;
pub mod trie;
pub mod unique_paths;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::{DocidRow, ImageIdx};

/// One position of a docid. 32 bits, because an atomic docid of a COCO image (123,287 of them) needs over 16.
pub type Code = u32;

/// The most codes a level may have; the output head of a level has a row for each.
pub const MAX_CODES: usize = 1 << 20;

/// The name of one image: one code per level. Written `12-3-45`; in JSON `[12,3,45]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Docid(Vec<Code>);

impl Docid {
    /// A docid of these codes, the first level first.
    pub fn new(codes: Vec<Code>) -> Self {
        Self(codes)
    }

    /// The codes, the first level first.
    pub fn codes(&self) -> &[Code] {
        &self.0
    }
}

impl fmt::Display for Docid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, code) in self.0.iter().enumerate() {
            let dash = if level == 0 { "" } else { "-" };
            write!(f, "{dash}{code}")?;
        }
        Ok(())
    }
}

/// The docids of a corpus: one per image in [`ImageIdx`] order, equally long, all different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocidSet {
    docids: Vec<Docid>,
    codes_per_level: Vec<usize>,
}

impl DocidSet {
    /// Takes the docids of a corpus and the number of codes that each level may use.
    ///
    /// # Errors
    /// When there is no docid or no level, a level has no code or more than [`MAX_CODES`], a docid has
    /// another length or a code outside its level, or two images share a docid.
    pub fn new(docids: Vec<Docid>, codes_per_level: Vec<usize>) -> Result<Self> {
        if docids.is_empty() || codes_per_level.is_empty() {
            return Err(Error::input("a set of docids needs at least one image and one level"));
        }
        if let Some(level) = codes_per_level.iter().position(|&codes| !(1..=MAX_CODES).contains(&codes)) {
            let codes = codes_per_level[level];
            return Err(Error::input(format!(
                "level {level} has {codes} codes; 1 to {MAX_CODES} are allowed"
            )));
        }
        for (row, docid) in docids.iter().enumerate() {
            check_shape(row, docid, &codes_per_level)?;
        }
        check_unique(&docids)?;
        Ok(Self { docids, codes_per_level })
    }

    /// The docid of a row.
    pub fn get(&self, row: DocidRow) -> &Docid {
        &self.docids[row.row()]
    }

    /// The docid of an image.
    pub fn of(&self, image: ImageIdx) -> &Docid {
        self.get(DocidRow::of(image))
    }

    /// The docids in the order of their rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Docid> {
        self.docids.iter()
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.docids.len()
    }

    /// Number of levels, the length of every docid.
    pub fn levels(&self) -> usize {
        self.codes_per_level.len()
    }

    /// For each level the size of its vocabulary: every code is below it.
    pub fn codes_per_level(&self) -> &[usize] {
        &self.codes_per_level
    }
}

/// Refuses a docid of the wrong length or with a code outside its level.
fn check_shape(row: usize, docid: &Docid, codes_per_level: &[usize]) -> Result<()> {
    let (codes, levels) = (docid.codes(), codes_per_level.len());
    if codes.len() != levels {
        let found = codes.len();
        return Err(Error::input(format!(
            "docid {docid} of image {row} has {found} codes; {levels} expected"
        )));
    }
    match codes.iter().zip(codes_per_level).position(|(&code, &width)| code as usize >= width) {
        None => Ok(()),
        Some(level) => Err(Error::input(format!(
            "docid {docid} of image {row}: code {} at level {level} is not below {}",
            codes[level], codes_per_level[level]
        ))),
    }
}

/// Refuses two images with one docid, naming the first such pair in docid order.
fn check_unique(docids: &[Docid]) -> Result<()> {
    let mut order: Vec<usize> = (0..docids.len()).collect();
    order.sort_unstable_by_key(|&row| (&docids[row], row));
    match order.windows(2).find(|pair| docids[pair[0]] == docids[pair[1]]) {
        None => Ok(()),
        Some(pair) => Err(Error::input(format!(
            "images {} and {} share the docid {}; add a suffix level to tell them apart",
            pair[0], pair[1], docids[pair[0]]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(docids: &[&[Code]], widths: &[usize]) -> Result<DocidSet> {
        DocidSet::new(docids.iter().map(|codes| Docid::new(codes.to_vec())).collect(), widths.to_vec())
    }

    #[test]
    fn docids_are_shown_with_dashes_and_stored_as_arrays() {
        let docid = Docid::new(vec![12, 3, 45]);
        assert_eq!(docid.to_string(), "12-3-45");
        assert_eq!(serde_json::to_string(&docid).unwrap(), "[12,3,45]");
        assert_eq!(serde_json::from_str::<Docid>("[12,3,45]").unwrap(), docid);
    }

    #[test]
    fn a_good_set_is_taken_as_it_is() {
        let docids = set(&[&[1, 0], &[0, 2]], &[2, 3]).unwrap();
        assert_eq!((docids.images(), docids.levels(), docids.codes_per_level()), (2, 2, &[2, 3][..]));
        assert_eq!(docids.of(ImageIdx(1)).codes(), [0, 2]);
    }

    #[test]
    fn bad_sets_are_refused_by_name() {
        let message = |result: Result<DocidSet>| result.unwrap_err().to_string();
        assert!(message(set(&[], &[2])).contains("at least one image"));
        assert!(message(set(&[&[]], &[])).contains("one level"));
        assert!(message(set(&[&[0]], &[0])).contains("level 0 has 0 codes"));
        assert!(message(set(&[&[0, 1]], &[2])).contains("has 2 codes; 1 expected"));
        assert!(message(set(&[&[0], &[2]], &[2])).contains("code 2 at level 0 is not below 2"));
        assert!(message(set(&[&[1], &[0], &[1]], &[2])).contains("images 0 and 2 share the docid 1"));
    }
}

//! The collision rule: a suffix that tells images with equal codes apart.
//!
//! Quantised images may get equal codes, but a docid names one image. If any images share their codes, every
//! docid gets one more level, the suffix; it numbers the images of equal codes 0, 1, 2 … in
//! [`ImageIdx`](crate::ids::ImageIdx) order. Appending images to a corpus changes no earlier docid, unless
//! they cause the first collision.

use super::{Code, Docid, DocidSet};
use crate::error::Result;

/// How often images share their codes, before the suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collisions {
    /// Number of images.
    pub images: usize,
    /// Number of images whose codes at least one other image has too.
    pub shared: usize,
    /// Number of images in the largest group of equal codes.
    pub largest: usize,
}

impl Collisions {
    /// Share of the images that share their codes with another, 0 to 1.
    pub fn share(&self) -> f64 {
        self.shared as f64 / self.images.max(1) as f64
    }
}

/// Makes unique docids of `codes`, one row per image in corpus order, given the number of codes of each
/// level. Without a collision no level is added, unless there is no level yet.
///
/// # Errors
/// As [`DocidSet::new`], except for shared docids.
pub fn unique(codes: Vec<Vec<Code>>, codes_per_level: &[usize]) -> Result<(DocidSet, Collisions)> {
    let (suffixes, collisions) = number_groups(&codes);
    let mut widths = codes_per_level.to_vec();
    let suffixed = collisions.shared > 0 || widths.is_empty();
    if suffixed {
        widths.push(collisions.largest);
    }
    let docids = codes.into_iter().zip(suffixes).map(|(mut codes, suffix)| {
        codes.extend(suffixed.then_some(suffix));
        Docid::new(codes)
    });
    Ok((DocidSet::new(docids.collect(), widths)?, collisions))
}

/// For each row its number among the rows of equal codes.
fn number_groups(codes: &[Vec<Code>]) -> (Vec<Code>, Collisions) {
    let mut order: Vec<usize> = (0..codes.len()).collect();
    order.sort_unstable_by_key(|&row| (&codes[row], row));
    let mut suffixes = vec![0; codes.len()];
    let mut collisions = Collisions { images: codes.len(), shared: 0, largest: 0 };
    for group in order.chunk_by(|&a, &b| codes[a] == codes[b]) {
        for (suffix, &row) in group.iter().enumerate() {
            suffixes[row] = suffix as Code;
        }
        collisions.largest = collisions.largest.max(group.len());
        collisions.shared += if group.len() > 1 { group.len() } else { 0 };
    }
    (suffixes, collisions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(docids: &DocidSet) -> Vec<String> {
        docids.iter().map(Docid::to_string).collect()
    }

    #[test]
    fn equal_codes_are_numbered_in_corpus_order() {
        let codes = vec![vec![1, 2], vec![0, 0], vec![1, 2], vec![1, 2]];
        let (docids, collisions) = unique(codes, &[2, 3]).unwrap();
        assert_eq!(shown(&docids), ["1-2-0", "0-0-0", "1-2-1", "1-2-2"]);
        assert_eq!(docids.codes_per_level(), [2, 3, 3]);
        assert_eq!(collisions, Collisions { images: 4, shared: 3, largest: 3 });
        assert_eq!(collisions.share(), 0.75);
    }

    #[test]
    fn without_collision_no_level_is_added() {
        let (docids, collisions) = unique(vec![vec![1], vec![0]], &[2]).unwrap();
        assert_eq!(shown(&docids), ["1", "0"]);
        assert_eq!(collisions.share(), 0.0);
    }

    #[test]
    fn images_without_any_code_are_named_by_the_suffix_alone() {
        assert_eq!(shown(&unique(vec![vec![]], &[]).unwrap().0), ["0"]);
        assert_eq!(shown(&unique(vec![vec![], vec![]], &[]).unwrap().0), ["0", "1"]);
    }

    proptest! {
        #[test]
        fn the_suffix_makes_docids_unique(
            codes in prop::collection::vec(prop::collection::vec(0u32..3, 2), 1..60)
        ) {
            let (docids, collisions) = unique(codes.clone(), &[3, 3]).expect("unique");
            prop_assert_eq!(docids.levels(), if collisions.shared > 0 { 3 } else { 2 });
            prop_assert!(docids.iter().zip(&codes).all(|(docid, codes)| docid.codes().starts_with(codes)));
        }
    }
}

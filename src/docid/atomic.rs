//! Atomic docids: one level, one code per image (DSI, Tay et al. 2022). The decoder is then a classifier
//! over the corpus; the baseline that shares nothing between images.

use super::{Code, Docid, DocidSet};
use crate::error::Result;

/// Names each of `images` images by its own row.
///
/// # Errors
/// When there is no image, or more than [`super::MAX_CODES`].
pub fn atomic(images: usize) -> Result<DocidSet> {
    let docids = (0..images).map(|row| Docid::new(vec![row as Code])).collect();
    DocidSet::new(docids, vec![images])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_its_own_code() {
        let docids = atomic(3).unwrap();
        assert_eq!(docids.iter().map(Docid::to_string).collect::<Vec<_>>(), ["0", "1", "2"]);
        assert_eq!(docids.codes_per_level(), [3]);
        assert!(atomic(0).is_err());
    }
}

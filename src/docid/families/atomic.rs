//! Atomic docids: one level, one code per image (DSI, Tay et al. 2022). The decoder is then a classifier over
//! the corpus; the baseline in which images share nothing.

use super::{DocidFamily, FamilyInput, FamilyOutput};
use crate::docid::{Code, Docid, DocidSet};
use crate::error::Result;

/// The family `atomic`.
pub struct Atomic;

impl DocidFamily for Atomic {
    fn name(&self) -> &'static str {
        "atomic"
    }

    fn about(&self) -> &'static str {
        "One code an image (DSI, Tay et al. 2022)."
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        Ok(FamilyOutput::without_codebooks(atomic(input.images.rows())?))
    }
}

/// Names each of `images` images by its own row.
///
/// # Errors
/// When there is no image, or more than [`crate::docid::MAX_CODES`].
fn atomic(images: usize) -> Result<DocidSet> {
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

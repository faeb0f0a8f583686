//! Learned docids: residual quantisation whose codebooks are then trained for retrieval (GenRet, Sun et al.
//! 2023; PRO), with codes that are unique by construction.

use super::rq::fitted;
use super::{DocidFamily, FamilyInput, FamilyOutput};
use crate::error::Result;

/// The family `learned`.
pub struct Learned;

impl DocidFamily for Learned {
    fn name(&self) -> &'static str {
        "learned"
    }

    fn about(&self) -> &'static str {
        "As `rq`, with codebooks that are then trained for retrieval (GenRet, PRO)."
    }

    fn has_codebooks(&self) -> bool {
        true
    }

    fn fits_train_images(&self) -> bool {
        true
    }

    fn trains_codebooks(&self) -> bool {
        true
    }

    fn codes_are_unique(&self) -> bool {
        true
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        let books = input.tools.train(fitted(input)?, input)?;
        let codes = input.tools.encode_unique(&books, input.images, input.settings.encode_beam);
        FamilyOutput::quantised(books, codes)
    }
}

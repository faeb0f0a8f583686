//! CLIP's contrastive loss between aligned captions and photos, computed on pairs drawn for it alone.
//!
//! The formula is in [`crate::encoder::contrastive_loss`].

use super::term::{Term, TermInputs};
use crate::error::Result;
use crate::train::step_loss::{Averaging, TermValue};

/// The contrastive loss of the encoder in training.
pub struct Contrastive;

impl Term for Contrastive {
    fn name(&self) -> &'static str {
        "contrastive"
    }

    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>> {
        let value = inputs.extras.contrastive_loss()?;
        Ok(value.map(|value| TermValue { value, averaging: Averaging::SameOnEveryRank }))
    }
}

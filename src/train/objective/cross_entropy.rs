//! Cross-entropy per level (DSI, Tay et al. 2022), the main term of `train.loss = "cross_entropy"`:
//!
//! −1/L · Σ_l log p(c_l | q, c_{<l}) of the gold docid's codes c, averaged over queries.

use candle_core::Tensor;

use super::terms::term::TermInputs;
use crate::error::Result;

/// The loss of a micro-batch, whose only candidates are the gold docids.
pub fn value(inputs: &TermInputs) -> Result<Tensor> {
    cross_entropy(&inputs.scores)
}

/// `log_p`: log-probabilities of the gold docid's codes (query, 1, level).
pub fn cross_entropy(log_p: &Tensor) -> Result<Tensor> {
    Ok(log_p.mean_all()?.neg()?)
}

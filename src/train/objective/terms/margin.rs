//! The margin loss on prefixes (RIPOR, Zeng et al. 2024; LTRGR, Li et al. 2024).
//!
//! With S_l(p) as in [`crate::train::objective::listwise`] and g the gold prefix:
//!
//! 1/L · Σ_l mean over p ≠ g of max(0, m − S_l(g) + S_l(p)), averaged over queries.

use candle_core::Tensor;

use super::term::{Term, TermInputs};
use crate::error::Result;
use crate::train::objective::prefix_targets::{HIDDEN, prefix_scores};
use crate::train::step_loss::{Averaging, TermValue};

/// The margin loss with the margin m, in nats.
pub struct Margin {
    /// m
    pub size: f64,
}

impl Term for Margin {
    fn name(&self) -> &'static str {
        "margin"
    }

    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>> {
        if inputs.scores.dim(1)? == 1 {
            return Ok(None); // a corpus of one image has no other prefix
        }
        let value = margin(&inputs.scores, &inputs.hidden, self.size)?;
        Ok(Some(TermValue { value, averaging: Averaging::MeanOfQueries }))
    }
}

/// `scores`: step scores (query, candidate, level), the gold candidate first; `hidden`: as in
/// [`listwise`](crate::train::objective::listwise::listwise).
pub fn margin(scores: &Tensor, hidden: &Tensor, size: f64) -> Result<Tensor> {
    let (_, candidates, _) = scores.dims3()?;
    let sums = (prefix_scores(scores)? + hidden)?; // far below zero where hidden
    let gold = sums.narrow(1, 0, 1)?;
    let others = sums.narrow(1, 1, candidates - 1)?;
    let lacking = (others.broadcast_sub(&gold)? + size)?.relu()?;
    let counted = others.ge(HIDDEN / 2.0)?.to_dtype(scores.dtype())?;
    let counts = counted.sum(1)?.maximum(1.0)?; // (query, level)
    Ok((lacking.sum(1)? / counts)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::train::objective::prefix_targets::{PrefixTargets, TargetWeights};

    #[test]
    fn only_prefixes_that_are_not_hidden_count() {
        let docids: [&[u32]; 3] = [&[1, 2], &[1, 3], &[4, 2]];
        let weights = TargetWeights { gold: 1.0, smoothing: 0.0 };
        let targets = PrefixTargets::new(&docids, &vec![vec![1.0; 2]; 3], weights);
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 3, 2), &Device::Cpu).unwrap();
        // Sums: gold 2, 3; second (hidden at level 1), 2.5; third 1.5, 0.
        let scores = tensor(vec![2.0, 1.0, 2.0, 0.5, 1.5, -1.5]);
        let loss = margin(&scores, &tensor(targets.hidden), 1.0).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 0.5 * (0.5 + (0.5 + 0.0) / 2.0)).abs() < 1e-6, "{loss}");
    }
}

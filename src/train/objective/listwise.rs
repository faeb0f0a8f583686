//! The prefix-wise listwise loss, the main term of `train.loss = "listwise"`.
//!
//! With S_l(p) the sum of the step scores of prefix p's first l levels and t_l(p) its target:
//!
//! −1/L · Σ_l Σ_p t_l(p) · log( exp S_l(p) / Σ_p' exp S_l(p') ), averaged over queries.

use candle_core::Tensor;

use super::prefix_targets::prefix_scores;
use super::terms::term::TermInputs;
use crate::error::Result;

/// The loss of a micro-batch.
pub fn value(inputs: &TermInputs) -> Result<Tensor> {
    listwise(&inputs.scores, &inputs.hidden, &inputs.mass)
}

/// `scores`: step scores (query, candidate, level); `hidden`, `mass`:
/// [`super::prefix_targets::PrefixTargets`] of the same shape.
pub fn listwise(scores: &Tensor, hidden: &Tensor, mass: &Tensor) -> Result<Tensor> {
    let (queries, _, levels) = scores.dims3()?;
    let sums = prefix_scores(scores)?;
    let log_p = candle_nn::ops::log_softmax(&(sums + hidden)?, 1)?;
    Ok(((log_p * mass)?.sum_all()? * (-1.0 / (queries * levels) as f64))?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::train::objective::prefix_targets::{PrefixTargets, TargetWeights};

    #[test]
    fn the_loss_agrees_with_hand_computation() {
        let docids: [&[u32]; 2] = [&[1, 2], &[3, 2]];
        let weights = TargetWeights { gold: 1.0, smoothing: 0.0 };
        let targets = PrefixTargets::new(&docids, &[vec![1.0, 1.0], vec![1.0, 1.0]], weights);
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 2, 2), &Device::Cpu).unwrap();
        let scores = tensor(vec![2f32.ln(), 3f32.ln(), 0.0, 0.0]);
        let loss = listwise(&scores, &tensor(targets.hidden), &tensor(targets.mass)).unwrap();
        // Level 1: p = 2/3; level 2: p = 6/7.
        let expected = -0.5 * ((2.0f32 / 3.0).ln() + (6.0f32 / 7.0).ln());
        assert!((loss.to_scalar::<f32>().unwrap() - expected).abs() < 1e-6);
    }
}

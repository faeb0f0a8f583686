//! Consistency of two captions of one image: the symmetric KL divergence of their distributions over
//! prefixes.
//!
//! With P_l(p) ∝ exp S_l(p) under a caption query and P'_l under another caption of the same image:
//!
//! 1/2L · Σ_l KL(P_l ‖ P'_l) + KL(P'_l ‖ P_l), averaged over caption queries.

use candle_core::Tensor;

use super::term::{Term, TermInputs};
use crate::error::Result;
use crate::train::objective::prefix_targets::prefix_scores;
use crate::train::step_loss::{Averaging, TermValue};

/// The consistency of caption queries with a sibling caption each.
pub struct Consistency;

impl Term for Consistency {
    fn name(&self) -> &'static str {
        "consistency"
    }

    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>> {
        let captions = inputs.captions;
        if captions == 0 {
            return Ok(None);
        }
        let siblings = inputs.extras.sibling_scores()?;
        let (scores, hidden) = (first(&inputs.scores, captions)?, first(&inputs.hidden, captions)?);
        let value = consistency(&scores, &siblings, &hidden)?;
        // A mean over captions, of which this rank may have another share than of all queries.
        let share = captions as f64 / inputs.captions_of_all_ranks as f64;
        Ok(Some(TermValue { value, averaging: Averaging::MeanOfShare(share) }))
    }
}

/// The first `count` rows: caption queries come first.
fn first(rows: &Tensor, count: usize) -> Result<Tensor> {
    Ok(rows.narrow(0, 0, count)?.contiguous()?)
}

/// `scores`, `siblings`: step scores (query, candidate, level) of the same candidates under either caption;
/// `hidden` as in [`listwise`](crate::train::objective::listwise::listwise).
pub fn consistency(scores: &Tensor, siblings: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let (queries, _, levels) = scores.dims3()?;
    let (log_p, log_q) = (log_softmax(scores, hidden)?, log_softmax(siblings, hidden)?);
    // Σ (P − Q)(log P − log Q) is the sum of both divergences.
    let both = ((log_p.exp()? - log_q.exp()?)? * (&log_p - &log_q)?)?.sum_all()?;
    Ok((both * (0.5 / (queries * levels) as f64))?)
}

/// log P_l(p) of the prefixes that are not hidden.
fn log_softmax(scores: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    Ok(candle_nn::ops::log_softmax(&(prefix_scores(scores)? + hidden)?, 1)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn captions_with_equal_distributions_are_consistent() {
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 2, 1), &Device::Cpu).unwrap();
        let loss = |a, b| {
            let loss = consistency(&tensor(a), &tensor(b), &tensor(vec![0.0; 2])).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        assert_eq!(loss(vec![1.0, 0.0], vec![2.0, 1.0]), 0.0);
        // P = (2/3, 1/3), Q = (1/3, 2/3): ½·(⅓·ln 2 + ⅓·ln 2).
        assert!((loss(vec![2f32.ln(), 0.0], vec![0.0, 2f32.ln()]) - 2f32.ln() / 3.0).abs() < 1e-6);
    }
}

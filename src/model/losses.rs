//! The objectives of joint training, each under its formula.

use candle_core::{D, Tensor};

use crate::error::Result;

/// What a masked-out entry of a softmax is given: far below any logit, yet finite.
const HIDDEN: f32 = -1e9;

/// The prefixes that a query's candidates are made of, level by level, and how likely each should be.
///
/// Candidates that share a prefix share its entry: the first of them stands for it, the others are hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefixTargets {
    /// Zero where a candidate stands for its prefix, −10⁹ where another does. (candidates, levels)
    pub hidden: Vec<f32>,
    /// t_l(p), summing to one over the prefixes of a level. (candidates, levels)
    pub mass: Vec<f32>,
}

impl PrefixTargets {
    /// `docids`: the candidates' codes, the gold one first; `teacher`: a mass for each candidate's prefix at each
    /// level, brought to sum one here; `gold`: the share of the target that the gold prefix gets outright, `even` the
    /// share that all prefixes of a level get alike (label smoothing).
    pub fn new(docids: &[&[u32]], teacher: &[Vec<f32>], gold: f32, even: f32) -> Self {
        let levels = docids.first().map_or(0, |codes| codes.len());
        let mut targets =
            Self { hidden: vec![HIDDEN; docids.len() * levels], mass: vec![0.0; docids.len() * levels] };
        for level in 0..levels {
            let stands =
                |&at: &usize| !docids[..at].iter().any(|other| other.starts_with(&docids[at][..=level]));
            let distinct: Vec<usize> = (0..docids.len()).filter(stands).collect();
            let total: f32 = distinct.iter().map(|&at| teacher[at][level]).sum();
            let each = 1.0 / distinct.len() as f32;
            for at in distinct {
                let own = if at == 0 { gold } else { 0.0 };
                targets.hidden[at * levels + level] = 0.0;
                let meant = own + (1.0 - gold) * teacher[at][level] / total.max(f32::MIN_POSITIVE);
                targets.mass[at * levels + level] = (1.0 - even) * meant + even * each;
            }
        }
        targets
    }
}

/// Prefix-wise listwise loss: with S_l(p) the sum of the logits of prefix p's first l levels,
///
/// −1/L · Σ_l Σ_p t_l(p) · log( exp S_l(p) / Σ_p' exp S_l(p') ), averaged over queries.
///
/// `scores`: per level (queries, candidates, levels); `hidden`, `mass`: [`PrefixTargets`] of the same shape.
///
/// # Errors
/// When shapes differ.
pub fn listwise(scores: &Tensor, hidden: &Tensor, mass: &Tensor) -> Result<Tensor> {
    let (queries, _, levels) = scores.dims3()?;
    let sums = cumulated(scores)?;
    let log_p = candle_nn::ops::log_softmax(&(sums + hidden)?, 1)?;
    Ok(((log_p * mass)?.sum_all()? * (-1.0 / (queries * levels) as f64))?)
}

/// Margin loss on prefixes (RIPOR, LTRGR): with S_l(p) as in [`listwise`] and g the gold prefix,
///
/// 1/L · Σ_l mean over p ≠ g of max(0, m − S_l(g) + S_l(p)), averaged over queries.
///
/// `scores`, `hidden`: as for [`listwise`], the gold candidate first; `margin`: m.
///
/// # Errors
/// When shapes differ.
pub fn margin(scores: &Tensor, hidden: &Tensor, margin: f64) -> Result<Tensor> {
    let (_, candidates, _) = scores.dims3()?;
    let sums = (cumulated(scores)? + hidden)?; // far below zero where hidden
    let gold = sums.narrow(1, 0, 1)?;
    let others = sums.narrow(1, 1, candidates - 1)?;
    let lacking = (others.broadcast_sub(&gold)? + margin)?.relu()?;
    let shown = others.ge(HIDDEN / 2.0)?.to_dtype(scores.dtype())?;
    let counts = shown.sum(1)?.maximum(1.0)?; // (queries, levels)
    Ok((lacking.sum(1)? / counts)?.mean_all()?)
}

/// Consistency of two captions of one image: the symmetric KL divergence of what each makes of the prefixes,
///
/// 1/2L · Σ_l KL(P_l ‖ P'_l) + KL(P'_l ‖ P_l), averaged over queries, with P_l(p) ∝ exp S_l(p).
///
/// `scores`, `others`: the step scores of the same candidates under either caption; `hidden` as for [`listwise`].
///
/// # Errors
/// When shapes differ.
pub fn consistency(scores: &Tensor, others: &Tensor, hidden: &Tensor) -> Result<Tensor> {
    let (queries, _, levels) = scores.dims3()?;
    let log_p = |scores: &Tensor| -> Result<Tensor> {
        Ok(candle_nn::ops::log_softmax(&(cumulated(scores)? + hidden)?, 1)?)
    };
    let (log_p, log_q) = (log_p(scores)?, log_p(others)?);
    // Σ (P − Q)(log P − log Q) is the sum of both divergences.
    let both = ((log_p.exp()? - log_q.exp()?)? * (&log_p - &log_q)?)?.sum_all()?;
    Ok((both * (0.5 / (queries * levels) as f64))?)
}

/// S_l = Σ_{j≤l} of the step scores: (queries, candidates, levels) → the same shape.
///
/// # Errors
/// When the device refuses.
pub fn cumulated(scores: &Tensor) -> Result<Tensor> {
    let levels = scores.dim(D::Minus1)?;
    let upper: Vec<f32> =
        (0..levels * levels).map(|i| if i / levels <= i % levels { 1.0 } else { 0.0 }).collect();
    let upper = Tensor::from_vec(upper, (levels, levels), scores.device())?.to_dtype(scores.dtype())?;
    Ok(scores.flatten_to(1)?.matmul(&upper)?.reshape(scores.shape())?)
}

/// The DSI objective, cross-entropy per level: −1/L · Σ_l log p(c_l | q, c_{<l}), averaged over queries.
///
/// `log_p`: log-probabilities of the gold docid's codes (queries, 1, levels).
///
/// # Errors
/// When the device refuses.
pub fn cross_entropy(log_p: &Tensor) -> Result<Tensor> {
    Ok(log_p.mean_all()?.neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn candidates_that_share_a_prefix_share_its_mass() {
        let docids: [&[u32]; 3] = [&[1, 2], &[1, 3], &[4, 2]];
        let teacher = [vec![0.6, 0.1], vec![0.6, 0.2], vec![0.2, 0.1]];
        let targets = PrefixTargets::new(&docids, &teacher, 0.5, 0.0);
        assert_eq!(targets.mass, [0.875, 0.625, 0.0, 0.25, 0.125, 0.125]);
        assert_eq!(targets.hidden, [0.0, 0.0, HIDDEN, 0.0, 0.0, 0.0]);
        let smooth = PrefixTargets::new(&docids, &teacher, 0.5, 0.4);
        assert!((smooth.mass[0] - (0.6 * 0.875 + 0.2)).abs() < 1e-6);
        assert!((smooth.mass.iter().sum::<f32>() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_listwise_loss_agrees_with_hand_computation() {
        let docids: [&[u32]; 2] = [&[1, 2], &[3, 2]];
        let targets = PrefixTargets::new(&docids, &[vec![1.0, 1.0], vec![1.0, 1.0]], 1.0, 0.0);
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 2, 2), &Device::Cpu).unwrap();
        let scores = tensor(vec![2f32.ln(), 3f32.ln(), 0.0, 0.0]);
        let loss = listwise(&scores, &tensor(targets.hidden), &tensor(targets.mass)).unwrap();
        // Level 1: p = 2/3; level 2: p = 6/7.
        let expected = -0.5 * ((2.0f32 / 3.0).ln() + (6.0f32 / 7.0).ln());
        assert!((loss.to_scalar::<f32>().unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn the_margin_loss_asks_of_shown_prefixes_only() {
        let docids: [&[u32]; 3] = [&[1, 2], &[1, 3], &[4, 2]];
        let targets = PrefixTargets::new(&docids, &vec![vec![1.0; 2]; 3], 1.0, 0.0);
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 3, 2), &Device::Cpu).unwrap();
        // Sums: gold 2, 3; second (hidden at level 1), 2.5; third 1.5, 0.
        let scores = tensor(vec![2.0, 1.0, 2.0, 0.5, 1.5, -1.5]);
        let loss = margin(&scores, &tensor(targets.hidden), 1.0).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 0.5 * (0.5 + (0.5 + 0.0) / 2.0)).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn captions_that_agree_are_consistent() {
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (1, 2, 1), &Device::Cpu).unwrap();
        let loss = |a, b| {
            let loss = consistency(&tensor(a), &tensor(b), &tensor(vec![0.0; 2])).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        assert_eq!(loss(vec![1.0, 0.0], vec![2.0, 1.0]), 0.0);
        // P = (2/3, 1/3), Q = (1/3, 2/3): ½·(⅓·ln 2 + ⅓·ln 2).
        assert!((loss(vec![2f32.ln(), 0.0], vec![0.0, 2f32.ln()]) - 2f32.ln() / 3.0).abs() < 1e-6);
    }

    #[test]
    fn sums_run_along_the_levels() {
        let scores = Tensor::new(&[[[1f32, 2.0, 4.0], [0.0, 1.0, 0.0]]], &Device::Cpu).unwrap();
        let sums = cumulated(&scores).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(sums, [1.0, 3.0, 7.0, 0.0, 1.0, 1.0]);
    }
}

//! The prefixes of a query's candidates, level by level: which of them count, and the target distribution
//! over them.

use candle_core::{D, Device, Tensor};

use crate::error::Result;

/// The logit that masks an entry out of a softmax: far below any other, yet finite.
pub const HIDDEN: f32 = -1e9;

/// What the target distribution has besides the teacher's mass.
#[derive(Debug, Clone, Copy)]
pub struct TargetWeights {
    /// The share that the gold prefix of each level gets outright.
    pub gold: f32,
    /// The share that all prefixes of a level get alike (label smoothing).
    pub smoothing: f32,
}

/// The prefixes of a query's candidates and how likely each should be.
///
/// Candidates that share a prefix share its entry: that of the first of them counts, those of the others are
/// hidden.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefixTargets {
    /// Zero at the entry that counts for a prefix, −10⁹ at the others. (candidate, level)
    pub hidden: Vec<f32>,
    /// The target t_l(p), which sums to one over the prefixes of a level. (candidate, level)
    pub mass: Vec<f32>,
}

impl PrefixTargets {
    /// `docids`: the candidates' codes, the gold one first. `teacher`: the teacher's mass of each candidate's
    /// prefix at each level, normalised here.
    pub fn new(docids: &[&[u32]], teacher: &[Vec<f32>], weights: TargetWeights) -> Self {
        let levels = docids.first().map_or(0, |codes| codes.len());
        let entries = docids.len() * levels;
        let mut targets = Self { hidden: vec![HIDDEN; entries], mass: vec![0.0; entries] };
        (0..levels).for_each(|level| targets.fill_level(level, docids, teacher, weights));
        targets
    }

    /// The entries of one level.
    fn fill_level(&mut self, level: usize, docids: &[&[u32]], teacher: &[Vec<f32>], weights: TargetWeights) {
        let TargetWeights { gold, smoothing } = weights;
        let levels = docids[0].len();
        let distinct = first_of_each_prefix(docids, level);
        let total: f32 = distinct.iter().map(|&at| teacher[at][level]).sum();
        let even = 1.0 / distinct.len() as f32;
        for at in distinct {
            let outright = if at == 0 { gold } else { 0.0 };
            let target = outright + (1.0 - gold) * teacher[at][level] / total.max(f32::MIN_POSITIVE);
            self.hidden[at * levels + level] = 0.0;
            self.mass[at * levels + level] = (1.0 - smoothing) * target + smoothing * even;
        }
    }

    /// `hidden` and `mass` of several queries as tensors (query, candidate, level) of the shape of `scores`.
    pub fn tensors(targets: &[Self], scores: &Tensor) -> Result<(Tensor, Tensor)> {
        let hidden = targets.iter().flat_map(|target| &target.hidden).copied().collect();
        let mass = targets.iter().flat_map(|target| &target.mass).copied().collect();
        let (shape, device): (_, &Device) = (scores.shape(), scores.device());
        Ok((Tensor::from_vec(hidden, shape, device)?, Tensor::from_vec(mass, shape, device)?))
    }
}

/// The first candidate of each distinct prefix of `level` + 1 codes.
fn first_of_each_prefix(docids: &[&[u32]], level: usize) -> Vec<usize> {
    let is_first = |&at: &usize| !docids[..at].iter().any(|other| other.starts_with(&docids[at][..=level]));
    (0..docids.len()).filter(is_first).collect()
}

/// S_l, the running sums of step scores along the levels: (query, candidate, level) → the same shape.
pub fn prefix_scores(scores: &Tensor) -> Result<Tensor> {
    let levels = scores.dim(D::Minus1)?;
    let upper: Vec<f32> =
        (0..levels * levels).map(|i| if i / levels <= i % levels { 1.0 } else { 0.0 }).collect();
    let upper = Tensor::from_vec(upper, (levels, levels), scores.device())?.to_dtype(scores.dtype())?;
    Ok(scores.flatten_to(1)?.matmul(&upper)?.reshape(scores.shape())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_that_share_a_prefix_share_its_mass() {
        let docids: [&[u32]; 3] = [&[1, 2], &[1, 3], &[4, 2]];
        let teacher = [vec![0.6, 0.1], vec![0.6, 0.2], vec![0.2, 0.1]];
        let targets = PrefixTargets::new(&docids, &teacher, TargetWeights { gold: 0.5, smoothing: 0.0 });
        assert_eq!(targets.mass, [0.875, 0.625, 0.0, 0.25, 0.125, 0.125]);
        assert_eq!(targets.hidden, [0.0, 0.0, HIDDEN, 0.0, 0.0, 0.0]);
        let smooth = PrefixTargets::new(&docids, &teacher, TargetWeights { gold: 0.5, smoothing: 0.4 });
        assert!((smooth.mass[0] - (0.6 * 0.875 + 0.2)).abs() < 1e-6);
        assert!((smooth.mass.iter().sum::<f32>() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn prefix_scores_are_running_sums_along_the_levels() {
        let scores = Tensor::new(&[[[1f32, 2.0, 4.0], [0.0, 1.0, 0.0]]], &Device::Cpu).unwrap();
        let sums = prefix_scores(&scores).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(sums, [1.0, 3.0, 7.0, 0.0, 1.0, 1.0]);
    }
}

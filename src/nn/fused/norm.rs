//! Layer normalisation (Ba et al. 2016) over the last dimension; forward and backward take one pass per row.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::slice;

/// x (rows, width), weight (width), bias (width) → (rows, width).
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

/// Rows of a task: enough to hide the cost of scheduling it.
const ROWS: usize = 64;

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let (x, weight, bias) =
            (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let mut out = vec![0.0f32; rows * width];
        out.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let (mean, scale) = moments(x, self.eps);
                for i in 0..width {
                    out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
                }
            }
        });
        Ok((CpuStorage::F32(out), (rows, width).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let rows = x.dim(0)?;
        let backward = LayerNormBackward { eps: self.eps };
        let packed = x.detach().apply_op3_no_bwd(&weight.detach(), &g.contiguous()?, &backward)?;
        let gradient = |needed: bool, row: usize, count: usize| -> Result<Option<Tensor>> {
            needed.then(|| packed.narrow(0, row, count)).transpose()
        };
        let vector = |g: Option<Tensor>| g.map(|g| g.squeeze(0)).transpose();
        Ok((
            gradient(x.track_op(), 0, rows)?,
            vector(gradient(weight.track_op(), rows, 1)?)?,
            vector(gradient(bias.track_op(), rows + 1, 1)?)?,
        ))
    }
}

/// x, weight, g → (rows + 2, width): the gradients of x, then of the weight, then of the bias.
struct LayerNormBackward {
    eps: f32,
}

impl CustomOp3 for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer-norm-backward"
    }

    /// With x̂ = (x − mean)/σ and h = g·weight: gx = (h − mean(h) − x̂·mean(h·x̂))/σ, gw = Σ g·x̂, gb = Σ g.
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let (x, weight, g) = (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(g, g_layout)?);
        let mut out = vec![0.0f32; (rows + 2) * width];
        let (gx, sums) = out.split_at_mut(rows * width);
        let partial: Vec<Vec<f32>> = gx
            .par_chunks_mut(ROWS * width)
            .zip(x.par_chunks(ROWS * width).zip(g.par_chunks(ROWS * width)))
            .map(|(gx, (x, g))| {
                let mut sums = vec![0.0f32; 2 * width];
                let rows = gx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(g.chunks_exact(width)));
                for (gx, (x, g)) in rows {
                    self.row(x, weight, g, gx, &mut sums);
                }
                sums
            })
            .collect();
        for part in partial {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Ok((CpuStorage::F32(out), (rows + 2, width).into()))
    }
}

impl LayerNormBackward {
    fn row(&self, x: &[f32], weight: &[f32], g: &[f32], gx: &mut [f32], sums: &mut [f32]) {
        let width = x.len();
        let (mean, scale) = moments(x, self.eps);
        let (weight_sum, bias_sum) = sums.split_at_mut(width);
        for i in 0..width {
            let normed = (x[i] - mean) * scale;
            weight_sum[i] += g[i] * normed;
            bias_sum[i] += g[i];
            gx[i] = g[i] * weight[i];
        }
        let mean_h = sum(gx.iter().copied()) / width as f32;
        let mean_hx = sum(gx.iter().zip(x).map(|(h, x)| h * (x - mean))) * scale / width as f32;
        for i in 0..width {
            gx[i] = (gx[i] - mean_h - (x[i] - mean) * scale * mean_hx) * scale;
        }
    }
}

/// Mean, and one over the standard deviation.
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum(x.iter().copied()) / width;
    let variance = sum(x.iter().map(|x| (x - mean) * (x - mean))) / width;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// A sum in sixteen lanes, so that it becomes vector instructions.
#[inline(always)]
fn sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, value) in values.enumerate() {
        lanes[i % 16] += value;
    }
    lanes.iter().sum()
}

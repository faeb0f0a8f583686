//! CLIP's activation, quick-GELU: x·σ(1.702·x) (Hendrycks and Gimpel 2016), with its derivative.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{exp, slice};

/// Element-wise on a tensor of any shape.
pub struct QuickGelu;

/// Elements of a task.
const CHUNK: usize = 1 << 14;
/// The slope at which σ approximates the normal distribution function.
pub const SLOPE: f32 = 1.702;

impl CustomOp1 for QuickGelu {
    fn name(&self) -> &'static str {
        "quick-gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut out = vec![0.0f32; x.len()];
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
            out.iter_mut().zip(x).for_each(|(out, &x)| *out = x * sigmoid(SLOPE * x));
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        x.detach().apply_op2_no_bwd(&g.contiguous()?, &QuickGeluBackward).map(Some)
    }
}

struct QuickGeluBackward;

impl CustomOp2 for QuickGeluBackward {
    fn name(&self) -> &'static str {
        "quick-gelu-backward"
    }

    /// g·(σ + 1.702·x·σ·(1 − σ)) with σ = σ(1.702·x).
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, g) = (slice(x, layout)?, slice(g, g_layout)?);
        let mut out = vec![0.0f32; x.len()];
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK).zip(g.par_chunks(CHUNK))).for_each(
            |(out, (x, g))| {
                for (out, (&x, &g)) in out.iter_mut().zip(x.iter().zip(g)) {
                    let s = sigmoid(SLOPE * x);
                    *out = g * (s + SLOPE * x * s * (1.0 - s));
                }
            },
        );
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

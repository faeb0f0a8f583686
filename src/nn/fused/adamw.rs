//! AdamW's three updates in place, one pass over memory each, with the formulae and the rounding of
//! [`crate::nn::adamw`].

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result};
use rayon::prelude::*;

use super::slice;

/// Numbers in a task of one thread.
const CHUNK: usize = 1 << 14;

/// x ← keep·x + take·(s·g)ᵖ for p = 1 or 2: both moments.
pub struct Moment {
    /// β
    pub keep: f64,
    /// The factor of the gradient: s
    pub scale: f64,
    /// Whether the gradient is squared.
    pub squared: bool,
}

impl InplaceOp2 for Moment {
    fn name(&self) -> &'static str {
        "adamw moment"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, xl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let (keep, take, scale) = (self.keep as f32, (1.0 - self.keep) as f32, self.scale as f32);
        let (x, g) = (slice_mut(x, xl)?, slice(g, gl)?);
        each(x, g, |x, g| {
            let g = g * scale;
            *x = *x * keep + (if self.squared { g * g } else { g }) * take;
        })
    }
}

/// θ ← θ·keep − (m·rate) / (√(v·spread) + ε)
pub struct Move {
    /// 1 − lr·decay
    pub keep: f64,
    /// lr/(1 − β₁ᵗ)
    pub rate: f64,
    /// 1/(1 − β₂ᵗ)
    pub spread: f64,
    /// ε
    pub eps: f64,
}

impl InplaceOp3 for Move {
    fn name(&self) -> &'static str {
        "adamw move"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        xl: &Layout,
        m: &CpuStorage,
        ml: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<()> {
        let (keep, rate) = (self.keep as f32, self.rate as f32);
        let (spread, eps) = (self.spread as f32, self.eps as f32);
        let (x, m, v) = (slice_mut(x, xl)?, slice(m, ml)?, slice(v, vl)?);
        if m.len() != v.len() {
            candle_core::bail!("adamw: moments of {} and {} numbers", m.len(), v.len());
        }
        let moments = m.par_chunks(CHUNK).zip(v.par_chunks(CHUNK));
        fits(x.len(), m.len())?;
        x.par_chunks_mut(CHUNK).zip(moments).for_each(|(x, (m, v))| {
            for ((x, m), v) in x.iter_mut().zip(m).zip(v) {
                *x = *x * keep - (m * rate) / ((v * spread).sqrt() + eps);
            }
        });
        Ok(())
    }
}

fn each(x: &mut [f32], g: &[f32], update: impl Fn(&mut f32, f32) + Sync) -> Result<()> {
    fits(x.len(), g.len())?;
    x.par_chunks_mut(CHUNK)
        .zip(g.par_chunks(CHUNK))
        .for_each(|(x, g)| x.iter_mut().zip(g).for_each(|(x, &g)| update(x, g)));
    Ok(())
}

fn fits(x: usize, other: usize) -> Result<()> {
    if x != other {
        candle_core::bail!("adamw: {x} numbers are to be moved by {other}");
    }
    Ok(())
}

fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&mut all[start..end]),
        _ => candle_core::bail!("fused kernels change contiguous f32 tensors"),
    }
}

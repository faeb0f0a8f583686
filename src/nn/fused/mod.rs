//! CPU kernels in f32 with hand-written gradients: one pass over memory instead of many tensor operations.
//!
//! Each is a candle custom operation. Its backward pass skips arguments that need no gradient (frozen
//! weights, photos). Work is split over rows, heads or chunks, never over a sum, so a result does not depend
//! on the number of threads.

pub mod adamw;
pub mod attention;
pub mod gelu;
pub mod linear;
pub mod norm;

use candle_core::{CpuStorage, DType, Layout, Result, Tensor};

/// Whether the kernels here take this tensor; otherwise the composed twin does.
pub fn serves(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The numbers of a contiguous f32 argument.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("fused kernels take contiguous tensors".into()))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// `e^x` to about 2e-7 relative (range reduction to 2^n·2^f, minimax polynomial for 2^f). It has no branches,
/// so a loop over it becomes vector instructions, unlike one over the library call.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to the nearest integer
    let scaled = x.clamp(-87.0, 88.0) * std::f32::consts::LOG2_E;
    let shifted = scaled + ROUND;
    let whole = shifted - ROUND;
    let f = scaled - whole;
    let poly = 1.0
        + f * (std::f32::consts::LN_2
            + f * (0.240_226_5
                + f * (0.055_504_11 + f * (0.009_618_13 + f * (0.001_333_355 + f * 0.000_154_35)))));
    let exponent = (shifted.to_bits() << 23).wrapping_add(127 << 23);
    poly * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp_agrees_with_the_library() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0;
            let (ours, theirs) = (f64::from(super::exp(x)), f64::from(x).exp());
            assert!((ours / theirs - 1.0).abs() < 1e-5, "{x}: {ours} {theirs}");
        }
        for i in -1000..1000 {
            let x = i as f32 / 300.0;
            assert!((f64::from(super::exp(x)) / f64::from(x).exp() - 1.0).abs() < 6e-7, "{x}");
        }
    }
}

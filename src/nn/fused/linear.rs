//! `x·Wᵀ + b` in one multiplication that starts from the bias. The three gradients are multiplications too.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::slice;
use crate::matmul::{self, Output, Threads, View};

/// x (rows, in), W (out, in), b (out) → (rows, out).
pub struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, input) = x_layout.shape().dims2()?;
        let (output, taken) = w_layout.shape().dims2()?;
        let (x, w, b) = (slice(x, x_layout)?, slice(w, w_layout)?, slice(b, b_layout)?);
        if (taken, b.len()) != (input, output) {
            candle_core::bail!("linear: x {rows}×{input}, W {output}×{taken} and b {} do not fit", b.len());
        }
        let mut out = b.repeat(rows);
        let (x, w) = (View::contiguous(x, [rows, input]), View::contiguous(w, [output, input]));
        let to = Output { numbers: &mut out, row_stride: output };
        matmul::multiply_add(x, w.transposed(), to, Threads::All);
        Ok((CpuStorage::F32(out), (rows, output).into()))
    }

    /// gx = g·W, gW = gᵀ·x, gb = Σ_rows g.
    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let ones = Tensor::ones((1, g.dim(0)?), g.dtype(), g.device())?;
        let when = |needed: bool, gradient: &dyn Fn() -> Result<Tensor>| needed.then(gradient).transpose();
        Ok((
            when(x.track_op(), &|| g.matmul(&w.detach()))?,
            when(w.track_op(), &|| g.t()?.matmul(&x.detach()))?,
            when(b.track_op(), &|| ones.matmul(&g)?.squeeze(0))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_read() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let out = |w: &[usize], b: &[usize]| zeros(&[2, 3]).apply_op3(&zeros(w), &zeros(b), Linear);
        assert_eq!(out(&[4, 3], &[4]).unwrap().dims(), [2, 4]);
        for (w, b) in [(&[4, 5][..], &[4][..]), (&[4, 2], &[4]), (&[4, 3], &[3]), (&[4, 3], &[5])] {
            assert!(out(w, b).is_err(), "{w:?} {b:?}");
        }
    }
}

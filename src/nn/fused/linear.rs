//! `x·Wᵀ + b` in one multiplication that starts from the bias, with the three gradients as multiplications too.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::slice;

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
        // SAFETY: out is rows×output, x rows×input, w output×input, all contiguous.
        unsafe {
            gemm::gemm(
                rows,
                output,
                input,
                out.as_mut_ptr(),
                1,
                output as isize,
                true,
                x.as_ptr(),
                1,
                input as isize,
                w.as_ptr(),
                input as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(rayon::current_num_threads()),
            );
        }
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

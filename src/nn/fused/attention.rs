//! Multi-head scaled dot-product attention (Vaswani et al. 2017), softmax(q·kᵀ/√w)·v, on packed projections.
//!
//! Heads are read and written in place inside the packed rows, so nothing is transposed or copied. The backward
//! pass computes the probabilities again instead of keeping them.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{exp, slice};

/// Self-attention: packed q|k|v (batch, tokens, 3·width) → (batch, tokens, width).
pub struct SelfAttention {
    /// Number of heads; divides the width.
    pub heads: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// Cross-attention: q (batch, tokens, width) and packed k|v (batch, memory, 2·width) → (batch, tokens, width).
pub struct CrossAttention {
    /// Number of heads; divides the width.
    pub heads: usize,
}

/// How queries, keys and values lie in their rows.
#[derive(Clone, Copy)]
struct Shapes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    head_width: usize,
    /// Distance between two query rows, and between two key rows.
    query_stride: usize,
    key_stride: usize,
    /// Where keys and values begin in their row.
    key_offset: usize,
    value_offset: usize,
    causal: bool,
}

impl SelfAttention {
    fn shapes(&self, layout: &Layout) -> Result<Shapes> {
        let (batch, tokens, packed) = layout.shape().dims3()?;
        let width = packed / 3;
        Ok(Shapes {
            batch,
            queries: tokens,
            keys: tokens,
            heads: self.heads,
            head_width: width / self.heads,
            query_stride: packed,
            key_stride: packed,
            key_offset: width,
            value_offset: 2 * width,
            causal: self.causal,
        })
    }
}

impl CrossAttention {
    fn shapes(&self, q: &Layout, kv: &Layout) -> Result<Shapes> {
        let (batch, queries, width) = q.shape().dims3()?;
        let (_, keys, packed) = kv.shape().dims3()?;
        Ok(Shapes {
            batch,
            queries,
            keys,
            heads: self.heads,
            head_width: width / self.heads,
            query_stride: width,
            key_stride: packed,
            key_offset: 0,
            value_offset: width,
            causal: false,
        })
    }
}

impl CustomOp1 for SelfAttention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shapes = self.shapes(layout)?;
        let qkv = slice(qkv, layout)?;
        Ok((CpuStorage::F32(forward(&shapes, qkv, qkv)), shapes.output()))
    }

    fn bwd(&self, qkv: &Tensor, _res: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let backward = SelfBackward(SelfAttention { ..*self });
        qkv.detach().apply_op2_no_bwd(&g.contiguous()?, &backward).map(Some)
    }
}

struct SelfBackward(SelfAttention);

impl CustomOp2 for SelfBackward {
    fn name(&self) -> &'static str {
        "self-attention-backward"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shapes = self.0.shapes(layout)?;
        let (qkv, g) = (slice(qkv, layout)?, slice(g, g_layout)?);
        let mut out = vec![0.0f32; qkv.len()];
        let per_batch = shapes.queries * shapes.query_stride;
        out.par_chunks_mut(per_batch).enumerate().for_each_init(Scratch::default, |scratch, (b, out)| {
            let to = Gradients { q: out.as_mut_ptr(), kv: out.as_mut_ptr() };
            // SAFETY: `out` is this entry's chunk, in which q, k and v are packed.
            unsafe { shapes.backward(b, &Saved { q: qkv, kv: qkv, g }, to, scratch) };
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

impl CustomOp2 for CrossAttention {
    fn name(&self) -> &'static str {
        "cross-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        kv: &CpuStorage,
        kv_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shapes = self.shapes(q_layout, kv_layout)?;
        let out = forward(&shapes, slice(q, q_layout)?, slice(kv, kv_layout)?);
        Ok((CpuStorage::F32(out), shapes.output()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        _res: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = CrossBackward(CrossAttention { ..*self });
        let packed = q.detach().apply_op3_no_bwd(&kv.detach(), &g.contiguous()?, &backward)?;
        let gq = packed.narrow(0, 0, q.elem_count())?.reshape(q.shape())?;
        let gkv = packed.narrow(0, q.elem_count(), kv.elem_count())?.reshape(kv.shape())?;
        Ok((q.track_op().then_some(gq), kv.track_op().then_some(gkv)))
    }
}

/// q, k|v, g → one flat tensor: the gradient of q, then that of k|v.
struct CrossBackward(CrossAttention);

impl candle_core::CustomOp3 for CrossBackward {
    fn name(&self) -> &'static str {
        "cross-attention-backward"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        kv: &CpuStorage,
        kv_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shapes = self.0.shapes(q_layout, kv_layout)?;
        let (q, kv, g) = (slice(q, q_layout)?, slice(kv, kv_layout)?, slice(g, g_layout)?);
        let mut out = vec![0.0f32; q.len() + kv.len()];
        let (gq, gkv) = out.split_at_mut(q.len());
        gq.par_chunks_mut(shapes.queries * shapes.query_stride)
            .zip(gkv.par_chunks_mut(shapes.keys * shapes.key_stride))
            .enumerate()
            .for_each_init(Scratch::default, |scratch, (b, (gq, gkv))| {
                let to = Gradients { q: gq.as_mut_ptr(), kv: gkv.as_mut_ptr() };
                // SAFETY: `gq` and `gkv` are this entry's own chunks.
                unsafe { shapes.backward(b, &Saved { q, kv, g }, to, scratch) };
            });
        let count = out.len();
        Ok((CpuStorage::F32(out), count.into()))
    }
}

fn forward(shapes: &Shapes, q: &[f32], kv: &[f32]) -> Vec<f32> {
    let per_batch = shapes.queries * shapes.width();
    let mut out = vec![0.0f32; shapes.batch * per_batch];
    out.par_chunks_mut(per_batch).enumerate().for_each_init(Scratch::default, |scratch, (b, out)| {
        for head in 0..shapes.heads {
            shapes.probabilities(b, head, q, kv, &mut scratch.p);
            let (value, at) = (shapes.value_at(b, head), head * shapes.head_width);
            // out (queries, head width) = P · v
            let (n, m, w) = (shapes.queries, shapes.keys, shapes.head_width);
            multiply(
                [n, w, m],
                &scratch.p,
                [m, 1],
                &kv[value..],
                [shapes.key_stride, 1],
                &mut out[at..],
                shapes.width(),
            );
        }
    });
    out
}

/// What the backward pass reads: the operands of the forward pass, and the gradient of its output.
struct Saved<'a> {
    q: &'a [f32],
    kv: &'a [f32],
    g: &'a [f32],
}

/// Where it writes.
struct Gradients {
    q: *mut f32,
    kv: *mut f32,
}

#[derive(Default)]
struct Scratch {
    p: Vec<f32>,
    dp: Vec<f32>,
}

impl Shapes {
    fn width(&self) -> usize {
        self.heads * self.head_width
    }

    fn output(&self) -> Shape {
        (self.batch, self.queries, self.width()).into()
    }

    fn query_at(&self, b: usize, head: usize) -> usize {
        b * self.queries * self.query_stride + head * self.head_width
    }

    fn key_at(&self, b: usize, head: usize) -> usize {
        b * self.keys * self.key_stride + self.key_offset + head * self.head_width
    }

    fn value_at(&self, b: usize, head: usize) -> usize {
        b * self.keys * self.key_stride + self.value_offset + head * self.head_width
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// p (queries, keys) = softmax(q·kᵀ/√w), with zeros above the diagonal where causal.
    fn probabilities(&self, b: usize, head: usize, q: &[f32], kv: &[f32], p: &mut Vec<f32>) {
        let (n, m, w) = (self.queries, self.keys, self.head_width);
        p.resize(n * m, 0.0);
        let (q, k) = (&q[self.query_at(b, head)..], &kv[self.key_at(b, head)..]);
        multiply([n, m, w], q, [self.query_stride, 1], k, [1, self.key_stride], p, m);
        for (i, row) in p.chunks_exact_mut(m).enumerate() {
            let (seen, hidden) = row.split_at_mut(if self.causal { i + 1 } else { m });
            softmax(seen, self.scale());
            hidden.fill(0.0);
        }
    }

    /// Writes the gradients of batch entry `b`, given that of the output.
    ///
    /// # Safety
    /// `to` points at the entry's rows of queries and of keys and values (the same rows where they are packed
    /// together), valid for writes and borrowed by nobody else.
    unsafe fn backward(&self, b: usize, from: &Saved, to: Gradients, scratch: &mut Scratch) {
        let Saved { q, kv, g } = *from;
        let (n, m, w) = (self.queries, self.keys, self.head_width);
        for head in 0..self.heads {
            self.probabilities(b, head, q, kv, &mut scratch.p);
            let g = &g[b * n * self.width() + head * w..];
            let v = &kv[self.value_at(b, head)..];
            scratch.dp.resize(n * m, 0.0);
            multiply([n, m, w], g, [self.width(), 1], v, [1, self.key_stride], &mut scratch.dp, m);
            // SAFETY: heads, and within a head q, k and v, occupy disjoint columns of this entry's rows.
            unsafe {
                let (dq, dk, dv) = (
                    to.q.add(head * w),
                    to.kv.add(self.key_offset + head * w),
                    to.kv.add(self.value_offset + head * w),
                );
                multiply_into([m, w, n], &scratch.p, [1, m], g, [self.width(), 1], dv, self.key_stride);
                self.through_softmax(scratch);
                let (q, k) = (&q[self.query_at(b, head)..], &kv[self.key_at(b, head)..]);
                multiply_into([n, w, m], &scratch.dp, [m, 1], k, [self.key_stride, 1], dq, self.query_stride);
                multiply_into([m, w, n], &scratch.dp, [1, m], q, [self.query_stride, 1], dk, self.key_stride);
            }
        }
    }

    /// dp ← p·(dp − Σ p·dp)/√w, row by row.
    fn through_softmax(&self, scratch: &mut Scratch) {
        for (p, dp) in scratch.p.chunks_exact(self.keys).zip(scratch.dp.chunks_exact_mut(self.keys)) {
            let mean: f32 = p.iter().zip(dp.iter()).map(|(p, dp)| p * dp).sum();
            dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = p * (*dp - mean) * self.scale());
        }
    }
}

fn softmax(row: &mut [f32], scale: f32) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = exp((*x - max) * scale));
    let total: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= total);
}

/// out (m, n) = a (m, k) · b (k, n); strides are (row, column), `out` has rows `out_stride` apart.
fn multiply(
    size: [usize; 3],
    a: &[f32],
    a_stride: [usize; 2],
    b: &[f32],
    b_stride: [usize; 2],
    out: &mut [f32],
    out_stride: usize,
) {
    debug_assert!(out.len() >= (size[0] - 1) * out_stride + size[1]);
    // SAFETY: `out` is borrowed mutably and long enough.
    unsafe { multiply_into(size, a, a_stride, b, b_stride, out.as_mut_ptr(), out_stride) }
}

/// As [`multiply`], into a pointer.
///
/// # Safety
/// `out` is valid for writes of m rows of n numbers, `out_stride` apart, and overlaps neither `a` nor `b`.
unsafe fn multiply_into(
    size: [usize; 3],
    a: &[f32],
    a_stride: [usize; 2],
    b: &[f32],
    b_stride: [usize; 2],
    out: *mut f32,
    out_stride: usize,
) {
    let [m, n, k] = size;
    let needed = |rows: usize, columns: usize, stride: [usize; 2]| {
        (rows - 1) * stride[0] + (columns - 1) * stride[1] + 1
    };
    assert!(
        a.len() >= needed(m, k, a_stride) && b.len() >= needed(k, n, b_stride),
        "invariant: operands fit"
    );
    // SAFETY: the operands were just checked; the caller vouches for `out`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_stride as isize,
            false,
            a.as_ptr(),
            a_stride[1] as isize,
            a_stride[0] as isize,
            b.as_ptr(),
            b_stride[1] as isize,
            b_stride[0] as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

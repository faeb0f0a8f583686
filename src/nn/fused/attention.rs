//! Multi-head scaled dot-product attention (Vaswani et al. 2017), softmax(q·kᵀ/√w)·v, on packed projections.
//!
//! Heads are read and written in place inside the packed rows, so nothing is transposed or copied. The
//! backward pass computes the probabilities again instead of keeping them.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{exp, slice};
use crate::matmul::{Output, Threads, View, multiply};

/// Self-attention: packed q|k|v (batch, tokens, 3·width) → (batch, tokens, width).
pub struct SelfAttention {
    /// Number of heads; divides the width.
    pub heads: usize,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// Cross-attention: q (batch, tokens, width) and packed k|v (batch, memory, 2·width) → (batch, tokens,
/// width).
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
            shapes.backward(b, &Saved { q: qkv, kv: qkv, g }, &mut Gradients::Packed(out), scratch);
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
                let mut to = Gradients::Apart { q: gq, kv: gkv };
                shapes.backward(b, &Saved { q, kv, g }, &mut to, scratch);
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
            let p = View::contiguous(&scratch.p, [shapes.queries, shapes.keys]);
            let to = Output { numbers: &mut out[head * shapes.head_width..], row_stride: shapes.width() };
            multiply(p, shapes.value(kv, b, head), to, Threads::One);
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

/// Where the backward pass writes: the gradients of one batch entry.
enum Gradients<'a> {
    /// Of self-attention: q, k and v packed in the same rows.
    Packed(&'a mut [f32]),
    /// Of cross-attention.
    Apart { q: &'a mut [f32], kv: &'a mut [f32] },
}

impl Gradients<'_> {
    /// The numbers of the query rows from column `at` on.
    fn query(&mut self, at: usize) -> &mut [f32] {
        match self {
            Self::Packed(rows) | Self::Apart { q: rows, .. } => &mut rows[at..],
        }
    }

    /// The numbers of the rows of keys and values from column `at` on.
    fn key_value(&mut self, at: usize) -> &mut [f32] {
        match self {
            Self::Packed(rows) | Self::Apart { kv: rows, .. } => &mut rows[at..],
        }
    }
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

    /// One head's queries of batch entry `b`: (queries, head width).
    fn query<'a>(&self, q: &'a [f32], b: usize, head: usize) -> View<'a> {
        let at = b * self.queries * self.query_stride + head * self.head_width;
        View::new(&q[at..], [self.queries, self.head_width], [self.query_stride, 1])
    }

    /// One head's keys of batch entry `b`: (keys, head width).
    fn key<'a>(&self, kv: &'a [f32], b: usize, head: usize) -> View<'a> {
        let at = b * self.keys * self.key_stride + self.key_offset + head * self.head_width;
        View::new(&kv[at..], [self.keys, self.head_width], [self.key_stride, 1])
    }

    /// One head's values of batch entry `b`: (keys, head width).
    fn value<'a>(&self, kv: &'a [f32], b: usize, head: usize) -> View<'a> {
        let at = b * self.keys * self.key_stride + self.value_offset + head * self.head_width;
        View::new(&kv[at..], [self.keys, self.head_width], [self.key_stride, 1])
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// p (queries, keys) = softmax(q·kᵀ/√w), with zeros above the diagonal where causal.
    fn probabilities(&self, b: usize, head: usize, q: &[f32], kv: &[f32], p: &mut Vec<f32>) {
        let (n, m) = (self.queries, self.keys);
        p.resize(n * m, 0.0);
        let key = self.key(kv, b, head).transposed();
        multiply(self.query(q, b, head), key, Output { numbers: p, row_stride: m }, Threads::One);
        for (i, row) in p.chunks_exact_mut(m).enumerate() {
            let (seen, hidden) = row.split_at_mut(if self.causal { i + 1 } else { m });
            softmax(seen, self.scale());
            hidden.fill(0.0);
        }
    }

    /// Writes the gradients of batch entry `b` to its own rows, given that of the output.
    fn backward(&self, b: usize, from: &Saved, to: &mut Gradients, scratch: &mut Scratch) {
        for head in 0..self.heads {
            self.probabilities(b, head, from.q, from.kv, &mut scratch.p);
            self.backward_head(b, head, from, to, scratch);
        }
    }

    /// dv = pᵀ·g, dq = ds·k and dk = dsᵀ·q, where ds is the gradient of the scores.
    fn backward_head(&self, b: usize, head: usize, from: &Saved, to: &mut Gradients, scratch: &mut Scratch) {
        let (n, m, w) = (self.queries, self.keys, self.head_width);
        let g = View::new(&from.g[b * n * self.width() + head * w..], [n, w], [self.width(), 1]);
        scratch.dp.resize(n * m, 0.0);
        let dp = Output { numbers: &mut scratch.dp, row_stride: m };
        multiply(g, self.value(from.kv, b, head).transposed(), dp, Threads::One);

        let p = View::contiguous(&scratch.p, [n, m]);
        let dv = Output { numbers: to.key_value(self.value_offset + head * w), row_stride: self.key_stride };
        multiply(p.transposed(), g, dv, Threads::One);

        self.through_softmax(scratch);
        let ds = View::contiguous(&scratch.dp, [n, m]);
        let dq = Output { numbers: to.query(head * w), row_stride: self.query_stride };
        multiply(ds, self.key(from.kv, b, head), dq, Threads::One);
        let dk = Output { numbers: to.key_value(self.key_offset + head * w), row_stride: self.key_stride };
        multiply(ds.transposed(), self.query(from.q, b, head), dk, Threads::One);
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

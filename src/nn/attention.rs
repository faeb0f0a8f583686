//! Attention with its projections: self-attention, and cross-attention over a memory.

use candle_core::{D, DType, Tensor};

use super::fused;
use super::layers::{Linear, linear};
use super::params::{Init, Scope};
use crate::error::Result;

/// Width, heads and the spread of fresh weights.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Width of a token; a multiple of the heads.
    pub width: usize,
    /// Number of heads.
    pub heads: usize,
    /// Standard deviation of fresh input projections.
    pub std_in: f32,
    /// Standard deviation of the fresh output projection (smaller in deep residual stacks).
    pub std_out: f32,
}

/// The four projections, under the names of Hugging Face's CLIP: `q_proj`, `k_proj`, `v_proj`, `out_proj`.
#[derive(Debug, Clone)]
pub struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    /// Parameters of four (width, width) projections with biases.
    pub fn new(scope: &Scope, shape: Shape) -> Result<Self> {
        let Shape { width, heads, std_in, std_out } = shape;
        let input = |name: &str| Linear::new(&scope.sub(name), width, width, Init::Normal(std_in));
        Ok(Self {
            q: input("q_proj")?,
            k: input("k_proj")?,
            v: input("v_proj")?,
            out: Linear::new(&scope.sub("out_proj"), width, width, Init::Normal(std_out))?,
            heads,
        })
    }

    /// Self-attention of x (batch, tokens, width); `causal`: a token does not see later tokens.
    pub fn over_itself(&self, x: &Tensor, causal: bool) -> Result<Tensor> {
        let qkv = project(x, &[&self.q, &self.k, &self.v])?; // (batch, tokens, 3·width)
        let attended = if fused::serves(&qkv) {
            qkv.apply_op1(fused::attention::SelfAttention { heads: self.heads, causal })?
        } else {
            let width = x.dim(D::Minus1)?;
            let part = |i: usize| qkv.narrow(D::Minus1, i * width, width);
            composed(&part(0)?, &part(1)?, &part(2)?, self.heads, causal)?
        };
        self.out.forward(&attended)
    }

    /// Keys and values of a memory (batch, m, width), packed: (batch, m, 2·width). Computed once per query.
    pub fn keys_values(&self, memory: &Tensor) -> Result<Tensor> {
        project(memory, &[&self.k, &self.v])
    }

    /// Attention of x (batch, tokens, width) over packed keys and values (batch, m, 2·width).
    pub fn over(&self, x: &Tensor, keys_values: &Tensor) -> Result<Tensor> {
        let q = self.q.forward(x)?;
        let attended = if fused::serves(&q) {
            q.apply_op2(&keys_values.contiguous()?, fused::attention::CrossAttention { heads: self.heads })?
        } else {
            let width = x.dim(D::Minus1)?;
            let part = |i: usize| keys_values.narrow(D::Minus1, i * width, width);
            composed(&q, &part(0)?, &part(1)?, self.heads, false)?
        };
        self.out.forward(&attended)
    }
}

/// Several projections of one input as one multiplication: (…, width) → (…, n·width).
fn project(x: &Tensor, parts: &[&Linear]) -> Result<Tensor> {
    let weights: Vec<&Tensor> = parts.iter().map(|p| &p.weight).collect();
    let biases: Vec<&Tensor> = parts.iter().filter_map(|p| p.bias.as_ref()).collect();
    linear(x, &Tensor::cat(&weights, 0)?, Some(&Tensor::cat(&biases, 0)?))
}

/// The same attention from plain tensor operations: q (b, n, w), k and v (b, m, w) → (b, n, w). The softmax
/// is f32 at least.
fn composed(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, causal: bool) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let split = |x: &Tensor| -> candle_core::Result<Tensor> {
        x.contiguous()?.reshape((batch, (), heads, width / heads))?.transpose(1, 2)?.contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?); // (batch, heads, ·, width / heads)
    let scores = (q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?;
    let scores = if scores.dtype() == DType::F64 { scores } else { scores.to_dtype(DType::F32)? };
    let scores = if causal { scores.broadcast_add(&hidden(queries, &scores)?)? } else { scores };
    // Subtracting the maximum changes no weight, so no gradient goes through it.
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.to_dtype(v.dtype())?;
    let attended = weights.matmul(&v)?;
    Ok(attended.transpose(1, 2)?.contiguous()?.reshape((batch, queries, width))?)
}

/// (n, n): −∞ (in effect, for f32) above the diagonal, zero elsewhere.
fn hidden(n: usize, like: &Tensor) -> Result<Tensor> {
    let mask: Vec<f32> = (0..n * n).map(|i| if i % n > i / n { -1e9 } else { 0.0 }).collect();
    Ok(Tensor::from_vec(mask, (n, n), like.device())?.to_dtype(like.dtype())?)
}

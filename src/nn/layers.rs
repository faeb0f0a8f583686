//! The basic layers of all models: linear maps, layer normalisation, embeddings.

use candle_core::{D, Tensor};

use super::fused;
use super::params::{Init, Scope};
use crate::error::Result;

/// x·Wᵀ + b.
#[derive(Debug, Clone)]
pub struct Linear {
    /// (out, in)
    pub weight: Tensor,
    /// (out); absent in projections.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// Parameters `weight` (out, in) and `bias` (out), zero at first.
    pub fn new(scope: &Scope, input: usize, output: usize, init: Init) -> Result<Self> {
        let bias = scope.param("bias", output, Init::Constant(0.0))?;
        Ok(Self { bias: Some(bias), ..Self::without_bias(scope, input, output, init)? })
    }

    /// Only the parameter `weight` (out, in).
    pub fn without_bias(scope: &Scope, input: usize, output: usize, init: Init) -> Result<Self> {
        Ok(Self { weight: scope.param("weight", (output, input), init)?, bias: None })
    }

    /// (…, in) → (…, out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

/// x (…, in), weight (out, in), bias (out) → (…, out), computed in x's type: the weights are cast to it,
/// their gradients back.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let flat = x.reshape(((), x.dim(D::Minus1)?))?; // (rows, in)
    let weight = weight.to_dtype(x.dtype())?;
    let bias = bias.map(|bias| bias.to_dtype(x.dtype())).transpose()?;
    let out = match bias {
        Some(bias) if fused::serves(x) => {
            flat.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, fused::linear::Linear)?
        }
        Some(bias) => flat.matmul(&weight.t()?)?.broadcast_add(&bias)?,
        None => flat.matmul(&weight.t()?)?,
    };
    *shape.last_mut().expect("invariant: a tensor with a last dimension") = out.dim(1)?;
    Ok(out.reshape(shape)?)
}

/// x + y in x's type: adds a block's result to the residual stream.
pub fn residual(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    Ok((x + y.to_dtype(x.dtype())?)?)
}

/// Layer normalisation over the last dimension (Ba et al. 2016).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Parameters `weight`, one at first, and `bias`, zero at first, both (width).
    pub fn new(scope: &Scope, width: usize, eps: f64) -> Result<Self> {
        let weight = scope.param("weight", width, Init::Constant(1.0))?;
        Ok(Self { weight, bias: scope.param("bias", width, Init::Constant(0.0))?, eps })
    }

    /// (…, width) → (…, width).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if fused::serves(x) {
            let flat = x.reshape(((), x.dim(D::Minus1)?))?.contiguous()?;
            let norm = fused::norm::LayerNorm { eps: self.eps as f32 };
            return Ok(flat.apply_op3(&self.weight, &self.bias, norm)?.reshape(x.shape())?);
        }
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        Ok(normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

/// A table of vectors, looked up by number.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// (count, width)
    pub weight: Tensor,
}

impl Embedding {
    /// The parameter `weight` (count, width).
    pub fn new(scope: &Scope, count: usize, width: usize, init: Init) -> Result<Self> {
        Ok(Self { weight: scope.param("weight", (count, width), init)? })
    }

    /// ids (…) of type u32 → (…, width).
    ///
    /// # Errors
    /// When an id is not below the count.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let mut shape = ids.dims().to_vec();
        shape.push(self.weight.dim(1)?);
        Ok(self.weight.index_select(&ids.flatten_all()?, 0)?.reshape(shape)?)
    }
}

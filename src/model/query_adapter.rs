//! The adapter of photo queries: it moves the embedding of another view of a photo to that of the photo
//! itself.
//!
//! x ↦ normalise(x + W₃·relu(W₂·relu(W₁·√d·x + b₁) + b₂)), d the width of x: a residual adapter over a frozen
//! encoder (Gao et al. 2021, *CLIP-Adapter*). Only queries go through it; indexed images stay where captions
//! look for them.
//!
//! Errors: tensor operations fail only when the device does.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::matrix::Matrix;
use crate::nn::layers::Linear;
use crate::nn::params::{Builder, Init, Params};
use crate::nn::tensors::{from_matrix, to_matrix, unit_rows};

/// A residual adapter of three linear maps.
#[derive(Debug, Clone)]
pub struct QueryAdapter {
    layers: [Linear; 3],
    params: Params,
}

impl QueryAdapter {
    /// An untrained adapter, which changes nothing: for rows of `width` numbers, with `hidden` units a layer.
    pub fn fresh(width: usize, hidden: usize, seed: u64, device: &Device) -> Result<Self> {
        Self::build(Builder::fresh(seed, device), width, hidden, "adapter".as_ref())
    }

    /// An adapter with these weights, on the CPU, for rows of `width` numbers; `origin` names the file in
    /// errors.
    ///
    /// # Errors
    /// When a tensor is missing, left over, of another shape or not finite.
    pub fn loaded(tensors: BTreeMap<String, Tensor>, width: usize, origin: &Path) -> Result<Self> {
        let hidden = tensors.get("in.bias").map_or(0, Tensor::elem_count);
        Self::build(Builder::loaded(tensors, |_| false, &Device::Cpu), width, hidden, origin)
    }

    fn build(builder: Builder, width: usize, hidden: usize, origin: &Path) -> Result<Self> {
        let layer = |name: &str, input: usize, output: usize, gain: f32| {
            let init = Init::Normal(gain / (input as f32).sqrt());
            Linear::new(&builder.root().sub(name), input, output, init)
        };
        let gain = std::f32::consts::SQRT_2; // He et al. 2015
        let layers = [
            layer("in", width, hidden, gain)?,
            layer("mid", hidden, hidden, gain)?,
            layer("out", hidden, width, 0.0)?,
        ];
        Ok(Self { layers, params: builder.finish(origin)? })
    }

    /// A copy on the CPU that is not trained.
    pub fn detached(&self) -> Result<Self> {
        let copy = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), tensor.to_device(&Device::Cpu)?));
        let tensors = self.params.iter().map(copy).collect::<Result<_>>()?;
        Self::loaded(tensors, self.width(), "adapter".as_ref())
    }

    /// Numbers of a row.
    fn width(&self) -> usize {
        let [.., out] = &self.layers;
        out.weight.dims()[0]
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Unit rows (queries, width) → unit rows of the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [first, second, last] = &self.layers;
        let hidden = first.forward(&(x * (x.dim(1)? as f64).sqrt())?)?.relu()?;
        unit_rows(&(x + last.forward(&second.forward(&hidden)?.relu()?)?)?)
    }

    /// The same for a matrix, on the CPU.
    pub fn apply(&self, rows: &Matrix) -> Result<Matrix> {
        to_matrix(&self.forward(&from_matrix(rows, &Device::Cpu)?)?)
    }
}

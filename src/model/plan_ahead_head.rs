//! The plan-ahead head (PAG, Zeng et al. 2024): it scores the codes of all levels at once, whatever their
//! order.
//!
//! An autoregressive decoder can score a code only once the codes before it are chosen, so a beam cannot look
//! ahead to it. This head sees the query alone: u_l(k | q), which is added to the logit of code k at level l.
//! It is known before the first step, so [`super::lookahead`] uses it. It is trained with the decoder, by the
//! same loss.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::Tensor;

use super::decoder::Shape;
use crate::error::Result;
use crate::nn::activation::Activation;
use crate::nn::layers::{Embedding, Linear};
use crate::nn::params::{Init, Scope};

const STD: f32 = 0.02;

/// u_l(k | q) = W_l·gelu(V·q + modality).
#[derive(Debug, Clone)]
pub struct PlanAheadHead {
    hidden: Linear,
    modality: Embedding,
    /// One a level. They start at zero: an untrained head changes nothing.
    heads: Vec<Linear>,
}

impl PlanAheadHead {
    /// Fresh or loaded parameters for docids of this shape.
    pub fn new(scope: &Scope, shape: &Shape) -> Result<Self> {
        let width = shape.width;
        let head = |(level, &codes): (usize, &usize)| {
            Linear::without_bias(&scope.sub("heads").sub(level), width, codes, Init::Constant(0.0))
        };
        Ok(Self {
            // Unit vectors have entries of size 1/√width, so the hidden numbers are of size one.
            hidden: Linear::new(&scope.sub("hidden"), shape.query, width, Init::Normal(1.0))?,
            modality: Embedding::new(&scope.sub("modality"), 2, width, Init::Normal(STD))?,
            heads: shape.codes.iter().enumerate().map(head).collect::<Result<_>>()?,
        })
    }

    /// Queries (query, width), each with its modality's number (query) → (query, code) a level.
    pub fn logits(&self, queries: &Tensor, modalities: &Tensor) -> Result<Vec<Tensor>> {
        let hidden = (self.hidden.forward(queries)? + self.modality.forward(modalities)?)?;
        let hidden = Activation::QuickGelu.forward(&hidden)?;
        self.heads.iter().map(|head| head.forward(&hidden)).collect()
    }
}

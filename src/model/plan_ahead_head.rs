//! Planning ahead (PAG, Zeng et al. 2024): a head that scores the codes of all levels at once, whatever their order.
//!
//! An autoregressive decoder knows what a code is worth only once the codes before it are spelt, so a beam cannot look
//! ahead to it. This head sees the query alone: u_l(k | q), added to the logit of code k at level l. Being known before the
//! first step, it is part of what [`super::lookahead`] foresees, and it is trained with everything else by the same loss.

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
    /// One a level, zero at first: an untrained plan changes nothing.
    heads: Vec<Linear>,
}

impl PlanAheadHead {
    /// Fresh or loaded parameters for docids of this shape.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(scope: &Scope, shape: &Shape) -> Result<Self> {
        let width = shape.width;
        let head = |(level, &codes): (usize, &usize)| {
            Linear::without_bias(&scope.sub("heads").sub(level), width, codes, Init::Constant(0.0))
        };
        Ok(Self {
            // Unit vectors have entries of size 1/√width: the hidden numbers come out of size one.
            hidden: Linear::new(&scope.sub("hidden"), shape.query, width, Init::Normal(1.0))?,
            modality: Embedding::new(&scope.sub("modality"), 2, width, Init::Normal(STD))?,
            heads: shape.codes.iter().enumerate().map(head).collect::<Result<_>>()?,
        })
    }

    /// Queries (queries, width), each with its modality's number → (queries, codes) a level.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn logits(&self, queries: &Tensor, modalities: &Tensor) -> Result<Vec<Tensor>> {
        let hidden = (self.hidden.forward(queries)? + self.modality.forward(modalities)?)?;
        let hidden = Activation::QuickGelu.forward(&hidden)?;
        self.heads.iter().map(|head| head.forward(&hidden)).collect()
    }
}

//! The activations of CLIP checkpoints, by the names their `config.json` uses.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::fused::{self, gelu};
use crate::error::Result;

/// The non-linearity between the two layers of a transformer's MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·σ(1.702·x): OpenAI's models.
    QuickGelu,
    /// x·Φ(x) by the error function: LAION's larger models.
    Gelu,
}

impl Activation {
    /// Element-wise, any shape.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::QuickGelu if fused::serves(x) => x.contiguous()?.apply_op1(gelu::QuickGelu)?,
            Self::QuickGelu => (x * candle_nn::ops::sigmoid(&(x * f64::from(gelu::SLOPE))?)?)?,
            Self::Gelu => x.gelu_erf()?,
        })
    }
}

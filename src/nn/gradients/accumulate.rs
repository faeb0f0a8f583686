//! The running sum of gradients.

use candle_core::{Result, Tensor};

/// sum + weight·gradient, any shape.
pub fn add_weighted(sum: Option<&Tensor>, gradient: &Tensor, weight: f64) -> Result<Tensor> {
    let gradient = if weight == 1.0 { gradient.clone() } else { (gradient * weight)? };
    sum.map_or(Ok(gradient.clone()), |sum| sum + gradient)
}

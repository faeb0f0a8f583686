//! CLIP's symmetric contrastive loss.

use candle_core::{D, Tensor};

use crate::error::Result;

/// ½·(CE over rows + CE over columns) of `exp(scale)·images·textsᵀ`, the pairs on the diagonal.
///
/// `images`, `texts`: (batch, width), unit rows, row i of one belonging to row i of the other;
/// `scale`: scalar logarithm of the inverse temperature.
///
/// # Errors
/// When shapes do not fit.
pub fn contrastive_loss(images: &Tensor, texts: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let logits = images.matmul(&texts.t()?)?.broadcast_mul(&scale.exp()?)?; // (batch, batch)
    let one_way = |logits: &Tensor| -> Result<Tensor> {
        let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let diagonal = Tensor::eye(logits.dim(0)?, logits.dtype(), logits.device())?;
        Ok((log_p * diagonal)?.sum_all()?.affine(-1.0 / logits.dim(0)? as f64, 0.0)?)
    };
    Ok(((one_way(&logits)? + one_way(&logits.t()?.contiguous()?)?)? * 0.5)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn agrees_with_hand_computation() {
        let tensor = |rows: [[f32; 2]; 2]| Tensor::new(&rows, &Device::Cpu).unwrap();
        let images = tensor([[1.0, 0.0], [0.0, 1.0]]);
        let scale = Tensor::new(2f32.ln(), &Device::Cpu).unwrap();
        let loss = |texts| contrastive_loss(&images, &texts, &scale).unwrap().to_scalar::<f32>().unwrap();
        // logits 2 on the diagonal, 0 beside it: −ln(e²/(e² + 1)).
        assert!((loss(tensor([[1.0, 0.0], [0.0, 1.0]])) - 0.126_928).abs() < 1e-5);
        assert!((loss(tensor([[0.0, 1.0], [1.0, 0.0]])) - 2.126_928).abs() < 1e-5);
    }
}

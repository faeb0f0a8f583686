//! CLIP's symmetric contrastive loss.

use candle_core::{D, Tensor};

use crate::error::Result;

/// What a pair that is none of the negatives is given: far below any logit, yet finite.
const HIDDEN: f32 = -1e9;

/// ½·(CE over rows + CE over columns) of `exp(scale)·images·textsᵀ`, the pairs on the diagonal.
///
/// `images`, `texts`: (batch, width), unit rows, row i of one belonging to row i of the other;
/// `scale`: scalar logarithm of the inverse temperature.
///
/// # Errors
/// When shapes do not fit.
pub fn contrastive_loss(images: &Tensor, texts: &Tensor, scale: &Tensor) -> Result<Tensor> {
    symmetric(&images.matmul(&texts.t()?)?.broadcast_mul(&scale.exp()?)?)
}

/// The same where an image may occur more than once, `owners` naming it: its other captions are not among the negatives.
///
/// # Errors
/// When shapes do not fit.
pub fn contrastive_loss_of(
    images: &Tensor,
    texts: &Tensor,
    scale: &Tensor,
    owners: &[usize],
) -> Result<Tensor> {
    let count = owners.len();
    let entry = |at: usize| {
        let (row, column) = (at / count, at % count);
        if row != column && owners[row] == owners[column] { HIDDEN } else { 0.0 }
    };
    let hidden: Vec<f32> = (0..count * count).map(entry).collect();
    let hidden = Tensor::from_vec(hidden, (count, count), images.device())?.to_dtype(images.dtype())?;
    symmetric(&(images.matmul(&texts.t()?)?.broadcast_mul(&scale.exp()?)? + hidden)?)
}

/// Half the sum of both cross-entropies of logits (batch, batch).
fn symmetric(logits: &Tensor) -> Result<Tensor> {
    let one_way = |logits: &Tensor| -> Result<Tensor> {
        let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let diagonal = Tensor::eye(logits.dim(0)?, logits.dtype(), logits.device())?;
        Ok((log_p * diagonal)?.sum_all()?.affine(-1.0 / logits.dim(0)? as f64, 0.0)?)
    };
    Ok(((one_way(logits)? + one_way(&logits.t()?.contiguous()?)?)? * 0.5)?)
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

    #[test]
    fn other_captions_of_an_image_are_no_negatives() {
        let tensor = |rows: [[f32; 2]; 3]| Tensor::new(&rows, &Device::Cpu).unwrap();
        let (images, texts) =
            (tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]));
        let scale = Tensor::new(2f32.ln(), &Device::Cpu).unwrap();
        let loss = |owners: &[usize]| {
            contrastive_loss_of(&images, &texts, &scale, owners).unwrap().to_scalar::<f32>().unwrap()
        };
        let plain = contrastive_loss(&images, &texts, &scale).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(loss(&[0, 1, 2]), plain);
        // Rows of the image that comes twice: 2 against 0 once; the other: 2 against 0 twice.
        let expected = (2.0 * 0.126_928 + (1.0 + 2.0 * (-2f32).exp()).ln()) / 3.0;
        assert!((loss(&[0, 0, 2]) - expected).abs() < 1e-5, "{}", loss(&[0, 0, 2]));
    }
}

//! The symmetric contrastive loss of dual encoders (CLIP, Radford et al. 2021).

use candle_core::{D, Tensor};

use crate::error::Result;

/// Added to the logit of a pair that is not a negative: far below any logit, yet finite.
const MASKED: f32 = -1e9;

/// ½·(CE over rows + CE over columns) of `exp(scale)·images·textsᵀ`, the pairs on the diagonal.
///
/// `images`, `texts`: unit rows (pair, width); `scale`: scalar logarithm of the inverse temperature.
///
/// # Errors
/// When the shapes differ.
pub fn contrastive_loss(images: &Tensor, texts: &Tensor, scale: &Tensor) -> Result<Tensor> {
    symmetric(&images.matmul(&texts.t()?)?.broadcast_mul(&scale.exp()?)?)
}

/// [`contrastive_loss`] of pairs in which an image may occur several times: `owners` holds the image of each
/// pair, and the other captions of an image are not among its negatives.
///
/// # Errors
/// When the shapes differ.
pub fn contrastive_loss_of(
    images: &Tensor,
    texts: &Tensor,
    scale: &Tensor,
    owners: &[usize],
) -> Result<Tensor> {
    let shape = (owners.len(), owners.len());
    let mask = Tensor::from_vec(mask(owners), shape, images.device())?.to_dtype(images.dtype())?;
    symmetric(&(images.matmul(&texts.t()?)?.broadcast_mul(&scale.exp()?)? + mask)?)
}

/// (pair, pair): [`MASKED`] where two different pairs have one image, else 0.
fn mask(owners: &[usize]) -> Vec<f32> {
    let mut mask = Vec::with_capacity(owners.len() * owners.len());
    for (row, image) in owners.iter().enumerate() {
        let entry = |(column, other)| if row != column && image == other { MASKED } else { 0.0 };
        mask.extend(owners.iter().enumerate().map(entry));
    }
    mask
}

/// Half the sum of the cross-entropies over rows and over columns of logits (pair, pair).
fn symmetric(logits: &Tensor) -> Result<Tensor> {
    let over_columns = cross_entropy_of_diagonal(&logits.t()?.contiguous()?)?;
    Ok(((cross_entropy_of_diagonal(logits)? + over_columns)? * 0.5)?)
}

fn cross_entropy_of_diagonal(logits: &Tensor) -> Result<Tensor> {
    let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    let diagonal = Tensor::eye(logits.dim(0)?, logits.dtype(), logits.device())?;
    Ok((log_p * diagonal)?.sum_all()?.affine(-1.0 / logits.dim(0)? as f64, 0.0)?)
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
        // logits 2 on the diagonal, else 0: −ln(e²/(e² + 1)).
        assert!((loss(tensor([[1.0, 0.0], [0.0, 1.0]])) - 0.126_928).abs() < 1e-5);
        assert!((loss(tensor([[0.0, 1.0], [1.0, 0.0]])) - 2.126_928).abs() < 1e-5);
    }

    #[test]
    fn other_captions_of_an_image_are_not_negatives() {
        let tensor = |rows: [[f32; 2]; 3]| Tensor::new(&rows, &Device::Cpu).unwrap();
        let (images, texts) =
            (tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]));
        let scale = Tensor::new(2f32.ln(), &Device::Cpu).unwrap();
        let loss = |owners: &[usize]| {
            contrastive_loss_of(&images, &texts, &scale, owners).unwrap().to_scalar::<f32>().unwrap()
        };
        let plain = contrastive_loss(&images, &texts, &scale).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(loss(&[0, 1, 2]), plain);
        // The rows of image 0, which occurs twice, have 2 against 0 once; the other row has 2 against 0
        // twice.
        let expected = (2.0 * 0.126_928 + (1.0 + 2.0 * (-2f32).exp()).ln()) / 3.0;
        assert!((loss(&[0, 0, 2]) - expected).abs() < 1e-5, "{}", loss(&[0, 0, 2]));
    }
}

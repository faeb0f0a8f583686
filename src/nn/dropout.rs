//! Dropout (Srivastava et al. 2014) from a named random stream, because candle's cannot be seeded on CPU.

use candle_core::Tensor;
use rand::RngCore as _;

use crate::error::Result;
use crate::rng::Rng;

/// The dropout of one training step; evaluation uses [`Dropout::off`].
pub struct Dropout<'a> {
    share: f64,
    rng: Option<&'a mut Rng>,
}

impl<'a> Dropout<'a> {
    /// Drops each number with probability `share` (in [0, 1)) and scales the others up.
    pub fn new(share: f64, rng: &'a mut Rng) -> Self {
        Self { share, rng: (share > 0.0).then_some(rng) }
    }

    /// Drops nothing.
    pub fn off() -> Self {
        Self { share: 0.0, rng: None }
    }

    /// x with a fresh mask applied, any shape.
    pub fn apply(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(rng) = &mut self.rng else { return Ok(x.clone()) };
        let mut bytes = vec![0u8; 2 * x.elem_count()];
        rng.fill_bytes(&mut bytes);
        let threshold = (self.share * 65536.0) as u32;
        let scale = (1.0 / (1.0 - self.share)) as f32;
        let keep =
            |pair: &[u8; 2]| if u32::from(u16::from_le_bytes(*pair)) < threshold { 0.0 } else { scale };
        let mask: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(keep).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        Ok((x * mask.to_dtype(x.dtype())?)?)
    }
}

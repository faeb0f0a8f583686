//! What a step of training leaves out of a tower, drawn anew for each pass: whole patches, and single numbers inside blocks.

use candle_core::Tensor;
use rand::RngCore as _;

use super::transformer::Block;
use crate::error::Result;
use crate::nn::checkpoint_block;
use crate::nn::dropout::Dropout;
use crate::rng::{self, Rng};

/// How much one pass through a tower leaves out.
pub struct Regularization<'a> {
    /// Share of a photo's patches (FLIP, Li et al. 2023).
    pub patches: f64,
    /// Share of the numbers that attention and mlp add to the residual stream (dropout).
    pub dropout: f64,
    rng: Option<&'a mut Rng>,
}

impl<'a> Regularization<'a> {
    /// Leaves nothing out.
    pub fn off() -> Self {
        Self { patches: 0.0, dropout: 0.0, rng: None }
    }

    /// Leaves out these shares, drawn from `rng`.
    pub fn new(patches: f64, dropout: f64, rng: &'a mut Rng) -> Self {
        Self { patches, dropout, rng: Some(rng) }
    }

    /// The stream that patches are drawn from, where any are left out.
    pub(super) fn of_patches(&mut self) -> Option<&mut Rng> {
        if self.patches > 0.0 { self.rng.as_deref_mut() } else { None }
    }

    /// A block that leaves out the same numbers however often it is run.
    pub(super) fn within(&mut self, block: &Block) -> Noisy {
        let seed = if self.dropout > 0.0 { self.rng.as_mut().map(|rng| rng.next_u64()) } else { None };
        Noisy { block: block.clone(), share: self.dropout, seed }
    }
}

/// A block with the numbers that it leaves out.
#[derive(Clone)]
pub(super) struct Noisy {
    block: Block,
    share: f64,
    seed: Option<u64>,
}

impl checkpoint_block::Block for Noisy {
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        match self.seed {
            Some(seed) => {
                let mut rng = rng::stream(seed, "dropout inside a block", 0);
                self.block.forward(x, &mut Dropout::new(self.share, &mut rng))
            }
            None => self.block.forward(x, &mut Dropout::off()),
        }
    }
}

//! What one training pass through a tower leaves out at random: whole patches of photos, and numbers inside
//! blocks.

use rand::RngCore as _;

use crate::rng::Rng;

/// How much one pass leaves out, and the stream it is drawn from.
pub struct Regularization {
    /// Share of a photo's patches (FLIP, Li et al. 2023).
    pub patches: f64,
    /// Share of the numbers that attention and MLP add to the residual stream (dropout).
    pub dropout: f64,
    rng: Option<Rng>,
}

impl Regularization {
    /// Leaves nothing out.
    pub fn off() -> Self {
        Self { patches: 0.0, dropout: 0.0, rng: None }
    }

    /// Leaves out these shares, drawn from `rng`.
    pub fn new(patches: f64, dropout: f64, rng: Rng) -> Self {
        Self { patches, dropout, rng: Some(rng) }
    }

    /// The stream that left-out patches are drawn from; `None` when none are left out.
    pub(super) fn patch_rng(&mut self) -> Option<&mut Rng> {
        if self.patches > 0.0 { self.rng.as_mut() } else { None }
    }

    /// A seed for the dropout of the next block; `None` when nothing is left out of blocks.
    pub(super) fn next_block_seed(&mut self) -> Option<u64> {
        if self.dropout > 0.0 { self.rng.as_mut().map(|rng| rng.next_u64()) } else { None }
    }
}

//! Building blocks of the models, on candle tensors.
//!
//! candle's own `LayerNorm`, `softmax_last_dim` and `rms_norm` cut the gradient graph without a word, its CPU
//! generator cannot be seeded and its AdamW hides its state. What a trainable, reproducible model needs is
//! therefore written here: layers whose gradients are tested against finite differences, parameters in a
//! fixed order with strict loading, an optimiser whose state can be saved.
//!
//! [`fused`] holds the CPU kernels (f32); every one has a composed twin of plain tensor operations that
//! serves the other devices and types, and is its reference in the tests.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod checkpoint_block;
pub mod device;
pub mod device_settings;
pub mod dropout;
pub mod ema;
pub mod fit;
pub mod fused;
pub mod gradients;
pub mod layers;
pub mod lr_schedule;
pub mod params;
pub mod pickle;
pub mod tensors;
pub mod weight_schedule;

impl From<candle_core::Error> for crate::error::Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error.into())
    }
}

//! Building blocks of the models, on candle tensors.
//!
//! candle's own `LayerNorm`, `softmax_last_dim` and `rms_norm` cut the gradient graph silently, its CPU
//! generator cannot be seeded and its AdamW hides its state. So this module has what a trainable,
//! reproducible model needs: layers whose gradients are tested against finite differences, parameters in a
//! fixed order with strict loading, and an optimiser whose state can be saved. [`fit`] is the training loop
//! of models that train in seconds.
//!
//! [`fused`] holds the CPU kernels (f32). Each has a composed twin of plain tensor operations, which serves
//! the other devices and types and is the kernel's reference in the tests.
//!
//! Nothing here knows of ranks or of the whole configuration. What ranks must do comes in as closures and
//! small traits, as in [`gradients`].
//!
//! Errors: a tensor operation fails when the device does, or when shapes do not match, which is a bug of the
//! caller. A function has a section on errors only if it fails for another reason.

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

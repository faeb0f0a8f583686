//! The models: CLIP, the decoder, the joint model with its losses and its search, checkpoints.

pub mod adapter;
pub mod align;
pub mod beam;
pub mod catalogue;
pub mod checkpoint;
pub mod clip;
pub mod decoder;
pub mod dsi;
pub mod encoder;
pub mod features;
#[cfg(test)]
mod gradients;
pub mod grounding;
pub mod index;
pub mod lookahead;
pub mod losses;
pub mod modality;
pub mod plan;
pub mod search;
pub mod second;
pub mod views;

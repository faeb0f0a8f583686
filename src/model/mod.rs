//! The models: CLIP, the decoder, their checkpoints.

pub mod checkpoint;
pub mod clip;
pub mod encoder;
pub mod modality;

//! The sections of a configuration file and the words of their keys.

pub mod data;
pub mod decoder;
pub mod device;
pub mod encoder;
pub mod eval;
pub mod index;
pub mod lr_schedule;
pub mod pretrain;
pub mod search;
pub mod train;
pub mod trainable_layers;
pub mod tune;
pub mod weight_schedule;

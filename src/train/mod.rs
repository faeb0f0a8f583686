//! Training: the loop and its tasks.

pub mod engine;
pub mod log;
pub mod pretrain;
pub mod stop;

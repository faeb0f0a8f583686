//! dsi

pub mod error;
pub mod file;
pub mod ids;
pub mod matrix;
pub mod rng;

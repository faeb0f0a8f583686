//! dsi

pub mod cli;
pub mod config;
pub mod data;
pub mod error;
pub mod file;
pub mod ids;
pub mod matrix;
pub mod model;
pub mod nn;
pub mod retriever;
pub mod rng;
pub mod run;
pub mod train;

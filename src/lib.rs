//! dsi

pub mod cli;
pub mod config;
pub mod data;
pub mod docid;
pub mod error;
pub mod eval;
pub mod file;
pub mod ids;
pub mod index;
pub mod matrix;
pub mod model;
pub mod nn;
pub mod progress;
pub mod retriever;
pub mod rng;
pub mod run;
pub mod train;

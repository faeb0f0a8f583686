//! The sections of the configuration that retrievers depend on.

use crate::config;

/// What the configuration says about retrievers.
#[derive(Debug, Clone)]
pub struct Sections {
    /// `[search]`
    pub search: config::Search,
    /// `[decoder]`
    pub decoder: config::Decoder,
    /// `[index]`
    pub index: config::Index,
    /// `[eval]`
    pub eval: config::Eval,
}

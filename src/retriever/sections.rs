//! The sections of the configuration that retrievers depend on.

use super::settings::Search;
use crate::model::settings::Decoder;

/// What the configuration says about retrievers.
#[derive(Debug, Clone)]
pub struct Sections {
    /// `[search]`
    pub search: Search,
    /// `[decoder]`
    pub decoder: Decoder,
    /// Whether the embeddings go through a trained alignment or adapter (`[index]`).
    pub trains_alignment: bool,
    /// `eval.exhaustive`
    pub exhaustive: bool,
}

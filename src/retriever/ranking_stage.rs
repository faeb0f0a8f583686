//! The stages of retrieval: what a ranking is made with.

use crate::config_schema::choice;

choice! {
    /// What a ranking is made with; later stages see the results of earlier ones.
    Stage {
        /// The decoder's scores alone.
        Decoder = "decoder",
        /// The decoder's scores fused with the geometry of the codebooks.
        Geometry = "geometry",
        /// Candidates ordered again by another score.
        Rerank = "rerank",
        /// Every image of the gallery scored: dense, sparse, BM25.
        Exact = "exact",
    }
}

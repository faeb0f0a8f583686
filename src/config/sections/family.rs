//! The families of docids.

use crate::config_schema::choice;

choice! {
    /// How an image gets its docid.
    Family {
        /// One code an image (DSI, Tay et al. 2022).
        Atomic = "atomic",
        /// The digits of an arbitrary number ("naive" in DSI).
        Numeric = "numeric",
        /// The path in a hierarchical k-means over image embeddings ("semantic" in DSI).
        Tree = "tree",
        /// Residual quantisation of the image embedding (IRGen, GENIUS, TIGER).
        Rq = "rq",
        /// As `rq`, with codebooks that are then trained for retrieval (GenRet, PRO).
        Learned = "learned",
    }
}

impl Family {
    /// Whether docids are codes of codebooks in the space of the queries, which grounded logits need.
    pub fn has_codebooks(self) -> bool {
        matches!(self, Self::Rq | Self::Learned)
    }
}

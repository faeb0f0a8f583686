//! `[decoder]`, the shape of the decoder and its start, and the losses that a model is trained with.

use crate::config_schema::shared_limits::{DROPOUT, HEADS, LAYERS, TEMPERATURE, WIDTH};
use crate::config_schema::{choice, section};

choice! {
    /// The training objective.
    Loss {
        /// A listwise loss over hard candidates, on the summed score of every prefix.
        Listwise = "listwise",
        /// Cross-entropy level by level: the classical DSI objective, for comparison.
        CrossEntropy = "cross_entropy",
    }
}

section! {
    /// The shape of the decoder and its start.
    Decoder affects(weights, settings) {
        /// Width d of the decoder. `heads` divides it.
        width: usize = 128 in WIDTH;
        /// Number of transformer blocks.
        layers: usize = 2 in LAYERS;
        /// Number of attention heads.
        heads: usize = 4 in HEADS;
        /// Number of memory vectors that are made from a query's embedding.
        memory: usize = 4 in 1..=256;
        /// Dropout probability in training.
        dropout: f64 = 0.1 in DROPOUT;
        /// Whether logits start from the geometry of the codebooks. Needs `index.family = "rq"` or
        /// `"learned"`.
        grounded: bool = true;
        /// Whether a second head scores the codes of all levels at once, so that the search can look ahead
        /// with it (PAG).
        plan: bool = false;
        /// Temperature τ of grounded logits: α starts at 1/(2τ).
        temperature: f64 = 0.05 in TEMPERATURE;
    }
}

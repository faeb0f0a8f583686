//! `[search]`: how an answer is searched for.

use crate::config_schema::section;
use crate::config_schema::shared_limits::{BEAM, SHARE, TEMPERATURE};
use crate::store::rows::RowKind;

section! {
    /// How an answer is searched for.
    Search affects(search, settings) {
        /// Number of prefixes that are kept at each level.
        beam: usize = 50 in BEAM, affects(training, search, settings);
        /// Weight λ of the codebooks' geometry in the score of each step, for the query as the encoder gives
        /// it. Used in the stages after the decoder alone. 0: none.
        geometry: f64 = 0.2 in 0.0..=100.0;
        /// Whether prefixes are ranked by their score plus what the codebooks' geometry can still add below
        /// them. For grounded decoders whose steps are not normalised.
        lookahead: bool = true, affects(training, search, settings);
        /// Whether a photo query is the mean of the embeddings of the photo and its mirror image, which takes
        /// twice the encoding.
        mirrored: bool = false;
        /// A level at which a node's children score too much alike is skipped: all get the same score. This
        /// is the entropy of their softmax, as a share of the largest possible, from which a level is
        /// skipped. 1: never.
        wildcard: f64 = 1.0 in SHARE, affects(training, search, settings);
        /// Weight η of the debiasing in the stages after the decoder alone: η·log p(c) is subtracted from the
        /// score of docid c, and p(c) says how readily c is given whatever the query. It is measured with
        /// train captions, without an image's own, when a run is opened. 0: none.
        prior: f64 = 0.0 in 0.0..=10.0;
        /// Temperature τ of that prior.
        prior_temperature: f64 = 0.05 in TEMPERATURE;
        /// Whether the candidates of the beam are ranked again by their exact cosine.
        rerank: bool = true;
        /// Weight of the exact cosine in the fused score of the re-ranking.
        rerank_weight: f64 = 0.7 in SHARE;
        /// Whether training ends with fitting that weight on val captions, by the mean of R@1, R@5 and R@10.
        fit_rerank: bool = false;
        /// How the search store of a run keeps the embeddings of images for that re-ranking.
        rows: RowKind = F16, affects(search);
        /// Number of first codes whose images a search of the store scores, the most promising ones. 0: all.
        probes: usize = 0 in 0..=1_048_576, affects(search);
        /// Number of images that are returned.
        k: usize = 10 in 1..=10_000;
    }
}

impl Search {
    /// The weight of the geometry as a grounded logit has it: λ/(2τ).
    pub fn geometry_in_nats(&self, temperature: f64) -> f64 {
        self.geometry / (2.0 * temperature)
    }
}

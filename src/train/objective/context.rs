//! What losses are computed with, besides the queries of a micro-batch.

use crate::model::generative_model::GenerativeModel;
use crate::train::docid_state::DocidState;
use crate::train::embedded_queries::QuerySource;
use crate::train::rank_streams::RankStreams;

/// What a loss is computed with.
pub struct LossContext<'a> {
    /// The decoder.
    pub model: &'a GenerativeModel,
    /// The docids, and the teachers over them.
    pub docids: &'a DocidState,
    /// The embeddings of queries.
    pub source: &'a QuerySource<'a>,
    /// The random streams of this rank.
    pub streams: &'a RankStreams,
}

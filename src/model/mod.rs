//! The joint model: alignment, decoder, grounded logits and beam search; index folders and checkpoints.

pub mod alignment;
pub mod beam_level;
pub mod beam_search;
pub mod build_model;
pub mod candidate_table;
pub mod checkpoint;
pub mod decoder;
pub mod encode_across_ranks;
pub mod extra_docids;
pub mod generative_model;
pub mod grounded_logits;
pub mod index_folder;
pub mod index_vectors;
pub mod lookahead;
pub mod plan_ahead_head;
pub mod query_adapter;
pub mod settings;

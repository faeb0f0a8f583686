//! The joint model: alignment, decoder, grounded logits and beam search; index folders and checkpoints.

pub mod alignment;
pub mod beam_search;
pub mod beam_state;
pub mod build_model;
pub mod candidate_table;
pub mod checkpoint;
pub mod decoder;
pub mod extra_docids;
pub mod generative_model;
pub mod grounded_logits;
pub mod index_folder;
pub mod lookahead;
pub mod plan_ahead_head;
pub mod query_adapter;
pub mod settings;
pub mod share_encoding;

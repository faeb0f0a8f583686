//! A generative image retriever: CLIP encoders feed one autoregressive decoder that spells the *docid* of the
//! wanted image, code by code. The index is the decoder's weights and a trie of the valid docids.
//!
//! ```text
//! caption ─┐            ┌─ memory ─┐
//!          ├─ encoder ──┤          ├─ decoder ── beam over the trie ── docids = images ─ (re-rank)
//! photo ───┘            └─ W·q, codebooks: grounded logits ─┘
//! ```
//!
//! The [`guide`] explains the words and the ideas, and holds every measured number. `ARCHITECTURE.md` follows a query, a
//! batch and a photo through the code.
//!
//! # Where things are
//! Imports go down this list only; a test reads them.
//!
//! | layer | what it holds |
//! |---|---|
//! | `main`, [`cli`] | one file a command: parse, call, print |
//! | [`ablate`] | many experiments: a grid of them, and one table |
//! | [`run_experiment`], [`run_identity`] | the three jobs below in one run folder; whose folder it is, and what the run was made with |
//! | [`config`] | one TOML file is one experiment: the sections of the modules below, read and checked |
//! | [`searcher`] | search over a store, for programs and the command line |
//! | [`index`], [`train`], [`eval`] | the three jobs: give docids, train, measure |
//! | [`retriever`] | [`retriever::Retriever`], the one door for measuring and searching; dense, generative, re-ranked |
//! | [`model`] | the alignment and the adapter of image queries, the grounded decoder, its beam search, index and checkpoint folders |
//! | [`encoder`] | [`encoder::DualEncoder`], CLIP, ready-made embeddings, and a corpus with its embeddings |
//! | [`store`] | the files of a search store: verified, mapped, scanned by look-ups |
//! | [`docid`] | pure: k-means, residual quantisation, trees, the families, the trie, the figures behind the gates |
//! | [`nn`] | layers with tested gradients, fused CPU kernels, AdamW, parameters in a fixed order |
//! | [`data`] | corpora, photos, tokens, `.npy`, datasets and models fetched from elsewhere, and the built-in `scenes` |
//! | [`config_schema`], [`context`], [`distributed`], [`error`], [`escape`], [`file_io`], [`folder_marker`], [`home_folder`], [`ids`], [`known_heads`], [`markdown_table`], [`matmul`], [`matrix`], [`modality`], [`output`], [`process_memory`], [`progress`], [`ranking`], [`rng`], [`run_folder`], [`run_lock`], [`stop_flag`] | the base |
//!
//! # How a run flows
//! [`config`] → [`encoder::embed_corpus`](mod@encoder::embed_corpus) (corpus, embeddings) → [`mod@index`] (align, quantise, gates) →
//! [`train::joint`] (batches of both modalities, listwise loss, checkpoints) → [`retriever::factory`] →
//! [`eval::evaluate`] (ranked lists, figures, table).

pub mod ablate;
pub mod cli;
pub mod config;
pub mod config_schema;
pub mod context;
pub mod data;
pub mod distributed;
pub mod docid;
pub mod encoder;
pub mod error;
pub mod escape;
pub mod eval;
pub mod file_io;
pub mod folder_marker;
pub mod guide;
pub mod home_folder;
pub mod ids;
pub mod index;
pub mod known_heads;
pub mod markdown_table;
pub mod matmul;
pub mod matrix;
pub mod modality;
pub mod model;
pub mod nn;
pub mod output;
pub mod process_memory;
pub mod progress;
pub mod ranking;
pub mod retriever;
pub mod rng;
pub mod run_experiment;
pub mod run_folder;
pub mod run_identity;
pub mod run_lock;
pub mod searcher;
pub mod stop_flag;
pub mod store;
pub mod train;

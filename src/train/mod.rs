//! Training: one loop ([`engine`]) and two tasks, the [`joint`] training of the decoder (and the encoder) and the
//! contrastive [`pretrain`]ing of a CLIP.
//!
//! ```text
//! engine ─ Task::before_step(Step) ─ Task::loss(MicroBatch) ─ gradients ─ optimiser ─ log, validation, checkpoint
//!                                      │ joint training:
//!                                      │   batch_sampler   which captions and photos
//!                                      │   query_batches   interpolation, caption noise
//!                                      │   embedded_queries    embeddings, by the encoder in training if there is one
//!                                      │   objective       candidates, targets, weighted loss terms
//!                                      └─▶ StepLoss
//! ```

pub mod batch_sampler;
mod checkpoint_writer;
pub mod docid_state;
pub mod dry_run;
pub mod embedded_queries;
pub mod engine;
mod gradient_sums;
pub mod joint;
pub mod joint_settings;
pub mod metrics_log;
mod nonfinite_guard;
pub mod objective;
mod photo_loader;
mod prefetch;
pub mod pretrain;
mod progress_display;
pub mod query_batches;
pub mod rank_streams;
mod rows_of_all_ranks;
pub mod settings;
pub mod step_and_micro_batch;
pub mod step_failure;
pub mod step_loss;
mod step_metrics;
pub mod task;
pub mod teacher;
pub mod trainable_encoder;

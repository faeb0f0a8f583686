//! Training: one loop ([`engine`]) and its tasks, the contrastive [`pretrain`]ing of a small CLIP and the [`joint`]
//! training of the decoder.

mod ahead;
mod display;
pub mod engine;
mod health;
pub mod joint;
pub mod live;
pub mod log;
pub mod named;
pub mod pretrain;
pub mod queries;
pub mod rehearsal;
mod saver;
mod shown;
pub mod stop;
pub mod teacher;

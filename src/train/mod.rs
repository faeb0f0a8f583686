//! Training: one loop ([`engine`]) and its tasks, the contrastive [`pretrain`]ing of a small CLIP and the [`joint`]
//! training of the decoder.

mod ahead;
mod display;
pub mod engine;
mod figures;
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
pub mod task;
pub mod teacher;

use candle_core::Device;

use self::stop::Stop;
use crate::ranks::Ranks;

/// What a training runs on, and who may stop it.
pub struct Host<'a> {
    /// Where tensors live.
    pub device: &'a Device,
    /// The user's wish to stop.
    pub stop: &'a Stop,
    /// The processes that train together.
    pub ranks: Ranks,
}

impl<'a> Host<'a> {
    /// This process alone.
    pub fn alone(device: &'a Device, stop: &'a Stop) -> Self {
        Self { device, stop, ranks: Ranks::alone() }
    }
}

//! Training: one loop ([`engine`]) and its tasks, the contrastive [`pretrain`]ing of a small CLIP and the [`joint`]
//! training of the decoder.

mod ahead;
mod display;
pub mod engine;
mod fault;
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

use candle_core::{DType, Device};

use self::stop::Stop;
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::ranks::Ranks;

/// What a training runs on, and who may stop it.
pub struct Host<'a> {
    /// Where tensors live.
    pub device: &'a Device,
    /// What transformer blocks compute with there.
    pub compute: DType,
    /// The user's wish to stop.
    pub stop: &'a Stop,
    /// The processes that train together.
    pub ranks: Ranks,
}

impl<'a> Host<'a> {
    /// This process alone, in this precision.
    ///
    /// # Errors
    /// When the device does not compute in it.
    pub fn new(precision: Precision, device: &'a Device, stop: &'a Stop) -> Result<Self> {
        let compute = match precision {
            Precision::Bf16 if device.is_cpu() => {
                return Err(Error::input(
                    "precision = \"bf16\" is for a GPU, and the device is the CPU: take precision=f32 or --device cuda:0",
                ));
            }
            Precision::Auto if device.is_cpu() => DType::F32,
            Precision::F32 => DType::F32,
            Precision::Auto | Precision::Bf16 => DType::BF16,
        };
        Ok(Self { device, compute, stop, ranks: Ranks::alone() })
    }

    /// This process alone, in f32.
    pub fn alone(device: &'a Device, stop: &'a Stop) -> Self {
        Self { device, compute: DType::F32, stop, ranks: Ranks::alone() }
    }
}

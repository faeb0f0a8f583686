//! Training: one loop ([`engine`]) and its tasks, the contrastive [`pretrain`]ing of a small CLIP and the [`joint`]
//! training of the decoder.

mod checkpoint_writer;
pub mod docid_state;
pub mod dry_run;
pub mod engine;
pub mod joint;
pub mod metrics_log;
mod nonfinite_guard;
mod photo_loader;
mod prefetch;
pub mod pretrain;
mod progress_display;
pub mod query_batches;
pub mod step;
pub mod step_failure;
mod step_metrics;
pub mod stop_flag;
pub mod task;
pub mod teacher;
pub mod trainable_encoder;

use std::fmt;

use candle_core::{DType, Device};

pub use self::photo_loader::PHOTO_FAULTS;
use self::stop_flag::Stop;
use crate::config::Precision;
use crate::distributed::Ranks;
use crate::error::{Error, Result};
use crate::nn::device::{has_bf16, name};

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
        let compute = match (precision, has_bf16(device)) {
            (Precision::Bf16, false) => {
                return Err(Error::input(format!(
                    "precision = \"bf16\" is for GPUs that compute in it (since Ampere), and the device is {}: take \
                     precision=f32 or --device cuda:0",
                    name(device)
                )));
            }
            (Precision::F32, _) | (Precision::Auto, false) => DType::F32,
            (Precision::Auto | Precision::Bf16, true) => DType::BF16,
        };
        Ok(Self { device, compute, stop, ranks: Ranks::alone() })
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = if self.compute == DType::BF16 { Precision::Bf16 } else { Precision::F32 };
        write!(f, "{precision} on {}", name(self.device))
    }
}

//! Where and with whom a job runs: device, number type, ranks, the wish to stop and progress bars.

use candle_core::{DType, Device};
use indicatif::ProgressBar;

use crate::distributed::Comm;
use crate::progress::Progress;
use crate::stop_flag::Stop;

/// What a job (embedding, indexing, training, evaluation) runs with. The default is the CPU, in f32, alone,
/// without bars: what a library call or a test wants. A function that needs only one of these takes that one.
#[derive(Clone)]
pub struct Context {
    /// Where tensors live.
    pub device: Device,
    /// The number type in which transformer blocks compute, see [`crate::nn::device::compute_type`].
    pub compute: DType,
    /// The processes that share the job.
    pub comm: Comm,
    /// The user's wish to stop.
    pub stop: Stop,
    /// Whether progress bars are drawn.
    pub progress: Progress,
}

impl Default for Context {
    fn default() -> Self {
        Self::new(Device::Cpu)
    }
}

impl Context {
    /// This process alone on a device, in f32 and without bars.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            compute: DType::F32,
            comm: Comm::single(),
            stop: Stop::default(),
            progress: Progress::Hidden,
        }
    }

    /// A bar over `length` units, named `what`; the first rank alone draws it.
    pub fn bar(&self, length: usize, what: &'static str) -> ProgressBar {
        let progress = if self.comm.is_first() { self.progress } else { Progress::Hidden };
        progress.bar(length, what)
    }
}

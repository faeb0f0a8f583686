//! Where tensors can live: the CPU always, a GPU where there is one.

use candle_core::Device;

use crate::error::{Error, Result};
use crate::ranks;

/// The GPU of this number.
///
/// # Errors
/// When this program was built without CUDA, or the machine has no such GPU.
pub fn cuda(ordinal: usize) -> Result<Device> {
    if !cfg!(feature = "cuda") {
        return Err(Error::input("this program was built without CUDA; build it with --features cuda"));
    }
    Device::new_cuda(ordinal).map_err(|why| {
        let why = why.to_string(); // below its first line may be a backtrace
        Error::input(format!("GPU {ordinal} cannot be had: {}", why.lines().next().unwrap_or_default()))
    })
}

/// The first GPU (of several ranks on a machine, each has the one of its number), else the CPU.
pub fn best() -> Device {
    cuda(ranks::local()).unwrap_or_else(|why| {
        if cfg!(feature = "cuda") {
            tracing::info!("computing on the CPU: {why}");
        }
        Device::Cpu
    })
}

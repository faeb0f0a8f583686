//! The devices that tensors can live on: the CPU, or a GPU if there is one.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::nn::device_settings::Precision;

/// The GPU of this number.
///
/// # Errors
/// When this program was built without CUDA, or the machine has no such GPU.
pub fn cuda(ordinal: usize) -> Result<Device> {
    if !cfg!(feature = "cuda") {
        return Err(Error::input("this program was built without CUDA; build it with --features cuda"));
    }
    // A driver older than the toolkit of the build fails at the first kernel, not before.
    let tried = |gpu: Device| Tensor::ones(1, DType::F32, &gpu)?.sqr().map(|_| gpu);
    Device::new_cuda(ordinal).and_then(tried).map_err(|why| {
        let why = why.to_string(); // below its first line may be a backtrace
        Error::input(format!("GPU {ordinal} cannot be used: {}", why.lines().next().unwrap_or_default()))
    })
}

/// The GPU for the process of this number among those on its machine, so that each has its own; else the CPU.
pub fn best(local_rank: usize) -> Device {
    cuda(local_rank % count().max(1)).unwrap_or_else(|why| {
        if cfg!(feature = "cuda") {
            tracing::info!("computing on the CPU: {why}");
        }
        Device::Cpu
    })
}

/// Whether a device computes in bf16: the CPU does not, nor do GPUs before Ampere.
pub fn has_bf16(device: &Device) -> bool {
    let tried = || Tensor::ones(1, DType::F32, device)?.to_dtype(DType::BF16)?.sqr()?.to_dtype(DType::F32);
    device.is_cuda() && tried().is_ok()
}

/// The number type in which transformer blocks compute on a device.
///
/// # Errors
/// When `precision` asks for bf16 and the device does not compute in it.
pub fn compute_type(precision: Precision, device: &Device) -> Result<DType> {
    match (precision, has_bf16(device)) {
        (Precision::Bf16, false) => Err(Error::input(format!(
            "precision = \"bf16\" is for GPUs that compute in it (since Ampere), and the device is {}: take \
             precision=f32 or --device cuda:0",
            name(device)
        ))),
        (Precision::F32, _) | (Precision::Auto, false) => Ok(DType::F32),
        (Precision::Auto | Precision::Bf16, true) => Ok(DType::BF16),
    }
}

/// Number type and device in words: `f32 on the CPU`.
pub fn describe(compute: DType, device: &Device) -> String {
    let precision = if compute == DType::BF16 { Precision::Bf16 } else { Precision::F32 };
    format!("{precision} on {}", name(device))
}

/// A device in words.
pub fn name(device: &Device) -> &'static str {
    if device.is_cpu() { "the CPU" } else { "a GPU" }
}

/// Number of GPUs that this process sees.
#[cfg(feature = "cuda")]
fn count() -> usize {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    CudaContext::device_count().map_or(0, |count| count as usize)
}

#[cfg(not(feature = "cuda"))]
fn count() -> usize {
    0
}

/// Bytes of a GPU's memory in use, by all processes; `None` on the CPU.
#[cfg(feature = "cuda")]
pub fn memory_taken(device: &Device) -> Option<u64> {
    let Device::Cuda(gpu) = device else { return None };
    let (free, all) = gpu.cuda_stream().context().mem_get_info().ok()?;
    Some((all - free) as u64)
}

/// Bytes of a GPU's memory in use; `None` without CUDA.
#[cfg(not(feature = "cuda"))]
pub fn memory_taken(_: &Device) -> Option<u64> {
    None
}

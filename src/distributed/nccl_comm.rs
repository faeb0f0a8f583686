//! Sums from GPU to GPU, by NCCL. MPI starts the processes and sends the identifier by which the GPUs
//! connect.

use std::ffi::c_char;

use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, ReduceOp};
use candle_core::{CpuStorage, CudaDevice, CudaStorage, InplaceOp1, Layout, Tensor};

use crate::error::{Error, Result};

/// The connection between the ranks' GPUs.
pub struct Gpus(Comm);

impl Gpus {
    /// Connects this rank's GPU with the others'. All ranks call this together; `broadcast` replaces bytes by
    /// the first rank's.
    ///
    /// # Errors
    /// When NCCL fails, as when two ranks share a GPU.
    pub fn connect(
        device: &CudaDevice,
        rank: usize,
        size: usize,
        broadcast: impl FnOnce(&mut [u8]),
    ) -> Result<Self> {
        let mut bytes = [0u8; 128];
        if rank == 0 {
            bytes = Id::new().map_err(nccl_failed)?.internal().map(|byte| byte as u8);
        }
        broadcast(&mut bytes);
        let id = Id::uninit(bytes.map(|byte| byte as c_char));
        Comm::from_rank(device.cuda_stream(), rank, size, id).map(Self).map_err(nccl_failed)
    }

    /// Sums a contiguous f32 tensor on this rank's GPU over all ranks, in place.
    ///
    /// # Errors
    /// When NCCL fails or the tensor is not contiguous.
    pub fn all_reduce(&self, tensor: &Tensor) -> Result<()> {
        Ok(tensor.inplace_op1(&AllReduce(&self.0))?)
    }
}

fn nccl_failed(why: NcclError) -> Error {
    Error::input(format!(
        "NCCL failed ({:?}): has every rank a GPU of its own? NCCL_DEBUG=INFO says more",
        why.0
    ))
}

/// x ← Σ x over all ranks.
struct AllReduce<'a>(&'a Comm);

impl InplaceOp1 for AllReduce<'_> {
    fn name(&self) -> &'static str {
        "sum over ranks"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        candle_core::bail!("NCCL sums tensors on GPUs only")
    }

    fn cuda_fwd(&self, x: &mut CudaStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("NCCL sums contiguous tensors only");
        };
        let mut x = x.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        let done = self.0.all_reduce_in_place(&mut x, &ReduceOp::Sum);
        done.map(|_| ()).map_err(|why| candle_core::Error::Msg(nccl_failed(why).to_string()))
    }
}

//! Between GPUs, by NCCL: sums that never leave them. MPI starts the processes and brings the GPUs together.

use std::cell::OnceCell;
use std::ffi::c_char;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, ReduceOp};
use candle_core::{CpuStorage, CudaStorage, Device, InplaceOp1, Layout, Tensor};
use mpi::traits::{Communicator, Root};

use super::Ranks;
use crate::distributed::mpi_comm::World;
use crate::error::{Error, Result};

/// The connection between the ranks' GPUs.
pub type Gpus = OnceCell<Comm>;

impl Ranks {
    /// The sum of a contiguous f32 tensor on this rank's GPU, in its place, over those of all ranks.
    pub(super) fn total_of_gpus(&self, own: Tensor) -> Result<Tensor> {
        let (Some(world), Device::Cuda(device)) = (&self.world, own.device()) else {
            return Err(Error::input("NCCL adds up what lies on the GPUs of several ranks"));
        };
        if world.gpus.get().is_none() {
            _ = world.gpus.set(self.meet(world, device.cuda_stream())?);
        }
        own.inplace_op1(&Sum(world.gpus.get().expect("invariant: they have met")))?;
        Ok(own)
    }

    /// Connects this rank's GPU with the others'; all ranks do so together, each with a GPU of its own.
    fn meet(&self, world: &World, stream: Arc<CudaStream>) -> Result<Comm> {
        let mut name = [0u8; 128];
        if self.is_first() {
            name = Id::new().map_err(told)?.internal().map(|byte| byte as u8);
        }
        world.all.process_at_rank(0).broadcast_into(&mut name[..]);
        let id = Id::uninit(name.map(|byte| byte as c_char));
        Comm::from_rank(stream, self.rank(), self.size(), id).map_err(told)
    }
}

fn told(why: NcclError) -> Error {
    Error::input(format!(
        "NCCL failed ({:?}): has every rank a GPU of its own? NCCL_DEBUG=INFO tells more",
        why.0
    ))
}

/// x ← Σ x over all ranks.
struct Sum<'a>(&'a Comm);

impl InplaceOp1 for Sum<'_> {
    fn name(&self) -> &'static str {
        "sum over ranks"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        candle_core::bail!("NCCL adds up on GPUs alone")
    }

    fn cuda_fwd(&self, x: &mut CudaStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("NCCL adds up contiguous tensors");
        };
        let mut x = x.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        let done = self.0.all_reduce_in_place(&mut x, &ReduceOp::Sum);
        done.map(|_| ()).map_err(|why| candle_core::Error::Msg(told(why).to_string()))
    }
}

//! Gradient checkpointing (Chen et al. 2016): what lies inside a block is forgotten after the forward pass and computed
//! again in the backward pass, so that of each block only its input is held.
//!
//! candle's graph has no such node, so one is made of a custom operation: its forward pass hands over what the block gave,
//! its backward pass runs the block again on the held input. The gradients of the block's own parameters come to light in
//! there, where the outer pass does not look; they wait on the thread that runs it, and
//! [`Gradients::add`](super::gradients::Gradients::add) collects them.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Shape, Storage, Tensor, Var};

use super::tensors::total;
use crate::error::Result;

thread_local! {
    /// Parameters and gradients that backward passes on this thread have found inside blocks.
    static FOUND: RefCell<Vec<(Tensor, Tensor)>> = const { RefCell::new(Vec::new()) };
}

/// Something that can be run twice to the same result.
pub trait Block: Clone + Send + Sync + 'static {
    /// x → y, of any shapes.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn run(&self, x: &Tensor) -> Result<Tensor>;
}

/// The block's output, holding nothing of it but `x`. `variables`: those of its parameters that are trained; without any,
/// the block is merely run.
///
/// # Errors
/// When the block fails.
pub fn recomputed<B: Block>(block: &B, variables: &[Tensor], x: &Tensor) -> Result<Tensor> {
    let Some(first) = variables.first() else { return block.run(x) };
    let output = block.run(&x.detach())?.detach().contiguous()?;
    let node = Node { block: block.clone(), variables: variables.to_vec(), output: Mutex::new(Some(output)) };
    // A variable among the arguments makes sure that the backward pass comes here, whatever x is.
    Ok(x.contiguous()?.apply_op2(first, node)?)
}

/// What backward passes on this thread have found inside blocks since this was last asked.
pub fn take_found() -> Vec<(Tensor, Tensor)> {
    FOUND.take()
}

struct Node<B> {
    block: B,
    variables: Vec<Tensor>,
    /// What the forward pass hands over, once.
    output: Mutex<Option<Tensor>>,
}

impl<B> Node<B> {
    fn handed_over(&self) -> candle_core::Result<Tensor> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.take().ok_or_else(|| candle_core::Error::Msg("a recomputed block is run forward once".into()))
    }
}

impl<B: Block> CustomOp2 for Node<B> {
    fn name(&self) -> &'static str {
        "recomputed"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let output = self.handed_over()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.clone(), layout.shape().clone())),
            _ => candle_core::bail!("a block on the CPU gave a result elsewhere"),
        }
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage as _;
        let output = self.handed_over()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("a block on CUDA gave a result elsewhere"),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let input = Var::from_tensor(&x.detach())?;
        let output = self.block.run(&input).map_err(candle_core::Error::wrap)?;
        let found: GradStore = total(&(output * gradient)?)?.backward()?;
        FOUND.with_borrow_mut(|all| {
            let own = |variable: &Tensor| Some((variable.clone(), found.get(variable)?.clone()));
            all.extend(self.variables.iter().filter_map(own));
        });
        Ok((found.get(&input).cloned().filter(|_| x.track_op()), None))
    }
}

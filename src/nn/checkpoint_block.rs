//! A block of layers as one node of candle's graph.
//!
//! This has two uses. *Gradient checkpointing* (Chen et al. 2016): the activations inside a block are dropped
//! after the forward pass and computed again in the backward pass, so that memory holds only the block's
//! input. *Overlap*: the gradients of a block's parameters are complete as soon as the backward pass is done
//! with the block, so ranks can begin to sum them
//! ([`Gradients::overlap_all_reduce`](super::gradients::Gradients::overlap_all_reduce)).
//!
//! candle has no such node, so it is made of a custom operation. Its forward pass hands over the block's
//! output. Its backward pass runs another backward pass inside the block, which stores the gradients of the
//! block's parameters in [`block_grads`] until [`Gradients::add`](super::gradients::Gradients::add) collects
//! them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Shape, Storage, Tensor, Var};

use super::gradients::block_grads;
use super::tensors::total;
use crate::error::Result;

/// Layers that give the same result each time they run.
pub trait Block: Clone + Send + Sync + 'static {
    /// x → y, of any shapes.
    fn run(&self, x: &Tensor) -> Result<Tensor>;
}

/// What memory holds of a block between its forward and its backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// All activations, and copies of input and output.
    Everything,
    /// The input, from which the activations are computed again.
    Input,
}

/// The trained parameters of a block, and the number of its runs that still wait for their backward pass.
#[derive(Debug, Clone)]
pub struct TrainedParams {
    variables: Vec<Tensor>,
    open: Arc<AtomicUsize>,
}

impl TrainedParams {
    /// These parameters, of a block that has not run yet.
    pub fn new(variables: Vec<Tensor>) -> Self {
        Self { variables, open: Arc::default() }
    }

    /// The parameters.
    pub fn variables(&self) -> &[Tensor] {
        &self.variables
    }

    fn run_begun(&self) -> Run {
        self.open.fetch_add(1, Ordering::Relaxed);
        Run(self.open.clone())
    }
}

/// A run of a block that waits for its backward pass.
struct Run(Arc<AtomicUsize>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The block's output as one node of the graph. A block without trained parameters just runs.
pub fn run<B: Block>(block: &B, trained: &TrainedParams, keep: Keep, x: &Tensor) -> Result<Tensor> {
    let Some(first) = trained.variables.first() else { return block.run(x) };
    let inside = match keep {
        Keep::Everything => Some(Inside::of(block, x)?),
        Keep::Input => None,
    };
    let output = match &inside {
        Some(Inside { output, .. }) => output.detach(),
        None => block.run(&x.detach())?.detach(),
    };
    let node = Node {
        block: block.clone(),
        trained: trained.clone(),
        output: Mutex::new(Some(output.contiguous()?)),
        inside: Mutex::new(inside),
        run: Mutex::new(Some(trained.run_begun())),
    };
    // A variable among the arguments makes the backward pass come here even if x needs no gradient.
    Ok(x.contiguous()?.apply_op2(first, node)?)
}

/// A block's own graph, from its input to its output.
struct Inside {
    input: Var,
    output: Tensor,
}

impl Inside {
    fn of(block: &impl Block, x: &Tensor) -> Result<Self> {
        let input = Var::from_tensor(&x.detach())?;
        Ok(Self { output: block.run(&input)?, input })
    }
}

struct Node<B> {
    block: B,
    trained: TrainedParams,
    /// The output that the forward pass hands over, once.
    output: Mutex<Option<Tensor>>,
    /// The block's graph for one backward pass, if it was kept.
    inside: Mutex<Option<Inside>>,
    run: Mutex<Option<Run>>,
}

/// The value of a cell that is taken once.
fn take<T>(once: &Mutex<Option<T>>) -> Option<T> {
    once.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<B> Node<B> {
    fn handed_over(&self) -> candle_core::Result<Tensor> {
        take(&self.output).ok_or_else(|| candle_core::Error::Msg("a block's node is run forward once".into()))
    }

    /// Stores the gradients of the block's parameters, and says so when no other run of the block can add to
    /// them.
    fn store_gradients(&self, found: &GradStore) -> candle_core::Result<()> {
        drop(take(&self.run));
        block_grads::add(&self.trained.variables, found)?;
        if self.trained.open.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        block_grads::block_done(&self.trained.variables)
    }
}

impl<B: Block> CustomOp2 for Node<B> {
    fn name(&self) -> &'static str {
        "block"
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
        let Inside { input, output } = match take(&self.inside) {
            Some(inside) => inside,
            None => Inside::of(&self.block, x).map_err(candle_core::Error::wrap)?,
        };
        let found = total(&(output * gradient)?)?.backward()?;
        self.store_gradients(&found)?;
        Ok((found.get(&input).cloned().filter(|_| x.track_op()), None))
    }
}

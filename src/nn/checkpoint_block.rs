//! Blocks that are one node each of candle's graph, so that what happens inside them is ours to decide and to see.
//!
//! *Decide*: what lies inside a block may be forgotten after the forward pass and computed again in the backward pass, so that of
//! each block only its input is held (gradient checkpointing, Chen et al. 2016). *See*: the gradients of a block's own
//! parameters are known as soon as the backward pass is through with it, not when the whole pass is over; several ranks begin to add
//! them up there ([`Gradients::sum_early`](super::gradients::Gradients::sum_early)).
//!
//! candle's graph has no such node, so one is made of a custom operation: its forward pass hands over what the block gave,
//! its backward pass runs one of its own inside the block. What that finds of the block's parameters is where the outer pass does
//! not look; it waits on the thread that runs it, and [`Gradients::add`](super::gradients::Gradients::add) collects it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Shape, Storage, Tensor, TensorId, Var};

use super::gradients::{overlap_allreduce, plus};
use super::tensors::total;
use crate::error::Result;

/// Gradients by the parameters they are of.
pub type Found = HashMap<TensorId, Tensor>;

thread_local! {
    /// What backward passes on this thread have found inside blocks, added up over the runs of a block.
    static FOUND: RefCell<Found> = RefCell::default();
}

/// What backward passes on this thread have found inside blocks since this was last asked.
pub fn take_found() -> Found {
    FOUND.take()
}

/// Something that can be run twice to the same result.
pub trait Block: Clone + Send + Sync + 'static {
    /// x → y, of any shapes.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn run(&self, x: &Tensor) -> Result<Tensor>;
}

/// What is held of a block between its forward and its backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// All that the backward pass needs, and copies of what comes in and goes out.
    Everything,
    /// Its input, from which the rest is computed again.
    Input,
}

/// The parameters of a block that are trained, and how many of its runs have no backward pass behind them yet.
#[derive(Debug, Clone)]
pub struct TrainedParams {
    variables: Vec<Tensor>,
    open: Arc<AtomicUsize>,
}

impl TrainedParams {
    /// These parameters, of a block that was not run yet.
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

/// A run of a block that has no backward pass behind it.
struct Run(Arc<AtomicUsize>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The block's output, as one node of the graph; where nothing of the block is trained, it is merely run.
///
/// # Errors
/// When the block fails.
pub fn run<B: Block>(block: &B, trained: &TrainedParams, held: Keep, x: &Tensor) -> Result<Tensor> {
    let Some(first) = trained.variables.first() else { return block.run(x) };
    let inside = match held {
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
    // A variable among the arguments makes sure that the backward pass comes here, whatever x is.
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
    /// What the forward pass hands over, once.
    output: Mutex<Option<Tensor>>,
    /// What was held, for one backward pass.
    inside: Mutex<Option<Inside>>,
    run: Mutex<Option<Run>>,
}

fn take<T>(once: &Mutex<Option<T>>) -> Option<T> {
    once.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<B> Node<B> {
    fn handed_over(&self) -> candle_core::Result<Tensor> {
        take(&self.output).ok_or_else(|| candle_core::Error::Msg("a block's node is run forward once".into()))
    }

    /// Keeps what a backward pass found of the block's parameters; tells those who wait for it when no other run can add to it.
    fn keep(&self, found: &GradStore) -> candle_core::Result<()> {
        drop(take(&self.run));
        FOUND.with_borrow_mut(|all| {
            for variable in &self.trained.variables {
                let Some(own) = found.get(variable) else { continue };
                let sum = plus(all.get(&variable.id()), own, 1.0)?;
                all.insert(variable.id(), sum);
            }
            if self.trained.open.load(Ordering::Relaxed) == 0 {
                overlap_allreduce::send(&self.trained.variables, all)?;
            }
            Ok(())
        })
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
        self.keep(&found)?;
        Ok((found.get(&input).cloned().filter(|_| x.track_op()), None))
    }
}

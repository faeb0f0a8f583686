//! Gradients that backward passes find inside checkpointed blocks ([`crate::nn::checkpoint_block`]).
//!
//! candle's backward pass does not see the pass that a block runs inside itself, so the gradients of the
//! block's own parameters are missing in the `GradStore` that it returns. They wait here until
//! [`Gradients::add`](super::Gradients::add) takes them. A listener can take them earlier, as soon as a block
//! is done.
//!
//! Both live in thread-locals: a backward pass runs on one thread from beginning to end, and candle offers no
//! other way to hand a value from a custom operation to the caller of the pass.

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

use super::accumulate::add_weighted;

/// Gradients by parameter.
pub type GradientMap = HashMap<TensorId, Tensor>;

/// Is called with the parameters of a block that is done, and may take gradients out of the map.
pub type Listener = Box<dyn FnMut(&[Tensor], &mut GradientMap) -> Result<()>>;

thread_local! {
    /// Gradients found inside blocks that were not taken yet, summed over the runs of a block.
    static BLOCK_GRADS: RefCell<GradientMap> = RefCell::default();
    /// Who takes them during the backward pass, if anybody does.
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Adds the gradients of a block's parameters that the pass inside it found.
pub fn add(parameters: &[Tensor], found: &GradStore) -> Result<()> {
    BLOCK_GRADS.with_borrow_mut(|all| {
        for parameter in parameters {
            let Some(gradient) = found.get(parameter) else { continue };
            let sum = add_weighted(all.get(&parameter.id()), gradient, 1.0)?;
            all.insert(parameter.id(), sum);
        }
        Ok(())
    })
}

/// Tells the listener that no other run of the block with these parameters will add to their gradients.
pub fn block_done(parameters: &[Tensor]) -> Result<()> {
    LISTENER.with_borrow_mut(|listener| match listener {
        Some(listener) => BLOCK_GRADS.with_borrow_mut(|all| listener(parameters, all)),
        None => Ok(()),
    })
}

/// Takes all gradients that were found since the last call and that no listener has taken.
pub fn take() -> GradientMap {
    BLOCK_GRADS.take()
}

/// Calls `listener` for each block that backward passes on this thread are done with, until the returned
/// value is dropped. There is one listener at a time; a second one replaces the first.
pub fn listen(listener: Listener) -> Listening {
    LISTENER.set(Some(listener));
    Listening(PhantomData)
}

/// Keeps the listener of this thread; not `Send`, as the listener stays on its thread.
pub struct Listening(PhantomData<*const ()>);

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.take();
    }
}

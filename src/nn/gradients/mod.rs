//! The gradients of a set of parameters, summed over the backward passes of a step and over ranks.

pub mod accumulate;
pub mod block_grads;
mod overlap_allreduce;
mod packed;

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId};

use self::accumulate::add_weighted;
pub use self::overlap_allreduce::BucketSums;
use self::overlap_allreduce::OverlappedAllReduce;
use self::packed::{Pair, packed, unpacked};
use super::params::Params;
use super::tensors::total;
use crate::error::Result;

/// One gradient per parameter that a backward pass has reached.
pub struct Gradients {
    slots: Vec<Slot>,
    /// Sums over ranks that run during the last backward pass.
    overlapped: Option<OverlappedAllReduce>,
}

struct Slot {
    name: String,
    parameter: Tensor,
    sum: Option<Tensor>,
}

impl Gradients {
    /// No gradients yet, of these parameters in their order.
    pub fn of(params: &Params) -> Self {
        let slot = |(name, parameter): (&str, &Tensor)| Slot {
            name: name.to_owned(),
            parameter: parameter.clone(),
            sum: None,
        };
        Self { slots: params.iter().map(slot).collect(), overlapped: None }
    }

    /// Adds `weight` times the gradients of the last backward pass on this thread, those found inside
    /// checkpointed blocks included.
    pub fn add(&mut self, found: &GradStore, weight: f64) -> Result<()> {
        let inside = block_grads::take();
        for slot in &mut self.slots {
            let found = [found.get(&slot.parameter), inside.get(&slot.parameter.id())];
            for gradient in found.into_iter().flatten() {
                slot.sum = Some(add_weighted(slot.sum.as_ref(), gradient, weight)?);
            }
        }
        Ok(())
    }

    /// Sums the gradients of these `blocks` over all ranks while the next backward pass on this thread runs,
    /// whose gradients count `weight`. [`Self::add`] and [`Self::all_reduce`] must follow. The parameters of
    /// a block must not be used outside it.
    ///
    /// `start` begins the sums, given the number of buckets. It is called only if there are blocks and they
    /// lie on CPUs; `None` leaves everything to [`Self::all_reduce`].
    pub fn overlap_all_reduce(
        &mut self,
        blocks: &[Vec<Tensor>],
        weight: f64,
        start: impl FnOnce(usize) -> Option<Box<dyn BucketSums>>,
    ) {
        let on_cpus = self.slots.first().is_some_and(|slot| slot.parameter.device().is_cpu());
        if blocks.is_empty() || !on_cpus {
            return;
        }
        let Some(sums) = start(blocks.len()) else { return };
        let so_far: HashMap<TensorId, &Slot> =
            self.slots.iter().map(|slot| (slot.parameter.id(), slot)).collect();
        let pair = |parameter: &Tensor| (parameter.clone(), so_far[&parameter.id()].sum.clone());
        let buckets = blocks.iter().map(|block| block.iter().map(pair).collect()).collect();
        self.overlapped = Some(OverlappedAllReduce::start(buckets, weight, sums));
    }

    /// Sums all gradients over all ranks, which have the same parameters. `all_reduce` sums one tensor.
    pub fn all_reduce(&mut self, all_reduce: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<()> {
        let mut summed = self.finish_overlapped()?;
        let mut left = Vec::new();
        for slot in &mut self.slots {
            match summed.remove(&slot.parameter.id()) {
                Some(sum) => slot.sum = sum,
                None => left.push(slot),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let pairs: Vec<Pair> = left.iter().map(|slot| (slot.parameter.clone(), slot.sum.clone())).collect();
        let sums = unpacked(&pairs, &all_reduce(packed(&pairs)?)?)?;
        left.iter_mut().zip(sums).for_each(|(slot, sum)| slot.sum = sum);
        Ok(())
    }

    /// The sums of the blocks' parameters, if they were begun.
    fn finish_overlapped(&mut self) -> Result<HashMap<TensorId, Option<Tensor>>> {
        let Some(overlapped) = self.overlapped.take() else { return Ok(HashMap::new()) };
        let found = |id| self.slots.iter().find(|slot| slot.parameter.id() == id)?.sum.clone();
        Ok(overlapped.finish(found)?)
    }

    /// Names and gradients in the parameters' order; `None` for parameters that no pass reached.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Tensor>)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), slot.sum.as_ref()))
    }

    /// ‖g‖² of every parameter that has a gradient, by name.
    pub fn squares(&self) -> Result<Vec<(&str, f64)>> {
        let with = || self.iter().filter_map(|(name, gradient)| Some((name, gradient?)));
        let sums: Vec<Tensor> = with().map(|(_, g)| total(&g.sqr()?)).collect::<candle_core::Result<_>>()?;
        if sums.is_empty() {
            return Ok(Vec::new());
        }
        // Stacked, so that the program waits for the device once.
        let sums = Tensor::stack(&sums, 0)?.to_vec1::<f32>()?;
        Ok(with().map(|(name, _)| name).zip(sums.into_iter().map(f64::from)).collect())
    }
}

/// ‖g‖ over several parameters together, from their [`Gradients::squares`].
pub fn norm<'a>(squares: impl IntoIterator<Item = &'a (&'a str, f64)>) -> f64 {
    squares.into_iter().map(|(_, square)| square).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::nn::params::{Builder, Init};

    fn params() -> (Params, Tensor) {
        let builder = Builder::fresh(0, &Device::Cpu);
        let x = builder.root().param("x", 2, Init::Constant(3.0)).unwrap();
        builder.root().param("y", 2, Init::Constant(1.0)).unwrap();
        (builder.finish(Path::new("p")).unwrap(), x)
    }

    #[test]
    fn passes_add_up_and_unreached_parameters_have_no_gradient() {
        let (params, x) = params();
        let mut gradients = Gradients::of(&params);
        for _ in 0..2 {
            gradients.add(&x.sqr().unwrap().sum_all().unwrap().backward().unwrap(), 0.5).unwrap();
        }
        let squares = gradients.squares().unwrap();
        assert_eq!(squares, [("x", 72.0)]);
        assert_eq!(norm(&squares), 72f64.sqrt());
        assert!(gradients.iter().any(|(name, gradient)| name == "y" && gradient.is_none()));
    }

    #[test]
    fn sums_over_ranks_keep_missing_gradients_missing() {
        let (params, x) = params();
        let mut gradients = Gradients::of(&params);
        gradients.add(&x.sqr().unwrap().sum_all().unwrap().backward().unwrap(), 1.0).unwrap();
        gradients.all_reduce(|own| Ok((own * 2.0)?)).unwrap();
        assert_eq!(gradients.squares().unwrap(), [("x", 288.0)]);
    }
}

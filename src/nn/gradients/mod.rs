//! The gradients of a set of parameters, summed over backward passes.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId};

use self::overlap_allreduce::Early;
use self::packed::{Pair, packed, unpacked};
use super::checkpoint_block;
use super::params::Params;
use super::tensors::total;
use crate::distributed::Comm;
use crate::error::Result;

pub(super) mod overlap_allreduce;
mod packed;

/// One gradient a parameter, where any backward pass reached it.
pub struct Gradients(Vec<Slot>);

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
        Self(params.iter().map(slot).collect())
    }

    /// Adds what a backward pass on this thread has just found, times `weight`: inside blocks that are nodes too.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn add(&mut self, found: &GradStore, weight: f64) -> Result<()> {
        let inside = checkpoint_block::take_found();
        for slot in &mut self.0 {
            for own in [found.get(&slot.parameter), inside.get(&slot.parameter.id())].into_iter().flatten() {
                slot.sum = Some(plus(slot.sum.as_ref(), own, weight)?);
            }
        }
        Ok(())
    }

    /// Has those of these `blocks` added up over all ranks while the next backward pass on this thread runs, whose gradients
    /// count `weight`; on CPUs of several machines. [`Self::add`] must follow it, and [`Self::sum_over`]. What a block trains is
    /// used nowhere else.
    pub fn sum_early(&self, blocks: &[Vec<Tensor>], weight: f64, comm: &Comm) {
        let on_cpus = self.0.first().is_some_and(|slot| slot.parameter.device().is_cpu());
        if blocks.is_empty() || !on_cpus {
            return;
        }
        let Some(sums) = comm.overlapped_sums(blocks.len()) else { return };
        let so_far: HashMap<TensorId, &Slot> =
            self.0.iter().map(|slot| (slot.parameter.id(), slot)).collect();
        let pair = |parameter: &Tensor| (parameter.clone(), so_far[&parameter.id()].sum.clone());
        let buckets = blocks.iter().map(|block| block.iter().map(pair).collect()).collect();
        Early::new(buckets, sums, weight).begin();
    }

    /// Adds them up over all ranks, which have gradients of the same parameters.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn sum_over(&mut self, comm: &Comm) -> Result<()> {
        if comm.size() == 1 || self.0.is_empty() {
            return Ok(());
        }
        let found = |id| self.0.iter().find(|slot| slot.parameter.id() == id)?.sum.clone();
        let mut early = Early::take().map_or_else(|| Ok(HashMap::new()), |early| early.finish(found))?;
        let mut left = Vec::new();
        for slot in &mut self.0 {
            match early.remove(&slot.parameter.id()) {
                Some(sum) => slot.sum = sum,
                None => left.push(slot),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let pairs: Vec<Pair> = left.iter().map(|slot| (slot.parameter.clone(), slot.sum.clone())).collect();
        let sums = unpacked(&pairs, &comm.all_reduce_tensor(packed(&pairs)?)?)?;
        left.iter_mut().zip(sums).for_each(|(slot, sum)| slot.sum = sum);
        Ok(())
    }

    /// Names, gradients: in the parameters' order, none where nothing reached the parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Tensor>)> {
        self.0.iter().map(|slot| (slot.name.as_str(), slot.sum.as_ref()))
    }

    /// ‖g‖² of every parameter that has a gradient, by name.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn squares(&self) -> Result<Vec<(&str, f64)>> {
        let with = || self.iter().filter_map(|(name, gradient)| Some((name, gradient?)));
        let sums: Vec<Tensor> = with().map(|(_, g)| total(&g.sqr()?)).collect::<candle_core::Result<_>>()?;
        if sums.is_empty() {
            return Ok(Vec::new());
        }
        // All at once: a device is waited for once.
        let sums = Tensor::stack(&sums, 0)?.to_vec1::<f32>()?;
        Ok(with().map(|(name, _)| name).zip(sums.into_iter().map(f64::from)).collect())
    }
}

/// sum + weight·own.
pub(super) fn plus(sum: Option<&Tensor>, own: &Tensor, weight: f64) -> candle_core::Result<Tensor> {
    let own = if weight == 1.0 { own.clone() } else { (own * weight)? };
    sum.map_or(Ok(own.clone()), |sum| sum + own)
}

/// ‖g‖ over several parameters together, of their [`Gradients::squares`].
pub fn norm<'a>(squares: impl IntoIterator<Item = &'a (&'a str, f64)>) -> f64 {
    squares.into_iter().map(|(_, square)| square).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::nn::params::{Builder, Init};

    #[test]
    fn passes_add_up_and_what_none_reached_has_no_gradient() {
        let builder = Builder::fresh(0, &Device::Cpu);
        let x = builder.root().param("x", 2, Init::Constant(3.0)).unwrap();
        builder.root().param("y", 2, Init::Constant(1.0)).unwrap();
        let mut gradients = Gradients::of(&builder.finish(Path::new("p")).unwrap());
        for _ in 0..2 {
            gradients.add(&x.sqr().unwrap().sum_all().unwrap().backward().unwrap(), 0.5).unwrap();
        }
        let squares = gradients.squares().unwrap();
        assert_eq!(squares, [("x", 72.0)]);
        assert_eq!(norm(&squares), 72f64.sqrt());
        assert!(gradients.iter().any(|(name, gradient)| name == "y" && gradient.is_none()));
    }
}

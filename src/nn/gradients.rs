//! The gradients of a set of parameters, summed over backward passes.

use std::collections::HashMap;

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::params::Params;
use super::recompute;
use super::tensors::total;
use crate::error::Result;
use crate::ranks::Ranks;

/// One gradient a parameter, where any backward pass reached it.
pub struct Gradients(Vec<Slot>);

struct Slot {
    name: String,
    parameter: Tensor,
    sum: Option<Tensor>,
}

impl Slot {
    fn add(&mut self, own: &Tensor, weight: f64) -> Result<()> {
        let own = if weight == 1.0 { own.clone() } else { (own * weight)? };
        self.sum = Some(match &self.sum {
            Some(sum) => (sum + own)?,
            None => own,
        });
        Ok(())
    }
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

    /// Adds what a backward pass on this thread has just found, times `weight`: inside recomputed blocks too.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn add(&mut self, found: &GradStore, weight: f64) -> Result<()> {
        for slot in &mut self.0 {
            if let Some(own) = found.get(&slot.parameter) {
                slot.add(own, weight)?;
            }
        }
        // A block may have been run more than once: its gradients are summed before they are weighed, as outside.
        let mut inside: HashMap<_, Tensor> = HashMap::new();
        for (parameter, own) in recompute::take_found() {
            let sum = match inside.remove(&parameter.id()) {
                Some(sum) => (sum + own)?,
                None => own,
            };
            inside.insert(parameter.id(), sum);
        }
        for slot in self.0.iter_mut().filter(|_| !inside.is_empty()) {
            if let Some(own) = inside.get(&slot.parameter.id()) {
                slot.add(own, weight)?;
            }
        }
        Ok(())
    }

    /// Adds them up over all ranks, which have gradients of the same parameters.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn sum_over(&mut self, ranks: &Ranks) -> Result<()> {
        if ranks.size() == 1 || self.0.is_empty() {
            return Ok(());
        }
        // Behind the gradients, who has any: what no rank reached keeps having none, and a rank whose queries did not reach
        // what another's did has zeros to add.
        let has = self.0.iter().map(|slot| f32::from(u8::from(slot.sum.is_some()))).collect::<Vec<_>>();
        let count = has.len();
        let flat = |slot: &Slot| match &slot.sum {
            Some(sum) => sum.flatten_all(),
            None => slot.parameter.zeros_like()?.flatten_all(),
        };
        let mut all = self.0.iter().map(flat).collect::<candle_core::Result<Vec<_>>>()?;
        all.push(Tensor::from_vec(has, count, self.0[0].parameter.device())?);
        let sums = ranks.total(Tensor::cat(&all, 0)?)?;
        let mut at = sums.elem_count() - count;
        let reached = sums.narrow(0, at, count)?.to_vec1::<f32>()?;
        for (slot, &reached) in self.0.iter_mut().zip(&reached).rev() {
            at -= slot.parameter.elem_count();
            let sum = sums.narrow(0, at, slot.parameter.elem_count())?.reshape(slot.parameter.shape());
            slot.sum = (reached > 0.0).then_some(sum).transpose()?;
        }
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

//! AdamW (Loshchilov and Hutter 2019) with parameter groups, and a state that can be saved.
//!
//! m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,
//! θ ← θ·(1 − lr·decay) − lr·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε)

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::params::Params;
use crate::error::{Error, Result};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98; // as CLIP; 0.999 remembers too long for short runs
const EPS: f64 = 1e-8;

/// What a parameter's group decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Learning rate of this step.
    pub lr: f64,
    /// Weight decay, decoupled from the gradient.
    pub decay: f64,
}

struct Slot {
    name: String,
    var: Var,
    m: Var,
    v: Var,
}

/// The optimiser of a set of parameters.
pub struct AdamW {
    slots: Vec<Slot>,
    step: usize,
}

impl AdamW {
    /// An optimiser at step zero.
    ///
    /// # Errors
    /// When a parameter is not a variable.
    pub fn new(params: &Params) -> Result<Self> {
        let slot = |(name, tensor): (&str, &Tensor)| -> Result<Slot> {
            if !tensor.is_variable() {
                return Err(Error::input(format!("parameter {name} is frozen and cannot be optimised")));
            }
            let zeros = || Var::from_tensor(&tensor.zeros_like()?);
            Ok(Slot { name: name.to_owned(), var: Var::from_tensor(tensor)?, m: zeros()?, v: zeros()? })
        };
        Ok(Self { slots: params.iter().map(slot).collect::<Result<_>>()?, step: 0 })
    }

    /// Steps taken so far.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Scales all gradients so that their global norm is at most `limit`, then takes a step in which `group`
    /// decides by name. Returns the norm before scaling.
    ///
    /// # Errors
    /// When the norm is not finite: nothing was changed then.
    pub fn step(&mut self, grads: &GradStore, limit: f64, group: impl Fn(&str) -> Group) -> Result<f64> {
        let norm = self.global_norm(grads)?;
        if !norm.is_finite() {
            return Err(Error::input(format!(
                "the gradient at step {} is not finite ({norm}): lower the learning rate or lengthen the warm-up",
                self.step
            )));
        }
        self.step += 1;
        let scale = if norm > limit { limit / norm } else { 1.0 };
        for slot in &self.slots {
            if let Some(grad) = grads.get(slot.var.as_tensor()) {
                slot.update(&(grad * scale)?, self.step, group(&slot.name))?;
            }
        }
        Ok(norm)
    }

    /// ‖g‖ over all parameters together.
    fn global_norm(&self, grads: &GradStore) -> Result<f64> {
        let mut squares = 0.0;
        for slot in &self.slots {
            if let Some(grad) = grads.get(slot.var.as_tensor()) {
                squares += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        Ok(squares.sqrt())
    }

    /// Both moments of every parameter, named `m.NAME` and `v.NAME`.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let pairs = self
            .slots
            .iter()
            .flat_map(|slot| [(format!("m.{}", slot.name), &slot.m), (format!("v.{}", slot.name), &slot.v)]);
        pairs.map(|(name, var)| (name, var.as_tensor().clone())).collect()
    }

    /// Restores [`AdamW::state`] as it was after `step` steps.
    ///
    /// # Errors
    /// When a moment is missing, extra or of another shape; `origin` names the file.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>, step: usize, origin: &Path) -> Result<()> {
        for slot in &self.slots {
            for (kind, var) in [("m", &slot.m), ("v", &slot.v)] {
                let name = format!("{kind}.{}", slot.name);
                let value = state.remove(&name).filter(|value| value.shape() == var.shape());
                let value =
                    value.ok_or_else(|| Error::file(origin, format!("{name} is missing or misshapen")))?;
                var.set(&value)?;
            }
        }
        if let Some(name) = state.keys().next() {
            return Err(Error::file(origin, format!("{name} belongs to no parameter of this model")));
        }
        self.step = step;
        Ok(())
    }
}

impl Slot {
    fn update(&self, grad: &Tensor, step: usize, group: Group) -> Result<()> {
        self.m.set(&((self.m.as_tensor() * BETA1)? + (grad * (1.0 - BETA1))?)?)?;
        self.v.set(&((self.v.as_tensor() * BETA2)? + (grad.sqr()? * (1.0 - BETA2))?)?)?;
        let correct = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        let m = (self.m.as_tensor() * (group.lr / correct(BETA1)))?;
        let v = ((self.v.as_tensor() / correct(BETA2))?.sqrt()? + EPS)?;
        let kept = (self.var.as_tensor() * (1.0 - group.lr * group.decay))?;
        Ok(self.var.set(&(kept - (m / v)?)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::{Builder, Init};
    use candle_core::Device;

    fn one_parameter() -> (Params, Tensor) {
        let builder = Builder::fresh(0, &Device::Cpu);
        let x = builder.root().param("x", 1, Init::Constant(1.0)).unwrap();
        (builder.finish(Path::new("x")).unwrap(), x)
    }

    fn value(x: &Tensor) -> f32 {
        x.to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn the_first_step_is_the_learning_rate_and_decay_is_decoupled() {
        let (params, x) = one_parameter();
        let mut adamw = AdamW::new(&params).unwrap();
        let grads = (&x * 3.0).unwrap().sum_all().unwrap().backward().unwrap();
        let norm = adamw.step(&grads, 10.0, |_| Group { lr: 0.1, decay: 0.5 }).unwrap();
        assert_eq!(norm, 3.0);
        // 1·(1 − 0.1·0.5) − 0.1·3/√9
        assert!((value(&x) - 0.85).abs() < 1e-6, "{}", value(&x));
    }

    #[test]
    fn restoring_the_state_continues_exactly() {
        let run = |restart: bool| {
            let (params, x) = one_parameter();
            let mut adamw = AdamW::new(&params).unwrap();
            for step in 0..6 {
                let grads = x.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                adamw.step(&grads, 1.0, |_| Group { lr: 0.1, decay: 0.0 }).unwrap();
                if restart && step == 2 {
                    let state = adamw.state().into_iter().map(|(k, t)| (k, t.copy().unwrap())).collect();
                    adamw = AdamW::new(&params).unwrap();
                    adamw.restore(state, 3, Path::new("x")).unwrap();
                }
            }
            value(&x).to_bits()
        };
        assert_eq!(run(false), run(true));
    }
}

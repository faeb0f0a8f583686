//! AdamW (Loshchilov and Hutter 2019) with parameter groups, and a state that can be saved.
//!
//! m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,
//! θ ← θ·(1 − lr·decay) − lr·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε)

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::fused;
use super::fused::adamw::{Moment, Move};
use super::gradients::{Gradients, norm};
use super::params::Params;
use super::tensors::snapshot;
use crate::error::{Error, Result};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98; // as CLIP; 0.999 averages over too many steps for short runs
const EPS: f64 = 1e-8;

/// The settings of a group of parameters.
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
    params: Params,
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
        let slots = params.iter().map(slot).collect::<Result<_>>()?;
        Ok(Self { params: params.clone(), slots, step: 0 })
    }

    /// Number of steps taken; skipped steps do not count.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Scales the gradients of one backward pass so that their global norm is at most `limit`, then takes a
    /// step. `group` gives the settings of each parameter by its name. Returns the norm before scaling.
    ///
    /// # Errors
    /// When the norm is not finite; then nothing has changed.
    pub fn step(&mut self, found: &GradStore, limit: f64, group: impl Fn(&str) -> Group) -> Result<f64> {
        let mut gradients = Gradients::of(&self.params);
        gradients.add(found, 1.0)?;
        let norm = norm(&gradients.squares()?);
        if !norm.is_finite() {
            return Err(Error::input(format!(
                "the gradient at step {} is not finite ({norm}): lower the learning rate or lengthen the warm-up",
                self.step
            )));
        }
        self.update(&gradients, clipping(norm, limit), group)?;
        Ok(norm)
    }

    /// Takes a step along these gradients times `scale`; `group` gives the settings of each parameter by its
    /// name.
    pub fn update(&mut self, gradients: &Gradients, scale: f64, group: impl Fn(&str) -> Group) -> Result<()> {
        self.step += 1;
        for (slot, (name, gradient)) in self.slots.iter().zip(gradients.iter()) {
            if let Some(gradient) = gradient {
                slot.update(gradient, scale, self.step, group(name))?;
            }
        }
        Ok(())
    }

    /// A copy of both moments of every parameter in this machine's memory, named `m.NAME` and `v.NAME`.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let pairs = self
            .slots
            .iter()
            .flat_map(|slot| [(format!("m.{}", slot.name), &slot.m), (format!("v.{}", slot.name), &slot.v)]);
        pairs.map(|(name, var)| Ok((name, snapshot(var)?))).collect()
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
                var.set(&value.to_device(var.device())?)?;
            }
        }
        if let Some(name) = state.keys().next() {
            return Err(Error::file(origin, format!("{name} belongs to no parameter of this model")));
        }
        self.step = step;
        Ok(())
    }
}

/// The factor that brings gradients of this norm to a norm of at most `limit`.
pub fn clipping(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / norm } else { 1.0 }
}

impl Slot {
    fn update(&self, grad: &Tensor, scale: f64, step: usize, group: Group) -> Result<()> {
        let correct = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        let (rate, spread) = (group.lr / correct(BETA1), 1.0 / correct(BETA2));
        let keep = 1.0 - group.lr * group.decay;
        let (x, m, v) = (self.var.as_tensor(), self.m.as_tensor(), self.v.as_tensor());
        if fused::serves(x) {
            let grad = grad.contiguous()?;
            m.inplace_op2(&grad, &Moment { keep: BETA1, scale, squared: false })?;
            v.inplace_op2(&grad, &Moment { keep: BETA2, scale, squared: true })?;
            return Ok(x.inplace_op3(m, v, &Move { keep, rate, spread, eps: EPS })?);
        }
        let grad = (grad * scale)?;
        self.m.set(&((m * BETA1)? + (&grad * (1.0 - BETA1))?)?)?;
        self.v.set(&((v * BETA2)? + (grad.sqr()? * (1.0 - BETA2))?)?)?;
        let spread = ((v * spread)?.sqrt()? + EPS)?;
        Ok(self.var.set(&((x * keep)? - ((m * rate)? / spread)?)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::{Builder, Init};
    use candle_core::{DType, Device};

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

    /// The fused kernels agree with tensor operations in f64, to the precision of f32.
    #[test]
    fn in_place_updates_agree_with_composed_ones() {
        let after = |builder: Builder| {
            let x = builder.root().param("x", (40, 3), Init::Normal(1.0)).unwrap();
            let params = builder.finish(Path::new("x")).unwrap();
            let mut adamw = AdamW::new(&params).unwrap();
            for _ in 0..5 {
                let mut gradients = Gradients::of(&params);
                gradients.add(&x.powf(4.0).unwrap().sum_all().unwrap().backward().unwrap(), 0.5).unwrap();
                adamw.update(&gradients, 0.3, |_| Group { lr: 0.05, decay: 0.1 }).unwrap();
            }
            let x = x.to_dtype(candle_core::DType::F64).unwrap();
            x.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let (fused, composed) =
            (after(Builder::fresh(1, &Device::Cpu)), after(Builder::fresh(1, &Device::Cpu).of(DType::F64)));
        for (a, b) in fused.iter().zip(&composed) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
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
                    let state = adamw.state().unwrap();
                    adamw = AdamW::new(&params).unwrap();
                    adamw.restore(state, 3, Path::new("x")).unwrap();
                }
            }
            value(&x).to_bits()
        };
        assert_eq!(run(false), run(true));
    }
}

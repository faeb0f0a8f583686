//! The exponential moving average of weights (Polyak and Juditsky 1992), often a better model than that of
//! any single step.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};

use super::params::Params;
use crate::error::Result;

/// θ̄ ← d·θ̄ + (1 − d)·θ after every step, with d = min(decay, (1 + t)/(10 + t)), which soon forgets the
/// start.
pub struct Ema {
    decay: f64,
    params: Params,
    mean: Vec<(String, Tensor)>,
}

impl Ema {
    /// An average that starts at the current parameters.
    pub fn new(params: &Params, decay: f64) -> Result<Self> {
        let copy = |(name, x): (&str, &Tensor)| Ok((name.to_owned(), x.copy()?.detach()));
        Ok(Self { decay, params: params.clone(), mean: params.iter().map(copy).collect::<Result<_>>()? })
    }

    /// Adds the current parameters, after `steps` steps, to the average.
    pub fn update(&mut self, steps: usize) -> Result<()> {
        let decay = self.decay.min((1.0 + steps as f64) / (10.0 + steps as f64));
        for ((_, mean), (_, x)) in self.mean.iter_mut().zip(self.params.iter()) {
            *mean = ((&*mean * decay)? + (x.detach() * (1.0 - decay))?)?;
        }
        Ok(())
    }

    /// Exchanges the parameters and their average.
    pub fn swap(&mut self) -> Result<()> {
        for ((_, mean), (_, x)) in self.mean.iter_mut().zip(self.params.iter()) {
            let own = x.copy()?.detach();
            Var::from_tensor(x)?.set(mean)?;
            *mean = own;
        }
        Ok(())
    }

    /// The average, in this machine's memory, by the parameters' names.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.mean.iter().map(|(name, mean)| Ok((name.clone(), mean.to_device(&Device::Cpu)?))).collect()
    }

    /// Restores [`Ema::state`].
    ///
    /// # Errors
    /// When a tensor is missing, extra or of another shape; `origin` names the file.
    pub fn restore(&mut self, state: BTreeMap<String, Tensor>, origin: &Path) -> Result<()> {
        // Assigning to the parameters checks names and shapes; the second swap restores the parameters.
        self.swap()?;
        let assigned = self.params.assign(state, origin);
        self.swap()?;
        assigned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::{Builder, Init};

    #[test]
    fn the_average_follows_the_weights_and_can_replace_them() {
        let builder = Builder::fresh(0, &Device::Cpu);
        let x = builder.root().param("x", 1, Init::Constant(0.0)).unwrap();
        let params = builder.finish(Path::new("p")).unwrap();
        let mut ema = Ema::new(&params, 0.5).unwrap();
        let value = |x: &Tensor| x.to_vec1::<f32>().unwrap()[0];
        Var::from_tensor(&x).unwrap().set(&Tensor::new(&[8f32], &Device::Cpu).unwrap()).unwrap();
        ema.update(100).unwrap();
        ema.update(101).unwrap();
        ema.swap().unwrap();
        assert_eq!(value(&x), 6.0);
        ema.swap().unwrap();
        assert_eq!((value(&x), value(&ema.state().unwrap()["x"])), (8.0, 6.0));
        let mut other = Ema::new(&params, 0.5).unwrap();
        other.restore(ema.state().unwrap(), Path::new("p")).unwrap();
        assert_eq!((value(&x), value(&other.state().unwrap()["x"])), (8.0, 6.0));
    }
}

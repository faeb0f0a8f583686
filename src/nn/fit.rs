//! A small training loop for models that train in seconds, before the joint training: AdamW, gradients
//! clipped at norm 1, linear warm-up and a cosine decay of the learning rate.

use candle_core::{DType, Tensor};

use super::adamw::{AdamW, Group};
use super::params::Params;
use crate::error::Result;
use crate::nn::lr_schedule::LrSchedule;

/// Lines of debug log that one training writes.
const LOG_LINES: usize = 10;

/// How [`fit`] trains.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What is trained; for the log.
    pub name: &'static str,
    /// Number of steps; the first steps/20 + 1 are the warm-up.
    pub steps: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Weight decay.
    pub decay: f64,
}

impl Plan {
    /// The learning rate of a step, counted from zero.
    fn lr(&self, step: usize) -> f64 {
        self.lr * LrSchedule::Cosine.factor(step, self.steps, self.steps / 20 + 1)
    }

    fn logs(&self, step: usize) -> bool {
        step.is_multiple_of(self.steps.div_ceil(LOG_LINES)) && tracing::enabled!(tracing::Level::DEBUG)
    }
}

/// Trains `params` by the loss of each step, a scalar. Where `loss` gives none, the parameters stay as they
/// are. `after_step` is called after every step, for a progress bar.
///
/// # Errors
/// When the loss reports one, or a gradient is not finite.
pub fn fit(
    params: &Params,
    plan: Plan,
    after_step: &dyn Fn(),
    mut loss: impl FnMut(usize) -> Result<Option<Tensor>>,
) -> Result<()> {
    let mut adamw = AdamW::new(params)?;
    for step in 0..plan.steps {
        if let Some(loss) = loss(step)? {
            let group = Group { lr: plan.lr(step), decay: plan.decay };
            adamw.step(&loss.backward()?, 1.0, |_| group)?;
            if plan.logs(step) {
                let loss = loss.to_dtype(DType::F32)?.to_scalar::<f32>()?;
                tracing::debug!("{}: step {step} of {}, loss {loss:.4}", plan.name, plan.steps);
            }
        }
        after_step();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::nn::params::{Builder, Init};

    #[test]
    fn a_number_is_fitted_and_steps_without_a_loss_change_nothing() {
        let fitted = |skip: bool| {
            let builder = Builder::fresh(0, &Device::Cpu);
            let x = builder.root().param("x", 1, Init::Constant(0.0)).unwrap();
            let params = builder.finish(Path::new("p")).unwrap();
            let plan = Plan { name: "x", steps: 200, lr: 0.1, decay: 0.0 };
            let steps = Cell::new(0);
            fit(&params, plan, &|| steps.set(steps.get() + 1), |_| {
                Ok((!skip).then(|| (&x - 3.0)?.sqr()?.sum_all()).transpose()?)
            })
            .unwrap();
            assert_eq!(steps.get(), 200);
            x.to_vec1::<f32>().unwrap()[0]
        };
        assert!((fitted(false) - 3.0).abs() < 0.01);
        assert_eq!(fitted(true), 0.0);
    }
}

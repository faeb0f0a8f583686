//! The metrics of one step: named numbers for the log and the screen, the loss first.
//!
//! Errors: tensor operations fail only when the device does.

use super::step_loss::StepLoss;
use crate::distributed::Comm;
use crate::error::Result;

/// Names and values, in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct StepMetrics(Vec<(String, f64)>);

impl StepMetrics {
    /// Adds the values of a loss, times `weight`.
    pub fn add(&mut self, loss: &StepLoss, weight: f64) -> Result<()> {
        for (name, value, share) in loss.values() {
            let value = weight * share * f64::from(value.to_scalar::<f32>()?);
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => self.push(name, value),
            }
        }
        Ok(())
    }

    /// Sums every metric over all ranks, which have the same ones.
    pub fn sum_over(&mut self, comm: &Comm) {
        if comm.size() > 1 {
            let mut values: Vec<f32> = self.0.iter().map(|(_, value)| *value as f32).collect();
            comm.all_reduce(&mut values);
            self.0.iter_mut().zip(values).for_each(|((_, value), sum)| *value = f64::from(sum));
        }
    }

    /// Appends a metric.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// Appends the gradient's norm over each part of the model, from ‖g‖² of every parameter.
    pub fn push_norms_by_part(&mut self, squares: &[(&str, f64)], part: impl Fn(&str) -> &'static str) {
        let mut parts: Vec<(&str, f64)> = Vec::new();
        for (parameter, square) in squares {
            let part = part(parameter);
            match parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, sum)) => *sum += square,
                None => parts.push((part, *square)),
            }
        }
        parts.into_iter().for_each(|(part, sum)| self.push(format!("grad_norm_{part}"), sum.sqrt()));
    }

    /// The loss; NaN before any was added.
    pub fn loss(&self) -> f64 {
        self.0.first().map_or(f64::NAN, |(_, loss)| *loss)
    }

    /// Names and values, in the order of the log.
    pub fn as_slice(&self) -> &[(String, f64)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn the_values_of_micro_batches_are_averaged_by_name_with_the_loss_first() {
        let mut metrics = StepMetrics::default();
        for value in [1.0f32, 3.0] {
            let scalar = |value: f32| Tensor::new(value, &Device::Cpu).unwrap();
            let mut loss = StepLoss::mean(scalar(value), 1);
            loss.log("perplexity", scalar(2.0 * value));
            metrics.add(&loss, 0.5).unwrap();
        }
        assert_eq!(metrics.loss(), 2.0);
        assert_eq!(metrics.as_slice(), [("loss".to_owned(), 2.0), ("perplexity".to_owned(), 4.0)]);
    }

    #[test]
    fn the_norm_of_a_part_is_over_all_of_its_parameters() {
        let mut metrics = StepMetrics::default();
        let part = |parameter: &str| if parameter.starts_with('a') { "a" } else { "b" };
        metrics.push_norms_by_part(&[("a.x", 9.0), ("b.x", 4.0), ("a.y", 16.0)], part);
        assert_eq!(metrics.as_slice(), [("grad_norm_a".to_owned(), 5.0), ("grad_norm_b".to_owned(), 2.0)]);
    }
}

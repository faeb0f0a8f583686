//! What a step tells of itself: figures by name, the loss first.

use super::step_loss::StepLoss;
use super::task::Task;
use crate::distributed::Comm;
use crate::error::Result;

/// Names and values, in the order they are logged.
pub type StepMetrics = Vec<(String, f64)>;

/// Adds figures up over all ranks.
pub fn sum_over(comm: &Comm, figures: &mut StepMetrics) {
    if comm.size() > 1 {
        let mut values: Vec<f32> = figures.iter().map(|(_, value)| *value as f32).collect();
        comm.all_reduce(&mut values);
        figures.iter_mut().zip(values).for_each(|((_, value), sum)| *value = f64::from(sum));
    }
}

/// Adds the loss and its parts, times `weight`, to figures that begin with the loss.
///
/// # Errors
/// When one of them is no scalar.
pub fn add(figures: &mut StepMetrics, loss: &StepLoss, weight: f64) -> Result<()> {
    for (name, value, share) in loss.values() {
        let value = weight * share * f64::from(value.to_scalar::<f32>()?);
        match figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += value,
            None => figures.push((name.to_owned(), value)),
        }
    }
    Ok(())
}

/// The gradient's norm over each part of the model, of ‖g‖² of every parameter.
pub fn by_part(task: &dyn Task, squares: &[(&str, f64)]) -> StepMetrics {
    let mut parts: Vec<(&str, f64)> = Vec::new();
    for (name, square) in squares {
        let part = task.part(name);
        match parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, sum)) => *sum += square,
            None => parts.push((part, *square)),
        }
    }
    parts.into_iter().map(|(part, sum)| (format!("grad_norm_{part}"), sum.sqrt())).collect()
}

//! Steps that may not be taken: a loss or a gradient that is not finite would ruin every weight at once.

use crate::error::{Error, Result};

/// Counts the steps that were skipped, and gives up after too many in a row.
pub struct NonFiniteGuard {
    max: usize,
    skipped: usize,
    in_a_row: usize,
}

impl NonFiniteGuard {
    /// A training that has skipped so many steps already, the last of them in a row, and bears `max` in a row.
    pub fn new(max: usize, skipped: usize, in_a_row: usize) -> Self {
        Self { max, skipped, in_a_row }
    }

    /// Steps skipped one after the other up to now.
    pub fn in_a_row(&self) -> usize {
        self.in_a_row
    }

    /// Steps skipped so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a step of this loss and this norm of the gradient may be taken; `squares` are ‖g‖² of every parameter.
    ///
    /// # Errors
    /// When too many in a row may not: with what was not finite, and what to do.
    pub fn admits(&mut self, step: usize, loss: f64, norm: f64, squares: &[(&str, f64)]) -> Result<bool> {
        if loss.is_finite() && norm.is_finite() {
            self.in_a_row = 0;
            return Ok(true);
        }
        self.skipped += 1;
        self.in_a_row += 1;
        let what = diagnosis(loss, squares);
        if self.in_a_row > self.max {
            return Err(Error::input(format!(
                "step {step} is the {}th in a row that cannot be taken: {what}. The last checkpoint is as good as it was: \
                 lower the learning rate of what was named, lengthen the warm-up, and train again",
                self.in_a_row
            )));
        }
        tracing::warn!("step {step} is skipped: {what}");
        Ok(false)
    }
}

fn diagnosis(loss: f64, squares: &[(&str, f64)]) -> String {
    let bad: Vec<&str> =
        squares.iter().filter(|(_, square)| !square.is_finite()).map(|(name, _)| *name).collect();
    let loss =
        if loss.is_finite() { format!("the loss is {loss:.3}") } else { format!("the loss is {loss}") };
    match bad.as_slice() {
        [] => loss,
        [first, ..] => {
            format!(
                "{loss}, and the gradients of {} of {} parameters are not finite ({first} first)",
                bad.len(),
                squares.len()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bad_steps_are_skipped_and_many_in_a_row_are_the_end() {
        let mut health = NonFiniteGuard::new(2, 5, 0);
        let squares = [("a.weight", 1.0), ("b.weight", f64::NAN)];
        assert!(health.admits(0, 1.0, 2.0, &[]).unwrap());
        assert!(!health.admits(1, f64::INFINITY, 2.0, &[]).unwrap());
        assert!(!health.admits(2, 1.0, f64::NAN, &squares).unwrap());
        assert!(health.admits(3, 1.0, 1.0, &[]).unwrap());
        (4..6).for_each(|step| assert!(!health.admits(step, f64::NAN, f64::NAN, &squares).unwrap()));
        let end = health.admits(6, f64::NAN, f64::NAN, &squares).unwrap_err().to_string();
        for part in
            ["step 6", "3th in a row", "the loss is NaN", "1 of 2 parameters", "b.weight", "learning rate"]
        {
            assert!(end.contains(part), "{end}");
        }
        assert_eq!(health.skipped(), 10);
    }
}

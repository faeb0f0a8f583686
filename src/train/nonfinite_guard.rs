//! Skips steps with a loss or gradient that is not finite, since one such step would ruin all weights.

use crate::error::{Error, Result};

/// Counts skipped steps, and gives up after too many in a row.
pub struct NonFiniteGuard {
    max_in_a_row: usize,
    skipped: usize,
    in_a_row: usize,
}

impl NonFiniteGuard {
    /// The guard of a run that has skipped `skipped` steps, the last `in_a_row` of them in a row, and may
    /// skip `max_in_a_row` in a row.
    pub fn new(max_in_a_row: usize, skipped: usize, in_a_row: usize) -> Self {
        Self { max_in_a_row, skipped, in_a_row }
    }

    /// Steps skipped in a row up to now.
    pub fn in_a_row(&self) -> usize {
        self.in_a_row
    }

    /// Steps skipped so far.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a step with this loss and this gradient norm may be taken; `squares` are ‖g‖² of every
    /// parameter.
    ///
    /// # Errors
    /// When too many steps in a row may not be taken. The error names what is not finite, and the remedy.
    pub fn admits(&mut self, step: usize, loss: f64, norm: f64, squares: &[(&str, f64)]) -> Result<bool> {
        if loss.is_finite() && norm.is_finite() {
            self.in_a_row = 0;
            return Ok(true);
        }
        self.skipped += 1;
        self.in_a_row += 1;
        let diagnosis = diagnosis(loss, squares);
        if self.in_a_row > self.max_in_a_row {
            return Err(Error::input(format!(
                "step {step} is the {} in a row that cannot be taken: {diagnosis}. The last checkpoint is intact: lower the \
                 learning rate of the parameters named, lengthen the warm-up, and train again",
                ordinal(self.in_a_row)
            )));
        }
        tracing::warn!("step {step} is skipped: {diagnosis}");
        Ok(false)
    }
}

fn diagnosis(loss: f64, squares: &[(&str, f64)]) -> String {
    let loss =
        if loss.is_finite() { format!("the loss is {loss:.3}") } else { format!("the loss is {loss}") };
    let mut bad = squares.iter().filter(|(_, square)| !square.is_finite()).map(|(name, _)| *name);
    let Some(first) = bad.next() else { return loss };
    let (count, all) = (1 + bad.count(), squares.len());
    format!("{loss}, and the gradients of {count} of {all} parameters are not finite ({first} first)")
}

/// A number as an English ordinal: 1st, 2nd, 3rd, 4th, 11th, 21st.
fn ordinal(number: usize) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bad_steps_are_skipped_and_too_many_in_a_row_are_an_error() {
        let mut guard = NonFiniteGuard::new(2, 5, 0);
        let squares = [("a.weight", 1.0), ("b.weight", f64::NAN)];
        assert!(guard.admits(0, 1.0, 2.0, &[]).unwrap());
        assert!(!guard.admits(1, f64::INFINITY, 2.0, &[]).unwrap());
        assert!(!guard.admits(2, 1.0, f64::NAN, &squares).unwrap());
        assert!(guard.admits(3, 1.0, 1.0, &[]).unwrap());
        (4..6).for_each(|step| assert!(!guard.admits(step, f64::NAN, f64::NAN, &squares).unwrap()));
        let error = guard.admits(6, f64::NAN, f64::NAN, &squares).unwrap_err().to_string();
        for part in
            ["step 6", "3rd in a row", "the loss is NaN", "1 of 2 parameters", "b.weight", "learning rate"]
        {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(guard.skipped(), 10);
    }

    #[test]
    fn ordinals_are_english() {
        let numbers = [1, 2, 3, 4, 10, 11, 12, 13, 20, 21, 22, 23, 101, 111, 112, 113, 121];
        let ordinals = [
            "1st", "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "20th", "21st", "22nd", "23rd",
            "101st", "111th", "112th", "113th", "121st",
        ];
        assert_eq!(numbers.map(ordinal), ordinals);
    }
}

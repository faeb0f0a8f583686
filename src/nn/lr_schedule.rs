//! The learning rate over a run: linear warm-up, then the schedule.

use std::f64::consts::PI;

use crate::config_schema::choice;

choice! {
    /// The course of the learning rate after the warm-up.
    LrSchedule {
        /// Half a cosine down to zero (Loshchilov and Hutter 2017).
        Cosine = "cosine",
        /// A straight line down to zero.
        Linear = "linear",
        /// The peak until the end.
        Constant = "constant",
    }
}

impl LrSchedule {
    /// Factor in [0, 1] on the peak learning rate at `step` (zero-based) of `steps`.
    pub fn factor(self, step: usize, steps: usize, warmup: usize) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let progress = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
        match self {
            Self::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
            Self::Linear => 1.0 - progress,
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LrSchedule;

    #[test]
    fn rises_linearly_then_follows_the_schedule() {
        for schedule in [LrSchedule::Cosine, LrSchedule::Linear, LrSchedule::Constant] {
            let factor = |step| schedule.factor(step, 110, 10);
            assert_eq!([factor(0), factor(9), factor(10)], [0.1, 1.0, 1.0]);
            let (half, end) = if schedule == LrSchedule::Constant { (1.0, 1.0) } else { (0.5, 0.0) };
            assert!((factor(60) - half).abs() < 1e-12 && (factor(110) - end).abs() < 1e-12, "{schedule:?}");
            assert!(schedule.factor(5, 5, 10).is_finite());
        }
    }
}

//! The progress of a training on the screen: a bar on a terminal, a log line an hour elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar};

use super::step_metrics::StepMetrics;
use crate::context::Context;

/// Time between log lines without a terminal.
const EVERY: Duration = Duration::from_secs(3600);

/// The progress of a training.
pub struct ProgressDisplay {
    bar: ProgressBar,
    steps: usize,
    /// When the last log line was written.
    logged_at: Instant,
    /// The step of the last log line.
    logged_step: usize,
}

impl ProgressDisplay {
    /// A training of `steps` steps, of which `step` are taken.
    pub fn new(steps: usize, step: usize, ctx: &Context) -> Self {
        let bar = ctx.bar(steps, "training").with_position(step as u64);
        bar.reset_eta();
        Self { bar, steps, logged_at: Instant::now(), logged_step: step }
    }

    /// Shows the step just taken.
    pub fn step(&mut self, step: usize, metrics: &StepMetrics) {
        self.bar.set_position(step as u64);
        if !self.bar.is_hidden() {
            self.bar.set_message(summary(metrics.as_slice()));
        } else if self.logged_at.elapsed() >= EVERY {
            self.log_progress(step, metrics);
        }
    }

    fn log_progress(&mut self, step: usize, metrics: &StepMetrics) {
        let per_step = self.logged_at.elapsed() / (step - self.logged_step).max(1) as u32;
        let left = HumanDuration(per_step * (self.steps - step) as u32);
        tracing::info!("step {step} of {}: {}, {left} left", self.steps, summary(metrics.as_slice()));
        (self.logged_at, self.logged_step) = (Instant::now(), step);
    }

    /// Logs a line without disturbing the bar.
    pub fn log(&self, text: &str) {
        self.bar.suspend(|| tracing::info!("{text}"));
    }

    /// Leaves the bar on the screen.
    pub fn abandon(&self) {
        self.bar.abandon();
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The loss and its terms, the learning rate and the speed in one line.
fn summary(metrics: &[(String, f64)]) -> String {
    let shown = metrics.iter().filter(|(name, _)| !name.starts_with("grad_norm"));
    shown.map(|(name, value)| entry(name, *value)).collect::<Vec<_>>().join(", ")
}

fn entry(name: &str, value: f64) -> String {
    match name {
        "pairs_per_s" => format!("{value:.0} pairs/s"),
        "wait_share" => format!("{:.0}% waiting", 100.0 * value),
        "lr_factor" => format!("lr ×{value:.2}"),
        _ => format!("{name} {value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_summary_has_loss_learning_rate_and_speed() {
        let metrics = [
            ("loss", 1.25),
            ("margin", 0.5),
            ("lr_factor", 0.1),
            ("grad_norm", 9.0),
            ("pairs_per_s", 64.4),
            ("wait_share", 0.03),
        ];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(super::summary(&metrics), "loss 1.250, margin 0.500, lr ×0.10, 64 pairs/s, 3% waiting");
    }
}

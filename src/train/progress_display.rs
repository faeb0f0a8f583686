//! What a training shows while it runs: a bar on a terminal, a line an hour elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar};

use crate::context::Context;

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(3600);

/// The screen's side of a training.
pub struct Display {
    bar: ProgressBar,
    steps: usize,
    /// When and at which step the last line was written.
    last: (Instant, usize),
}

impl Display {
    /// A training of so many steps that stands at this one.
    pub fn new(steps: usize, step: usize, ctx: &Context) -> Self {
        let bar = ctx.bar(steps, "training").with_position(step as u64);
        bar.reset_eta();
        Self { bar, steps, last: (Instant::now(), step) }
    }

    /// Shows where the training stands.
    pub fn step(&mut self, step: usize, figures: &[(String, f64)]) {
        self.bar.set_position(step as u64);
        if !self.bar.is_hidden() {
            self.bar.set_message(line(figures));
        } else if self.last.0.elapsed() >= EVERY {
            let per_step = self.last.0.elapsed() / (step - self.last.1).max(1) as u32;
            let left = HumanDuration(per_step * (self.steps - step) as u32);
            tracing::info!("step {step} of {}: {}, {left} left", self.steps, line(figures));
            self.last = (Instant::now(), step);
        }
    }

    /// Says something without disturbing the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| tracing::info!("{text}"));
    }

    /// Leaves the bar where it is.
    pub fn abandon(&self) {
        self.bar.abandon();
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Loss, its parts, the learning rate and the pace, in a few words.
fn line(figures: &[(String, f64)]) -> String {
    let shown = figures.iter().filter(|(name, _)| !name.starts_with("grad_norm"));
    let shown = shown.map(|(name, value)| match name.as_str() {
        "pairs_per_s" => format!("{value:.0} pairs/s"),
        "wait_share" => format!("{:.0}% waiting", 100.0 * value),
        "lr_factor" => format!("lr ×{value:.2}"),
        _ => format!("{name} {value:.3}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_has_loss_rate_and_pace() {
        let figures = [
            ("loss", 1.25),
            ("margin", 0.5),
            ("lr_factor", 0.1),
            ("grad_norm", 9.0),
            ("pairs_per_s", 64.4),
            ("wait_share", 0.03),
        ];
        let figures = figures.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(super::line(&figures), "loss 1.250, margin 0.500, lr ×0.10, 64 pairs/s, 3% waiting");
    }
}

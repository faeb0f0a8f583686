//! The training loop, the same for every task: loss, gradients, optimiser step, log, validation, checkpoints.
//!
//! A [`Task`] computes losses; the engine does everything else. It looks at the stop flag between steps. A
//! stopped run is saved and resumes to exactly the weights that it would have had.
//!
//! Errors: [`Error::Stopped`] after a requested stop, once everything is saved; otherwise what the task or
//! the disk reports, and gradients that are not finite too often.

mod checkpoints;
mod disk_room;
mod step;
#[cfg(test)]
mod tests;

use super::checkpoint_writer::CheckpointWriter;
use super::metrics_log::MetricsLog;
use super::nonfinite_guard::NonFiniteGuard;
use super::progress_display::ProgressDisplay;
use super::step_failure;
use super::step_metrics::StepMetrics;
use super::task::{Task, TrainingPlan, Validation};
use crate::context::Context;
use crate::distributed::Comm;
use crate::error::{Error, Result};
use crate::nn::adamw::AdamW;
use crate::nn::device::memory_taken;
use crate::nn::ema::Ema;
use crate::process_memory;
use crate::run_folder::RunFolder;

struct Engine<'a> {
    task: &'a mut dyn Task,
    plan: TrainingPlan,
    adamw: AdamW,
    /// The moving average of the weights, if the plan has one.
    ema: Option<Ema>,
    /// Steps taken by the run.
    step: usize,
    /// The step and the score of the best validation.
    best: Option<(usize, f64)>,
    /// The step of the last validation that was better than all before.
    improved: usize,
    guard: NonFiniteGuard,
    /// The step of the newest checkpoint.
    saved: usize,
    writer: CheckpointWriter,
    /// On the first rank only.
    log: Option<MetricsLog>,
    display: ProgressDisplay,
    comm: Comm,
}

/// Trains until the plan's last step, or until validations have not improved for `patience` times. With
/// `resume` it starts from the newest checkpoint that is whole.
///
/// # Errors
/// See the module.
pub fn train(
    task: &mut dyn Task,
    plan: TrainingPlan,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    let _watch = ctx.stop.watch();
    let mut engine = Engine::start(task, plan, run, resume, ctx)?;
    if !resume && engine.task.is_trained() && engine.validate(0)? {
        engine.save()?;
    }
    while engine.step < plan.steps && !engine.is_stale() {
        engine.advance().or_else(|error| engine.fail(error))?;
        if ctx.comm.any(ctx.stop.requested()) && engine.step < plan.steps {
            return engine.stop();
        }
    }
    engine.finish()
}

impl Engine<'_> {
    /// What a failed step reports, once the checkpoint being written is on disk.
    fn fail(&mut self, error: Error) -> Result<()> {
        self.writer.finish()?;
        Err(step_failure::explained(error, self.step, self.saved, self.task.memory_advice()))
    }

    /// Saves a run that the user stops.
    fn stop(&mut self) -> Result<()> {
        if self.saved != self.step {
            self.save()?;
        }
        self.writer.finish()?;
        self.display.abandon();
        let (step, steps) = (self.step, self.plan.steps);
        Err(Error::Stopped(format!("saved at step {step} of {steps}; go on with --resume")))
    }

    fn finish(&mut self) -> Result<()> {
        if self.is_stale() {
            let (step, patience) = (self.step, self.plan.patience);
            self.display.log(&format!("ended at step {step}: {patience} validations without a better one"));
        }
        self.writer.finish()?;
        self.display.finish();
        Ok(())
    }

    /// Logs, validates and saves what is due after a step.
    fn after_step(&mut self, metrics: StepMetrics) -> Result<()> {
        let (step, plan) = (self.step, self.plan);
        let is_due = |every: usize| step.is_multiple_of(every) || step == plan.steps;
        self.display.step(step, &metrics);
        if is_due(plan.log_every) {
            self.log_step(metrics)?;
        }
        let is_best = is_due(plan.validate_every) && self.validate(step)?;
        if is_best || is_due(plan.checkpoint_every) || self.is_stale() { self.save() } else { Ok(()) }
    }

    /// Logs the metrics of the step just taken, with the memory in use.
    fn log_step(&mut self, mut metrics: StepMetrics) -> Result<()> {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        metrics.push("skipped", self.guard.skipped() as f64);
        metrics.push("memory_gb", gigabytes(process_memory::held().unwrap_or(0)));
        if let Some(bytes) = self.task.params().device().and_then(memory_taken) {
            metrics.push("gpu_memory_gb", gigabytes(bytes));
        }
        self.log_line(self.step, metrics.as_slice())
    }

    fn log_line<N: AsRef<str>>(&mut self, step: usize, metrics: &[(N, f64)]) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.line(step, metrics))
    }

    /// Validates the model after `step` steps. Returns whether no model before was better.
    fn validate(&mut self, step: usize) -> Result<bool> {
        let score = self.validation_score(step)?;
        if self.best.is_none_or(|(_, best)| score > best) {
            self.improved = step;
        }
        let is_best = self.best.is_none_or(|(_, best)| score >= best);
        if is_best {
            self.best = Some((step, score));
        }
        Ok(is_best)
    }

    /// The score of a validation, which is shown and logged.
    fn validation_score(&mut self, step: usize) -> Result<f64> {
        self.swap_average()?;
        let validation = self.task.validate();
        self.swap_average()?;
        let Validation { score, metrics } = validation?;
        let text: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        self.display.log(&format!("step {step}: {}", text.join(", ")));
        self.log_line(step, &metrics)?;
        Ok(score)
    }

    /// Puts the average in place of the weights, or the weights back.
    fn swap_average(&mut self) -> Result<()> {
        self.ema.as_mut().map_or(Ok(()), Ema::swap)
    }

    /// Whether validations have not improved for as long as the plan's patience.
    fn is_stale(&self) -> bool {
        let since = self.best.map_or(0, |_| self.step.saturating_sub(self.improved));
        self.plan.patience > 0 && since >= self.plan.patience * self.plan.validate_every
    }
}

//! The training loop, the same for every task: loss, gradients, step, log, validation, checkpoints.
//!
//! A [`Task`] knows what a step's loss is; the engine knows everything else. Ctrl-C is looked at between steps:
//! the run is saved and can be resumed to exactly the weights it would have had.

use std::time::Instant;

use super::checkpoint_writer::Saver;
use super::gradient_sums;
use super::metrics_log::Log;
use super::nonfinite_guard::NonFiniteGuard;
use super::progress_display::Display;
use super::step::Step;
use super::step_failure;
use super::step_metrics;
use super::task::{Task, Tensors, TrainingPlan, Validation};
use crate::context::Context;
use crate::distributed::Comm;
use crate::error::{Error, Result};
use crate::model::checkpoint::{Checkpoint, Progress};
use crate::nn::adamw::{AdamW, Group, clipping};
use crate::nn::device::memory_taken;
use crate::nn::ema::Ema;
use crate::nn::gradients::{Gradients, norm};
use crate::nn::params::Params;
use crate::nn::tensors::snapshot;
use crate::process_memory;
use crate::run_folder::RunFolder;

/// What the optimiser's file calls the weights themselves, where the checkpoint's are their average.
const RAW: &str = "raw.";

struct Engine<'a> {
    task: &'a mut dyn Task,
    plan: TrainingPlan,
    adamw: AdamW,
    ema: Option<Ema>,
    /// Steps of the run so far.
    step: usize,
    best: Option<(usize, f64)>,
    /// The step of the last validation that was better than all before.
    improved: usize,
    health: NonFiniteGuard,
    /// The step of the newest checkpoint.
    saved: usize,
    /// Of the first rank only.
    saver: Saver,
    log: Option<Log>,
    display: Display,
    comm: Comm,
}

/// Trains until the plan's last step, or until validations no longer improve; goes on from the newest whole checkpoint where
/// `resume` is set.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop, once everything is saved; otherwise what the task, the disk or gradients that
/// are not finite report.
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
        if let Err(why) = engine.advance() {
            engine.saver.finish()?;
            return Err(step_failure::explained(why, engine.step, engine.saved, engine.task.memory_advice()));
        }
        if ctx.comm.any(ctx.stop.requested()) && engine.step < plan.steps {
            if engine.saved != engine.step {
                engine.save()?;
            }
            engine.saver.finish()?;
            engine.display.abandon();
            let text = format!("saved at step {} of {}; go on with --resume", engine.step, plan.steps);
            return Err(Error::Stopped(text));
        }
    }
    if engine.is_stale() {
        engine.display.say(&format!(
            "ended at step {}: {} validations without a better one",
            engine.step, plan.patience
        ));
    }
    engine.saver.finish()?;
    engine.display.finish();
    Ok(())
}

impl<'a> Engine<'a> {
    fn start(
        task: &'a mut dyn Task,
        plan: TrainingPlan,
        run: &RunFolder,
        resume: bool,
        ctx: &Context,
    ) -> Result<Self> {
        let comm = ctx.comm.clone();
        let mut adamw = AdamW::new(task.params())?;
        let mut progress = Progress::default();
        let folder = run.checkpoints();
        let mut averaged = None;
        if resume {
            let Checkpoint { progress: found, mut weights, mut optimizer } = Checkpoint::resume(&folder)?;
            if plan.ema > 0.0 {
                averaged = Some(std::mem::replace(&mut weights, taken(&mut optimizer, RAW)));
            }
            task.params().assign(weights, &folder)?;
            task.restore(&mut optimizer, &folder)?;
            adamw.restore(optimizer, found.step.saturating_sub(found.skipped), &folder)?;
            tracing::info!("resuming at step {} of {}", found.step, plan.steps);
            progress = found;
        }
        let seen = "the checkpoint they go on from: do all hosts see the same run folder?";
        comm.agree(seen, progress.step as u32)?;
        let mut ema = (plan.ema > 0.0).then(|| Ema::new(task.params(), plan.ema)).transpose()?;
        if let (Some(ema), Some(averaged)) = (&mut ema, averaged) {
            ema.restore(averaged, &folder)?;
        }
        Ok(Self {
            task,
            plan,
            adamw,
            ema,
            step: progress.step,
            best: progress.best,
            improved: progress.improved,
            health: NonFiniteGuard::new(plan.max_skipped, progress.skipped, progress.in_a_row),
            saved: progress.step,
            saver: Saver::new(folder, plan.keep),
            log: comm.is_first().then(|| Log::open(&run.metrics(), progress.step)).transpose()?,
            display: Display::new(plan.steps, progress.step, ctx),
            comm,
        })
    }

    /// One step: the gradients of its batches, the optimiser, and whatever is due.
    fn advance(&mut self) -> Result<()> {
        let began = Instant::now();
        let step = Step(self.step);
        self.task.before_step(step)?;
        let mut gradients = Gradients::of(self.task.params());
        let (mut figures, mut pairs, share) = (Vec::new(), 0, 1.0 / self.plan.accumulate as f64);
        for batch in step.micro_batches(self.plan.accumulate) {
            let loss = self.task.loss(batch)?;
            if batch.is_last() {
                let start = |count| gradient_sums::start(&self.comm, count);
                gradients.overlap_all_reduce(&self.task.blocks(), share, start);
            }
            gradients.add(&loss.objective()?.backward()?, share)?;
            step_metrics::add(&mut figures, &loss, share)?;
            pairs += loss.queries();
        }
        let found = began.elapsed();
        if self.comm.size() > 1 {
            gradients.all_reduce(|tensor| self.comm.all_reduce_tensor(tensor))?;
        }
        let summed = began.elapsed() - found;
        step_metrics::sum_over(&self.comm, &mut figures);
        let factor = self.plan.course.factor(self.step, self.plan.steps, self.plan.warmup);
        let squares = gradients.squares()?;
        let whole = norm(&squares);
        if self.health.admits(self.step, figures[0].1, whole, &squares)? {
            let group = |name: &str| {
                let group = self.task.group(name);
                Group { lr: group.lr * factor, ..group }
            };
            self.adamw.update(&gradients, clipping(whole, self.plan.clip_norm), group)?;
            if let Some(ema) = &mut self.ema {
                ema.update(self.adamw.steps())?;
            }
        }
        self.step += 1;
        figures.extend([("lr_factor".into(), factor), ("grad_norm".into(), whole)]);
        figures.extend(step_metrics::by_part(&*self.task, &squares));
        let (waited, took) = (self.task.waited().as_secs_f64(), began.elapsed().as_secs_f64());
        figures.extend([
            ("pairs_per_s".into(), (pairs * self.comm.size()) as f64 / took),
            ("wait_share".into(), waited / took),
        ]);
        if self.comm.size() > 1 {
            figures.push(("sum_share".into(), summed.as_secs_f64() / took));
        }
        self.after(&figures)
    }

    /// What is due after a step, whose figures these are.
    fn after(&mut self, figures: &[(String, f64)]) -> Result<()> {
        let (done, plan) = (self.step, self.plan);
        let due = |every: usize| done.is_multiple_of(every) || done == plan.steps;
        if due(plan.log_every) {
            let more = [
                ("skipped".to_owned(), self.health.skipped() as f64),
                ("memory_gb".to_owned(), process_memory::held().unwrap_or(0) as f64 / 1e9),
            ];
            let gpu = self.task.params().device().and_then(memory_taken);
            let gpu = gpu.map(|taken| ("gpu_memory_gb".to_owned(), taken as f64 / 1e9));
            self.line(done, &[figures, &more, gpu.as_slice()].concat())?;
        }
        self.display.step(done, figures);
        let validated = due(plan.validate_every) && self.validate(done)?;
        if validated || due(plan.checkpoint_every) || self.is_stale() { self.save() } else { Ok(()) }
    }

    /// Whether this is the best model so far.
    fn validate(&mut self, step: usize) -> Result<bool> {
        let score = self.measured(step)?;
        if self.best.is_none_or(|(_, best)| score > best) {
            self.improved = step;
        }
        let better = self.best.is_none_or(|(_, best)| score >= best);
        if better {
            self.best = Some((step, score));
        }
        Ok(better)
    }

    /// The score of a validation, whose figures are told and logged.
    fn measured(&mut self, step: usize) -> Result<f64> {
        self.swap_average()?;
        let validation = self.task.validate();
        self.swap_average()?;
        let Validation { score, figures } = validation?;
        let text: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        self.display.say(&format!("step {step}: {}", text.join(", ")));
        self.line(step, &figures)?;
        Ok(score)
    }

    fn line<N: AsRef<str>>(&mut self, step: usize, figures: &[(N, f64)]) -> Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.line(step, figures))
    }

    /// Puts the weights' average in their place, or the weights back.
    fn swap_average(&mut self) -> Result<()> {
        self.ema.as_mut().map_or(Ok(()), Ema::swap)
    }

    /// Whether validations have not improved for as long as the plan bears.
    fn is_stale(&self) -> bool {
        let since = self.best.map_or(0, |_| self.step.saturating_sub(self.improved));
        self.plan.patience > 0 && since >= self.plan.patience * self.plan.validate_every
    }

    /// Has a copy of everything written while the training goes on.
    fn save(&mut self) -> Result<()> {
        self.saved = self.step;
        if !self.comm.is_first() {
            return Ok(());
        }
        // One copy of everything at a time: that of the write before is gone first.
        self.saver.finish()?;
        let mut optimizer = self.adamw.state()?;
        optimizer.append(&mut self.task.state()?);
        let weights = match &self.ema {
            Some(ema) => {
                optimizer.append(&mut copies(self.task.params(), RAW)?);
                ema.state()?
            }
            None => copies(self.task.params(), "")?,
        };
        let (step, best, improved) = (self.step, self.best, self.improved);
        let (skipped, in_a_row) = (self.health.skipped(), self.health.in_a_row());
        let progress = Progress { step, best, improved, skipped, in_a_row };
        self.saver.save(Checkpoint { progress, weights, optimizer })
    }
}

fn copies(params: &Params, prefix: &str) -> Result<Tensors> {
    params.iter().map(|(name, tensor)| Ok((format!("{prefix}{name}"), snapshot(tensor)?))).collect()
}

/// Takes out what has this prefix, and the prefix off.
fn taken(tensors: &mut Tensors, prefix: &str) -> Tensors {
    let (own, others) = std::mem::take(tensors).into_iter().partition(|(name, _)| name.starts_with(prefix));
    *tensors = others;
    let own: Tensors = own;
    own.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

#[cfg(test)]
mod tests;

//! The training loop, the same for every task: loss, gradients, step, log, validation, checkpoints.
//!
//! A [`Task`] knows what a step's loss is; the engine knows everything else. Ctrl-C is looked at between steps:
//! the run is saved and can be resumed to exactly the weights it would have had.

use std::time::Instant;

use candle_core::Tensor;
use indicatif::ProgressBar;

use super::log::Log;
use super::stop::Stop;
use crate::error::{Error, Result};
use crate::model::checkpoint::{Checkpoint, Progress, Which};
use crate::nn::adamw::{AdamW, Group};
use crate::nn::params::Params;
use crate::nn::schedule::warmup_cosine;
use crate::progress;
use crate::run::RunFolder;

/// The loss of one step.
pub struct StepLoss {
    /// The scalar to minimise.
    pub total: Tensor,
    /// Its parts, by name, for the log.
    pub parts: Vec<(&'static str, Tensor)>,
    /// Training pairs it was computed on.
    pub pairs: usize,
}

/// What a validation found.
pub struct Validation {
    /// What the best checkpoint has most of.
    pub score: f64,
    /// Figures for the log and the screen.
    pub figures: Vec<(&'static str, f64)>,
}

/// Something to be trained.
pub trait Task {
    /// All trainable parameters.
    fn params(&self) -> &Params;
    /// Whether the parameters are worth something before the first step: then they are measured, and may stay the
    /// best.
    fn is_trained(&self) -> bool {
        false
    }
    /// The loss of step `step` (zero-based), a function of the seed, the step and the parameters only.
    ///
    /// # Errors
    /// When data cannot be read or shapes do not fit.
    fn loss(&self, step: usize) -> Result<StepLoss>;
    /// Peak learning rate and weight decay of a parameter.
    fn group(&self, parameter: &str) -> Group;
    /// Measures the model on the val split.
    ///
    /// # Errors
    /// When data cannot be read or shapes do not fit.
    fn validate(&self) -> Result<Validation>;
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// Largest global norm of a gradient.
    pub clip_norm: f64,
    /// Steps between log lines.
    pub log_every: usize,
    /// Steps between validations.
    pub validate_every: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
}

struct Engine<'a> {
    task: &'a dyn Task,
    plan: Plan,
    run: &'a RunFolder,
    adamw: AdamW,
    best: Option<(usize, f64)>,
    /// The step of the newest checkpoint.
    saved: usize,
    log: Log,
    bar: ProgressBar,
}

/// Trains until the plan's last step; goes on from the last checkpoint where `resume` is set.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop, once everything is saved; otherwise what the task, the disk or a
/// gradient that is not finite reports.
pub fn train(task: &dyn Task, plan: Plan, run: &RunFolder, resume: bool, stop: &Stop) -> Result<()> {
    let _watch = stop.watch();
    let mut engine = Engine::start(task, plan, run, resume)?;
    if !resume && task.is_trained() && engine.validate(0)? {
        engine.save()?;
    }
    while engine.adamw.steps() < plan.steps {
        engine.step()?;
        if stop.requested() && engine.adamw.steps() < plan.steps {
            if engine.saved != engine.adamw.steps() {
                engine.save()?;
            }
            engine.bar.abandon();
            let text =
                format!("saved at step {} of {}; go on with --resume", engine.adamw.steps(), plan.steps);
            return Err(Error::Stopped(text));
        }
    }
    engine.bar.finish_and_clear();
    Ok(())
}

impl<'a> Engine<'a> {
    fn start(task: &'a dyn Task, plan: Plan, run: &'a RunFolder, resume: bool) -> Result<Self> {
        let mut adamw = AdamW::new(task.params())?;
        let mut best = None;
        if resume {
            let Checkpoint { progress, weights, optimizer } =
                Checkpoint::read(&run.checkpoints(), Which::Last)?;
            task.params().assign(weights, &run.checkpoints())?;
            adamw.restore(optimizer, progress.step, &run.checkpoints())?;
            best = progress.best;
            tracing::info!("resuming at step {} of {}", progress.step, plan.steps);
        }
        let log = Log::open(&run.metrics(), adamw.steps())?;
        let bar = progress::bar(plan.steps, "training").with_position(adamw.steps() as u64);
        let saved = adamw.steps();
        Ok(Self { task, plan, run, adamw, best, saved, log, bar })
    }

    fn step(&mut self) -> Result<()> {
        let (step, began) = (self.adamw.steps(), Instant::now());
        let loss = self.task.loss(step)?;
        let grads = loss.total.backward()?;
        let factor = warmup_cosine(step, self.plan.steps, self.plan.warmup);
        let group = |name: &str| {
            let group = self.task.group(name);
            Group { lr: group.lr * factor, ..group }
        };
        let norm = self.adamw.step(&grads, self.plan.clip_norm, group)?;
        let (done, plan) = (step + 1, self.plan);
        let due = |every: usize| done.is_multiple_of(every) || done == plan.steps;
        if due(plan.log_every) {
            self.report(done, &loss, factor, norm, began)?;
        }
        self.bar.set_position(done as u64);
        let validated = due(plan.validate_every) && self.validate(done)?;
        if validated || due(plan.checkpoint_every) { self.save() } else { Ok(()) }
    }

    fn report(&mut self, step: usize, loss: &StepLoss, factor: f64, norm: f64, began: Instant) -> Result<()> {
        let pace = loss.pairs as f64 / began.elapsed().as_secs_f64();
        let total = scalar(&loss.total)?;
        let mut figures = vec![("loss", total)];
        for (name, part) in &loss.parts {
            figures.push((name, scalar(part)?));
        }
        figures.extend([("lr_factor", factor), ("grad_norm", norm), ("pairs_per_s", pace)]);
        self.bar.set_message(format!("loss {total:.3}, {pace:.0} pairs/s"));
        self.log.line(step, &figures)
    }

    /// Whether this is the best model so far.
    fn validate(&mut self, step: usize) -> Result<bool> {
        let Validation { score, figures } = self.task.validate()?;
        let text: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        self.bar.suspend(|| tracing::info!("step {step}: {}", text.join(", ")));
        self.log.line(step, &figures)?;
        let better = self.best.is_none_or(|(_, best)| score >= best);
        if better {
            self.best = Some((step, score));
        }
        Ok(better)
    }

    fn save(&mut self) -> Result<()> {
        self.saved = self.adamw.steps();
        let weights = self.task.params().iter().map(|(name, t)| (name.to_owned(), t.clone())).collect();
        let progress = Progress { step: self.adamw.steps(), best: self.best };
        Checkpoint { progress, weights, optimizer: self.adamw.state() }.write(&self.run.checkpoints())
    }
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.to_scalar::<f32>()?))
}

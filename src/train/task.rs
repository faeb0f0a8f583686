//! What the engine trains: a [`Task`], whose losses it minimises by a [`TrainingPlan`].
//!
//! Errors: tensor operations fail only when the device does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use candle_core::Tensor;

use super::step_and_micro_batch::{MicroBatch, Step};
use super::step_failure::MemoryAdvice;
use super::step_loss::StepLoss;
use crate::error::Result;
use crate::nn::adamw::Group;
use crate::nn::lr_schedule::LrSchedule;
use crate::nn::params::Params;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// The result of a validation.
pub struct Validation {
    /// The best checkpoint is the one with the highest score.
    pub score: f64,
    /// Named numbers for the log and the screen.
    pub metrics: Vec<(&'static str, f64)>,
}

/// Something that the engine trains.
pub trait Task {
    /// All trainable parameters.
    fn params(&self) -> &Params;
    /// Whether the parameters are trained already before the first step: then they are validated, and may
    /// stay the best.
    fn is_trained(&self) -> bool {
        false
    }
    /// Prepares a step, before the first of its micro-batches. The default does nothing.
    ///
    /// # Errors
    /// What the task reports.
    fn before_step(&mut self, step: Step) -> Result<()> {
        let _ = step;
        Ok(())
    }
    /// The loss of a micro-batch: a function of the seed, the micro-batch, the parameters and [`Task::state`]
    /// only.
    ///
    /// # Errors
    /// When data cannot be read.
    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss>;
    /// The parameters of each checkpointed block, in the order of the backward pass.
    fn blocks(&self) -> Vec<Vec<Tensor>> {
        Vec::new()
    }
    /// Peak learning rate and weight decay of a parameter.
    fn group(&self, parameter: &str) -> Group;
    /// What a resumed training needs besides its parameters. Names must differ from those of parameters.
    fn state(&self) -> Result<Tensors> {
        Ok(Tensors::new())
    }
    /// Takes what [`Task::state`] gave out of the tensors of a checkpoint; `origin` names the checkpoint in
    /// errors.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    fn restore(&mut self, state: &mut Tensors, origin: &Path) -> Result<()> {
        let _ = (state, origin);
        Ok(())
    }
    /// Time that losses have waited for data since the last call.
    fn waited(&mut self) -> Duration {
        Duration::ZERO
    }
    /// Settings with which a step takes less memory; `None` if there are none.
    fn memory_advice(&self) -> Option<MemoryAdvice> {
        None
    }
    /// The name of the part of the model that a parameter belongs to, for the log.
    fn part(&self, parameter: &str) -> &'static str;
    /// Measures the model on the val split. All ranks get the same result.
    ///
    /// # Errors
    /// When data cannot be read.
    fn validate(&self) -> Result<Validation>;
}

/// The settings of the engine.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPlan {
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// The learning rate after that.
    pub schedule: LrSchedule,
    /// Micro-batches of a step.
    pub accumulate: usize,
    /// The largest global norm of a step's gradient; longer gradients are scaled down to it.
    pub clip_norm: f64,
    /// Decay of a moving average of the weights, which is validated and saved in their place; 0: no average.
    pub ema: f64,
    /// Steps that may be skipped in a row because their loss or gradient is not finite.
    pub max_skipped: usize,
    /// Validations without improvement after which the run ends; 0: it takes all steps.
    pub patience: usize,
    /// Newest checkpoints that are kept, besides the best.
    pub keep: usize,
    /// Steps between log lines.
    pub log_every: usize,
    /// Steps between validations.
    pub validate_every: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
}

/// The [`TrainingPlan`] of a section: `[train]` and `[pretrain]` have the same names for the engine's keys.
macro_rules! plan {
    ($section:expr, checkpoint_every: $checkpoint_every:expr) => {
        $crate::train::task::TrainingPlan {
            steps: $section.steps,
            warmup: $section.warmup,
            schedule: $section.schedule,
            accumulate: $section.accumulate,
            ema: $section.ema,
            max_skipped: $section.max_skipped,
            patience: $section.patience,
            keep: $section.keep,
            clip_norm: $section.clip_norm,
            log_every: $section.log_every,
            validate_every: $section.validate_every,
            checkpoint_every: $checkpoint_every,
        }
    };
}

pub(super) use plan;

//! What the engine trains: a [`Task`], whose losses it minimises by a [`TrainingPlan`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use candle_core::Tensor;

use super::step::{MicroBatch, Step};
use super::step_failure::MemoryAdvice;
use super::step_loss::StepLoss;
use crate::config::LrSchedule;
use crate::error::Result;
use crate::nn::adamw::Group;
use crate::nn::params::Params;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// What a validation found.
pub struct Validation {
    /// What the best checkpoint has most of.
    pub score: f64,
    /// StepMetrics for the log and the screen.
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
    /// Prepares a step, before the first of its micro-batches. The default does nothing.
    ///
    /// # Errors
    /// What the task reports.
    fn before_step(&mut self, step: Step) -> Result<()> {
        let _ = step;
        Ok(())
    }
    /// The loss of a micro-batch: a function of the seed, the micro-batch, the parameters and [`Task::state`] only.
    ///
    /// # Errors
    /// When data cannot be read.
    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss>;
    /// The parameters of each block that is a node of the graph, in the order in which a backward pass comes by.
    fn blocks(&self) -> Vec<Vec<Tensor>> {
        Vec::new()
    }
    /// Peak learning rate and weight decay of a parameter.
    fn group(&self, parameter: &str) -> Group;
    /// What a training must know beside its parameters to go on; names must differ from those of parameters.
    ///
    /// # Errors
    /// When the device refuses.
    fn state(&self) -> Result<Tensors> {
        Ok(Tensors::new())
    }
    /// Takes what [`Task::state`] gave out of the tensors of a checkpoint, which `origin` names.
    ///
    /// # Errors
    /// When it does not fit.
    fn restore(&mut self, state: &mut Tensors, origin: &Path) -> Result<()> {
        let _ = (state, origin);
        Ok(())
    }
    /// Time that losses have waited for data since the last call.
    fn waited(&mut self) -> Duration {
        Duration::ZERO
    }
    /// Settings with which a step takes less memory, if there are any.
    fn memory_advice(&self) -> Option<MemoryAdvice> {
        None
    }
    /// The part of the model that a parameter belongs to, for the log.
    fn part(&self, parameter: &str) -> &'static str;
    /// Measures the model on the val split; all ranks find the same.
    ///
    /// # Errors
    /// When data cannot be read or shapes do not fit.
    fn validate(&self) -> Result<Validation>;
}

/// How long, how often, and how far.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPlan {
    /// Steps of the whole run.
    pub steps: usize,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// What becomes of it then.
    pub course: LrSchedule,
    /// Batches whose gradients make a step.
    pub accumulate: usize,
    /// Largest global norm of a gradient.
    pub clip_norm: f64,
    /// Decay of the weights' moving average, which is then what is validated and kept; 0: none.
    pub ema: f64,
    /// Steps in a row whose gradient may fail to be finite, less one.
    pub max_skipped: usize,
    /// Validations without a better one after which the run ends; 0: it never does so.
    pub patience: usize,
    /// Newest checkpoints that are kept beside the best.
    pub keep: usize,
    /// Steps between log lines.
    pub log_every: usize,
    /// Steps between validations.
    pub validate_every: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
}

/// The [`TrainingPlan`] that a section makes: the keys of `[train]` and of `[pretrain]` that are the engine's have the same names.
macro_rules! plan {
    ($section:expr, checkpoint_every: $checkpoint_every:expr) => {
        $crate::train::task::TrainingPlan {
            steps: $section.steps,
            warmup: $section.warmup,
            course: $section.schedule,
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

//! A dry run: a few steps and a validation, of which nothing is kept, to measure what a training will take.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Device;

use super::step_and_micro_batch::Step;
use super::task::{Task, TrainingPlan};
use crate::error::Result;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::device::memory_taken;
use crate::nn::gradients::Gradients;
use crate::process_memory;

/// Steps of a dry run. The first one warms up caches and is not counted.
const STEPS: usize = 4;

/// The time and memory that a training takes.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The number of trained parameters of each part of the model.
    pub trained: BTreeMap<&'static str, usize>,
    /// Seconds of a step, the median.
    pub step: f64,
    /// Seconds of a validation.
    pub validation: f64,
    /// Bytes of memory held by the process; `None` if the system does not say.
    pub memory: Option<u64>,
    /// Bytes of the GPU's memory in use, by any process; `None` on the CPU.
    pub gpu_memory: Option<u64>,
    /// Steps of the whole training.
    pub steps: usize,
    /// Validations of the whole training.
    pub validations: usize,
}

impl DryRun {
    /// Seconds of the whole training.
    pub fn total(&self) -> f64 {
        self.steps as f64 * self.step + self.validations as f64 * self.validation
    }
}

/// Takes a few steps and a validation. The optimiser's moments move as in a training; the weights stay.
///
/// # Errors
/// What the task reports.
pub fn dry_run(task: &mut dyn Task, plan: TrainingPlan) -> Result<DryRun> {
    let mut trained = BTreeMap::new();
    for (name, parameter) in task.params().iter() {
        *trained.entry(task.part(name)).or_default() += parameter.elem_count();
    }
    let mut adamw = AdamW::new(task.params())?;
    let mut seconds = Vec::with_capacity(STEPS);
    for step in 0..STEPS {
        let began = Instant::now();
        take_step(task, &mut adamw, Step(step), plan.accumulate)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let memory = process_memory::held();
    let gpu_memory = task.params().device().and_then(memory_taken);
    let began = Instant::now();
    task.validate()?;
    synchronize(task)?;
    Ok(DryRun {
        trained,
        step: median(&mut seconds[1..]),
        validation: began.elapsed().as_secs_f64(),
        memory,
        gpu_memory,
        steps: plan.steps,
        validations: plan.steps.div_ceil(plan.validate_every),
    })
}

/// One step with a learning rate of zero.
fn take_step(task: &mut dyn Task, adamw: &mut AdamW, step: Step, accumulate: usize) -> Result<()> {
    let mut gradients = Gradients::of(task.params());
    task.before_step(step)?;
    for batch in step.micro_batches(accumulate) {
        let loss = task.loss(batch)?;
        gradients.add(&loss.objective()?.backward()?, 1.0)?;
    }
    gradients.squares()?;
    adamw.update(&gradients, 1.0, |_| Group { lr: 0.0, decay: 0.0 })?;
    synchronize(task)
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Waits for the GPU, whose calls return before their work is done.
fn synchronize(task: &dyn Task) -> Result<()> {
    Ok(task.params().device().map_or(Ok(()), Device::synchronize)?)
}

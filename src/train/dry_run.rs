//! A few steps for trial, of which nothing is kept: what a training will take.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Device;

use super::step::Step;
use super::task::{Task, TrainingPlan};
use crate::error::Result;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::device::memory_taken;
use crate::nn::gradients::Gradients;
use crate::process_memory;

/// Steps that are tried; the first one, which warms up caches, is not counted.
const STEPS: usize = 4;

/// What a training takes.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// Trained parameters of each part of the model.
    pub trained: BTreeMap<&'static str, usize>,
    /// Seconds of a step, the median.
    pub step: f64,
    /// Seconds of a validation.
    pub validation: f64,
    /// Bytes held after them; none where the system does not say.
    pub memory: Option<u64>,
    /// Bytes of a GPU's memory taken after them, by whomever; none on the CPU.
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

/// Tries a few steps and a validation. The optimiser's moments are made and moved as in earnest, the weights stay.
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
        let (began, mut gradients) = (Instant::now(), Gradients::of(task.params()));
        task.before_step(Step(step))?;
        for batch in Step(step).micro_batches(plan.accumulate) {
            let loss = task.loss(batch)?;
            gradients.add(&loss.objective()?.backward()?, 1.0)?;
        }
        gradients.squares()?;
        adamw.update(&gradients, 1.0, |_| Group { lr: 0.0, decay: 0.0 })?;
        settle(task)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let memory = process_memory::held();
    let gpu_memory = task.params().device().and_then(memory_taken);
    let counted = &mut seconds[1..];
    counted.sort_unstable_by(f64::total_cmp);
    let began = Instant::now();
    task.validate()?;
    settle(task)?;
    Ok(DryRun {
        trained,
        step: counted[counted.len() / 2],
        validation: began.elapsed().as_secs_f64(),
        memory,
        gpu_memory,
        steps: plan.steps,
        validations: plan.steps.div_ceil(plan.validate_every),
    })
}

/// Waits until a GPU has done what it was told: calls return before that.
fn settle(task: &dyn Task) -> Result<()> {
    Ok(task.params().device().map_or(Ok(()), Device::synchronize)?)
}

//! The start of a run, fresh or from its newest checkpoint, and the making of checkpoints.

use std::path::Path;

use super::{Engine, disk_room};
use crate::context::Context;
use crate::error::Result;
use crate::model::checkpoint::{Checkpoint, Progress};
use crate::nn::adamw::AdamW;
use crate::nn::ema::Ema;
use crate::nn::params::Params;
use crate::nn::tensors::{snapshot, take_prefixed};
use crate::run_folder::RunFolder;
use crate::train::checkpoint_writer::CheckpointWriter;
use crate::train::metrics_log::MetricsLog;
use crate::train::nonfinite_guard::NonFiniteGuard;
use crate::train::progress_display::ProgressDisplay;
use crate::train::task::{Task, Tensors, TrainingPlan};

/// The prefix of the weights in the optimiser's file, if the checkpoint's weights are their moving average.
const RAW: &str = "raw.";

impl<'a> Engine<'a> {
    pub(super) fn start(
        task: &'a mut dyn Task,
        plan: TrainingPlan,
        run: &RunFolder,
        resume: bool,
        ctx: &Context,
    ) -> Result<Self> {
        let comm = ctx.comm.clone();
        let mut adamw = AdamW::new(task.params())?;
        let folder = run.checkpoints();
        if !resume && comm.is_first() {
            disk_room::check(task.params().count(), &plan, &folder)?;
        }
        let (progress, average) = match resume {
            true => restore(task, &mut adamw, &plan, &folder)?,
            false => (Progress::default(), None),
        };
        comm.agree(
            "the checkpoint they go on from: do all hosts see the same run folder?",
            progress.step as u32,
        )?;
        let mut ema = (plan.ema > 0.0).then(|| Ema::new(task.params(), plan.ema)).transpose()?;
        if let (Some(ema), Some(average)) = (&mut ema, average) {
            ema.restore(average, &folder)?;
        }
        Ok(Self {
            task,
            plan,
            adamw,
            ema,
            step: progress.step,
            best: progress.best,
            improved: progress.improved,
            guard: NonFiniteGuard::new(plan.max_skipped, progress.skipped, progress.in_a_row),
            saved: progress.step,
            writer: CheckpointWriter::new(folder, plan.keep),
            log: comm.is_first().then(|| MetricsLog::open(&run.metrics(), progress.step)).transpose()?,
            display: ProgressDisplay::new(plan.steps, progress.step, ctx),
            comm,
        })
    }

    /// Makes a checkpoint, which is written to disk while the training goes on.
    pub(super) fn save(&mut self) -> Result<()> {
        self.saved = self.step;
        if !self.comm.is_first() {
            return Ok(());
        }
        // The copy of the checkpoint before is freed first, so that there is one copy at a time.
        self.writer.finish()?;
        let mut optimizer = self.adamw.state()?;
        optimizer.append(&mut self.task.state()?);
        let weights = match &self.ema {
            Some(ema) => {
                optimizer.append(&mut copies(self.task.params(), RAW)?);
                ema.state()?
            }
            None => copies(self.task.params(), "")?,
        };
        self.writer.write(Checkpoint { progress: self.progress(), weights, optimizer })
    }

    fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            best: self.best,
            improved: self.improved,
            skipped: self.guard.skipped(),
            in_a_row: self.guard.in_a_row(),
        }
    }
}

/// Restores parameters, task and optimiser from the newest whole checkpoint. Returns its progress, and the
/// moving average of the weights if the plan has one.
fn restore(
    task: &mut dyn Task,
    adamw: &mut AdamW,
    plan: &TrainingPlan,
    folder: &Path,
) -> Result<(Progress, Option<Tensors>)> {
    let Checkpoint { progress, mut weights, mut optimizer } = Checkpoint::resume(folder)?;
    let mut average = None;
    if plan.ema > 0.0 {
        average = Some(std::mem::replace(&mut weights, take_prefixed(&mut optimizer, RAW)));
    }
    task.params().assign(weights, folder)?;
    task.restore(&mut optimizer, folder)?;
    adamw.restore(optimizer, progress.step.saturating_sub(progress.skipped), folder)?;
    tracing::info!("resuming at step {} of {}", progress.step, plan.steps);
    Ok((progress, average))
}

/// Copies of parameters in this machine's memory, their names prefixed.
fn copies(params: &Params, prefix: &str) -> Result<Tensors> {
    params.iter().map(|(name, tensor)| Ok((format!("{prefix}{name}"), snapshot(tensor)?))).collect()
}

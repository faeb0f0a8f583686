//! One optimiser step: the gradients of its micro-batches, summed over the ranks, and the move of the
//! weights.

use std::time::{Duration, Instant};

use super::Engine;
use crate::error::Result;
use crate::nn::adamw::{Group, clipping};
use crate::nn::gradients::{Gradients, norm};
use crate::train::gradient_sums;
use crate::train::step_and_micro_batch::Step;
use crate::train::step_metrics::StepMetrics;

/// What the micro-batches of a step gave.
struct Accumulated {
    gradients: Gradients,
    metrics: StepMetrics,
    /// Queries on this rank.
    queries: usize,
    /// Time spent summing gradients over the ranks.
    summing: Duration,
}

impl Engine<'_> {
    /// Takes one step, and does what is due after it.
    pub(super) fn advance(&mut self) -> Result<()> {
        let began = Instant::now();
        let Accumulated { gradients, mut metrics, queries, summing } = self.accumulate()?;
        let lr_factor = self.plan.schedule.factor(self.step, self.plan.steps, self.plan.warmup);
        let squares = gradients.squares()?;
        let grad_norm = norm(&squares);
        if self.guard.admits(self.step, metrics.loss(), grad_norm, &squares)? {
            self.update(&gradients, grad_norm, lr_factor)?;
        }
        self.step += 1;
        metrics.push("lr_factor", lr_factor);
        metrics.push("grad_norm", grad_norm);
        metrics.push_norms_by_part(&squares, |parameter| self.task.part(parameter));
        let waited = self.task.waited().as_secs_f64();
        let took = began.elapsed().as_secs_f64();
        metrics.push("pairs_per_s", (queries * self.comm.size()) as f64 / took);
        metrics.push("wait_share", waited / took);
        if self.comm.size() > 1 {
            metrics.push("sum_share", summing.as_secs_f64() / took);
        }
        self.after_step(metrics)
    }

    /// The gradients and metrics of the step's micro-batches: means over these, summed over the ranks.
    fn accumulate(&mut self) -> Result<Accumulated> {
        let step = Step(self.step);
        self.task.before_step(step)?;
        let mut gradients = Gradients::of(self.task.params());
        let (mut metrics, mut queries) = (StepMetrics::default(), 0);
        let weight = 1.0 / self.plan.accumulate as f64;
        for batch in step.micro_batches(self.plan.accumulate) {
            let loss = self.task.loss(batch)?;
            if batch.is_last() {
                let start = |count| gradient_sums::start(&self.comm, count);
                gradients.overlap_all_reduce(&self.task.blocks(), weight, start);
            }
            gradients.add(&loss.objective()?.backward()?, weight)?;
            metrics.add(&loss, weight)?;
            queries += loss.queries();
        }
        let began = Instant::now();
        if self.comm.size() > 1 {
            gradients.all_reduce(|tensor| self.comm.all_reduce_tensor(tensor))?;
        }
        let summing = began.elapsed();
        metrics.sum_over(&self.comm);
        Ok(Accumulated { gradients, metrics, queries, summing })
    }

    /// Moves the weights along the gradients, clipped to the plan's norm.
    fn update(&mut self, gradients: &Gradients, grad_norm: f64, lr_factor: f64) -> Result<()> {
        let group = |name: &str| {
            let group = self.task.group(name);
            Group { lr: group.lr * lr_factor, ..group }
        };
        self.adamw.update(gradients, clipping(grad_norm, self.plan.clip_norm), group)?;
        self.ema.as_mut().map_or(Ok(()), |ema| ema.update(self.adamw.steps()))
    }
}

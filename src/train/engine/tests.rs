//! The engine on a task of one number, whose training can be predicted.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::*;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::nn::adamw::Group;
use crate::nn::lr_schedule::LrSchedule;
use crate::nn::params::{Builder, Init, Params};
use crate::stop_flag::Stop;
use crate::train::step_and_micro_batch::{MicroBatch, Step};
use crate::train::step_loss::StepLoss;

/// Moves x towards 3. The loss of micro-batches that are `bad` is NaN.
struct Toy {
    x: Tensor,
    params: Params,
    bad: fn(usize) -> bool,
    step: Step,
}

impl Toy {
    fn new(bad: fn(usize) -> bool) -> Self {
        let builder = Builder::fresh(0, &Device::Cpu);
        let x = builder.root().param("x", 1, Init::Constant(0.0)).unwrap();
        Self { x, params: builder.finish(Path::new("toy")).unwrap(), bad, step: Step(0) }
    }

    fn value(&self) -> f32 {
        self.x.to_vec1::<f32>().unwrap()[0]
    }
}

impl Task for Toy {
    fn params(&self) -> &Params {
        &self.params
    }

    fn before_step(&mut self, step: Step) -> Result<()> {
        self.step = step;
        Ok(())
    }

    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss> {
        let wanted = if (self.bad)(batch.number()) { f64::NAN } else { 3.0 };
        let total = (&self.x - wanted)?.sqr()?.sum_all()?;
        Ok(StepLoss::mean(total, 1))
    }

    fn group(&self, _: &str) -> Group {
        Group { lr: 0.1, decay: 0.0 }
    }

    fn part(&self, _: &str) -> &'static str {
        "toy"
    }

    /// Improves up to the validation after six steps.
    fn validate(&self) -> Result<Validation> {
        let score = f64::from(self.value()) - if self.step >= Step(6) { 100.0 } else { 0.0 };
        Ok(Validation { score, metrics: vec![("score", score)] })
    }
}

const PLAN: TrainingPlan = TrainingPlan {
    steps: 12,
    warmup: 2,
    schedule: LrSchedule::Constant,
    accumulate: 1,
    clip_norm: 100.0,
    ema: 0.0,
    max_skipped: 1,
    patience: 0,
    keep: 1,
    log_every: 1,
    validate_every: 2,
    checkpoint_every: 3,
};

/// The last checkpoint of a training in a folder of its own; with `broken` it is stopped and resumed after
/// every step.
fn trained(plan: TrainingPlan, bad: fn(usize) -> bool, broken: bool) -> Result<Checkpoint> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    let (mut toy, mut resume) = (Toy::new(bad), false);
    if broken {
        let stop = Stop::default();
        stop.request();
        while let Err(Error::Stopped(_)) =
            train(&mut toy, plan, &run, resume, &Context { stop: stop.clone(), ..Context::default() })
        {
            (toy, resume) = (Toy::new(bad), true);
        }
    } else {
        train(&mut toy, plan, &run, false, &Context::default())?;
    }
    Checkpoint::read(&run.checkpoints(), Which::Last)
}

fn x(checkpoint: &Checkpoint) -> f32 {
    checkpoint.weights["x"].to_vec1::<f32>().unwrap()[0]
}

#[test]
fn averages_and_skipped_steps_survive_every_interruption() {
    for plan in [PLAN, TrainingPlan { ema: 0.9, ..PLAN }, TrainingPlan { accumulate: 3, ..PLAN }] {
        let bad = |batch| batch == 5;
        let (whole, broken) = (trained(plan, bad, false).unwrap(), trained(plan, bad, true).unwrap());
        assert_eq!(whole.progress.step, 12);
        assert_eq!(whole.progress.skipped, 1);
        assert_eq!(x(&whole).to_bits(), x(&broken).to_bits());
        assert_eq!(whole.progress.skipped, broken.progress.skipped);
    }
}

#[test]
fn the_average_lags_behind_the_weights_and_is_what_is_kept() {
    let never = |_| false;
    let raw = trained(PLAN, never, false).unwrap();
    let mean = trained(TrainingPlan { ema: 0.9, ..PLAN }, never, false).unwrap();
    assert!(x(&mean) < x(&raw), "{} {}", x(&mean), x(&raw));
    let own = mean.optimizer["raw.x"].to_vec1::<f32>().unwrap()[0];
    assert_eq!(own.to_bits(), x(&raw).to_bits());
}

#[test]
fn equal_batches_accumulated_make_the_step_of_one() {
    let (one, three) =
        (trained(PLAN, |_| false, false), trained(TrainingPlan { accumulate: 3, ..PLAN }, |_| false, false));
    assert!((x(&one.unwrap()) - x(&three.unwrap())).abs() < 1e-5);
}

#[test]
fn a_training_ends_when_it_no_longer_improves() {
    let ended = trained(TrainingPlan { patience: 2, ..PLAN }, |_| false, false).unwrap();
    // Validated at 2, 4 and 6; worse at 8 and 10.
    assert_eq!((ended.progress.step, ended.progress.best.unwrap().0), (10, 6));
}

#[test]
fn many_bad_steps_in_a_row_end_it_with_a_diagnosis() {
    let error = trained(PLAN, |batch| batch > 6, false).err().unwrap().to_string();
    for part in ["step 8", "in a row", "NaN", "(x first)"] {
        assert!(error.contains(part), "{error}");
    }
}

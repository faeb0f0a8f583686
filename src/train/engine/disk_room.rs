//! Whether the disk has room for the checkpoints of a run, before its first step.

use std::path::Path;

use crate::error::Result;
use crate::train::task::TrainingPlan;

/// What a checkpoint holds of each parameter: its weight and AdamW's two moments.
#[cfg(feature = "fetch")]
const NUMBERS: usize = 3;

/// Refuses a disk without room for one checkpoint of this many parameters, and warns of one without room for
/// all that the plan keeps. What the run has there already is not counted, so a run that resumes is not
/// checked.
///
/// # Errors
/// When not even one checkpoint fits.
#[cfg(feature = "fetch")]
pub(super) fn check(parameters: usize, plan: &TrainingPlan, folder: &Path) -> Result<()> {
    use crate::data::disk_space;
    let numbers = parameters.saturating_mul(NUMBERS + usize::from(plan.ema > 0.0));
    let one = numbers.saturating_mul(size_of::<f32>()) as u64;
    disk_space::check(folder, one)?;
    if let Err(error) = disk_space::check(folder, one.saturating_mul(most_at_once(plan))) {
        tracing::warn!("the checkpoints of this run may not fit: {error}");
    }
    Ok(())
}

/// Without the feature `fetch` free space is not known.
#[cfg(not(feature = "fetch"))]
pub(super) fn check(_: usize, _: &TrainingPlan, _: &Path) -> Result<()> {
    Ok(())
}

/// Checkpoints that lie on the disk together: the newest, the best, and the one being written.
#[cfg(feature = "fetch")]
fn most_at_once(plan: &TrainingPlan) -> u64 {
    let made = plan.steps.div_ceil(plan.checkpoint_every.min(plan.validate_every).max(1));
    plan.keep.min(made) as u64 + 2
}

#[cfg(all(test, feature = "fetch"))]
mod tests {
    use super::*;
    use crate::nn::lr_schedule::LrSchedule;

    #[test]
    fn a_checkpoint_that_cannot_fit_is_refused() {
        let plan = TrainingPlan {
            steps: 100,
            warmup: 0,
            schedule: LrSchedule::Cosine,
            accumulate: 1,
            clip_norm: 1.0,
            ema: 0.5,
            max_skipped: 0,
            patience: 0,
            keep: 9,
            log_every: 1,
            validate_every: 50,
            checkpoint_every: 30,
        };
        assert_eq!(most_at_once(&plan), 4 + 2);
        let folder = tempfile::tempdir().unwrap();
        check(1000, &plan, folder.path()).unwrap();
        let refused = check(usize::MAX, &plan, folder.path()).unwrap_err().to_string();
        assert!(refused.contains("free"), "{refused}");
    }
}

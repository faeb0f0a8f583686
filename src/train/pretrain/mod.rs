//! `dsi pretrain`: trains a CLIP on a train split by the contrastive loss alone, from random weights or from
//! another CLIP.

mod contrastive_task;
mod split_examples;

use std::fs;
use std::path::{Path, PathBuf};

use self::contrastive_task::ContrastiveTask;
use self::split_examples::{MemoryBudget, SplitExamples, photos_in};
use super::engine;
use super::task::{TrainingPlan, plan};
use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::data::settings::OnBadImage;
use crate::data::{encoder_folder, verify};
use crate::encoder::clip::pretraining_start::{fresh, from_folder};
use crate::encoder::pretrain_settings::Pretrain;
use crate::encoder::trainable_dual_encoder::TrainableTowers;
use crate::encoder::{TrainableDualEncoder, TrainableSettings};
use crate::error::{Error, Result};
use crate::nn::checkpoint_block::Keep;
use crate::nn::device::describe;
use crate::progress::Progress;
use crate::run_folder::RunFolder;

/// The settings of a pretraining.
pub struct Pretraining<'a> {
    /// `[pretrain]`.
    pub section: &'a Pretrain,
    /// `seed`.
    pub seed: u64,
    /// `data.on_bad_image`.
    pub on_bad: OnBadImage,
}

/// Checks that a corpus has the splits and photos that a pretraining needs.
///
/// # Errors
/// When the train or the val split has no images, or there are no photos.
pub fn require(corpus: &Corpus) -> Result<()> {
    for split in [Split::Train, Split::Val] {
        photos_in(corpus, split)?;
    }
    Ok(())
}

/// Trains on the train split of the corpus and writes the best checkpoint, by val recall, to `pretrain.out`
/// in transformers' layout. `before_writing` runs before the first file of the model: what a crash leaves is known then.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn pretrain(
    settings: &Pretraining,
    corpus: &Corpus,
    run: &RunFolder,
    resume: bool,
    before_writing: &dyn Fn() -> Result<()>,
    ctx: &Context,
) -> Result<()> {
    let section = settings.section;
    require(corpus)?;
    verify::photos_are_there(corpus, settings.on_bad)?;
    let encoder = starting_encoder(settings, corpus, ctx)?;
    tracing::info!("{}, {}", encoder.summary(), describe(ctx.compute, &ctx.device));
    let mut budget = MemoryBudget::ALL_SPLITS;
    let mut examples =
        |split| SplitExamples::read(corpus, split, &*encoder, &mut budget, settings.on_bad, ctx);
    let (train, val) = (examples(Split::Train)?, examples(Split::Val)?);
    let mut task = ContrastiveTask::new(encoder, train, val, section, settings.seed);
    engine::train(&mut task, plan(section), run, resume, ctx)?;
    before_writing()?;
    task.write_best(run, Path::new(&section.out))
}

fn plan(section: &Pretrain) -> TrainingPlan {
    plan!(section, checkpoint_every: section.validate_every)
}

/// A fresh CLIP, or the one of `pretrain.init`.
fn starting_encoder(
    settings: &Pretraining,
    corpus: &Corpus,
    ctx: &Context,
) -> Result<Box<dyn TrainableDualEncoder>> {
    let section = settings.section;
    let trainable = TrainableSettings {
        towers: TrainableTowers::EVERYTHING,
        device: &ctx.device,
        compute: ctx.compute,
        keep: section.recompute.then_some(Keep::Input),
    };
    if !section.init.is_empty() {
        return from_folder(&init_folder(section, ctx.progress)?, &trainable);
    }
    let pairs = corpus.train_pairs();
    let captions = pairs.iter().map(|pair| corpus.caption(pair.caption().index()));
    fresh(section, captions, settings.seed, &trainable)
}

/// The folder of `pretrain.init`.
///
/// # Errors
/// When it is not there, or is the folder that gets the result.
fn init_folder(section: &Pretrain, progress: Progress) -> Result<PathBuf> {
    let folder = encoder_folder::find(&section.init, &section.revision, progress)?;
    if is_same_folder(&folder, Path::new(&section.out)) {
        return Err(Error::input(format!(
            "pretrain.out = \"{}\" is the folder of pretrain.init: the tuned model would replace the one it was \
             made from; choose another",
            section.out
        )));
    }
    Ok(folder)
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

//! `dsi train`: the decoder learns (caption→docid) and (image→docid) together, and the encoder with it if
//! `[tune]` says so.
//!
//! A micro-batch goes this way: [`super::embedded_queries`] makes its queries, [`super::objective`] gives each
//! query its candidates and computes the loss, and [`super::engine`] takes the gradients.

mod memory_advice;
mod task;
mod validation;

use std::sync::Arc;

use super::batch_sampler::require_train_split;
use super::docid_state::DocidState;
use super::dry_run::{self, DryRun};
use super::embedded_queries::QuerySource;
use super::engine;
use super::joint_settings::JointSettings;
use super::objective::Objective;
use super::objective::terms::term::Term;
use super::rank_streams::RankStreams;
use super::task::{TrainingPlan, plan};
use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::modality::Modality;
use crate::model::build_model::Model;
use crate::model::checkpoint::ENCODER;
use crate::model::index_folder::DocidIndex;
use crate::nn::device::describe;
use crate::nn::params::Params;
use crate::nn::weight_schedule::WeightSchedule;
use crate::run_folder::RunFolder;
use crate::train::settings::Train;

/// Trains a model over an index; the run folder gets checkpoints and the log.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn train(
    settings: &JointSettings,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    JointTraining::new(settings, prepared, index, ctx)?.train(run, resume)
}

/// Measures what a training would take, by a few steps of which nothing is kept.
///
/// # Errors
/// What the data or the steps report.
pub fn dry_run(
    settings: &JointSettings,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    ctx: &Context,
) -> Result<DryRun> {
    let mut training = JointTraining::new(settings, prepared, index, ctx)?;
    dry_run::dry_run(&mut training, plan(settings.train))
}

/// Checks that a corpus has the splits that a training needs.
///
/// # Errors
/// When there is no train split, or no val split although `train.patience` counts validations.
pub fn require(section: &Train, corpus: &Corpus) -> Result<()> {
    require_train_split(corpus)?;
    let patience = section.patience;
    if patience > 0 && corpus.images_in(Split::Val).is_empty() {
        return Err(Error::input(format!(
            "train.patience = {patience} counts validations that are no better on val, and the corpus has no images \
             there: set it to 0"
        )));
    }
    Ok(())
}

fn plan(section: &Train) -> TrainingPlan {
    plan!(section, checkpoint_every: section.checkpoint_every)
}

/// Joint training: the task of `dsi train`.
pub struct JointTraining<'a> {
    settings: JointSettings<'a>,
    prepared: &'a EmbeddedCorpus,
    ctx: &'a Context,
    model: Model,
    /// All trained parameters: those of the decoder, and of the encoder if it is trained.
    params: Params,
    source: QuerySource<'a>,
    docids: DocidState,
    objective: Objective,
    validation_captions: Vec<usize>,
}

impl<'a> JointTraining<'a> {
    /// The training of a fresh model over an index.
    ///
    /// # Errors
    /// When the settings do not fit the index, the corpus or the number of ranks, or the encoder cannot be
    /// read.
    pub fn new(
        settings: &JointSettings<'a>,
        prepared: &'a EmbeddedCorpus,
        index: &'a DocidIndex,
        ctx: &'a Context,
    ) -> Result<Self> {
        require(settings.train, &prepared.corpus)?;
        check_reassignment(settings, index)?;
        let objective = Objective::open(settings, &prepared.corpus)?;
        let mut model =
            Model::fresh(settings.seed, settings.decoder, objective.scoring(), &index.into(), &ctx.device)?;
        model.compute_in(ctx.compute);
        let images = Arc::new(index.align.apply(Modality::Image, &prepared.embeddings.images));
        let source = QuerySource::open(settings, prepared, index, images.clone(), ctx)?;
        let params = match source.encoder() {
            Some(encoder) => model.params.with(ENCODER, &encoder.params()),
            None => model.params.clone(),
        };
        Ok(Self {
            settings: *settings,
            prepared,
            ctx,
            params,
            source,
            docids: DocidState::new(settings, prepared, index.clone(), images, &model.generative)?,
            objective,
            validation_captions: validation::validation_captions(&prepared.corpus),
            model,
        })
    }

    /// The same with a further term in the loss.
    pub fn with_term(mut self, weight: WeightSchedule, term: impl Term + 'static) -> Self {
        self.objective.add_term(weight, term);
        self
    }

    /// Trains, from the newest checkpoint of the run folder with `resume`.
    ///
    /// # Errors
    /// As [`train`].
    pub fn train(&mut self, run: &RunFolder, resume: bool) -> Result<()> {
        let (ctx, plan) = (self.ctx, plan(self.settings.train));
        let device = describe(ctx.compute, &ctx.device);
        tracing::info!("training a decoder of {} parameters, {device}", self.model.params.count());
        if let Some(encoder) = self.source.encoder() {
            tracing::info!("training {} parameters of the encoder", encoder.params().count());
            if ctx.comm.overlaps_sums() && ctx.device.is_cpu() {
                tracing::info!("summing the encoder's gradients over the ranks during the backward pass");
            }
        }
        engine::train(self, plan, run, resume, ctx)
    }

    fn streams(&self) -> RankStreams {
        RankStreams::new(self.settings.seed, &self.ctx.comm)
    }
}

/// Docids that are re-assigned during the training must be unique without a suffix level.
fn check_reassignment(settings: &JointSettings, index: &DocidIndex) -> Result<()> {
    if settings.tune.reassign_every > 0 && index.meta.gates.suffix {
        return Err(Error::input(
            "tune.reassign_every needs docids that are unique by their codes alone, and this index has a suffix level: \
             raise index.levels or index.codes",
        ));
    }
    Ok(())
}

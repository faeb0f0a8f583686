//! `dsi train`: the decoder learns (caption→docid) and (image→docid) together, and the encoder with it if `[tune]` says so.
//!
//! A micro-batch goes this way: [`super::query_source`] makes its queries, [`super::objective`] gives each query its
//! candidates and computes the loss, and [`super::engine`] takes the gradients.

mod memory_advice;
mod sections;
mod task;
mod validation;

use std::sync::Arc;

pub use self::sections::Sections;
use super::docid_state::DocidState;
use super::dry_run::{self, DryRun};
use super::engine;
use super::objective::Objective;
use super::query_source::QuerySource;
use super::rank_streams::RankStreams;
use super::task::{TrainingPlan, plan};
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::modality::Modality;
use crate::model::build_model::Model;
use crate::model::checkpoint::ENCODER;
use crate::model::index_folder::DocidIndex;
use crate::nn::device::describe;
use crate::nn::params::Params;
use crate::run_folder::RunFolder;
use crate::train::settings::Train;

/// Trains a model over an index; the run folder gets checkpoints and the log.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn train(
    sections: &Sections,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    let mut task = Joint::new(sections, prepared, index, ctx)?;
    let device = describe(ctx.compute, &ctx.device);
    tracing::info!("training a decoder of {} parameters, {device}", task.model.params.count());
    if let Some(encoder) = task.source.encoder() {
        tracing::info!("training {} parameters of the encoder", encoder.params().count());
        if ctx.comm.overlaps_sums() && ctx.device.is_cpu() {
            tracing::info!("summing the encoder's gradients over the ranks during the backward pass");
        }
    }
    engine::train(&mut task, plan(sections.train), run, resume, ctx)
}

/// Measures what a training would take, by a few steps of which nothing is kept.
///
/// # Errors
/// What the data or the steps report.
pub fn dry_run(
    sections: &Sections,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    ctx: &Context,
) -> Result<DryRun> {
    let mut task = Joint::new(sections, prepared, index, ctx)?;
    dry_run::dry_run(&mut task, plan(sections.train))
}

fn plan(section: &Train) -> TrainingPlan {
    plan!(section, checkpoint_every: section.checkpoint_every)
}

/// The task of joint training.
struct Joint<'a> {
    sections: Sections<'a>,
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

impl<'a> Joint<'a> {
    /// The training of a fresh model.
    fn new(
        sections: &Sections<'a>,
        prepared: &'a EmbeddedCorpus,
        index: &'a DocidIndex,
        ctx: &'a Context,
    ) -> Result<Self> {
        check_reassignment(sections, index)?;
        let objective = Objective::open(sections, &prepared.corpus)?;
        let mut model =
            Model::fresh(sections.seed, sections.decoder, objective.scoring(), index, &ctx.device)?;
        model.compute_in(ctx.compute);
        let images = Arc::new(index.align.apply(Modality::Image, &prepared.embeddings.images));
        let source = QuerySource::open(sections, prepared, index, images.clone(), ctx)?;
        let params = match source.encoder() {
            Some(encoder) => model.params.with(ENCODER, &encoder.params()),
            None => model.params.clone(),
        };
        Ok(Self {
            sections: *sections,
            prepared,
            ctx,
            params,
            source,
            docids: DocidState::new(sections, prepared, index.clone(), images, &model.generative)?,
            objective,
            validation_captions: validation::validation_captions(&prepared.corpus),
            model,
        })
    }

    fn streams(&self) -> RankStreams {
        RankStreams::new(self.sections.seed, &self.ctx.comm)
    }
}

/// Docids that are re-assigned during the training must be unique without a suffix level.
fn check_reassignment(sections: &Sections, index: &DocidIndex) -> Result<()> {
    if sections.tune.reassign_every > 0 && index.meta.gates.suffix {
        return Err(Error::input(
            "tune.reassign_every needs docids that are unique by their codes alone, and this index has a suffix level: \
             raise index.levels or index.codes",
        ));
    }
    Ok(())
}

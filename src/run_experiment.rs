//! One experiment from end to end: index, training and evaluation in one run folder.
//!
//! `dsi train` calls this once and `dsi ablate` many times. It also opens a trained run again, for evaluation
//! and search.
//!
//! If the encoder is trained too, a run ends with its own encoder and the index that belongs to it
//! ([`RunFolder::tuned`]): from then on the run is searched and measured with those.
//!
//! This is the lowest module that sees the whole [`Config`]; the jobs below get the sections that they need.

pub mod early_checks;
pub mod search_store;

use candle_core::{DType, Device};

use crate::config::{Config, Scope};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::leaks;
use crate::data::photo_record::PhotoRecord;
use crate::data::photos::PhotoHash;
use crate::data::settings::OnBadImage;
use crate::encoder::before_embedding::BeforeEmbedding;
use crate::encoder::embed_corpus::{embed_corpus_after, embed_corpus_of_run};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::trainable_dual_encoder::TrainableTowers;
use crate::encoder::{self, TrainableSettings};
use crate::error::{Error, Result};
use crate::eval::{Evaluation, Protocol, fit_rerank_weight};
use crate::model::build_model::Model;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::model::index_folder::DocidIndex;
use crate::retriever::sections::Sections;
use crate::retriever::{RETRIEVERS, RetrieverFactory};
use crate::run_folder::RunFolder;
use crate::train::docid_state;
use crate::train::dry_run::DryRun;
use crate::train::joint_settings::JointSettings;
use crate::train::objective::MainLoss;
use crate::{eval, index, train};

/// The folder of the index below [`RunFolder::tuned`].
const INDEX: &str = "index";

/// The corpus and embeddings of a configuration, checked before a training. Each rank embeds a share.
///
/// # Errors
/// When they cannot be read, the splits leak into each other, or the corpus lacks what a training needs
/// ([`early_checks::training`]).
pub fn prepare(config: &Config, ctx: &Context) -> Result<EmbeddedCorpus> {
    prepare_for(early_checks::training_to_begin, config, ctx)
}

/// The same for a job that needs of the corpus what `check` says. It is checked before anything is embedded,
/// and again if photos that cannot be read may have been left out.
///
/// # Errors
/// When corpus or encoder cannot be read, the splits leak into each other, and what the check refuses.
pub fn prepare_for(
    check: early_checks::CorpusCheck,
    config: &Config,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    let (data, skips) = (&config.data, config.data.on_bad_image == OnBadImage::Skip);
    let guard = |corpus: &Corpus, photos: &[Option<PhotoHash>]| leaks::guard(data.on_leak, corpus, photos);
    let checks = BeforeEmbedding {
        corpus: &|corpus| check(config, corpus),
        encoder: &|encoder| early_checks::encoder(config, encoder),
        // Two photos that are left out may be equal.
        photos: &|corpus, photos| if skips { Ok(()) } else { guard(corpus, photos) },
    };
    let prepared = embed_corpus_after(&checks, data, &config.encoder, ctx)?;
    if skips {
        guard(&prepared.corpus, &prepared.photos)?;
        check(config, &prepared.corpus)?;
    }
    Ok(prepared)
}

/// The corpus and embeddings of a trained run, by its own encoder if that was trained too.
///
/// # Errors
/// When they cannot be read, or the training has not ended.
pub fn prepare_trained(config: &Config, run: &RunFolder, ctx: &Context) -> Result<EmbeddedCorpus> {
    prepare_trained_for(early_checks::searching, config, run, ctx)
}

/// The same for a job that needs of the corpus what `check` says, before anything is embedded.
///
/// # Errors
/// As [`prepare_trained`], and what the check refuses.
pub fn prepare_trained_for(
    check: early_checks::CorpusCheck,
    config: &Config,
    run: &RunFolder,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    let checks = BeforeEmbedding { corpus: &|corpus| check(config, corpus), ..BeforeEmbedding::NOTHING };
    if !config.tunes() {
        return embed_corpus_of_run(&checks, &config.data, &config.encoder, run, ctx);
    }
    let encoder = run.tuned_encoder();
    if !DocidIndex::exists(&run.tuned().join(INDEX)) {
        let what = "holds a training of the encoder that has not ended; go on with dsi train --resume";
        return Err(Error::file(run.path(), what));
    }
    let encoder =
        encoder::settings::Encoder { path: encoder.display().to_string(), ..config.encoder.clone() };
    embed_corpus_of_run(&checks, &config.data, &encoder, run, ctx)
}

/// Trains as [`train()`] does, and measures. What is measured is still to be written
/// ([`Evaluation::write`]).
///
/// # Errors
/// As [`train()`].
pub fn run(
    config: &Config,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<Evaluation> {
    train(config, prepared, run, resume, ctx)?;
    measure_own(config, prepared, run, ctx)
}

/// The settings of [`index::open`] and [`index::build`].
pub fn index_settings(config: &Config) -> index::Settings<'_> {
    index::Settings { index: &config.index, regime: config.train.regime, seed: config.seed }
}

/// What [`train::joint`] needs of a configuration.
pub fn joint_settings(config: &Config) -> JointSettings<'_> {
    JointSettings {
        seed: config.seed,
        encode_beam: config.index.encode_beam,
        index_views: config.index.views,
        decoder: &config.decoder,
        train: &config.train,
        tune: &config.tune,
        search: &config.search,
        on_bad_image: config.data.on_bad_image,
    }
}

/// Builds the index unless the run has one, and trains; with `resume`, from the last checkpoint.
///
/// # Errors
/// [`crate::error::Error::Stopped`] after a requested stop; otherwise what the gates, the data or the disk
/// report.
pub fn train(
    config: &Config,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    let index = index::open(&index_settings(config), prepared, run, ctx)?;
    if ctx.comm.is_first()
        && let Some(record) = PhotoRecord::read(&run.index())?
    {
        record.report_replaced(&prepared.corpus, &prepared.photos);
    }
    train::joint::train(&joint_settings(config), prepared, &index, run, resume, ctx)?;
    if config.tunes() && ctx.comm.is_first() {
        keep_tuned(config, prepared, index, run, ctx)?;
    }
    ctx.comm.barrier();
    Ok(())
}

/// Estimates what the training of a run takes by a few steps of it, over the run's index or one that is not
/// written.
///
/// # Errors
/// What the gates, the data or the steps report.
pub fn dry_run(config: &Config, prepared: &EmbeddedCorpus, run: &RunFolder, ctx: &Context) -> Result<DryRun> {
    let index = if DocidIndex::exists(&run.index()) {
        DocidIndex::read(&run.index(), prepared)?
    } else {
        index::make(&index_settings(config), prepared, ctx)?
            .ok_or_else(|| Error::input("a dry run is for a single process: start it alone"))?
    };
    train::joint::dry_run(&joint_settings(config), prepared, &index, ctx)
}

/// Measures a run that has just been trained, after fitting the re-ranking weight if `search.fit_rerank` says
/// so. `prepared` is what the run began with. Every rank does a share. Nothing is written yet.
///
/// # Errors
/// When a file of the run cannot be read.
pub fn measure_own(
    config: &Config,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    ctx: &Context,
) -> Result<Evaluation> {
    let tuned = config.tunes().then(|| prepare_trained(config, run, ctx)).transpose()?;
    let prepared = tuned.as_ref().unwrap_or(prepared);
    let mut trained = retrievers(config, prepared, run, &ctx.device)?;
    let mut fitted = None;
    if config.search.fit_rerank {
        let weight = fit_rerank_weight::rerank_weight(&trained)?;
        trained = trained.with_rerank_weight(weight);
        fitted = Some((run.clone(), weight));
    }
    Ok(evaluate(config, &trained, run, ctx)?.with_fitted(fitted))
}

/// Measures the weights of the run `of` with other settings, into the folder `run`. `prepared` is what `of`
/// began with.
///
/// # Errors
/// As [`open`].
pub fn measure(
    config: &Config,
    prepared: &EmbeddedCorpus,
    of: &RunFolder,
    run: &RunFolder,
    ctx: &Context,
) -> Result<Evaluation> {
    let tuned = config.tunes().then(|| prepare_trained(config, of, ctx)).transpose()?;
    let prepared = tuned.as_ref().unwrap_or(prepared);
    evaluate(config, &open(config, prepared, of, &ctx.device)?, run, ctx)
}

/// Measures the retrievers of a trained run.
///
/// # Errors
/// As [`eval::evaluate`].
pub fn evaluate(
    config: &Config,
    trained: &RetrieverFactory,
    folder: &RunFolder,
    ctx: &Context,
) -> Result<Evaluation> {
    eval::evaluate(&protocol(config), RETRIEVERS, trained, folder, ctx)
}

/// What an evaluation of this configuration measures.
pub fn protocol(config: &Config) -> Protocol<'_> {
    Protocol {
        section: &config.eval,
        dataset: &config.data.name,
        encoder: (config.encoder.kind.label)(&config.encoder),
        seed: config.seed,
        regime: config.train.regime,
        settings: config.fingerprint(&Scope::Settings.keys()),
    }
}

/// The sections that retrievers depend on.
fn sections(config: &Config) -> Sections {
    Sections {
        search: config.search.clone(),
        decoder: config.decoder.clone(),
        trains_alignment: config.index.align_steps > 0 || config.index.views > 0,
        exhaustive: config.eval.exhaustive,
    }
}

/// The retrievers of a trained run over its corpus, as [`prepare_trained`] gives it.
///
/// # Errors
/// When its index or its weights are missing, damaged, or belong to another configuration, corpus or encoder.
pub fn open<'a>(
    config: &Config,
    prepared: &'a EmbeddedCorpus,
    run: &RunFolder,
    device: &Device,
) -> Result<RetrieverFactory<'a>> {
    let trained = retrievers(config, prepared, run, device)?;
    if config.search.fit_rerank {
        return Ok(trained.with_rerank_weight(fit_rerank_weight::read(run)?));
    }
    Ok(trained)
}

/// The same with the configured re-ranking weight.
fn retrievers<'a>(
    config: &Config,
    prepared: &'a EmbeddedCorpus,
    run: &RunFolder,
    device: &Device,
) -> Result<RetrieverFactory<'a>> {
    let (index, model) = trained_parts(config, prepared, run, device)?;
    RetrieverFactory::new(prepared, sections(config), index, model.generative)
}

/// The index of a trained run, and the model with its best weights.
fn trained_parts(
    config: &Config,
    prepared: &EmbeddedCorpus,
    run: &RunFolder,
    device: &Device,
) -> Result<(DocidIndex, Model)> {
    let folder = if config.tunes() { run.tuned().join(INDEX) } else { run.index() };
    let index = DocidIndex::read(&folder, prepared)?;
    let scoring = MainLoss::of(config.train.loss).scoring;
    let model = Model::fresh(config.seed, &config.decoder, scoring, &(&index).into(), device)?;
    Ok((index, model.with_best_weights(run)?))
}

/// Writes the encoder of the best checkpoint and the index that belongs to it.
fn keep_tuned(
    config: &Config,
    prepared: &EmbeddedCorpus,
    index: DocidIndex,
    run: &RunFolder,
    ctx: &Context,
) -> Result<()> {
    let towers = TrainableTowers::of(&config.tune);
    let settings = TrainableSettings { towers, device: &ctx.device, compute: DType::F32, keep: None };
    let encoder = prepared.encoder.trainable(&settings)?;
    let mut best = Checkpoint::read(&run.checkpoints(), Which::Best)?;
    let index = docid_state::with_docids(index, &mut best.optimizer, &run.checkpoints())?;
    let (_, weights) = best.parts();
    encoder.trained_towers().assign(weights, &run.checkpoints())?;
    let fingerprint = encoder.write(&run.tuned_encoder(), DType::F32)?;
    index.of_encoder(fingerprint).write(&run.tuned().join(INDEX), &prepared.corpus)
}

//! One experiment from end to end: index, training and evaluation in one run folder.
//!
//! What `dsi train` does once and `dsi ablate` many times, so that both do the same; and the way back into a trained run,
//! for evaluation and search.

use candle_core::Device;

use crate::config::Config;
use crate::data::leaks;
use crate::error::Result;
use crate::eval::fit;
use crate::eval::report::Report;
use crate::model::features::{self, Prepared};
use crate::model::index::Index;
use crate::retriever::build::{Model, Parts};
use crate::run::RunFolder;
use crate::train::stop::Stop;
use crate::train::teacher::Scores;
use crate::{eval, index, train};

/// The corpus and embeddings of a configuration, which must be fit to train on and to measure with.
///
/// # Errors
/// When they cannot be read, the splits leak into each other, the evaluated split is empty, or `train.teacher` is of another
/// corpus.
pub fn prepare(config: &Config, device: &Device) -> Result<Prepared> {
    let prepared = features::prepare(&config.data, &config.encoder, device)?;
    leaks::guard(config.data.on_leak, &prepared.corpus, &prepared.photos)?;
    eval::require(config, &prepared.corpus)?;
    Scores::open(&config.train, &prepared.corpus)?;
    Ok(prepared)
}

/// Builds the index unless the run has one, trains the decoder, from the last checkpoint where `resume` is set, and
/// measures it. The run folder gets everything.
///
/// # Errors
/// [`crate::error::Error::Stopped`] after a requested stop; otherwise what the gates, the data or the disk report.
pub fn run(
    config: &Config,
    prepared: &Prepared,
    run: &RunFolder,
    resume: bool,
    device: &Device,
    stop: &Stop,
) -> Result<Report> {
    let index = index::open(config, prepared, run, device)?;
    train::joint::train(config, prepared, &index, run, resume, device, stop)?;
    let model = Model::trained(config, &index, run, device)?;
    let mut parts = Parts::new(config, prepared, index, model.dsi)?;
    if config.search.fit_rerank {
        let weight = fit::rerank_weight(prepared, &parts)?;
        fit::write(run, weight)?;
        parts.set_rerank_weight(weight);
    }
    eval::evaluate(config, prepared, &parts, run)
}

/// What the retrievers of a trained run are built from.
///
/// # Errors
/// When its index or its weights are missing, damaged, or of another configuration, corpus or encoder.
pub fn open(config: &Config, prepared: &Prepared, run: &RunFolder, device: &Device) -> Result<Parts> {
    let index = Index::read(&run.index(), prepared)?;
    let model = Model::trained(config, &index, run, device)?;
    let mut parts = Parts::new(config, prepared, index, model.dsi)?;
    if config.search.fit_rerank {
        parts.set_rerank_weight(fit::read(run)?);
    }
    Ok(parts)
}

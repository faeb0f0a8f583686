//! Run folders from the command line's side: beginning a run without losing another, opening a trained one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::context;
use crate::config::Config;
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::experiment;
use crate::file_io;
use crate::retriever::RetrieverFactory;
use crate::run_folder::RunFolder;

/// What of the configuration decides the weights of a run, so that a resumed or opened run must agree in it. (Its
/// corpus and its encoder may have moved; the index knows them by their fingerprints.)
pub const OF_A_RUN: [&str; 5] = ["seed", "index", "decoder", "train", "tune"];
/// What decides a training that goes on: with the weights, the search that rivals and the best checkpoint come from. A
/// finished run may be searched in any way.
pub const OF_A_TRAINING: [&str; 9] = [
    "seed",
    "precision",
    "index",
    "decoder",
    "train",
    "tune",
    "search.beam",
    "search.lookahead",
    "search.wildcard",
];
/// What decides an index that nothing is trained on yet.
const OF_AN_INDEX: [&str; 2] = ["seed", "index"];
/// What decides a pretrained CLIP.
pub const OF_A_CLIP: [&str; 4] = ["seed", "precision", "data", "pretrain"];

/// The run folder meant by `--out`.
pub fn run_folder(out: Option<PathBuf>, config: &Config) -> RunFolder {
    RunFolder::new(out.unwrap_or_else(|| format!("runs/{}", config.data.name).into()))
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In a folder that holds none.
    Anew,
    /// From its last checkpoint.
    Resume,
    /// Throwing away the one that is there.
    Force,
}

impl Start {
    /// What the two flags mean; clap lets only one of them through.
    pub fn from_flags(resume: bool, force: bool) -> Self {
        match (resume, force) {
            (true, _) => Self::Resume,
            (_, true) => Self::Force,
            _ => Self::Anew,
        }
    }
}

/// A run that may begin, once its data has proved sound.
pub struct Opening<'a> {
    run: &'a RunFolder,
    how: Start,
    config: String,
}

/// Prints the resolved configuration; refuses to overwrite a run, or to resume another one. `decides`: the parts of the
/// configuration that an earlier run must agree in.
pub fn open_run<'a>(
    run: &'a RunFolder,
    config: &Config,
    how: Start,
    decides: &[&str],
) -> Result<Opening<'a>> {
    let at = run.path().display();
    let holds = run.config().exists() && (run.index().exists() || run.checkpoints().exists());
    if how == Start::Resume && !holds {
        bail!("{at} holds no run to resume");
    }
    if how != Start::Force && holds {
        let before = Config::load(&run.config(), &[])?;
        let trained = run.checkpoints().exists();
        if trained && how != Start::Resume {
            bail!(
                "{at} holds a run already: go on with --resume, begin anew with --force, or choose another --out"
            );
        }
        let differences =
            config.batched_as(&before).differences(&before, if trained { decides } else { &OF_AN_INDEX });
        if !differences.is_empty() {
            bail!(
                "{at} holds a run of another configuration; choose another --out, or --force:\n  {}",
                differences.join("\n  ")
            );
        }
    }
    let config = config.to_toml();
    eprint!("{config}");
    Ok(Opening { run, how, config })
}

impl Opening<'_> {
    /// Throws away what is to be, and keeps the configuration.
    pub fn begin(self) -> Result<()> {
        if self.how == Start::Force && self.run.config().exists() {
            self.run.clear()?;
        }
        Ok(file_io::write_atomic(&self.run.config(), |out| out.write_all(self.config.as_bytes()))?)
    }
}

/// A trained run, opened for evaluation or search.
pub struct Opened {
    /// Its configuration, with the overrides of this call.
    pub config: Config,
    /// Its folder.
    pub run: RunFolder,
    /// Where it is measured or searched.
    pub ctx: Context,
    /// Its corpus and embeddings.
    pub prepared: EmbeddedCorpus,
}

impl Opened {
    /// Opens the run in a folder; overrides may not touch what decided its weights.
    pub fn new(run: PathBuf, overrides: &[String]) -> Result<Self> {
        let run = RunFolder::new(run);
        if !run.config().exists() {
            bail!("{} holds no run; make one with dsi train --config FILE", run.path().display());
        }
        if run.borrowed().exists() {
            let at = run.borrowed();
            bail!(
                "{} measured the weights of another run, which {} names",
                run.path().display(),
                at.display()
            );
        }
        let trained = Config::load(&run.config(), &[])?;
        let config = Config::load(&run.config(), overrides)?;
        let differences = config.differences(&trained, &OF_A_RUN);
        if !differences.is_empty() {
            bail!("a trained run cannot be changed:\n  {}", differences.join("\n  "));
        }
        let ctx = context(&config)?;
        let prepared = experiment::prepare_trained(&config, &run, &ctx)?;
        Ok(Self { config, run, ctx, prepared })
    }

    /// Its retrievers.
    pub fn retrievers(&self) -> Result<RetrieverFactory<'_>> {
        Ok(experiment::open(&self.config, &self.prepared, &self.run, &self.ctx.device)?)
    }
}

//! Run folders from the command line's side: beginning a run without losing another, opening a trained one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::device;
use crate::config::Config;
use crate::experiment;
use crate::file;
use crate::model::features::{self, Prepared};
use crate::retriever::build::Parts;
use crate::run::RunFolder;

/// What of the configuration decides the weights of a run, so that a resumed or opened run must agree in it. (Its
/// corpus and its encoder may have moved; the index knows them by their fingerprints.)
pub const OF_A_RUN: [&str; 4] = ["seed", "index", "decoder", "train"];
/// What decides an index that nothing is trained on yet.
const OF_AN_INDEX: [&str; 2] = ["seed", "index"];
/// What decides a pretrained CLIP.
pub const OF_A_CLIP: [&str; 3] = ["seed", "data", "pretrain"];

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

/// Makes the run folder ready: refuses to overwrite a run, refuses to resume another one, prints and keeps the
/// resolved configuration. `decides`: the parts of the configuration that an earlier run must agree in.
pub fn open_run(run: &RunFolder, config: &Config, how: Start, decides: &[&str]) -> Result<()> {
    let at = run.path().display();
    if how == Start::Force && run.config().exists() {
        run.clear()?;
    } else if run.config().exists() && (run.index().exists() || run.checkpoints().exists()) {
        let before = Config::load(&run.config(), &[])?;
        let trained = run.checkpoints().exists();
        if trained && how != Start::Resume {
            bail!(
                "{at} holds a run already: go on with --resume, begin anew with --force, or choose another --out"
            );
        }
        let differences = config.differences(&before, if trained { decides } else { &OF_AN_INDEX });
        if !differences.is_empty() {
            bail!(
                "{at} holds a run of another configuration; choose another --out, or --force:\n  {}",
                differences.join("\n  ")
            );
        }
    } else if how == Start::Resume {
        bail!("{at} holds no run to resume");
    }
    let text = config.to_toml();
    eprint!("{text}");
    Ok(file::write_atomic(&run.config(), |out| out.write_all(text.as_bytes()))?)
}

/// A trained run, opened for evaluation or search.
pub struct Opened {
    /// Its configuration, with the overrides of this call.
    pub config: Config,
    /// Its folder.
    pub run: RunFolder,
    /// Its corpus and embeddings.
    pub prepared: Prepared,
    /// What its retrievers are built from.
    pub parts: Parts,
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
        let device = device(config.device)?;
        let prepared = features::prepare(&config.data, &config.encoder, &device)?;
        let parts = experiment::open(&config, &prepared, &run, &device)?;
        Ok(Self { config, run, prepared, parts })
    }
}

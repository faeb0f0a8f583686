//! Run folders on the command line: beginning a run without losing another one, and opening a trained one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::context;
use crate::config::{Config, Scope};
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::file_io;
use crate::retriever::RetrieverFactory;
use crate::run_experiment;
use crate::run_folder::RunFolder;

/// The run folder of `--out`, or the default one.
pub fn run_folder(out: Option<PathBuf>, config: &Config) -> RunFolder {
    RunFolder::new(out.unwrap_or_else(|| format!("runs/{}", config.data.name).into()))
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In a folder that holds no run.
    Anew,
    /// From its last checkpoint.
    Resume,
    /// After deleting the run that is there.
    Force,
}

impl Start {
    /// The start that the two flags ask for; clap lets only one of them through.
    pub fn from_flags(resume: bool, force: bool) -> Self {
        match (resume, force) {
            (true, _) => Self::Resume,
            (_, true) => Self::Force,
            _ => Self::Anew,
        }
    }
}

/// A run that may begin once its data have been checked.
pub struct Opening<'a> {
    run: &'a RunFolder,
    how: Start,
    config: String,
}

/// Refuses to overwrite a run, or to resume one of another configuration. `scope`: the keys in which a run
/// that is resumed must agree.
pub fn open_run<'a>(run: &'a RunFolder, config: &Config, how: Start, scope: Scope) -> Result<Opening<'a>> {
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
                "{at} holds a run already: go on with --resume, replace it with --force, or choose another --out"
            );
        }
        let scope = if trained { scope } else { Scope::Index };
        let differences = config.batched_as(&before).differences(&before, &scope.keys());
        if !differences.is_empty() {
            bail!(
                "{at} holds a run of another configuration; choose another --out, or --force:\n  {}",
                differences.join("\n  ")
            );
        }
    }
    announce(config, run);
    Ok(Opening { run, how, config: config.to_toml() })
}

/// Logs what the configuration sets; the run folder gets all of it.
fn announce(config: &Config, run: &RunFolder) {
    let set = config.set_keys();
    let set = if set.is_empty() { "all keys have their defaults".to_owned() } else { set.join(", ") };
    tracing::info!("configuration (all keys go to {}): {set}", run.config().display());
}

impl Opening<'_> {
    /// Deletes the earlier run if `--force` says so, and writes the configuration.
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
    /// Opens the run in a folder. Overrides may not change a key that its weights depend on.
    pub fn new(run: PathBuf, overrides: &[String]) -> Result<Self> {
        let run = RunFolder::new(run);
        if !run.config().exists() {
            bail!("{} holds no run; make one with dsi train --config FILE", run.path().display());
        }
        if run.borrowed().exists() {
            let at = run.borrowed();
            bail!(
                "{} measured the weights of another run; {} has its name",
                run.path().display(),
                at.display()
            );
        }
        let trained = Config::load(&run.config(), &[])?;
        let config = Config::load(&run.config(), overrides)?;
        let differences = config.differences(&trained, &Scope::Run.keys());
        if !differences.is_empty() {
            bail!("a trained run cannot be changed:\n  {}", differences.join("\n  "));
        }
        let ctx = context(&config)?;
        let prepared = run_experiment::prepare_trained(&config, &run, &ctx)?;
        Ok(Self { config, run, ctx, prepared })
    }

    /// Its retrievers.
    pub fn retrievers(&self) -> Result<RetrieverFactory<'_>> {
        Ok(run_experiment::open(&self.config, &self.prepared, &self.run, &self.ctx.device)?)
    }
}

//! Opening a trained run for evaluation or search.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::context;
use crate::config::{Config, Scope};
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::retriever::RetrieverFactory;
use crate::run_experiment;
use crate::run_experiment::early_checks::{self, CorpusCheck};
use crate::run_folder::RunFolder;
use crate::run_identity;

/// A trained run, opened for evaluation or search.
pub struct OpenedRun {
    /// Its configuration, with the overrides of this call.
    pub config: Config,
    /// Its folder.
    pub run: RunFolder,
    /// Where it is measured or searched.
    pub ctx: Context,
    /// Its corpus and embeddings.
    pub prepared: EmbeddedCorpus,
}

impl OpenedRun {
    /// Opens the run in a folder. Overrides may not change a key that its weights depend on. `check`: what is
    /// needed of its corpus, before anything is embedded.
    pub fn new(run: PathBuf, overrides: &[String], check: CorpusCheck) -> Result<Self> {
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
        run_identity::require_unchanged(&run, &trained)?;
        let mut config = Config::load(&run.config(), overrides)?;
        let differences = config.differences(&trained, &Scope::Run.keys());
        if !differences.is_empty() {
            bail!("a trained run cannot be changed:\n  {}", differences.join("\n  "));
        }
        run_identity::find_paths(&run, &trained, &mut config)?;
        early_checks::trained_run(&config, &run)?;
        let ctx = context(&config)?;
        let prepared = run_experiment::prepare_trained_for(check, &config, &run, &ctx)?;
        Ok(Self { config, run, ctx, prepared })
    }

    /// Its retrievers.
    pub fn retrievers(&self) -> Result<RetrieverFactory<'_>> {
        Ok(run_experiment::open(&self.config, &self.prepared, &self.run, &self.ctx.device)?)
    }
}

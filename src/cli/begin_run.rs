//! Beginning a run in a folder without losing another one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::config::{Config, Scope};
use crate::file_io;
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
pub struct CheckedStart<'a> {
    run: &'a RunFolder,
    how: Start,
    config: String,
}

/// Refuses to overwrite a run, or to resume one of another configuration. `scope`: the keys in which a run
/// that is resumed must agree.
pub fn begin_run<'a>(
    run: &'a RunFolder,
    config: &Config,
    how: Start,
    scope: Scope,
) -> Result<CheckedStart<'a>> {
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
    Ok(CheckedStart { run, how, config: config.to_toml() })
}

/// Logs what the configuration sets; the run folder gets all of it.
fn announce(config: &Config, run: &RunFolder) {
    let set = config.set_keys();
    let set = if set.is_empty() { "all keys have their defaults".to_owned() } else { set.join(", ") };
    tracing::info!("configuration (all keys go to {}): {set}", run.config().display());
}

impl CheckedStart<'_> {
    /// Deletes the earlier run if `--force` says so, and writes the configuration.
    pub fn begin(self) -> Result<()> {
        if self.how == Start::Force && self.run.config().exists() {
            self.run.clear()?;
        }
        Ok(file_io::write_atomic(&self.run.config(), |out| out.write_all(self.config.as_bytes()))?)
    }
}

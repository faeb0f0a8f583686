//! Beginning a run in a folder without losing another one.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::config::{Config, Scope};
use crate::file_io;
use crate::model::checkpoint;
use crate::run_experiment::early_checks;
use crate::run_folder::RunFolder;
use crate::run_identity;
use crate::run_lock::RunLock;
use crate::store::generation::Generation;

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

/// What a command does in a run folder.
#[derive(Clone, Copy)]
pub struct Job {
    /// The command: `dsi train`.
    pub command: &'static str,
    /// How the run begins.
    pub start: Start,
    /// The keys in which a run that is resumed must agree.
    pub scope: Scope,
}

/// A run that may begin once its data have been checked. Until it is dropped, no other process begins one there.
pub struct CheckedStart<'a> {
    run: &'a RunFolder,
    job: Job,
    config: &'a Config,
    lock: RunLock,
}

/// Locks the run folder. Refuses one that is not dsi's, to overwrite a run, and to resume one of another configuration.
pub fn begin_run<'a>(run: &'a RunFolder, config: &'a Config, job: Job) -> Result<CheckedStart<'a>> {
    early_checks::run_folder(run)?;
    let lock = RunLock::acquire(run.path(), job.command)?;
    run_identity::require_own(run)?;
    let holds = run.config().exists() && (run.index().exists() || run.checkpoints().exists());
    let store = Generation::read(&run.search()).ok().flatten();
    if !holds && store.is_some() {
        bail!("{} holds an index of photos; choose another --out", run.path().display());
    }
    if store.is_some_and(|store| store.edited) {
        bail!(
            "images were added to {} or removed from it, and this would undo that; choose another --out, or copy the run",
            run.path().display()
        );
    }
    if job.start == Start::Resume && !holds {
        bail!("{} holds no run to resume", run.path().display());
    }
    if job.start != Start::Force && holds {
        require_same(run, config, job)?;
    }
    if job.start == Start::Resume {
        checkpoint::require(&run.checkpoints())?;
    }
    announce(config, run);
    Ok(CheckedStart { run, job, config, lock })
}

/// Refuses a run of another configuration, and a trained one unless it is resumed.
fn require_same(run: &RunFolder, config: &Config, job: Job) -> Result<()> {
    let at = run.path().display();
    let before = Config::load(&run.config(), &[])?;
    let trained = run.checkpoints().exists();
    if trained && job.start != Start::Resume {
        bail!("{at} holds a run already: go on with --resume, or choose another --out");
    }
    let scope = if trained { job.scope } else { Scope::Index };
    let differences = config.batched_as(&before).differences(&before, &scope.keys());
    if !differences.is_empty() {
        bail!(
            "{at} holds a run of another configuration; choose another --out:\n  {}",
            differences.join("\n  ")
        );
    }
    if trained {
        run_identity::require_unchanged(run, &before)?;
    }
    Ok(())
}

/// Logs what the configuration sets; the run folder gets all of it.
fn announce(config: &Config, run: &RunFolder) {
    let set = config.set_keys();
    let set = if set.is_empty() { "all keys have their defaults".to_owned() } else { set.join(", ") };
    tracing::info!("configuration (all keys go to {}): {set}", run.config().display());
}

impl CheckedStart<'_> {
    /// Deletes the earlier run if `--force` says so, marks the folder, and writes the configuration. The caller keeps
    /// the lock until its last write.
    pub fn begin(self) -> Result<RunLock> {
        if self.job.start == Start::Force {
            self.run.clear()?;
        }
        self.mark()
    }

    /// As [`CheckedStart::begin`], but keeps what an earlier run left.
    pub fn mark(self) -> Result<RunLock> {
        run_identity::mark(self.run, self.config, self.job.command)?;
        let text = self.config.to_toml();
        file_io::write_atomic(&self.run.config(), |out| out.write_all(text.as_bytes()))?;
        Ok(self.lock)
    }
}

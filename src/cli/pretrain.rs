//! `dsi pretrain`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::begin_run::{Job, Start, begin_run};
use super::{ConfigArgs, path_argument, training_context};
use crate::config::{Config, Scope};
use crate::data::{self, leaks};
use crate::file_io;
use crate::folder_marker::{self, FolderMarker};
use crate::run_experiment::early_checks;
use crate::run_folder::RunFolder;
use crate::run_identity;
use crate::run_lock::RunLock;
use crate::train::pretrain::{Pretraining, pretrain};

/// Train a small CLIP on a train split, or tune an existing one (pretrain.init), and write it in Hugging
/// Face's layout.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi pretrain --config configs/scenes-clip.toml
  dsi pretrain --config configs/flickr30k-b32-tuned.toml
  dsi pretrain --config configs/flickr8k.toml --set data.root=flickr8k")]
pub struct Pretrain {
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder for checkpoints and the log [default: runs/NAME-pretrain]; the model itself goes to
    /// pretrain.out.
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder.
    #[arg(long)]
    resume: bool,
    /// Delete the run that is in the run folder, and replace a CLIP that dsi pretrain wrote to pretrain.out.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

/// The command, for locks and markers.
const COMMAND: &str = "dsi pretrain";

impl Pretrain {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run =
            RunFolder::new(self.out.unwrap_or_else(|| format!("runs/{}-pretrain", config.data.name).into()));
        let start = Start::from_flags(self.resume, self.force);
        let job = Job { command: COMMAND, start, scope: Scope::Clip };
        let checked = begin_run(&run, &config, job)?;
        let model = ModelFolder::claim(&config, start == Start::Force)?;
        let corpus = data::open_corpus::open(&config.data, &|| ())?;
        let corpus = corpus.keeping(&corpus.proportional(config.data.limit))?;
        early_checks::pretraining(&config, &corpus)?;
        leaks::guard(config.data.on_leak, &corpus, &leaks::photo_hashes(&corpus))?;
        let ctx = training_context(&config)?;
        let _lock = checked.begin()?;
        let settings =
            Pretraining { section: &config.pretrain, seed: config.seed, on_bad: config.data.on_bad_image };
        pretrain(&settings, &corpus, &run, self.resume, &|| model.mark(&config), &ctx)?;
        tracing::info!("wrote {}", config.pretrain.out);
        Ok(())
    }
}

/// The folder that gets the model. Until it is dropped, no other process writes there.
struct ModelFolder {
    _lock: RunLock,
}

impl ModelFolder {
    /// Locks the folder. Refuses one that holds anything but the CLIP of this configuration; `replace` allows that of
    /// another one too.
    fn claim(config: &Config, replace: bool) -> Result<Self> {
        let folder = Path::new(&config.pretrain.out);
        file_io::check_writable(folder, "choose another folder with pretrain.out")?;
        let lock = RunLock::acquire(folder, COMMAND)?;
        let marker = FolderMarker::read(folder)?;
        if marker.is_none() && !folder_marker::is_free(folder)? {
            bail!(
                "pretrain.out = \"{}\" holds files that dsi pretrain did not write; choose another folder",
                folder.display()
            );
        }
        let other = marker.is_some_and(|marker| marker.made_by != COMMAND || marker.id != id(config));
        if other && !replace {
            bail!(
                "pretrain.out = \"{}\" holds the CLIP of another configuration; choose another folder",
                folder.display()
            );
        }
        Ok(Self { _lock: lock })
    }

    /// Marks the folder as that of this configuration's CLIP.
    fn mark(&self, config: &Config) -> crate::error::Result<()> {
        FolderMarker::new(COMMAND, id(config)).write(Path::new(&config.pretrain.out))
    }
}

fn id(config: &Config) -> String {
    run_identity::id(config, Scope::Clip)
}

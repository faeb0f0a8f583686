//! `dsi pretrain`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::begin_run::{Start, begin_run};
use super::{ConfigArgs, training_context};
use crate::config::Scope;
use crate::data::{self, leaks};
use crate::run_folder::RunFolder;
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
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder.
    #[arg(long)]
    resume: bool,
    /// Delete the run that is in the run folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Pretrain {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run =
            RunFolder::new(self.out.unwrap_or_else(|| format!("runs/{}-pretrain", config.data.name).into()));
        let start = begin_run(&run, &config, Start::from_flags(self.resume, self.force), Scope::Clip)?;
        let corpus = data::open_corpus::open(&config.data, &|| ())?;
        let corpus = corpus.keeping(&corpus.proportional(config.data.limit))?;
        leaks::guard(config.data.on_leak, &corpus, &leaks::photo_hashes(&corpus))?;
        let ctx = training_context(&config)?;
        start.begin()?;
        let settings =
            Pretraining { section: &config.pretrain, seed: config.seed, on_bad: config.data.on_bad_image };
        pretrain(&settings, &corpus, &run, self.resume, &ctx)?;
        tracing::info!("wrote {}", config.pretrain.out);
        Ok(())
    }
}

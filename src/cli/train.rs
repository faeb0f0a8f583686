//! `dsi train`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::open::{OF_A_TRAINING, Start, open_run, run_folder};
use super::{ConfigArgs, device, print_report, stop_on_ctrl_c};
use crate::experiment;

/// Do the whole job: embed the corpus, build the index if there is none, train the decoder, print the test table.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi train --config configs/scenes.toml
  dsi train --config configs/features.toml --set data.root=my-embeddings --out runs/mine
  dsi train --config configs/scenes.toml --resume")]
pub struct Train {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder, to exactly the weights an unbroken run would have.
    #[arg(long)]
    resume: bool,
    /// Throw away what an earlier run left in the run folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run = run_folder(self.out, &config);
        let device = device(config.device)?;
        let stop = stop_on_ctrl_c()?;
        let start = Start::from_flags(self.resume, self.force);
        let opening = open_run(&run, &config, start, &OF_A_TRAINING)?;
        let prepared = experiment::prepare(&config, &device)?;
        opening.begin()?;
        print_report(&experiment::run(&config, &prepared, &run, self.resume, &device, &stop)?, false)
    }
}

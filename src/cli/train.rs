//! `dsi train`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::open::{OF_A_TRAINING, Start, open_run, run_folder};
use super::{ConfigArgs, device, print_report, put, stop_on_ctrl_c};
use crate::experiment;
use crate::table::{Align, Table};
use crate::train::rehearsal::Rehearsal;

/// Do the whole job: embed the corpus, build the index if there is none, train the decoder, print the test table.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi train --config configs/scenes.toml
  dsi train --config configs/features.toml --set data.root=my-embeddings --out runs/mine
  dsi train --config configs/scenes.toml --resume
  dsi train --config configs/scenes.toml --set tune.text=all --set tune.image=2 --dry-run")]
pub struct Train {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder, to exactly the weights an unbroken run would have.
    #[arg(long)]
    resume: bool,
    /// Try a few steps, say what the training would take in memory and time, and end; nothing is kept.
    #[arg(long, conflicts_with_all = ["resume", "force"])]
    dry_run: bool,
    /// Throw away what an earlier run left in the run folder.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run = run_folder(self.out, &config);
        let device = device(config.device)?;
        if self.dry_run {
            let prepared = experiment::prepare(&config, &device)?;
            return put(told(&experiment::rehearse(&config, &prepared, &run, &device)?));
        }
        let stop = stop_on_ctrl_c()?;
        let start = Start::from_flags(self.resume, self.force);
        let opening = open_run(&run, &config, start, &OF_A_TRAINING)?;
        let prepared = experiment::prepare(&config, &device)?;
        opening.begin()?;
        print_report(&experiment::run(&config, &prepared, &run, self.resume, &device, &stop)?, false)
    }
}

fn told(found: &Rehearsal) -> String {
    let mut table = Table::new([("part", Align::Left), ("trained parameters", Align::Right)]);
    for (part, count) in &found.trained {
        table.push([(*part).to_owned(), count.to_string()]);
    }
    let minutes = found.total() / 60.0;
    let memory = found.memory.map_or_else(String::new, |held| format!(", {:.1} GB held", held as f64 / 1e9));
    format!(
        "{table}\n{:.3} s a step, {:.1} s a validation{memory}\n{} steps with {} validations: {minutes:.1} minutes, and the \
         measurement at the end\n",
        found.step, found.validation, found.steps, found.validations
    )
}

//! `dsi eval`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::open_run::OpenedRun;
use super::print_report;
use crate::run_experiment;

/// Measure a trained run: Recall@K of the generative retriever and of dense search with the same encoder.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi eval --dataset scenes
  dsi eval --run runs/mine --split val --json
  dsi eval --run runs/mine --set search.beam=100 --set eval.exhaustive=true")]
pub struct Eval {
    /// The dataset of the run. Without --run, the run is runs/NAME.
    #[arg(long, value_name = "NAME", required_unless_present = "run")]
    dataset: Option<String>,
    /// The run folder that `dsi train` made.
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// The split whose captions and photos are the queries: train, val or test [default: eval.split].
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Override a search or eval key of the run's configuration (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub fn run(self) -> Result<()> {
        let run = self
            .run
            .unwrap_or_else(|| format!("runs/{}", self.dataset.as_deref().unwrap_or_default()).into());
        let split = self.split.map(|split| format!("eval.split={split}"));
        let overrides: Vec<String> = self.set.into_iter().chain(split).collect();
        let opened = OpenedRun::new(run, &overrides)?;
        let name = &opened.config.data.name;
        if let Some(wanted) = self.dataset.filter(|wanted| wanted != name) {
            bail!("{} was trained on {name}, not on {wanted}", opened.run.path().display());
        }
        let trained = opened.retrievers()?;
        let report = run_experiment::evaluate(&opened.config, &trained, &opened.run, &opened.ctx)?;
        print_report(&report, self.json)
    }
}

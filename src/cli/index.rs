//! `dsi index`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::begin_run::{Job, Start, begin_run, run_folder};
use super::table_args::wrapped;
use super::{ConfigArgs, both, context, path_argument, print_json, print_stdout};
use crate::config::Scope;
use crate::docid::gates::GateReport;
use crate::index::{self, gate_table};
use crate::model::index_folder::DocidIndex;
use crate::output;
use crate::run_experiment::{early_checks, index_settings, prepare_for};
use crate::run_folder::RunFolder;

/// Give every image its docid, and check that the docids can work before anything is trained on them.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi index --config configs/scenes.toml
  dsi index --config configs/features.toml --set index.levels=12 --out runs/deep")]
pub struct Index {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name].
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Replace the index that is in the run folder. Weights that were trained with it are kept if they fit the new one;
    /// otherwise nothing is replaced.
    #[arg(long)]
    force: bool,
    /// With --force, delete weights that do not fit the new index.
    #[arg(long, requires = "force")]
    discard_weights: bool,
    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

impl Index {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run = run_folder(self.out.clone(), &config);
        let start = Start::from_flags(false, self.force);
        let start = begin_run(&run, &config, Job { command: "dsi index", start, scope: Scope::Run })?;
        let ctx = context(&config)?;
        let prepared = prepare_for(early_checks::indexing, &config, &ctx)?;
        let made = index::make(&index_settings(&config), &prepared, &ctx)?;
        let made = made.context("invariant: a single process is the first rank")?;
        let fits = DocidIndex::read(&run.index(), &prepared).is_ok_and(|old| old.is_same_as(&made));
        self.require_weights_fit(&run, fits)?;
        let printed = print(&made.meta.gates, self.json);
        let written = if fits { start.mark() } else { start.begin() };
        let written = written.and_then(|lock| Ok((index::write(&made, &prepared, &run.index())?, lock)));
        both(printed, written.map(drop))
    }

    /// Refuses to replace an index with which weights were trained that do not fit the new one.
    fn require_weights_fit(&self, run: &RunFolder, fits: bool) -> Result<()> {
        if fits || self.discard_weights || !run.checkpoints().exists() {
            return Ok(());
        }
        bail!(
            "the weights in {} were trained with another index; index into another --out, or add --discard-weights to \
             delete the weights",
            run.path().display()
        )
    }
}

fn print(gates: &GateReport, json: bool) -> Result<()> {
    if json {
        return print_json(gates);
    }
    print_stdout(wrapped(&gate_table::table(gates), output::width()) + "\n")
}

//! `dsi ablate`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::table_args::{Page, TableArgs};
use super::{ConfigArgs, both, context, ctrl_c, path_argument, print_json};
use crate::ablate::choose_report_row::Choice;
use crate::ablate::grid::{self, repeats};
use crate::ablate::results::Ablation;
use crate::ablate::run_plan::{Base, RunPlan};
use crate::ablate::{Failure, announce, results_table, run};
use crate::config::Config;
use crate::context::Context;
use crate::eval::row_setting::Gallery;
use crate::eval::settings::Eval;
use crate::retriever::ranking_stage::Stage;
use crate::run_experiment::early_checks;
use crate::run_lock::RunLock;

/// Train and measure variants of one experiment, and print one table with the difference that each makes.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi ablate --config configs/scenes.toml --grid configs/ablate-scenes.toml --set eval.split=val
  dsi ablate --config configs/scenes.toml --grid my-grid.toml --seeds 0,1,2 --stage decoder --gallery corpus
  dsi ablate --config configs/features.toml --set data.root=DIR --grid my-grid.toml --out runs/levels --plan

A grid file:
  seeds = [0, 1, 2]
  [[row]]
  name = \"without beam negatives\"
  set = { train.beam_negatives = 0 }
  [grid]                     # every combination
  index.levels = [8, 12]
  search.beam = [20, 50]

A row that differs from another in [search] and [eval] alone measures the weights of that row;
retrain = true in a [[row]] trains it separately. After Ctrl-C or a failure the same command goes on.")]
pub struct Ablate {
    #[command(flatten)]
    config: ConfigArgs,
    /// The grid file with the rows: TOML, see below.
    #[arg(long, value_name = "FILE", value_parser = path_argument())]
    grid: PathBuf,
    /// Folder for the run folders, NAME-seedN each, and ablation.json [default: runs/NAME-ablation].
    #[arg(long, value_name = "FOLDER", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// The seeds of every row [default: those of the grid file, else the configuration's].
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "seed")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seeds: Vec<u64>,
    /// The stage that the table shows [default: the last stage of each row].
    #[arg(long, value_name = "STAGE", value_parser = stages())]
    stage: Option<String>,
    /// The gallery that the table shows [default: split if it is measured, else corpus].
    #[arg(long, value_name = "GALLERY", value_parser = galleries())]
    gallery: Option<String>,
    /// Delete and repeat runs in the folders that belong to another configuration.
    #[arg(long)]
    force: bool,
    /// Print what is left to do, and do nothing.
    #[arg(long)]
    plan: bool,
    /// Print the result as JSON.
    #[arg(long, conflicts_with_all = ["columns", "wide", "format"])]
    json: bool,
    #[command(flatten)]
    tables: TableArgs,
}

/// The stages of a generative retriever. Rows of exact search are below every table in any case.
fn stages() -> PossibleValuesParser {
    let generative = Stage::ALL.iter().filter(|stage| **stage != Stage::Exact);
    PossibleValuesParser::new(generative.map(|stage| stage.word()))
}

fn galleries() -> PossibleValuesParser {
    PossibleValuesParser::new(Gallery::ALL.iter().map(|gallery| gallery.word()))
}

impl Ablate {
    pub fn run(self) -> Result<()> {
        self.tables.check(&results_table::columns())?;
        let config = self.config.load()?;
        let grid = grid::read(&self.grid)?;
        let seeds = self.seeds(&config, &grid.seeds)?;
        let choice = self.choice(&config.eval)?;
        let out = self.out.unwrap_or_else(|| format!("runs/{}-ablation", config.data.name).into());
        let base = Base { path: self.config.file()?.to_owned(), overrides: self.config.overrides() };
        let plan = RunPlan::new(&base, grid, seeds, &out, self.force)?;
        announce(&plan);
        if self.plan {
            return Ok(());
        }
        early_checks::ablation_folder(&out)?;
        let _lock = RunLock::acquire(&out, "dsi ablate")?;
        let ctx = Context { stop: ctrl_c::stop_on_ctrl_c()?, ..context(&config)? };
        let failures = run(&plan, choice, &ctx)?;
        let ablation = Ablation::read(&plan, &failures, choice)?;
        let printed = print(&ablation, self.json, &self.tables);
        both(printed, ablation.write(&out.join("ablation.json")).map_err(Into::into))?;
        report_failures(&plan, &failures)
    }

    /// The seeds of the command line, else those of the grid, else that of the configuration.
    fn seeds(&self, config: &Config, of_grid: &[u64]) -> Result<Vec<u64>> {
        if repeats(&self.seeds) {
            bail!("--seeds names a seed twice; each is run once");
        }
        if self.config.seed.is_some() {
            return Ok(vec![config.seed]);
        }
        let lists = [&self.seeds[..], of_grid];
        let given = lists.into_iter().find(|seeds| !seeds.is_empty());
        Ok(given.map_or_else(|| vec![config.seed], <[u64]>::to_vec))
    }

    fn choice(&self, section: &Eval) -> Result<Choice> {
        let stage = self.stage.as_deref().and_then(Stage::of);
        let gallery = self.gallery.as_deref().and_then(Gallery::of);
        Ok(Choice::new(section, gallery, stage)?)
    }
}

fn print(ablation: &Ablation, json: bool, tables: &TableArgs) -> Result<()> {
    if json {
        return print_json(ablation);
    }
    let mut page = Page::new(tables);
    page.table(&results_table::table(ablation), &results_table::columns())?;
    page.note(&results_table::legend(ablation));
    page.print()
}

/// Fails if a run did, with the errors of all that did.
fn report_failures(plan: &RunPlan, failures: &[Failure]) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        failures.iter().map(|(place, error)| format!("{}: {error}", plan.name(&plan.runs[*place]))).collect();
    bail!("{} of {} runs failed:\n  {}", failures.len(), plan.runs.len(), lines.join("\n  "))
}

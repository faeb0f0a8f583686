//! `dsi eval`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;

use super::open_run::OpenedRun;
use super::table_args::TableArgs;
use super::{both, path_argument, print_report};
use crate::config::Scope;
use crate::error::Error;
use crate::escape::shown;
use crate::eval::report_table;
use crate::folder_marker::FolderMarker;
use crate::run_experiment;
use crate::run_folder::RunFolder;
use crate::run_identity;

/// Measure a trained run: Recall@K of the generative retriever and of dense search with the same encoder.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi eval --dataset scenes
  dsi eval --run runs/mine --split val --json
  dsi eval --run /shared/run --out runs/shared-eval --columns retriever,stage,gallery,R@1,R@10
  dsi eval --run runs/mine --set search.beam=100 --set eval.exhaustive=true")]
pub struct Eval {
    /// The dataset of the run. Without --run, the run is runs/NAME.
    #[arg(long, value_name = "NAME", required_unless_present = "run")]
    dataset: Option<String>,
    /// The run folder that `dsi train` made.
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    run: Option<PathBuf>,
    /// The split whose captions and photos are the queries: train, val or test [default: eval.split].
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
    /// Override a search or eval key of the run's configuration (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Write the report, run and qrels files to FOLDER/eval [default: RUN/eval].
    #[arg(long, value_name = "FOLDER", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long, conflicts_with_all = ["columns", "wide", "format"])]
    json: bool,
    #[command(flatten)]
    tables: TableArgs,
}

impl Eval {
    pub fn run(self) -> Result<()> {
        self.tables.check(&report_table::columns())?;
        let run = self
            .run
            .unwrap_or_else(|| format!("runs/{}", self.dataset.as_deref().unwrap_or_default()).into());
        let into = report_folder(&run, self.out)?;
        let split = self.split.map(|split| format!("eval.split={split}"));
        let overrides: Vec<String> = self.set.into_iter().chain(split).collect();
        let opened = OpenedRun::new(run, &overrides, run_experiment::early_checks::evaluation)?;
        let name = &opened.config.data.name;
        if let Some(wanted) = self.dataset.filter(|wanted| wanted != name) {
            bail!("{} was trained on {name}, not on {wanted}", shown(opened.run.path()));
        }
        let trained = opened.retrievers()?;
        let evaluation = run_experiment::evaluate(&opened.config, &trained, &into, &opened.ctx)?;
        let printed = print_report(&evaluation.report, self.json, &self.tables);
        let written = mark(&into, &opened).and_then(|()| evaluation.write());
        both(printed, written.map_err(with_remedy))
    }
}

/// The folder for the files: that of `--out`, unless it is the folder of another run.
fn report_folder(run: &Path, out: Option<PathBuf>) -> Result<RunFolder> {
    let Some(out) = out.filter(|out| !is_same(out, run)) else { return Ok(RunFolder::new(run)) };
    let folder = RunFolder::new(out);
    if folder.config().exists() {
        bail!("{} holds another run, whose reports stay: choose another --out", shown(folder.path()));
    }
    run_identity::require_own(&folder)?;
    Ok(folder)
}

/// Marks a folder that gets the reports of a run elsewhere.
fn mark(into: &RunFolder, opened: &OpenedRun) -> crate::error::Result<()> {
    if is_same(into.path(), opened.run.path()) {
        return Ok(());
    }
    FolderMarker::new("dsi eval", run_identity::id(&opened.config, Scope::Run)).write(into.path())
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What to do about files that cannot be written.
fn with_remedy(error: Error) -> anyhow::Error {
    let remedy = "the results are printed; give a folder for the files with --out FOLDER";
    anyhow!("{error} ({remedy})")
}

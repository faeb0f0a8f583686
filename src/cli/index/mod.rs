//! `dsi index`: docids for a corpus by a configuration, or for a folder of photos.

mod photos;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::begin_run::{Job, Start, begin_run, run_folder};
use super::table_args::wrapped;
use super::{ConfigArgs, both, context, path_argument, print_json, print_stdout};
use crate::config::Config;
use crate::config::Scope;
use crate::docid::gates::GateReport;
use crate::index::{self, gate_table};
use crate::model::index_folder::DocidIndex;
use crate::output;
use crate::run_experiment::{self, early_checks, index_settings, prepare_for};
use crate::run_folder::RunFolder;

/// Make a folder of photos searchable; or, with --config, give every image of a corpus its docid, and check that the
/// docids can work before anything is trained on them.
#[derive(Args)]
#[command(mut_arg("config", |config| config.required(false)))]
#[command(after_help = "Examples:
  dsi index ~/Pictures --out runs/pictures
  dsi index ~/Pictures --out runs/pictures --encoder vit-l-14
  dsi index --config configs/scenes.toml
  dsi index --config configs/features.toml --set index.levels=12 --out runs/deep")]
pub struct Index {
    /// A folder of photos, in any depth. They need no captions.
    #[arg(value_name = "FOLDER", value_parser = path_argument(), conflicts_with = "config", required_unless_present = "config")]
    folder: Option<PathBuf>,
    /// What embeds the photos of FOLDER: vit-b-32, vit-l-14, laion-b-32, a local folder of a CLIP, or a hub id.
    #[arg(long, value_name = "NAME", default_value = "vit-b-32", conflicts_with = "config")]
    encoder: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name, or that of FOLDER].
    #[arg(long, value_name = "RUN", value_parser = path_argument())]
    out: Option<PathBuf>,
    /// Replace the index that is in the run folder. Weights that were trained with it are kept if they fit the new one;
    /// otherwise nothing is replaced.
    #[arg(long)]
    force: bool,
    /// With --force, delete weights that do not fit the new index.
    #[arg(long, requires = "force", conflicts_with = "folder")]
    discard_weights: bool,
    /// Print the checks as JSON.
    #[arg(long, conflicts_with = "folder")]
    json: bool,
}

impl Index {
    pub fn run(self) -> Result<()> {
        match &self.folder {
            Some(folder) => photos::index(&self, folder),
            None => self.index_corpus(&self.config.load()?),
        }
    }

    fn index_corpus(&self, config: &Config) -> Result<()> {
        let run = run_folder(self.out.clone(), config);
        let start = Start::from_flags(false, self.force);
        let start = begin_run(&run, config, Job { command: "dsi index", start, scope: Scope::Run })?;
        let ctx = context(config)?;
        let prepared = prepare_for(early_checks::indexing, config, &ctx)?;
        let made = index::make(&index_settings(config), &prepared, &ctx)?;
        let made = made.context("invariant: a single process is the first rank")?;
        let fits = DocidIndex::read(&run.index(), &prepared).is_ok_and(|old| old.is_same_as(&made));
        self.require_weights_fit(&run, fits)?;
        let printed = print(&made.meta.gates, self.json);
        let written = if fits { start.mark() } else { start.begin() };
        let written = written.and_then(|lock| Ok((index::write(&made, &prepared, &run.index())?, lock)));
        let written = written
            .and_then(|_lock| Ok(run_experiment::search_store::write(config, &prepared, Some(&made), &run)?));
        both(printed, written)
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

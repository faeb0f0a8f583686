//! `dsi index`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::begin_run::{Start, begin_run, run_folder};
use super::{ConfigArgs, context, print_json, print_stdout};
use crate::config::Scope;
use crate::data::leaks;
use crate::encoder::embed_corpus::embed_corpus;
use crate::run_experiment::index_settings;

/// Give every image its docid, and check that the docids can work before anything is trained on them.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi index --config configs/scenes.toml
  dsi index --config configs/features.toml --set index.levels=12 --out runs/deep")]
pub struct Index {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/NAME, NAME being data.name].
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Delete the run that is in the run folder.
    #[arg(long)]
    force: bool,
    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

impl Index {
    pub fn run(self) -> Result<()> {
        let config = self.config.load()?;
        let run = run_folder(self.out, &config);
        let start = begin_run(&run, &config, Start::from_flags(false, self.force), Scope::Run)?;
        let ctx = context(&config)?;
        let prepared = embed_corpus(&config.data, &config.encoder, &ctx)?;
        leaks::guard(config.data.on_leak, &prepared.corpus, &prepared.photos)?;
        start.begin()?;
        let index = crate::index::build(&index_settings(&config), &prepared, &run, &ctx)?;
        if self.json {
            print_json(&index.meta.gates)
        } else {
            print_stdout(crate::index::gate_table::table(&index.meta.gates) + "\n")
        }
    }
}

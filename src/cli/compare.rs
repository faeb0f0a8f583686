//! `dsi compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{print_json, print_stdout};
use crate::eval::report_table::comparison_table;
use crate::eval::{compare_runs, published_results};

/// Print the reports of several runs as one table, with mean ± sd over seeds and published results on the
/// same images.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi compare runs/seed-0 runs/seed-1 runs/seed-2
  dsi compare runs/flickr30k-* --dataset flickr30k --json")]
pub struct Compare {
    /// Run folders that `dsi train` made; runs that differ only in their seed become one row.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Use only reports on this dataset.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Print the rows as JSON.
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub fn run(self) -> Result<()> {
        let reports = compare_runs::read(&self.runs, self.dataset.as_deref())?;
        let blocks = compare_runs::compare(&reports, &published_results::rows())?;
        if self.json { print_json(&blocks) } else { print_stdout(comparison_table(&blocks)) }
    }
}

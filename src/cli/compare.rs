//! `dsi compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::table_args::{Page, TableArgs};
use super::{path_argument, print_json};
use crate::eval::report_table::{comparison_columns, comparison_table};
use crate::eval::{compare_runs, published_results};

/// Print the reports of several runs as one table, with mean ± sd over seeds and published results on the
/// same images.
#[derive(Args)]
#[command(after_help = "Examples:
  dsi compare runs/seed-0 runs/seed-1 runs/seed-2
  dsi compare runs/flickr30k-* --dataset flickr30k --json
  dsi compare runs/seed-* --columns method,stage,R@1,R@5,R@10 --format latex")]
pub struct Compare {
    /// Run folders that `dsi train` made; runs that differ only in their seed become one row.
    #[arg(required = true, value_name = "RUN", value_parser = path_argument())]
    runs: Vec<PathBuf>,
    /// Use only reports on this dataset.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Print the rows as JSON.
    #[arg(long, conflicts_with_all = ["columns", "wide", "format"])]
    json: bool,
    #[command(flatten)]
    tables: TableArgs,
}

impl Compare {
    pub fn run(self) -> Result<()> {
        let columns = comparison_columns();
        self.tables.check(&columns)?;
        let reports = compare_runs::read(&self.runs, self.dataset.as_deref())?;
        let blocks = compare_runs::compare(&reports, &published_results::rows())?;
        if self.json {
            return print_json(&blocks);
        }
        let mut page = Page::new(&self.tables);
        page.table(&comparison_table(&blocks), &columns)?;
        page.print()
    }
}

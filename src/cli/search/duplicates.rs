//! `dsi search --duplicates`.

use anyhow::Result;
use serde_json::json;

use super::Search;
use crate::cli::print_json;
use crate::cli::table_args::Page;
use crate::markdown_table::{Column, Table};
use crate::progress::Progress;
use crate::searcher::Searcher;

pub fn print(searcher: &Searcher, cosine: f32, args: &Search) -> Result<()> {
    let bar = Progress::Stderr.bar(searcher.images(), "comparing");
    let pairs = searcher.near_duplicates(cosine, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if args.json {
        let pair = |pair: &crate::searcher::near_duplicates::Pair| json!({ "image": pair.image, "other": pair.other, "cosine": pair.cosine });
        return print_json(&pairs.iter().map(pair).collect::<Vec<_>>());
    }
    let columns = || vec![Column::numbers("cosine"), Column::words("image"), Column::words("other")];
    let mut table = Table::new(columns());
    for pair in pairs {
        table.push([format!("{:.4}", pair.cosine), pair.image, pair.other]);
    }
    let mut page = Page::new(&args.tables);
    page.table(&table, &columns())?;
    page.print()
}

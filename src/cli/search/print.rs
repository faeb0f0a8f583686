//! Hits as a table and as JSON.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::print_json;
use crate::cli::table_args::{Page, TableArgs};
use crate::markdown_table::{Column, Table};
use crate::searcher::Hit;

/// The most important first, where the space is short: the names are what a user goes on with.
pub fn columns() -> Vec<Column> {
    vec![
        Column::numbers("rank").kept(1),
        Column::numbers("score").kept(2),
        Column::words("image").kept(0).narrowest(60),
        Column::words("docid").kept(3),
    ]
}

pub fn table(hits: &[Hit], args: &TableArgs) -> Result<()> {
    let mut table = Table::new(columns());
    for (rank, hit) in (1..).zip(hits) {
        table.push([
            format!("{rank}"),
            format!("{:.3}", hit.score),
            hit.image.clone(),
            hit.docid.to_string(),
        ]);
    }
    let mut page = Page::new(args);
    page.table(&table, &columns())?;
    page.print()
}

pub fn json(hits: &[Hit]) -> Result<()> {
    print_json(&values(hits))
}

/// The hits as JSON objects.
pub fn values(hits: &[Hit]) -> Vec<Value> {
    let value = |(rank, hit): (usize, &Hit)| {
        json!({
            "rank": rank,
            "image": hit.image,
            "file": hit.file,
            "score": hit.score,
            "docid": hit.docid,
        })
    };
    (1..).zip(hits).map(value).collect()
}

//! `dsi search --explain NAME`.

use anyhow::Result;

use super::Search;
use crate::cli::print_json;
use crate::cli::table_args::Page;
use crate::markdown_table::{Align, Table};
use crate::searcher::explain::Explanation;

pub fn print(explanation: &Explanation, args: &Search) -> Result<()> {
    if args.json {
        return print_json(explanation);
    }
    let Explanation {
        docid, docids, levels, known, known_rank, candidates, decoder, exact, score, rank, ..
    } = explanation;
    let mut table = Table::new([("stage", Align::Left), ("score", Align::Right), ("rank", Align::Right)]);
    for (level, (code, value)) in docid.codes().iter().zip(levels).enumerate() {
        table.push([format!("level {level}: code {code}"), format!("{value:.3}"), String::new()]);
    }
    let number = |score: &Option<f32>| score.map_or_else(|| "none".to_owned(), |score| format!("{score:.3}"));
    table.push(["all look-ups".into(), format!("{known:.3}"), format!("{known_rank} of {docids}")]);
    table.push(["decoder".into(), number(decoder), String::new()]);
    table.push(["exact cosine".into(), number(exact), String::new()]);
    let missed = || format!("not among the {candidates} candidates");
    table.push([
        "in the list".into(),
        format!("{score:.3}"),
        rank.map_or_else(missed, |rank| rank.to_string()),
    ]);
    let mut page = Page::new(&args.tables);
    page.table(&table, &[])?;
    page.print()
}

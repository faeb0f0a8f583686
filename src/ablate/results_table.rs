//! The results of an ablation as a table, and below it how to read it.

use std::collections::BTreeMap;

use super::results::{Ablation, Found, Line};
use crate::eval::report::CUTOFFS;
use crate::eval::report_table::{difference, spread};
use crate::markdown_table::{Column, Table};

/// The cut-offs whose differences the table shows; `ablation.json` has all.
const COMPARED: [usize; 2] = [1, 10];

/// The columns of [`table`].
pub fn columns() -> Vec<Column> {
    let words = |name, kept| Column::words(name).kept(kept);
    let recall = |k, kept, deviation| Column::numbers(&format!("R@{k}")).kept(kept).interval_kept(deviation);
    let left = [words("row", 0).narrowest(20), words("stage", 6), words("regime", 15)];
    let recalls = [recall(1, 1, 10), recall(5, 5, 14), recall(10, 4, 13)];
    let differences = COMPARED.map(difference_columns).into_iter().flatten();
    let right = [("seeds", 11), ("touched", 16), ("ms/query", 12)];
    let right = right.map(|(name, kept)| Column::numbers(name).kept(kept));
    left.into_iter().chain(recalls).chain(differences).chain(right).collect()
}

/// The columns of the differences at a cut-off; those at 1 are the most important.
fn difference_columns(k: usize) -> [Column; 2] {
    let [delta, p, interval] = if k == 1 { [2, 3, 7] } else { [8, 9, 17] };
    let title = format!("Δ R@{k} [95% CI]");
    let delta = Column::numbers(&format!("delta-R@{k}")).titled(&title).kept(delta).interval_kept(interval);
    [delta, Column::numbers(&format!("p@{k}")).titled("p").kept(p)]
}

/// The rows, then those of exact search.
pub fn table(ablation: &Ablation) -> Table {
    let mut table = Table::new(columns());
    for line in ablation.rows.iter().chain(&ablation.exact_search) {
        table.push(cells(line));
    }
    table
}

fn cells(line: &Line) -> Vec<String> {
    let of = |text: fn(&Found) -> String| line.found.as_ref().map_or("-".into(), text);
    let none = BTreeMap::new();
    let recall = line.found.as_ref().map_or(&none, |found| &found.recall);
    let recalls = CUTOFFS.map(|k| spread(recall.get(&k)));
    let differences = COMPARED.map(|k| difference(line.versus_base.get(&k)));
    let names =
        [line.name.clone(), of(|found| found.stage.to_string()), of(|found| found.regime.to_string())];
    let right = [
        of(|found| found.seeds.to_string()),
        of(|found| format!("{:.0}", found.touched)),
        of(|found| format!("{:.2}", found.ms_per_query)),
    ];
    names.into_iter().chain(recalls).chain(differences.into_iter().flatten()).chain(right).collect()
}

/// What the numbers of the table mean.
pub fn legend(ablation: &Ablation) -> String {
    let counts = ablation.rows.iter().find_map(|row| row.found.as_ref());
    let counts = counts
        .map_or(String::new(), |found| format!("{} captions, {} images; ", found.queries, found.images));
    let seeds = ablation.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{} {}, gallery {}: {counts}seeds {seeds}. Recall in percent: mean ± standard deviation over seeds. Δ: from the \
         same queries and seeds of the base; its interval, and the p of a sign-flip test, are over images, for these \
         seeds, and not corrected for the number of rows.",
        ablation.dataset, ablation.split, ablation.gallery,
    )
}

//! The results of an ablation as a table, and below it how to read it.

use std::collections::BTreeMap;

use super::results::{Ablation, Found, Line};
use crate::eval::report::CUTOFFS;
use crate::eval::report_table::{difference, spread};
use crate::markdown_table::{Align, Table};

/// The cut-offs whose differences the table shows; `ablation.json` has all.
const COMPARED: [usize; 2] = [1, 10];

/// The table, and below it what its numbers mean.
pub fn text(ablation: &Ablation) -> String {
    format!("{}\n{}", table(ablation), legend(ablation))
}

fn table(ablation: &Ablation) -> Table {
    let left = ["row", "stage", "regime"].map(|title| (title.to_owned(), Align::Left));
    let recalls = CUTOFFS.map(|k| (format!("R@{k}"), Align::Right));
    let differences =
        COMPARED.map(|k| [(format!("Δ R@{k} [95% CI]"), Align::Right), ("p".into(), Align::Right)]);
    let right = ["seeds", "touched", "ms/query"].map(|title| (title.to_owned(), Align::Right));
    let columns: Vec<(String, Align)> =
        left.into_iter().chain(recalls).chain(differences.into_iter().flatten()).chain(right).collect();
    let mut table = Table::new(columns.iter().map(|(title, align)| (title.as_str(), *align)));
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

fn legend(ablation: &Ablation) -> String {
    let counts = ablation.rows.iter().find_map(|row| row.found.as_ref());
    let counts = counts
        .map_or(String::new(), |found| format!("{} captions, {} images; ", found.queries, found.images));
    let seeds = ablation.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{} {}, gallery {}: {counts}seeds {seeds}. Recall in percent: mean ± standard deviation over seeds. Δ: from the \
         same queries and seeds of the base; its interval, and the p of a sign-flip test, are over images, for these \
         seeds, and not corrected for the number of rows.\n",
        ablation.dataset, ablation.split, ablation.gallery,
    )
}

//! Reports as tables: one report, its differences from dense search, several runs.

use super::compare_runs::{Block, Line, Spread};
use super::published_results::Published;
use super::report::{CUTOFFS, Report, Row};
use super::row_setting::{Gallery, QueryKind};
use super::significance::Difference;
use crate::markdown_table::{Align, Table};

/// A column of a report: its title, its alignment, and its cell in a row.
type Column = (&'static str, Align, fn(&Row) -> String);

const REPORT_COLUMNS: [Column; 14] = [
    ("retriever", Align::Left, |row| row.retriever.clone()),
    ("stage", Align::Left, |row| row.stage.to_string()),
    ("query", Align::Left, |row| row.query.to_string()),
    ("gallery", Align::Left, gallery),
    ("regime", Align::Left, |row| row.regime.to_string()),
    ("R@1 [95% CI]", Align::Right, recall_with_interval),
    ("R@5", Align::Right, |row| percent(row.recall.get(&5))),
    ("R@10", Align::Right, |row| percent(row.recall.get(&10))),
    ("MRR@10", Align::Right, |row| format!("{:.3}", row.mrr10)),
    ("nDCG@10", Align::Right, |row| format!("{:.3}", row.ndcg10)),
    ("median rank", Align::Right, |row| row.median_rank.to_string()),
    ("images", Align::Right, |row| row.images.to_string()),
    ("touched", Align::Right, |row| format!("{:.0}", row.embeddings_scored)),
    ("ms/query", Align::Right, |row| format!("{:.2}", row.ms_per_query)),
];

/// The rows of a report in their order; recall in percent with one decimal.
pub fn report_table(report: &Report) -> Table {
    let mut table = Table::new(REPORT_COLUMNS.map(|(title, align, _)| (title, align)));
    for row in &report.rows {
        table.push(REPORT_COLUMNS.map(|(_, _, text)| text(row)));
    }
    table
}

/// Recall of each row minus that of the dense row for the same captions; none when no row has a difference.
/// (Queries by photos measure memorisation; their differences are in the report's file alone.)
pub fn difference_table(report: &Report) -> Option<Table> {
    let compared: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.query == QueryKind::Caption && !row.versus_dense.is_empty())
        .collect();
    let first = compared.first()?;
    let cutoffs: Vec<usize> = first.versus_dense.keys().copied().collect();
    let titles: Vec<String> = cutoffs.iter().map(|k| format!("Δ R@{k} vs dense [95% CI]")).collect();
    let figures = titles.iter().flat_map(|title| [(title.as_str(), Align::Right), ("p", Align::Right)]);
    let names = ["retriever", "stage", "query", "gallery"].map(|title| (title, Align::Left));
    let mut table = Table::new(names.into_iter().chain(figures));
    for row in compared {
        let names = [row.retriever.clone(), row.stage.to_string(), row.query.to_string(), gallery(row)];
        let figures = cutoffs.iter().flat_map(|k| difference(row.versus_dense.get(k)));
        table.push(names.into_iter().chain(figures));
    }
    Some(table)
}

/// Runs and published results in one table: a row an experiment, mean ± standard deviation over seeds.
pub fn comparison_table(blocks: &[Block]) -> Table {
    let left = ["data", "query", "gallery", "method", "stage", "regime"].map(|title| (title, Align::Left));
    let right = ["images", "seeds", "R@1", "R@5", "R@10"].map(|title| (title, Align::Right));
    let mut table = Table::new(left.into_iter().chain(right).chain([("source", Align::Left)]));
    for block in blocks {
        block.measured.iter().for_each(|line| table.push(measured_cells(line)));
        let first = &block.measured[0];
        block.published.iter().for_each(|row| table.push(published_cells(first, row)));
    }
    table
}

fn measured_cells(line: &Line) -> Vec<String> {
    let recall = |k: usize| spread(line.recall.get(&k));
    let data = format!("{} {}", line.dataset, line.split);
    let place = [data, line.query.to_string(), folded(line.gallery, line.folds)];
    let method = [line.retriever.clone(), line.stage.to_string(), line.regime.to_string()];
    let counts = [line.images.to_string(), line.seeds.len().to_string()];
    place
        .into_iter()
        .chain(method)
        .chain(counts)
        .chain(CUTOFFS.map(recall))
        .chain([line.runs.join(", ")])
        .collect()
}

fn published_cells(line: &Line, row: &Published) -> Vec<String> {
    let recall = |k: usize| row.recall.get(&k).map_or("-".into(), |x| format!("{x:.1}"));
    let data = format!("{} {}", line.dataset, line.split);
    let place = [data, line.query.to_string(), row.gallery.clone()];
    let method = [row.method.clone(), "published".into(), "-".into()];
    let counts = [row.images.to_string(), "-".into()];
    let doubt = if row.verified { "" } else { " (not checked)" };
    let source = format!("{}{doubt}", row.source);
    place.into_iter().chain(method).chain(counts).chain(CUTOFFS.map(recall)).chain([source]).collect()
}

/// A recall over seeds in percent, mean ± standard deviation; a dash if there is none.
pub fn spread(recall: Option<&Spread>) -> String {
    match recall {
        Some(Spread { mean, sd: Some(sd) }) => format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * sd),
        Some(Spread { mean, sd: None }) => format!("{:.1}", 100.0 * mean),
        None => "-".into(),
    }
}

/// A difference with its interval, in points, and its p-value; dashes if there is none.
pub fn difference(difference: Option<&Difference>) -> [String; 2] {
    let Some(Difference { delta, ci95: [low, high], p }) = difference else {
        return ["-".into(), "-".into()];
    };
    let [delta, low, high] = [delta, low, high].map(|x| signed(100.0 * x));
    [format!("{delta} [{low}, {high}]"), format!("{p:.3}")]
}

/// A number with its sign, never `-0.0`.
fn signed(x: f64) -> String {
    format!("{:+.1}", if x.abs() < 0.05 { 0.0 } else { x })
}

/// The gallery's word, after the number of folds if there are several.
fn gallery(row: &Row) -> String {
    folded(row.gallery, row.folds)
}

fn folded(gallery: Gallery, folds: usize) -> String {
    if folds > 1 { format!("{folds} {gallery}") } else { gallery.to_string() }
}

fn recall_with_interval(row: &Row) -> String {
    let interval = row.recall_ci95.get(&1);
    let [low, high] = [0, 1].map(|end| percent(interval.map(|ends| &ends[end])));
    format!("{} [{low}, {high}]", percent(row.recall.get(&1)))
}

/// A share in percent; a dash if the report lacks the figure.
fn percent(share: Option<&f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::report::tests::sample;

    #[test]
    fn a_report_shows_percent_and_its_interval() {
        let mut report = sample();
        report.rows[0].recall.remove(&5);
        let text = report_table(&report).to_string();
        let cells: Vec<&str> = text.lines().nth(2).unwrap().split('|').map(str::trim).collect();
        let expected = [
            "generative",
            "decoder",
            "caption",
            "split",
            "inductive",
            "50.0 [50.0, 50.0]",
            "-",
            "75.0",
            "0.625",
            "0.658",
            "1.5",
            "1000",
            "50",
            "1.50",
        ];
        assert_eq!(cells[1..15], expected);
    }
}

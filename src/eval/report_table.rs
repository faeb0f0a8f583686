//! Reports as tables: one report, its differences from dense search, several runs.

use super::compare_runs::{Block, Line, Spread};
use super::published_results::Published;
use super::report::{CUTOFFS, Report, Row};
use super::row_setting::{Gallery, QueryKind};
use super::significance::Difference;
use crate::markdown_table::{Column, Table};

/// A column of a report, and its cell in a row.
type ReportColumn = (Column, fn(&Row) -> String);

/// The columns that [`report_table`] has by default; the differences come after them.
pub const USUAL_COLUMNS: usize = 14;

/// With those of the differences.
const ALL_COLUMNS: usize = USUAL_COLUMNS + 4;

/// The columns of a report with their cells: the usual ones, then the differences from dense search.
fn report_columns() -> [ReportColumn; ALL_COLUMNS] {
    let (words, numbers) = (Column::words, Column::numbers);
    [
        (words("retriever").kept(0), |row| row.retriever.clone()),
        (words("stage").kept(2), |row| row.stage.to_string()),
        (words("query").kept(3).narrowest(16), |row| row.query.to_string()),
        (words("gallery").kept(4), gallery),
        (words("regime").kept(14), |row| row.regime.to_string()),
        (numbers("R@1").titled("R@1 [95% CI]").kept(1).interval_kept(7), recall_with_interval),
        (numbers("R@5").kept(6), |row| percent(row.recall.get(&5))),
        (numbers("R@10").kept(5), |row| percent(row.recall.get(&10))),
        (numbers("MRR@10").kept(10), |row| format!("{:.3}", row.mrr10)),
        (numbers("nDCG@10").kept(12), |row| format!("{:.3}", row.ndcg10)),
        (numbers("median rank").kept(13), |row| row.median_rank.to_string()),
        (numbers("images").kept(8), |row| row.images.to_string()),
        (numbers("touched").kept(11), |row| format!("{:.0}", row.embeddings_scored)),
        (numbers("ms/query").kept(9), |row| format!("{:.2}", row.ms_per_query)),
        (numbers("delta-R@1").titled("Δ R@1 vs dense [95% CI]"), |row| versus_dense(row, 1, 0)),
        (numbers("p@1").titled("p of Δ R@1"), |row| versus_dense(row, 1, 1)),
        (numbers("delta-R@10").titled("Δ R@10 vs dense [95% CI]"), |row| versus_dense(row, 10, 0)),
        (numbers("p@10").titled("p of Δ R@10"), |row| versus_dense(row, 10, 1)),
    ]
}

/// The columns of [`report_table`].
pub fn columns() -> Vec<Column> {
    report_columns().into_iter().map(|(column, _)| column).collect()
}

/// The rows of a report in their order, with all columns; recall in percent with one decimal.
pub fn report_table(report: &Report) -> Table {
    let mut table = Table::new(columns());
    for row in &report.rows {
        table.push(report_columns().iter().map(|(_, cell)| cell(row)));
    }
    table
}

/// The difference from dense search at a cut-off, or (`part` 1) its p-value.
fn versus_dense(row: &Row, cutoff: usize, part: usize) -> String {
    difference(row.versus_dense.get(&cutoff))[part].clone()
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
    let names = [("retriever", 0), ("stage", 2), ("query", 7), ("gallery", 3)];
    let names = names.map(|(name, kept)| Column::words(name).kept(kept));
    let mut table = Table::new(names.into_iter().chain(cutoffs.iter().flat_map(|k| difference_columns(*k))));
    for row in compared {
        let names = [row.retriever.clone(), row.stage.to_string(), row.query.to_string(), gallery(row)];
        let figures = cutoffs.iter().flat_map(|k| difference(row.versus_dense.get(k)));
        table.push(names.into_iter().chain(figures));
    }
    Some(table)
}

/// The columns of the differences at a cut-off; those at 1 are the most important.
fn difference_columns(k: usize) -> [Column; 2] {
    let [delta, p, interval] = if k == 1 { [1, 4, 8] } else { [5, 6, 9] };
    let title = format!("Δ R@{k} vs dense [95% CI]");
    let delta = Column::numbers(&format!("delta-R@{k}")).titled(&title).kept(delta).interval_kept(interval);
    [delta, Column::numbers(&format!("p@{k}")).titled("p").kept(p)]
}

/// The columns of [`comparison_table`].
pub fn comparison_columns() -> Vec<Column> {
    let words = |name, kept| Column::words(name).kept(kept);
    let recall = |name, kept, deviation| Column::numbers(name).kept(kept).interval_kept(deviation);
    vec![
        words("data", 2).narrowest(12).tells_apart(),
        words("query", 4),
        words("gallery", 6),
        words("method", 0).narrowest(16),
        words("stage", 5),
        words("regime", 14),
        Column::numbers("images").kept(12),
        Column::numbers("seeds").kept(13),
        recall("R@1", 1, 9),
        recall("R@5", 8, 11),
        recall("R@10", 7, 10),
        words("source", 3).narrowest(12).tells_apart(),
    ]
}

/// Runs and published results in one table: a row an experiment, mean ± standard deviation over seeds.
pub fn comparison_table(blocks: &[Block]) -> Table {
    let mut table = Table::new(comparison_columns());
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
        let usual = columns();
        let usual: Vec<&str> = usual[..USUAL_COLUMNS].iter().map(Column::name).collect();
        assert_eq!((usual[5], usual[13]), ("R@1", "ms/query"), "no difference is among them");
    }

    #[test]
    fn the_main_table_fits_eighty_columns() {
        let mut report = sample();
        for kind in QueryKind::ALL {
            report.rows.push(Row { query: kind, ..report.rows[0].clone() });
        }
        let usual: Vec<usize> = (0..USUAL_COLUMNS).collect();
        let (table, left_out) = report_table(&report).with_columns(&usual).fitted(80);
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for title in ["| retriever", "| stage", "| query", "| gallery", " R@1 |", " R@5 |", " R@10 |"] {
            assert!(text.contains(title), "{title}: {text}");
        }
        assert!(text.contains("image-to-caption") && left_out.contains(&"ms/query".to_owned()), "{text}");
    }
}

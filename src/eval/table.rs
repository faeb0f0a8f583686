//! Tables for stdout that are also valid Markdown, so that what a terminal shows can be pasted into a README.
//!
//! [`Table`] is a header and rows of text; [`report_table`] fills one from a [`Report`].

use std::fmt;

use super::report::{Report, Row};

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A header and rows of text; `Display` renders aligned Markdown, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    aligns: Vec<Align>,
    /// The header is the first line.
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows, with the given column titles.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let (titles, aligns) = columns.into_iter().map(|(title, align)| (cell(title), align)).unzip();
        Self { aligns, lines: vec![titles] }
    }

    /// Adds a row: one cell per column. Bars are escaped and line breaks become spaces.
    pub fn push<S: AsRef<str>>(&mut self, row: impl IntoIterator<Item = S>) {
        let row: Vec<String> = row.into_iter().map(|text| cell(text.as_ref())).collect();
        assert_eq!(row.len(), self.aligns.len(), "invariant: a row has one cell per column");
        self.lines.push(row);
    }

    /// Characters in the widest cell of each column; at least what the alignment mark needs.
    fn widths(&self) -> Vec<usize> {
        let widest = |column: usize| self.lines.iter().map(|line| line[column].chars().count()).max();
        (0..self.aligns.len()).map(|column| widest(column).unwrap_or(0).max(3)).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (number, line) in self.lines.iter().enumerate() {
            for ((text, &width), align) in line.iter().zip(&widths).zip(&self.aligns) {
                match align {
                    Align::Left => write!(f, "| {text:<width$} ")?,
                    Align::Right => write!(f, "| {text:>width$} ")?,
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (&width, align) in widths.iter().zip(&self.aligns) {
                    let dashes = "-".repeat(width - 1);
                    match align {
                        Align::Left => write!(f, "| :{dashes} ")?,
                        Align::Right => write!(f, "| {dashes}: ")?,
                    }
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// Text that cannot break out of its cell.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ").replace('|', "\\|")
}

/// A column of the report: its title, its side, and what it says of a row.
type Column = (&'static str, Align, fn(&Row) -> String);

const REPORT_COLUMNS: [Column; 14] = [
    ("retriever", Align::Left, |row| row.retriever.clone()),
    ("stage", Align::Left, |row| row.stage.to_string()),
    ("query", Align::Left, |row| row.query.to_string()),
    ("gallery", Align::Left, |row| row.gallery.to_string()),
    ("regime", Align::Left, |row| row.regime.to_string()),
    ("R@1 [95% CI]", Align::Right, recall_with_interval),
    ("R@5", Align::Right, |row| percent(row.recall.get(&5))),
    ("R@10", Align::Right, |row| percent(row.recall.get(&10))),
    ("MRR@10", Align::Right, |row| format!("{:.3}", row.mrr10)),
    ("nDCG@10", Align::Right, |row| format!("{:.3}", row.ndcg10)),
    ("median rank", Align::Right, |row| row.median_rank.to_string()),
    ("images", Align::Right, |row| row.images.to_string()),
    ("touched", Align::Right, |row| format!("{:.0}", row.touched)),
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

fn recall_with_interval(row: &Row) -> String {
    let interval = row.recall_ci95.get(&1);
    let [low, high] = [0, 1].map(|end| percent(interval.map(|ends| &ends[end])));
    format!("{} [{low}, {high}]", percent(row.recall.get(&1)))
}

/// A share in percent; a dash where a file made elsewhere lacks the figure.
fn percent(share: Option<&f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::report::tests::sample;

    #[test]
    fn columns_are_aligned_and_cells_cannot_break_the_table() {
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        table.push(["a|b\nc", "12"]);
        table.push(["é", "3456"]);
        let expected = "\
| name   |    n |
| :----- | ---: |
| a\\|b c |   12 |
| é      | 3456 |
";
        assert_eq!(table.to_string(), expected);
    }

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

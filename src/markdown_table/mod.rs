//! Tables for stdout. They are Markdown, so that what a terminal shows can be pasted into a README; for papers
//! and spreadsheets they can be written as LaTeX or CSV.
//!
//! A table that is wider than the terminal loses columns and intervals, the least important ones first
//! (`fit`).

mod csv;
mod fit;
mod latex;

use std::fmt;

use console::measure_text_width;

use crate::error::{Error, Result};
use crate::escape::escaped;

/// On which side of its column a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A column: its name and title, and what becomes of it where the space is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in `--columns`.
    name: String,
    title: String,
    align: Align,
    /// Columns with smaller numbers are kept before others; its position if there is none.
    kept: Option<usize>,
    /// The same for what follows `[` or `±` in its cells, if that can be left out.
    interval_kept: Option<usize>,
    /// Words are cut to this width before a column is left out.
    narrowest: usize,
    /// Whether it is of no use when all its words are equal.
    tells_apart: bool,
}

impl Column {
    /// A column of words.
    pub fn words(name: &str) -> Self {
        Self::new(name, Align::Left)
    }

    /// A column of numbers.
    pub fn numbers(name: &str) -> Self {
        Self::new(name, Align::Right)
    }

    fn new(name: &str, align: Align) -> Self {
        let name = name.to_owned();
        let narrowest = if align == Align::Left { 10 } else { usize::MAX };
        Self {
            title: name.clone(),
            name,
            align,
            kept: None,
            interval_kept: None,
            narrowest,
            tells_apart: false,
        }
    }

    /// With a title that is not its name.
    pub fn titled(self, title: &str) -> Self {
        Self { title: title.to_owned(), ..self }
    }

    /// Columns with smaller numbers are kept before others where the space is short.
    pub fn kept(self, place: usize) -> Self {
        Self { kept: Some(place), ..self }
    }

    /// What follows `[` or `±` in its cells may be left out, as a column with this number would be.
    pub fn interval_kept(self, place: usize) -> Self {
        Self { interval_kept: Some(place), ..self }
    }

    /// Its words are cut to this width before it is left out.
    pub fn narrowest(self, width: usize) -> Self {
        Self { narrowest: width, ..self }
    }

    /// It only tells rows from each other: when its words are all equal, it is left out first.
    pub fn tells_apart(self) -> Self {
        Self { tells_apart: true, ..self }
    }

    /// Its name in `--columns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a name from the command line means this column: its name or its title, in any case, with any
    /// spaces, dashes and underscores.
    fn is_called(&self, name: &str) -> bool {
        [&self.name, &self.title].iter().any(|own| plain(own) == plain(name))
    }
}

/// A name without what is easily typed in another way.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace(['Δ', 'δ'], "delta");
    name.chars().filter(|c| !c.is_whitespace() && !['-', '_'].contains(c)).collect()
}

impl From<(&str, Align)> for Column {
    fn from((title, align): (&str, Align)) -> Self {
        Self::new(title, align)
    }
}

/// The places of the wanted columns, in the wanted order.
///
/// # Errors
/// When there is no column of that name.
pub fn places(columns: &[Column], wanted: &[String]) -> Result<Vec<usize>> {
    let place = |name: &String| {
        columns.iter().position(|column| column.is_called(name)).ok_or_else(|| {
            let known: Vec<&str> = columns.iter().map(Column::name).collect();
            Error::input(format!("there is no column {name:?}; the columns are {}", known.join(", ")))
        })
    };
    wanted.iter().map(place).collect()
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Aligned Markdown.
    #[default]
    Markdown,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A `tabular` with the rules of the package booktabs.
    Latex,
}

/// Titles and rows of text; `Display` writes aligned Markdown, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<C: Into<Column>>(columns: impl IntoIterator<Item = C>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: one cell per column.
    pub fn push<S: AsRef<str>>(&mut self, row: impl IntoIterator<Item = S>) {
        let row: Vec<String> = row.into_iter().map(|text| text.as_ref().to_owned()).collect();
        assert_eq!(row.len(), self.columns.len(), "invariant: a row has one cell per column");
        self.rows.push(row);
    }

    /// These columns in this order, by their [`places`].
    pub fn with_columns(&self, places: &[usize]) -> Self {
        let row = |row: &Vec<String>| places.iter().map(|&place| row[place].clone()).collect();
        Self {
            columns: places.iter().map(|&place| self.columns[place].clone()).collect(),
            rows: self.rows.iter().map(row).collect(),
        }
    }

    /// The table in lines of at most `width` characters, if that can be done, and what was left out for it.
    pub fn fitted(&self, width: usize) -> (Self, Vec<String>) {
        fit::fitted(self, width)
    }

    /// The table as text of this format.
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::Markdown => self.to_string(),
            Format::Csv => csv::csv(self.lines()),
            Format::Latex => latex::tabular(self),
        }
    }

    /// The titles, then the rows.
    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        let titles = self.columns.iter().map(|column| column.title.as_str()).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(String::as_str).collect());
        std::iter::once(titles).chain(rows)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<Vec<String>> =
            self.lines().map(|line| line.into_iter().map(markdown).collect()).collect();
        let widest = |column: usize| lines.iter().map(|line| measure_text_width(&line[column])).max();
        // At least what the mark of the alignment needs.
        let widths: Vec<usize> = (0..self.columns.len()).map(|n| widest(n).unwrap_or(0).max(3)).collect();
        for (number, line) in lines.iter().enumerate() {
            for ((text, &width), column) in line.iter().zip(&widths).zip(&self.columns) {
                let space = " ".repeat(width - measure_text_width(text));
                match column.align {
                    Align::Left => write!(f, "| {text}{space} ")?,
                    Align::Right => write!(f, "| {space}{text} ")?,
                }
            }
            writeln!(f, "|")?;
            if number == 0 {
                self.write_rule(f, &widths)?;
            }
        }
        Ok(())
    }
}

impl Table {
    /// The line below the titles.
    fn write_rule(&self, f: &mut fmt::Formatter<'_>, widths: &[usize]) -> fmt::Result {
        for (&width, column) in widths.iter().zip(&self.columns) {
            let dashes = "-".repeat(width - 1);
            match column.align {
                Align::Left => write!(f, "| :{dashes} ")?,
                Align::Right => write!(f, "| {dashes}: ")?,
            }
        }
        writeln!(f, "|")
    }
}

/// Text that cannot break out of its cell.
fn markdown(text: &str) -> String {
    escaped(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_cannot_break_the_table() {
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        table.push(["a|b\nc", "12"]);
        table.push(["é\u{1b}[1m", "3456"]);
        table.push(["立方", "7"]);
        let expected = "\
| name       |    n |
| :--------- | ---: |
| a\\|b\\nc    |   12 |
| é\\u{1b}[1m | 3456 |
| 立方       |    7 |
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn columns_are_chosen_by_name_or_title() {
        let columns = [
            Column::words("query"),
            Column::numbers("R@1").titled("R@1 [95% CI]"),
            Column::numbers("delta-R@1").titled("Δ R@1"),
            Column::numbers("median rank"),
        ];
        let of =
            |names: &[&str]| places(&columns, &names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        assert_eq!(of(&["r@1", "Query", "R@1 [95% CI]", "Δ R@1", "median-rank"]).unwrap(), [1, 0, 1, 2, 3]);
        let error = of(&["query", "recall"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no column \"recall\"; the columns are query, R@1, delta-R@1, median rank"
        );
        let mut table = Table::new(columns);
        table.push(["a", "b", "c", "d"]);
        assert_eq!(table.with_columns(&[3, 0]).written(Format::Csv), "median rank,query\nd,a\n");
    }
}

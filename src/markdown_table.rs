//! Tables for stdout that are also valid Markdown, so that what a terminal shows can be pasted into a README.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}

//! How a command shows its tables: which columns, how wide, in which format.

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::print_stdout;
use crate::markdown_table::{Column, Format, Table, places};
use crate::output;

/// The words of `--format`.
const FORMATS: [(&str, Format); 3] =
    [("md", Format::Markdown), ("csv", Format::Csv), ("latex", Format::Latex)];

/// The arguments of every command that prints figures as a table.
#[derive(Args)]
pub struct TableArgs {
    /// Show only these columns, in this order: titles without brackets, e.g. `retriever,stage,R@1`.
    #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Show every column in full, even if the terminal is narrower.
    #[arg(long)]
    wide: bool,
    /// What a table is written as: Markdown, CSV, or LaTeX for the package booktabs [default: md].
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<Format>,
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    let format = |word: String| FORMATS.iter().find(|(name, _)| *name == word).map(|(_, format)| *format);
    PossibleValuesParser::new(FORMATS.map(|(word, _)| word)).map(move |word| format(word).unwrap_or_default())
}

impl TableArgs {
    /// Refuses `--columns` that there are not: before the work that the table is about.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn check(&self, columns: &[Column]) -> Result<()> {
        places(columns, &self.columns)?;
        Ok(())
    }

    /// Whether one table is wanted with columns of the user's choice, or for another program.
    pub fn is_single(&self) -> bool {
        !self.columns.is_empty() || self.format() == Format::Csv
    }

    fn format(&self) -> Format {
        self.format.unwrap_or_default()
    }

    /// The width that lines must keep to.
    fn width(&self) -> Option<usize> {
        output::width().filter(|_| !self.wide && self.format() == Format::Markdown)
    }
}

/// Tables and notes in their order, for stdout.
pub struct Page<'a> {
    args: &'a TableArgs,
    text: String,
    left_out: Vec<String>,
}

impl<'a> Page<'a> {
    /// An empty page.
    pub fn new(args: &'a TableArgs) -> Self {
        Self { args, text: String::new(), left_out: Vec::new() }
    }

    /// Adds a table; `columns` are all of its columns.
    ///
    /// # Errors
    /// When `--columns` names one that there is not.
    pub fn table(&mut self, table: &Table, columns: &[Column]) -> Result<()> {
        let chosen = places(columns, &self.args.columns)?;
        let table = if chosen.is_empty() { self.fitted(table) } else { table.with_columns(&chosen) };
        self.separate();
        self.text += &table.written(self.args.format());
        Ok(())
    }

    fn fitted(&mut self, table: &Table) -> Table {
        let Some(width) = self.args.width() else { return table.clone() };
        let (table, left_out) = table.fitted(width);
        let new: Vec<String> = left_out.into_iter().filter(|name| !self.left_out.contains(name)).collect();
        self.left_out.extend(new);
        table
    }

    /// Adds a line of text: a comment in LaTeX, nothing in CSV.
    pub fn note(&mut self, note: &str) {
        self.separate();
        let written = match self.args.format() {
            Format::Markdown => writeln!(self.text, "{}", wrapped(note, self.args.width())),
            Format::Latex => writeln!(self.text, "% {note}"),
            Format::Csv => Ok(()),
        };
        written.unwrap_or_default(); // a string takes every write
    }

    fn separate(&mut self) {
        if !self.text.is_empty() && self.args.format() != Format::Csv {
            self.text.push('\n');
        }
    }

    /// Prints the page, and says on stderr what it has no room for.
    ///
    /// # Errors
    /// When stdout takes no more.
    pub fn print(self) -> Result<()> {
        print_stdout(self.text)?;
        if let (Some(width), false) = (self.args.width(), self.left_out.is_empty()) {
            let left_out = self.left_out.join(", ");
            output::message(format!(
                "left out of a table {width} characters wide: {left_out}; --wide shows all, --columns NAME,NAME,… a \
                 choice"
            ));
        }
        Ok(())
    }
}

/// A text in lines of at most `width` characters, as far as its words allow. Lines of tables stay whole.
pub fn wrapped(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let lines = text
        .split('\n')
        .map(|line| if line.starts_with('|') { line.to_owned() } else { folded(line, width) });
    lines.collect::<Vec<_>>().join("\n")
}

fn folded(line: &str, width: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in line.split(' ') {
        let length = console::measure_text_width(word);
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_wrapped_and_tables_are_not() {
        assert_eq!(wrapped("| a b c d |\na few words", Some(7)), "| a b c d |\na few\nwords");
        assert_eq!(wrapped("a few words\n", None), "a few words\n");
        assert_eq!(wrapped("unbreakable", Some(3)), "unbreakable");
    }
}

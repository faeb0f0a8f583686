//! Tables for papers: a `tabular` with the rules of the package booktabs.

use super::{Align, Table};
use crate::escape::escaped;

/// The table as a `tabular`; it needs `\usepackage{booktabs}`.
pub fn tabular(table: &Table) -> String {
    let align = |align: Align| if align == Align::Left { 'l' } else { 'r' };
    let aligns: String = table.columns.iter().map(|column| align(column.align)).collect();
    let mut lines = table.lines().map(line);
    let head = lines.next().unwrap_or_default();
    let rows: String = lines.collect();
    format!(
        "\\begin{{tabular}}{{{aligns}}}\n\\toprule\n{head}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n"
    )
}

fn line(cells: Vec<&str>) -> String {
    format!("{} \\\\\n", cells.into_iter().map(cell).collect::<Vec<_>>().join(" & "))
}

/// A text in which nothing is a command.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escaped(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            _ => match command(c) {
                Some(command) => out.push_str(command),
                None => out.push(c),
            },
        }
    }
    // After the end of a line, LaTeX would read these as an argument of it.
    if out.starts_with(['[', '*']) { format!("{{}}{out}") } else { out }
}

/// What LaTeX writes for a character that is a command, or that its fonts lack.
fn command(c: char) -> Option<&'static str> {
    Some(match c {
        '\\' => "\\textbackslash{}",
        '~' => "\\textasciitilde{}",
        '^' => "\\textasciicircum{}",
        '<' => "\\textless{}",
        '>' => "\\textgreater{}",
        '|' => "\\textbar{}",
        '"' => "{\\char34}",
        'Δ' => "$\\Delta$",
        '±' => "$\\pm$",
        '→' => "$\\rightarrow$",
        '–' => "--",
        '…' => "\\dots{}",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compiles() {
        let mut table = Table::new([("Δ R@1 [95% CI]", Align::Left), ("p", Align::Right)]);
        table.push(["a_b & c\\d", "1 ± 2"]);
        table.push(["[x] {y} \"z\"", "-0.1"]);
        let expected = "\
\\begin{tabular}{lr}
\\toprule
$\\Delta$ R@1 [95\\% CI] & p \\\\
\\midrule
a\\_b \\& c\\textbackslash{}d & 1 $\\pm$ 2 \\\\
{}[x] \\{y\\} {\\char34}z{\\char34} & -0.1 \\\\
\\bottomrule
\\end{tabular}
";
        assert_eq!(tabular(&table), expected);
    }
}

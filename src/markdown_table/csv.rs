//! Tables as comma-separated values (RFC 4180), for spreadsheets and data frames.

use crate::escape::escaped_lines;

/// The lines as CSV. A cell with a comma, a quote or a line break is quoted; a dash, which stands for a missing
/// figure, becomes an empty cell. Control characters other than line breaks and tabs are escaped.
pub fn csv<'a>(lines: impl Iterator<Item = Vec<&'a str>>) -> String {
    let line = |cells: Vec<&str>| cells.into_iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
    lines.map(line).collect()
}

fn cell(text: &str) -> String {
    let text = escaped_lines(text);
    let outer_space = text.trim() != text;
    match &*text {
        "-" | "–" => String::new(),
        _ if outer_space || text.contains([',', '"', '\n']) => format!("\"{}\"", text.replace('"', "\"\"")),
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let lines =
            [vec!["name", "R@1 [95% CI]"], vec!["a \"b\"\nc", "1.0 [0.5, 2.0]"], vec!["-", " \u{1b}"]];
        let expected = "name,R@1 [95% CI]\n\"a \"\"b\"\"\nc\",\"1.0 [0.5, 2.0]\"\n,\" \\u{1b}\"\n";
        assert_eq!(csv(lines.into_iter()), expected);
    }
}

//! Names and captions from outside, made safe to print: what a terminal would obey instead of showing it is
//! written as an escape.

use std::borrow::Cow;
use std::path::Path;

/// The most characters of a caption that a message shows.
const LONGEST: usize = 80;

/// A name as it is printed: control characters (an escape sequence, a line break, a tab) and the characters
/// that reverse the direction of text are written as `\u{1b}`, `\n`, `\t`, `\u{202e}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe)
}

/// The same for text of several lines: line breaks and tabs stay.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_unsafe(c) && c != '\n' && c != '\t')
}

/// A path as it is printed; bytes that are not UTF-8 become U+FFFD.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

/// A caption as a message shows it: escaped, and cut after 80 characters.
pub fn shortened(caption: &str) -> String {
    let start: String = caption.chars().take(LONGEST).collect();
    let cut = if start.len() < caption.len() { "…" } else { "" };
    format!("{}{cut}", escaped(&start))
}

/// Control characters, line and paragraph separators, and the embeddings, overrides and isolates of
/// bidirectional text.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn replaced(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if wanted(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(escaped("a\u{1b}[31m\n\t\r\u{7f}\u{9b}"), r"a\u{1b}[31m\n\t\r\u{7f}\u{9b}");
        assert_eq!(escaped("a\u{202e}b\u{2066}c\u{2069}"), r"a\u{202e}b\u{2066}c\u{2069}");
        assert_eq!(escaped_lines("a\n\tb\u{1b}"), "a\n\tb\\u{1b}");
        assert_eq!(shown(Path::new("x\u{1b}c/y")), r"x\u{1b}c/y");
    }

    #[test]
    fn letters_of_every_script_stay() {
        for text in ["ein Würfel", "红色的立方体", "קוביה אדומה", "👩‍👩‍👧 a\u{a0}b", r"back\slash"]
        {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn long_captions_are_cut() {
        assert_eq!(shortened("a\nb"), r"a\nb");
        assert_eq!(shortened(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(shortened(&"é".repeat(81)), "é".repeat(80) + "…");
    }
}

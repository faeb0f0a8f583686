//! JSON as people's tools write it: with a byte-order mark, and with Python's `NaN` and `Infinity`.
//!
//! These words are not JSON, yet `json.dumps` writes them, often under keys that nothing reads here. Such a text is read
//! again with an empty object in their place: under keys that are not read it does no harm, and a reader that meets one
//! under its own key says so.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::known_heads;

/// The words of Python's `json` that are not JSON; the longer one of two with the same start comes first.
const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// Why a text could not be read, and where.
#[derive(Debug)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// One-based line; 0 if the place is unknown.
    pub line: usize,
    /// One-based column in bytes.
    pub column: usize,
    /// Whether the text ends too early.
    pub ends_early: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "{} at line {line} column {}", self.what, self.column),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        fault(&error, false)
    }
}

/// Reads one JSON value.
///
/// # Errors
/// When the bytes are not JSON, or not of this type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let bytes = without_bom(bytes);
    serde_json::from_slice(bytes).or_else(|first| match without_python_words(bytes) {
        Some(patched) => serde_json::from_slice(&patched).map_err(|e| fault(&e, true)),
        None => Err(fault(&first, false)),
    })
}

/// As [`read`], for the content of a whole file; its clause completes a sentence that begins with the file's name. It
/// says what the file is if that is known ([`known_heads`]), else `otherwise` and where the text is wrong.
///
/// # Errors
/// As [`read`].
pub fn read_file<T: DeserializeOwned>(bytes: &[u8], otherwise: &str) -> Result<T, String> {
    read(bytes)
        .map_err(|fault| known_heads::describe(bytes).map_or(format!("{otherwise}: {fault}"), str::to_owned))
}

/// A text without the byte-order mark at its start.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(known_heads::BOM).unwrap_or(bytes)
}

/// UTF-8 text without a byte-order mark, or the end of a sentence that begins with the file's name.
///
/// # Errors
/// When the bytes are not UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let not_utf8 = |_| known_heads::describe(bytes).unwrap_or("is not UTF-8 text; save it as UTF-8");
    std::str::from_utf8(without_bom(bytes)).map_err(not_utf8)
}

fn fault(error: &serde_json::Error, patched: bool) -> Fault {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let what = match what {
        "invalid unicode code point" => "is not UTF-8 text".to_owned(),
        // The empty object that was put there.
        _ if patched => what.replace("invalid type: map", "invalid type: NaN, Infinity or an object"),
        _ => what.to_owned(),
    };
    Fault { what, line: error.line(), column: error.column(), ends_early: error.is_eof() }
}

/// The text with `{}` and spaces in place of [`WORDS`] outside of strings, so that columns stay; `None` if there is none.
fn without_python_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut patched = Cow::Borrowed(bytes);
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        match (in_string, byte) {
            (true, b'\\') => at += 1,
            (_, b'"') => in_string = !in_string,
            (false, b'-' | b'I' | b'N') => {
                if let Some(word) = word_at(bytes, at) {
                    patched.to_mut()[at..at + word.len()].fill(b' ');
                    patched.to_mut()[at..at + 2].copy_from_slice(b"{}");
                    at += word.len() - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if let Cow::Owned(patched) = patched { Some(patched) } else { None }
}

/// The whole word of [`WORDS`] at this place.
fn word_at(bytes: &[u8], at: usize) -> Option<&'static [u8]> {
    let word = *WORDS.iter().find(|word| bytes[at..].starts_with(word))?;
    let in_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    (!in_word(before) && !in_word(bytes.get(at + word.len()))).then_some(word)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Name {
        name: String,
    }

    fn name(text: &str) -> Result<String, Fault> {
        read::<Name>(text.as_bytes()).map(|name| name.name)
    }

    #[test]
    fn marks_and_pythons_words_do_no_harm_where_nobody_reads_them() {
        for other in ["NaN", "[-Infinity, Infinity,NaN]", "{\"deep\": NaN}", "\"a NaN \\\" NaN\""] {
            assert_eq!(
                name(&format!("\u{feff}{{\"x\": {other}, \"name\": \"NaN\"}}")).unwrap(),
                "NaN",
                "{other}"
            );
        }
    }

    #[test]
    fn faults_keep_their_place_and_name_the_word() {
        let fault = name("{\"x\": -Infinity, \"name\": NaN}").unwrap_err().to_string();
        assert!(
            fault.starts_with("invalid type: NaN, Infinity or an object, expected a string at line 1"),
            "{fault}"
        );
        let fault = name("{\"x\": NaN, \"name\" \"a\"}").unwrap_err();
        assert_eq!((fault.line, fault.column, fault.ends_early), (1, 19, false), "{fault}");
        assert!(name("{\"x\": xNaN}").unwrap_err().what.contains("expected value"));
        assert!(name("{\"x\": NaN").unwrap_err().ends_early);
    }

    #[test]
    fn whole_files_are_known_by_their_heads() {
        let what = |bytes: &[u8]| read_file::<Name>(bytes, "is no name").unwrap_err();
        assert!(what(b"\xff\xfe{\0").contains("UTF-16"));
        assert!(what(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
        assert!(what(b"{}").starts_with("is no name: missing field"));
        assert!(text(b"caf\xe9").unwrap_err().contains("UTF-8"));
        assert_eq!(text(b"\xef\xbb\xbfa").unwrap(), "a");
    }
}

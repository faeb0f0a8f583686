//! Words and phrases that must not come back: they make a reader stop and guess.
//!
//! Searched in all text of the source, the tests, the documents, the configurations and the scripts: comments, messages,
//! names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::repository;

tests! {
    obscure_words_do_not_come_back,
    whole_words_are_found,
}

/// The phrases, lower case; each is found as whole words, across the ends of comment lines too.
const PHRASES: &[&str] = &[
    "as it were",
    "as it stands",
    "are asked",
    "hears",
    "is asked",
    "is had",
    "none where",
    "nought",
    "stand beside",
    "stands beside",
    "told",
    "to be had",
    "was asked",
    "what stands",
    "where that is asked",
    "where that is wanted",
    "whoever",
    "whose business",
];

/// What is searched: files, and folders with all their Rust, Markdown, TOML, Python and shell files.
const SEARCHED: [&str; 9] = [
    "src",
    "tests/it",
    "benches",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "configs",
    "scripts",
];

/// This file, which has to name them.
const ITSELF: &str = "tests/it/structure/words.rs";

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let is_text = |path: &PathBuf| {
        path.extension().is_some_and(|e| ["rs", "md", "toml", "py", "sh"].iter().any(|of| e == *of))
    };
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).filter(is_text).collect()
}

/// A text in lower case, with one space between words and none of the marks that begin comment lines.
fn plain(text: &str) -> String {
    let marks = ["///", "//!", "//", "#"];
    let line = |line: &str| {
        let line = line.trim();
        marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line).trim().to_lowercase()
    };
    text.lines().map(line).collect::<Vec<_>>().join(" ")
}

/// The phrases that a text contains as whole words.
fn found<'a>(text: &str, phrases: &[&'a str]) -> Vec<&'a str> {
    let is_letter = |c: char| c.is_alphanumeric();
    let whole = |phrase: &str| {
        text.match_indices(phrase).any(|(at, _)| {
            !text[..at].ends_with(is_letter) && !text[at + phrase.len()..].starts_with(is_letter)
        })
    };
    phrases.iter().copied().filter(|phrase| whole(phrase)).collect()
}

fn obscure_words_do_not_come_back() {
    let mut faults = Vec::new();
    for path in SEARCHED.iter().flat_map(|path| files(&repository(path))) {
        let name = path.strip_prefix(repository("")).unwrap().display().to_string();
        if name != ITSELF {
            let text = plain(&fs::read_to_string(&path).unwrap());
            faults.extend(found(&text, PHRASES).iter().map(|phrase| format!("{name}: {phrase:?}")));
        }
    }
    assert!(faults.is_empty(), "say it plainly:\n  {}", faults.join("\n  "));
}

fn whole_words_are_found() {
    let text = plain("/// Nothing is\n/// told, retold\n");
    assert_eq!(found(&text, &["told", "is told", "old"]), ["told", "is told"]);
}

//! The documents: their length, their code fences, and that the files and keys they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dsi::config::Scope;

tests! {
    the_readme_is_short,
    each_page_of_the_guide_is_a_module,
    code_blocks_are_of_known_kinds_and_closed,
    links_lead_to_files_that_exist,
    files_that_are_named_exist,
    keys_that_are_named_exist,
}

const README_LINES: usize = 200;
const README_BYTES: usize = 14_000;

/// The kinds of code blocks.
const FENCES: &[&str] = &["sh", "sh run", "text", "toml", "json", "rust", "rust,no_run"];

/// The files at the root that follow the rules of the guide's pages.
const ROOT_PAGES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"];

/// A document, its path relative to the repository.
struct Page {
    path: PathBuf,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn guide_files() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("src/guide")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).collect()
}

fn pages() -> Vec<Page> {
    let guide = guide_files().into_iter().map(|name| Path::new("src/guide").join(name));
    let paths = ROOT_PAGES.into_iter().map(PathBuf::from).chain(guide);
    paths.map(|path| Page { text: fs::read_to_string(root().join(&path)).unwrap(), path }).collect()
}

/// The lines outside of code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push(line);
        }
    }
    lines
}

/// The text between backticks outside of code blocks.
fn code_spans(text: &str) -> Vec<&str> {
    prose(text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The targets of a page's links, inline ones and those defined at its end.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        found.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push(target);
        }
    }
    found
}

fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= README_LINES, "{} lines", readme.lines().count());
    assert!(readme.len() <= README_BYTES, "{} bytes", readme.len());
}

fn each_page_of_the_guide_is_a_module() {
    let modules = fs::read_to_string(root().join("src/guide/mod.rs")).unwrap();
    for file in guide_files() {
        let name = file.trim_end_matches(".md");
        assert!(modules.contains(&format!("{name} = \"{file}\"")), "src/guide/mod.rs lacks {file}");
        assert!(modules.contains(&format!("[{name}]: crate::guide::{name}")), "links to {name} lead nowhere");
    }
}

fn code_blocks_are_of_known_kinds_and_closed() {
    for Page { path, text } in pages() {
        let fences: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("```")).collect();
        assert!(fences.len().is_multiple_of(2), "{}: a code block has no end", path.display());
        for info in fences.iter().step_by(2) {
            assert!(FENCES.contains(info), "{}: a code block of unknown kind `{info}`", path.display());
        }
    }
}

fn links_lead_to_files_that_exist() {
    for Page { path, text } in pages() {
        let folder = root().join(path.parent().unwrap());
        for link in links(&text).into_iter().filter(|link| !link.starts_with("https://")) {
            assert!(folder.join(link).exists(), "{}: the link to {link} is broken", path.display());
        }
    }
}

fn files_that_are_named_exist() {
    for Page { path, text } in pages() {
        for span in code_spans(&text) {
            if let Some(file) = source_path(span) {
                let there = root().join(file).exists() || root().join("src").join(file).exists();
                assert!(there, "{}: {file} is not there", path.display());
            }
        }
    }
}

/// The path, if a code span is a path of this repository.
fn source_path(span: &str) -> Option<&str> {
    let word = span.split(' ').next()?;
    let of_this = ["src/", "configs/", "scripts/", "tests/"].iter().any(|folder| word.starts_with(folder));
    let first = word.split('/').next().unwrap_or_default();
    let is_folder = word.ends_with('/') && root().join("src").join(first).is_dir();
    let is_path = of_this || word.ends_with(".rs") || is_folder;
    let is_pattern = word.contains(['*', ':']) || word.contains("NAME");
    (is_path && !is_pattern).then_some(word)
}

fn keys_that_are_named_exist() {
    let keys: BTreeSet<&str> = Scope::All.keys().into_iter().collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    for Page { path, text } in pages() {
        for span in code_spans(&text) {
            for name in span.split([' ', '=']) {
                let Some((section, key)) = name.split_once('.') else { continue };
                if !sections.contains(section) || ["rs", "json", "jsonl", "toml"].contains(&key) {
                    continue;
                }
                assert!(keys.contains(name), "{}: there is no key {name}", path.display());
            }
        }
    }
}

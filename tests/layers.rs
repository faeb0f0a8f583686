//! The layers of the design, as the source has them: imports go down only, and pure modules stay pure.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top; modules of one row may not see each other.
const LAYERS: [&[&str]; 11] = [
    &["main", "guide"],
    &["cli"],
    &["ablate"],
    &["experiment"],
    &["train", "eval", "index"],
    &["retriever"],
    &["model"],
    &["encoder"],
    &["docid", "nn", "data"],
    &["config"],
    BASE,
];

/// The base, whose modules may see each other.
const BASE: &[&str] = &[
    "distributed",
    "error",
    "file_io",
    "ids",
    "markdown_table",
    "matmul",
    "matrix",
    "modality",
    "process_memory",
    "progress",
    "rng",
    "run_folder",
];

/// Imports that break the rule, each with the reason why it may.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// What must be computable without a tensor library.
const PURE: &[&str] = &[
    "docid",
    "eval/query_outcomes.rs",
    "eval/metrics.rs",
    "eval/significance.rs",
    "model/beam_state.rs",
    "retriever/caption_ranking.rs",
    "retriever/top_k.rs",
];

const MOST_LINES: usize = 500;

/// A source file: its path below `src`, its text, and the text without comments.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, code: code.join("\n"), text }
    };
    files.into_iter().map(source).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The top module that a path below `src` belongs to.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The top modules that some code names: `crate::a::b`, and each of `crate::{a, b::{c, d}}`.
fn imports(code: &str) -> Vec<&str> {
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| rest.strip_prefix('{').map_or(vec![word(rest)], group))
        .collect()
}

/// The first words of the members of a group, after its opening brace.
fn group(rest: &str) -> Vec<&str> {
    let (mut depth, mut start, mut words) = (0, 0, Vec::new());
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                words.push(word(rest[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Whether code of `from` may name `to`.
fn allowed(from: &str, to: &str) -> bool {
    let (Some(own), Some(other)) = (layer(from), layer(to)) else { return false };
    other > own || from == to || (BASE.contains(&from) && BASE.contains(&to))
}

#[test]
fn the_words_of_an_import_are_found() {
    let code = "use crate::error::{Error, Result};\nuse crate::{\n  data::{corpus, photos::{a, b}},\n  eval, rng,\n};\n";
    assert_eq!(imports(code), ["error", "data", "eval", "rng"]);
    assert_eq!(imports("let x: crate::model::GenerativeModel = crate::nn::new();"), ["model", "nn"]);
    assert!(allowed("train", "model") && allowed("file", "error") && allowed("nn", "nn"));
    assert!(!allowed("model", "train") && !allowed("train", "eval") && !allowed("rng", "config"));
}

#[test]
fn every_module_has_a_layer_and_imports_go_down() {
    let sources = sources();
    let homeless: Vec<&str> =
        sources.iter().map(|s| top(&s.path)).filter(|m| *m != "lib" && layer(m).is_none()).collect();
    assert!(homeless.is_empty(), "give these modules a layer: {homeless:?}");
    let mut upward = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        for import in imports(&source.code).into_iter().filter(|import| !allowed(top(&source.path), import)) {
            match EXCEPTIONS.iter().position(|exception| *exception == (source.path.as_str(), import)) {
                Some(exception) => used[exception] = true,
                None => upward.push(format!("src/{} imports crate::{import}", source.path)),
            }
        }
    }
    assert!(upward.is_empty(), "imports go down only:\n  {}", upward.join("\n  "));
    assert!(used.iter().all(|used| *used), "an exception is no longer needed: {EXCEPTIONS:?} {used:?}");
}

#[test]
fn pure_modules_know_no_tensors() {
    let sources = sources();
    for pure in PURE {
        let of: Vec<&Source> =
            sources.iter().filter(|s| s.path == *pure || s.path.starts_with(&format!("{pure}/"))).collect();
        assert!(!of.is_empty(), "{pure} is gone");
        for source in of {
            assert!(!source.code.contains("candle"), "src/{} is to be pure", source.path);
        }
    }
}

#[test]
fn files_are_small_enough_to_be_read() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= MOST_LINES, "src/{} has {lines} lines; {MOST_LINES} are allowed", source.path);
    }
}

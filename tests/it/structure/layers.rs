//! The layers of the design, as the source has them: imports go down only.

use super::source::{Imports, every_path, sources};
use super::top;

tests! {
    imports_are_parsed,
    every_module_has_a_layer_and_imports_go_down,
}

/// From the top; modules of one row may not see each other.
const LAYERS: [&[&str]; 12] = [
    &["main", "guide"],
    &["cli"],
    &["ablate"],
    &["run_experiment", "run_identity"],
    &["config"],
    &["searcher"],
    &["train", "eval", "index"],
    &["retriever"],
    &["model"],
    &["encoder", "store"],
    &["docid", "nn", "data"],
    BASE,
];

/// The base, whose modules may see each other.
const BASE: &[&str] = &[
    "config_schema",
    "context",
    "distributed",
    "error",
    "escape",
    "file_io",
    "folder_marker",
    "home_folder",
    "ids",
    "known_heads",
    "markdown_table",
    "matmul",
    "matrix",
    "modality",
    "output",
    "process_memory",
    "progress",
    "ranking",
    "rng",
    "run_folder",
    "run_lock",
    "stop_flag",
];

/// Imports that break the rule, each with the reason why it may.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The top modules that some code names: `crate::a::b`, and each of `crate::{a, b::{c, d}}`.
fn imports(code: &str) -> Vec<String> {
    let paths = every_path(code).into_iter().filter(|path| path.len() > 1 && path[0] == "crate");
    let mut modules: Vec<String> = paths.map(|mut path| path.swap_remove(1)).collect();
    modules.dedup();
    modules
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Whether code of `from` may name `to`.
fn allowed(from: &str, to: &str) -> bool {
    let (Some(own), Some(other)) = (layer(from), layer(to)) else { return false };
    other > own || from == to || (BASE.contains(&from) && BASE.contains(&to))
}

fn imports_are_parsed() {
    let code = "use crate::error::{Error, Result};\nuse crate::{\n  data::{corpus, photos::{a, b}},\n  eval, rng,\n};\n";
    assert_eq!(imports(code), ["error", "data", "eval", "rng"]);
    assert_eq!(imports("let x: crate::model::GenerativeModel = crate::nn::new();"), ["model", "nn"]);
    assert!(allowed("train", "model") && allowed("file_io", "error") && allowed("nn", "nn"));
    assert!(!allowed("model", "train") && !allowed("train", "eval") && !allowed("rng", "config"));
}

fn every_module_has_a_layer_and_imports_go_down() {
    let sources = sources();
    let homeless: Vec<&str> =
        sources.iter().map(|s| top(&s.path)).filter(|m| *m != "lib" && layer(m).is_none()).collect();
    assert!(homeless.is_empty(), "give these modules a layer: {homeless:?}");
    let mut upward = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        let imports = imports(&source.with_tests).into_iter();
        for import in imports.filter(|import| !allowed(top(&source.path), import)) {
            let exception = (source.path.as_str(), import.as_str());
            match EXCEPTIONS.iter().position(|each| *each == exception) {
                Some(exception) => used[exception] = true,
                None => upward.push(format!("src/{} imports crate::{import}", source.path)),
            }
        }
    }
    // The same by resolved files, which finds paths that begin with `super` too.
    for (file, others) in Imports::of(&sources).files.iter().filter(|(file, _)| *file != "lib.rs") {
        let up = others.iter().filter(|other| *other != "lib.rs" && !allowed(top(file), top(other)));
        upward.extend(up.map(|other| format!("src/{file} imports src/{other}")));
    }
    assert!(upward.is_empty(), "imports go down only:\n  {}", upward.join("\n  "));
    assert!(used.iter().all(|used| *used), "an exception is no longer needed: {EXCEPTIONS:?} {used:?}");
}

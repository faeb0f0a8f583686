//! Pure modules: neither they nor the modules that they import use candle, the tensor library.

use super::assert_excepted;
use super::source::{Imports, sources};

tests! {
    pure_modules_import_no_tensors,
    docid_and_nn_know_nothing_of_ranks,
}

/// Files, and folders with all that is in them.
const PURE: &[&str] = &[
    "data/corpus",
    "docid",
    "eval/query_outcomes.rs",
    "eval/significance.rs",
    "matrix.rs",
    "model/beam_level.rs",
    "retriever/caption_ranking.rs",
    "ranking",
    "rng.rs",
];

/// Files of theirs that are not pure yet.
const EXCEPTIONS: &[&str] = &[];

fn pure_modules_import_no_tensors() {
    let imports = Imports::of(&sources());
    let mut impure = Vec::new();
    for pure in PURE {
        let is_of = |file: &&String| *file == pure || file.starts_with(&format!("{pure}/"));
        let files: Vec<&String> = imports.files.keys().filter(is_of).collect();
        assert!(!files.is_empty(), "{pure} is gone");
        let knows = |file: &&&String| {
            let reached = imports.reached(file);
            imports.candle.contains(**file) || reached.into_iter().any(|file| imports.candle.contains(file))
        };
        impure.extend(files.iter().filter(knows).map(|file| (*file).clone()));
    }
    assert_excepted("these import candle, or what imports it", &impure, EXCEPTIONS);
}

fn docid_and_nn_know_nothing_of_ranks() {
    let imports = Imports::of(&sources());
    for file in ["docid/mod.rs", "nn/mod.rs", "distributed/mod.rs", "context.rs"] {
        assert!(imports.files.contains_key(file), "src/{file} is gone: name what took its place");
    }
    for file in imports.files.keys().filter(|file| file.starts_with("docid/") || file.starts_with("nn/")) {
        let reached = imports.reached(file);
        let ranks =
            reached.into_iter().find(|file| file.starts_with("distributed/") || *file == "context.rs");
        assert_eq!(ranks, None, "src/{file} imports it, or what imports it");
    }
}

//! `dsi compare`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{TABLE_HEAD, settings, trained, trained_report};
use crate::fixture::{self, Space};

tests! {
    runs_are_compared,
}

/// Runs that differ only in their seed become one row; a run without a report is named.
fn runs_are_compared() {
    let (space, report) = (Space::new(), trained_report());
    for run in ["a", "b"] {
        fixture::copy(&trained().path("run/eval"), &space.path(run).join("eval"));
    }
    let path = space.path("b/eval/tiny-test.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"seed\": 0", "\"seed\": 1", 1)).unwrap();
    let table = space.run("compare").args(["a", "b"]).output().succeeded();
    assert_eq!(table.stdout.lines().count(), TABLE_HEAD + settings(&report).len(), "{table}");
    assert!(table.stdout.contains("± 0.0") && table.stdout.contains("| a, b"), "{table}");
    let blocks =
        space.run("compare").args(["a", "b", "--dataset", "tiny", "--json"]).output().succeeded().json();
    let blocks = blocks.as_array().unwrap();
    let blocks_of_report: BTreeSet<_> =
        settings(&report).into_iter().map(|[.., query, gallery]| (query, gallery)).collect();
    assert_eq!(blocks.len(), blocks_of_report.len(), "one of each query and gallery");
    for line in blocks.iter().flat_map(|block| block["measured"].as_array().unwrap()) {
        assert_eq!((&line["seeds"], &line["runs"]), (&json!([0, 1]), &json!(["a", "b"])), "{line}");
        assert_eq!(line["recall"]["1"]["sd"], 0.0, "{line}");
    }
    space.run("compare").args(["a", "a"]).output().refused(&["same seed, 0", "--seed"]);
    space.run("compare").args(["a", "none"]).output().refused(&["none", "holds no report"]);
    space.run("compare").args(["a", "--dataset", "coco"]).output().refused(&["coco", "tiny"]);
    space.run("compare").output().refused_with(2, &["RUN"]);
}

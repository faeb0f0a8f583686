//! The commands of the program on the small experiment, one file each.

mod ablate;
mod compare;
mod config;
mod data;
mod eval;
mod pretrain;
mod search;
mod texts;
mod train;

use std::collections::BTreeSet;
use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::fixture::{self, Space};

pub fn tests() -> Vec<Trial> {
    let files = [
        ablate::tests,
        compare::tests,
        config::tests,
        data::tests,
        eval::tests,
        pretrain::tests,
        search::tests,
        texts::tests,
        train::tests,
    ];
    files.iter().flat_map(|tests| tests()).collect()
}

/// Captions per scene.
pub const CAPTIONS: usize = 5;

/// Lines before the rows of a table.
pub const TABLE_HEAD: usize = 2;

/// The trained run that most tests read.
pub fn trained() -> &'static Space {
    fixture::trained("rq")
}

/// The report of the trained run, on its test split.
pub fn trained_report() -> Value {
    let path = trained().path("run/eval/tiny-test.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The rows of a report, each as (retriever, stage, query, gallery).
pub fn settings(report: &Value) -> Vec<[&str; 4]> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| ["retriever", "stage", "query", "gallery"].map(|name| row[name].as_str().unwrap()))
        .collect()
}

/// A report without timings.
pub fn timeless(mut report: Value) -> Value {
    for row in report["rows"].as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("ms_per_query").unwrap();
    }
    report
}

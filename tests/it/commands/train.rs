//! `dsi train`: one command goes from nothing to a table, for each docid family and loss.

use std::fs;

use super::{number, settings, trained};
use crate::fixture::{self, STEPS, Space, VARIANTS, json_lines};

tests! {
    train_goes_from_nothing_to_a_table,
    every_variant_trains_and_evaluates,
    without_a_val_split_the_last_checkpoint_is_best,
}

fn train_goes_from_nothing_to_a_table() {
    let space = Space::new();
    let outcome = space.dsi("train", &["eval.gallery=split"]).out("run").output().succeeded();
    let rows: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows[0].contains("R@1"), "{outcome}");
    let cells = rows.iter().map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let stages: Vec<&str> =
        cells.filter(|cells| cells[3] == "caption").map(|cells| cells[2]).take(5).collect();
    assert_eq!(stages, ["decoder", "geometry", "rerank", "exact", "exact"], "{outcome}");
    assert!(outcome.stdout.contains("memorisation"), "{outcome}");
    for file in ["config.toml", "metrics.jsonl", "checkpoints/last", "checkpoints/best", "index/index.json"] {
        assert!(space.path("run").join(file).is_file(), "{file}");
    }
    let steps: Vec<u64> =
        json_lines(&space.path("run/metrics.jsonl")).iter().map(|l| l["step"].as_u64().unwrap()).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&(STEPS as u64)), "{steps:?}");
}

fn every_variant_trains_and_evaluates() {
    let space = Space::new();
    for (name, _) in VARIANTS {
        fixture::copy(&fixture::trained(name).path("run"), &space.path(name));
        let eval = space.run("eval").of(name).sets(&["eval.gallery=split"]).args(["--json"]);
        let outcome = eval.output().succeeded();
        let report = outcome.json();
        let stages: Vec<&str> =
            settings(&report).iter().filter(|s| s[2] == "caption").map(|s| s[1]).collect();
        let grounded =
            name.starts_with("rq") || ["learned", "everything", "tuned", "renamed"].contains(&name);
        let expected: &[_] = match grounded {
            true => &["decoder", "geometry", "rerank", "exact", "exact"],
            false => &["decoder", "rerank", "exact", "exact"],
        };
        assert_eq!(stages, expected, "{name}");
        let rows = report["rows"].as_array().unwrap().iter();
        rows.filter(|row| row["query"] != "image-to-caption").for_each(|row| {
            // All ten images of the split fit into the beam, so each is found.
            assert_eq!(number(&row["recall"]["10"]), 1.0, "{name} {row}");
        });
    }
}

/// Without a val split the last checkpoint is used.
fn without_a_val_split_the_last_checkpoint_is_best() {
    let space = Space::new();
    fixture::copy(&trained().path("corpus"), &space.path("corpus"));
    let lines = fs::read_to_string(space.path("corpus/corpus.jsonl")).unwrap();
    space.write("corpus/corpus.jsonl", lines.replace("\"split\":\"val\"", "\"split\":\"train\""));
    let config = space.write("own.toml", "[data]\nkind = \"jsonl\"\n");
    let train = space.run("train").config(config).sets(fixture::SMALL).sets(&space.folders());
    train.out("run").output().succeeded();
    let [best, last] =
        ["best", "last"].map(|name| fs::read_to_string(space.path("run/checkpoints").join(name)).unwrap());
    assert_eq!(best, last);
}

//! `dsi eval` and its report: names, plausible figures, and TREC files that agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{CAPTIONS, keys, number, settings, timeless, trained, trained_report};
use crate::fixture::{self, IMAGES, Space};

tests! {
    the_report_has_the_promised_names_and_sane_figures,
    run_and_qrels_of_every_row_agree_with_the_report,
    folds_are_reported_and_too_many_are_refused,
    eval_repeats_the_report_of_training,
}

fn the_report_has_the_promised_names_and_sane_figures() {
    let report = trained_report();
    let top = ["version", "dataset", "split", "seed", "encoder", "settings", "rows", "memorisation"];
    assert_eq!(keys(&report), top.into());
    assert_eq!(
        (&report["dataset"], &report["split"], &report["seed"]),
        (&json!("tiny"), &json!("test"), &json!(0))
    );
    assert!((0.0..=1.0).contains(&number(&report["memorisation"])));
    let expected: BTreeSet<[&str; 4]> = ["caption", "image", "view"]
        .into_iter()
        .flat_map(|query| ["split", "corpus"].map(|gallery| (query, gallery)))
        .flat_map(|(query, gallery)| {
            let of = |retriever, stage| [retriever, stage, query, gallery];
            let generative = ["decoder", "geometry", "rerank"].map(|stage| of("generative", stage));
            generative.into_iter().chain([of("adapted", "exact"), of("dense", "exact")])
        })
        .chain(["split", "corpus"].map(|gallery| ["dense", "exact", "image-to-caption", gallery]))
        .collect();
    assert_eq!(settings(&report).into_iter().collect::<BTreeSet<_>>(), expected);
    report["rows"].as_array().unwrap().iter().for_each(assert_sane);
}

fn assert_sane(row: &Value) {
    let versus = (row["retriever"] != "dense").then_some("versus_dense");
    let names = [
        "retriever",
        "stage",
        "query",
        "gallery",
        "regime",
        "queries",
        "images",
        "folds",
        "recall",
        "recall_ci95",
        "mrr10",
        "ndcg10",
        "median_rank",
        "touched",
        "ms_per_query",
        "files",
    ];
    assert_eq!(keys(row), names.into_iter().chain(versus).collect());
    versus.iter().for_each(|_| assert_sane_difference(row));
    assert_eq!(row["regime"], "transductive");
    let (captions, split) = (row["query"] == "caption", row["gallery"] == "split");
    assert_eq!(row["queries"], if captions { 10 * CAPTIONS } else { 10 }, "{row}");
    let images = if split { 10 } else { IMAGES };
    assert_eq!(row["images"], images, "{row}");
    assert_eq!(
        (keys(&row["recall"]), keys(&row["recall_ci95"])),
        (["1", "5", "10"].into(), ["1", "5", "10"].into())
    );
    let recall = ["1", "5", "10"].map(|k| number(&row["recall"][k]));
    assert!(recall.is_sorted() && recall[0] >= 0.0 && recall[2] <= 1.0, "{row}");
    for (k, recall) in ["1", "5", "10"].iter().zip(recall) {
        let [low, high] = [0, 1].map(|end| number(&row["recall_ci95"][k][end]));
        assert!(0.0 <= low && low <= recall && recall <= high && high <= 1.0, "{row}");
    }
    let [mrr, ndcg] = ["mrr10", "ndcg10"].map(|name| number(&row[name]));
    // A photo has several right captions, and a list of ten need not hold all.
    let described = row["query"] == "image-to-caption";
    assert!(recall[0] <= mrr && (described || mrr <= ndcg) && ndcg <= recall[2], "{row}");
    assert!((1.0..=images as f64).contains(&number(&row["median_rank"])), "{row}");
    let touched = match row["stage"].as_str().unwrap() {
        "decoder" | "geometry" => 0,
        "rerank" => images.min(16),
        _ if described => images * CAPTIONS,
        _ => images,
    };
    assert_eq!(number(&row["touched"]), touched as f64, "{row}");
    assert!(number(&row["ms_per_query"]) >= 0.0);
}

fn assert_sane_difference(row: &Value) {
    let versus = &row["versus_dense"];
    assert_eq!(keys(versus), ["1", "10"].into());
    for k in ["1", "10"] {
        let [delta, p] = ["delta", "p"].map(|name| number(&versus[k][name]));
        let [low, high] = [0, 1].map(|end| number(&versus[k]["ci95"][end]));
        assert!(-1.0 <= low && low <= delta + 1e-12 && delta <= high + 1e-12 && high <= 1.0, "{row}");
        assert!(0.0 < p && p <= 1.0, "{row}");
    }
}

/// Run and qrels, read like `trec_eval` (score descending, ties by document), agree with the report.
fn run_and_qrels_of_every_row_agree_with_the_report() {
    for row in trained_report()["rows"].as_array().unwrap() {
        assert_files_agree(row, &trained().path("run/eval"));
    }
}

/// Asserts that the recall from a row's TREC files is that of the report.
fn assert_files_agree(row: &Value, eval: &Path) {
    let lines = |name: &Value| -> Vec<Vec<String>> {
        let text = fs::read_to_string(eval.join(name.as_str().unwrap())).unwrap();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    };
    let mut lists: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    for line in lines(&row["files"]["run"]) {
        let [query, _, document, _, score, tag] = <[String; 6]>::try_from(line).unwrap();
        assert_eq!(tag, format!("{}-{}", row["retriever"].as_str().unwrap(), row["stage"].as_str().unwrap()));
        lists.entry(query).or_default().push((score.parse().unwrap(), document));
    }
    let mut right: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for qrel in lines(&row["files"]["qrels"][0]) {
        right.entry(qrel[0].clone()).or_default().insert(qrel[2].clone());
    }
    assert_eq!(right.len(), row["queries"], "{row}");
    for k in [1, 5, 10] {
        let hit = |(query, right): &(&String, &BTreeSet<String>)| {
            let mut list = lists[*query].clone();
            list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            list.iter().take(k).any(|(_, document)| right.contains(document))
        };
        let recall = right.iter().filter(hit).count() as f64 / right.len() as f64;
        assert!((recall - number(&row["recall"][k.to_string()])).abs() < 1e-12, "R@{k} {recall} {row}");
    }
}

fn folds_are_reported_and_too_many_are_refused() {
    let space = Space::new();
    fixture::copy(&trained().path("run"), &space.path("run"));
    let eval =
        |set: &str| space.run("eval").of("run").sets(&["eval.gallery=split", set]).args(["--json"]).output();
    let report = eval("eval.folds=5").succeeded().json();
    let rows: Vec<&Value> =
        report["rows"].as_array().unwrap().iter().filter(|r| r["gallery"] == "folds").collect();
    let of_the_split = settings(&report).iter().filter(|row| row[3] == "split").count();
    assert_eq!(rows.len(), of_the_split, "each row is measured on folds too: {report}");
    for row in rows {
        assert_eq!((&row["folds"], &row["images"]), (&json!(5), &json!(2)), "{row}");
        assert_eq!(row["files"]["qrels"].as_array().unwrap().len(), 5, "{row}");
        assert_eq!(number(&row["recall"]["10"]), 1.0, "two images, or their ten captions: {row}");
    }
    eval("eval.folds=11").refused(&["eval.folds = 11", "10 images"]);
}

/// Measuring a run by its folder or its data set's name gives the figures of its training.
fn eval_repeats_the_report_of_training() {
    let space = Space::new();
    fixture::copy(&trained().path("run"), &space.path("runs/tiny"));
    let before = fs::read(space.path("runs/tiny/eval/tiny-test.json")).unwrap();
    let before: Value = serde_json::from_slice(&before).unwrap();
    let by_name = space.run("eval").args(["--dataset", "tiny", "--json"]).output().succeeded();
    assert_eq!(timeless(by_name.json()), timeless(before));
    let file = fs::read(space.path("runs/tiny/eval/tiny-test.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), by_name.json());

    let val =
        space.run("eval").of("runs/tiny").args(["--split", "val", "--json"]).output().succeeded().json();
    assert_eq!(val["split"], "val");
    for file in ["tiny-val.json", "tiny-val.run", "tiny-val.qrels"] {
        assert!(space.path("runs/tiny/eval").join(file).is_file(), "{file}");
    }
    let more = ["search.beam=80", "search.rerank=false", "eval.exhaustive=true", "eval.gallery=corpus"];
    let wide = space.run("eval").of("runs/tiny").sets(&more).args(["--json"]).output().succeeded().json();
    let caption = |stage: &'static str| ["generative", stage, "caption", "corpus"];
    assert!(settings(&wide).contains(&caption("exact")) && !settings(&wide).contains(&caption("rerank")));
    let all = |row: &Value| {
        let shares = row["survival"].as_array().unwrap();
        !shares.is_empty() && shares.iter().all(|share| number(share) == 1.0)
    };
    let decoders = wide["rows"].as_array().unwrap().iter().filter(|row| row["stage"] == "decoder");
    assert!(
        decoders.clone().count() == 3 && decoders.clone().all(all),
        "a beam of 80 images loses none: {wide}"
    );
    space.run("eval").of("runs/tiny").args(["--dataset", "flickr8k"]).output().refused(&["tiny", "flickr8k"]);
}

//! `dsi ablate`: a grid of small experiments is run, stopped, resumed, refused, and put into a table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dsi::config::Config;
use dsi::context::Context;
use dsi::run_folder::RunFolder;
use dsi::stop_flag::Stop;
use dsi::{encoder::embed_corpus::embed_corpus, index, run_experiment, train};
use serde_json::Value;

use crate::fixture::{ENDLESS, INTERRUPTED, Outcome, Program, Space, assert_same, contents, repository};

tests! {
    a_grid_becomes_runs_and_one_table,
    stage_gallery_and_json_are_chosen,
    a_stopped_grid_resumes_and_completes,
    #[cfg(unix)]
    ctrl_c_saves_the_run_and_says_how_to_resume,
    a_run_of_another_configuration_is_refused_or_replaced,
    a_failing_row_is_reported_and_the_others_run,
    a_grid_is_refused_before_anything_runs,
    the_shipped_grids_are_grids,
}

/// Per seed two trainings and three measurements: the base, a row that differs in training, three in search.
const GRID: &str = "
[[row]]
name = 'without beam negatives'
set = { train.beam_negatives = 0 }
[[row]]
name = 'wide'
set.search.beam = 20
[grid]
search.rerank = [true, false]
";
const FOLDERS: [&str; 5] =
    ["base", "without-beam-negatives", "wide", "search.rerank=true", "search.rerank=false"];

/// `dsi ablate` of the small experiment over a grid, with one gallery to save time.
fn ablate(space: &Space, grid: &str, more: &[&str]) -> Program {
    let grid = space.write("grid.toml", grid);
    let more = [&["eval.gallery=split"], more].concat();
    space.dsi("ablate", &more).args([Path::new("--grid"), &grid]).out("out")
}

/// The folders inside the folder of an ablation.
fn folders(space: &Space) -> BTreeSet<String> {
    let entries = fs::read_dir(space.path("out")).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn rows(outcome: &Outcome) -> Vec<Vec<&str>> {
    let lines = outcome.stdout.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

fn json(space: &Space) -> Value {
    serde_json::from_str(&fs::read_to_string(space.path("out/ablation.json")).unwrap()).unwrap()
}

fn a_grid_becomes_runs_and_one_table() {
    let space = Space::new();
    let outcome = ablate(&space, GRID, &[]).args(["--seeds", "0,1"]).output().succeeded();
    assert!(
        outcome.stderr.contains("10 runs (5 rows, seeds 0, 1): 0 done, 0 to go on with, 4 to train, 6 to")
    );
    assert!(outcome.stderr.contains("2/10: \"without beam negatives\", seed 0: R@1 "), "{outcome}");
    let expected = FOLDERS.iter().flat_map(|row| [0, 1].map(|seed| format!("{row}-seed{seed}")));
    assert_eq!(folders(&space), expected.collect());
    let rows = rows(&outcome);
    assert_eq!(rows.len(), 5 + 2, "the dense rows stand below: {outcome}");
    assert_eq!((rows[0][0], rows[1][0]), ("base", "without beam negatives"));
    assert_eq!((rows[5][0], rows[6][0]), ("adapted, exact", "dense, exact"));
    assert_eq!((rows[2][1], rows[4][1], rows[5][1]), ("rerank", "geometry", "exact"), "{outcome}");
    assert!(rows.iter().all(|row| row[3].contains(" ± ") && row[2] == "transductive"), "{outcome}");
    assert!(rows[0][6..10].iter().all(|cell| *cell == "-"), "the base is not compared with itself");
    assert!(rows[1..].iter().all(|row| row[6].contains('[') && row[10] == "2"), "{outcome}");
    assert!(
        rows[3][6].starts_with("+0.0 [+0.0, +0.0]") && rows[3][7] == "1.000",
        "the base again: {outcome}"
    );
    assert!(outcome.stdout.contains("tiny test, gallery split: 50 captions, 10 images; seeds 0, 1."));
    assert_of_the_reports(&space);

    // A run equals that of `dsi train`; a row with borrowed weights equals the report of `dsi eval`.
    space.dsi("train", &["eval.gallery=split"]).args(["--seed", "1"]).out("alone").output().succeeded();
    for part in ["index", "checkpoints"] {
        assert_same(&space.path("alone").join(part), &space.path("out/base-seed1").join(part));
    }
    space.run("eval").of("alone").sets(&["search.beam=20"]).output().succeeded();
    let run = |folder: &str| fs::read(space.path(folder).join("eval/tiny-test.run")).unwrap();
    assert_eq!(run("alone"), run("out/wide-seed1"));
    assert!(!space.path("out/wide-seed1/checkpoints").exists());
    space.run("eval").of("out/wide-seed1").output().refused(&["weights of another run", "weights.json"]);

    // Everything is done: only the result is written again, unchanged.
    let before = (contents(&space.path("out")), json(&space));
    let again = ablate(&space, GRID, &[]).args(["--seeds", "0,1"]).output().succeeded();
    assert!(again.stderr.contains("10 done, 0 to go on with, 0 to train, 0 to measure"), "{again}");
    assert_eq!(again.stdout, outcome.stdout);
    assert!(before == (contents(&space.path("out")), json(&space)));
}

/// Asserts that `ablation.json` agrees with the reports of the runs.
fn assert_of_the_reports(space: &Space) {
    let found = json(space);
    assert_eq!((&found["version"], &found["seeds"]), (&1.into(), &serde_json::json!([0, 1])));
    for row in found["rows"].as_array().unwrap().iter().filter(|row| row["found"]["stage"] == "rerank") {
        let mut recalls = Vec::new();
        for run in row["runs"].as_array().unwrap() {
            let folder = space.path("out").join(run["folder"].as_str().unwrap());
            let report: Value =
                serde_json::from_slice(&fs::read(folder.join("eval/tiny-test.json")).unwrap()).unwrap();
            let main =
                report["rows"].as_array().unwrap().iter().find(|row| row["files"]["run"] == "tiny-test.run");
            recalls.push(main.unwrap()["recall"]["1"].as_f64().unwrap());
        }
        let mean = row["found"]["recall"]["1"]["mean"].as_f64().unwrap();
        assert!((mean - (recalls[0] + recalls[1]) / 2.0).abs() < 1e-12, "{row}");
        let base = found["rows"][0]["found"]["recall"]["1"]["mean"].as_f64().unwrap();
        if let Some(delta) = row["versus_base"]["1"]["delta"].as_f64() {
            assert!((delta - (mean - base)).abs() < 1e-12, "{row}");
        }
    }
}

fn stage_gallery_and_json_are_chosen() {
    let space = Space::new();
    let grid = "[grid]\nsearch.rerank = [false]";
    let call = |more: &[&str]| ablate(&space, grid, &["eval.gallery=both"]).args(more).output();
    let found = call(&["--stage", "decoder", "--gallery", "corpus", "--json"]).succeeded().json();
    assert_eq!(found, json(&space));
    assert_eq!((&found["gallery"], &found["split"]), (&"corpus".into(), &"test".into()));
    for row in found["rows"].as_array().unwrap() {
        assert_eq!((&row["found"]["stage"], &row["found"]["images"]), (&"decoder".into(), &80.into()));
    }
    assert_eq!(found["rows"][1]["set"]["search.rerank"], false);
    // A row without the stage has dashes; the seed is the configuration's.
    let table = call(&["--stage", "rerank"]).succeeded();
    assert!(table.stderr.contains("(2 rows, seeds 0)") && table.stderr.contains("2 done"), "{table}");
    assert_eq!(rows(&table)[1][1..4], ["-"; 3], "{table}");
    call(&["--gallery", "folds"]).refused(&["does not measure the gallery folds, only split and corpus"]);
    call(&["--stage", "exact"]).refused_with(2, &["--stage", "rerank"]);
}

/// Trains one step through the library, which leaves what Ctrl-C leaves.
fn stopped_after_one_step(space: &Space, folder: &str, more: &[&str]) {
    let more = [&["eval.gallery=split"], more].concat();
    let config = Config::load(&repository("configs/scenes.toml"), &space.overrides(&more)).unwrap();
    let run = RunFolder::new(space.path(folder));
    let prepared = embed_corpus(&config.data, &config.encoder, &Context::default()).unwrap();
    let index =
        index::open(&run_experiment::index_settings(&config), &prepared, &run, &Context::default()).unwrap();
    let stop = Stop::default();
    stop.request();
    fs::write(run.config(), config.to_toml()).unwrap();
    train::joint::train(
        &run_experiment::joint_settings(&config),
        &prepared,
        &index,
        &run,
        false,
        &Context { stop: stop.clone(), ..Context::default() },
    )
    .unwrap_err();
}

fn a_stopped_grid_resumes_and_completes() {
    let space = Space::new();
    ablate(&space, GRID, &[]).output().succeeded();
    let whole = space.path("whole");
    fs::rename(space.path("out"), &whole).unwrap();

    stopped_after_one_step(&space, "out/base-seed0", &[]);
    let plan = ablate(&space, GRID, &[]).args(["--plan"]).output().succeeded();
    assert!(plan.stderr.contains("0 done, 1 to go on with, 1 to train, 3 to measure"), "{plan}");
    assert!(plan.stdout.is_empty() && folders(&space).len() == 1, "{plan}");
    ablate(&space, GRID, &[]).output().succeeded();
    for row in &FOLDERS[..2] {
        let folder = format!("{row}-seed0/checkpoints");
        assert_same(&whole.join(&folder), &space.path("out").join(&folder));
    }

    // Stopped between training and measuring: only measuring is left. Rows with the same weights are not
    // measured again.
    fs::remove_dir_all(space.path("out/base-seed0/eval")).unwrap();
    let plan = ablate(&space, GRID, &[]).args(["--plan"]).output().succeeded();
    assert!(plan.stderr.contains("4 done, 0 to go on with, 0 to train, 1 to measure"), "{plan}");
    ablate(&space, GRID, &[]).output().succeeded();

    // Another split is measured without training.
    let val = ablate(&space, GRID, &["eval.split=val"]).output().succeeded();
    assert!(val.stderr.contains("0 done, 0 to go on with, 0 to train, 5 to measure"), "{val}");
    assert!(space.path("out/wide-seed0/eval/tiny-test.json").is_file());
    // A report of another search is not taken for the row's.
    space.run("eval").of("out/base-seed0").sets(&["search.beam=3", "eval.split=val"]).output().succeeded();
    let plan = ablate(&space, GRID, &["eval.split=val"]).args(["--plan"]).output().succeeded();
    assert!(plan.stderr.contains("4 done, 0 to go on with, 0 to train, 1 to measure"), "{plan}");
}

#[cfg(unix)]
fn ctrl_c_saves_the_run_and_says_how_to_resume() {
    let space = Space::new();
    let grid = "[grid]\nsearch.beam = [3]";
    let log = space.path("out/base-seed0/metrics.jsonl");
    let begun = || fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    let outcome = ablate(&space, grid, ENDLESS).interrupted(begun);
    assert_eq!(outcome.code, Some(INTERRUPTED), "{outcome}");
    for part in ["stopped on request", "\"base\", seed 0 is saved; the same command goes on"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome}");
    }
    let again = ablate(&space, grid, ENDLESS).args(["--plan"]).output().succeeded();
    assert!(again.stderr.contains("1 to go on with"), "{again}");
}

fn a_run_of_another_configuration_is_refused_or_replaced() {
    let space = Space::new();
    let grid = "[[row]]\nname = 'wide'\nset.search.beam = 20";
    ablate(&space, grid, &[]).output().succeeded();
    let before = contents(&space.path("out"));
    let other = ["train.steps=3"];
    ablate(&space, grid, &other).output().refused(&[
        "row \"base\"",
        "out/base-seed0 holds a run of another configuration (train.steps: 3 here, 12 there)",
        "row \"wide\"",
        "choose another --out",
    ]);
    let own = format!("{grid}\nretrain = true");
    ablate(&space, &own, &[]).output().refused(&[
        "row \"wide\"",
        "weights of another row",
        "choose another --out",
    ]);
    assert!(before == contents(&space.path("out")), "a refusal changes nothing");

    let forced = ablate(&space, grid, &other).args(["--force"]).output().succeeded();
    assert!(forced.stderr.contains("0 done, 0 to go on with, 1 to train, 1 to measure"), "{forced}");
    assert!(space.path("out/base-seed0/checkpoints/step-3").exists());
    let done = ablate(&space, grid, &other).args(["--force"]).output().succeeded();
    assert!(done.stderr.contains("2 done"), "{done}");
    ablate(&space, &own, &other).args(["--force"]).output().succeeded();
    assert!(space.path("out/wide-seed0/checkpoints/step-3").exists());
    ablate(&space, grid, &other).output().refused(&["row \"wide\"", "holds weights of its own"]);
}

fn a_failing_row_is_reported_and_the_others_run() {
    let space = Space::new();
    let grid = "
[[row]]
name = 'no such index'
set.index = { min_survival = 1, survival_beam = 1, min_perplexity = 1, levels = 1, codes = 2 }
[[row]]
name = 'nor its search'
set.index = { min_survival = 1, survival_beam = 1, min_perplexity = 1, levels = 1, codes = 2 }
set.search.beam = 3
[[row]]
name = 'fine'
set.search.beam = 20";
    let outcome = ablate(&space, grid, &[]).output();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for part in [
        "error: 2 of 4 runs failed",
        "\"no such index\", seed 0: this index cannot work",
        "\"nor its search\", seed 0: needs the weights of \"no such index\", seed 0",
    ] {
        assert!(outcome.error().contains(part), "{outcome}");
    }
    let rows = rows(&outcome);
    assert_eq!((rows[1][1], rows[1][3], rows[3][1]), ("-", "-", "rerank"), "{outcome}");
    let found = json(&space);
    assert!(found["rows"][1]["runs"][0]["error"].as_str().unwrap().contains("this index cannot work"));
    assert_eq!(found["rows"][3]["runs"][0]["weights_of"], "base-seed0");
    // Finished runs are skipped, failed ones are tried again.
    let again = ablate(&space, grid, &[]).args(["--plan"]).output().succeeded();
    assert!(again.stderr.contains("2 done, 0 to go on with, 1 to train, 1 to measure"), "{again}");
}

fn a_grid_is_refused_before_anything_runs() {
    let space = Space::new();
    let row = |set: &str| format!("[[row]]\nname = 'odd'\nset.{set}");
    for (grid, parts) in [
        (row("train.stepz = 3"), &["row \"odd\": train.stepz", "did you mean train.steps?"][..]),
        (row("train.batch = 0"), &["row \"odd\": train.batch = 0", "from 1 to 65536"]),
        (row("index.family = 'tree'"), &["row \"odd\": decoder.grounded = true", "decoder.grounded = false"]),
        (row("train.batch = 8"), &["row \"odd\" is the same as the base"]),
        (row("seed = 3"), &["row \"odd\": seed cannot be set", "--seeds"]),
        ("[grid]\nindex.levles = [3, 4]".into(), &["[grid]: index.levles", "did you mean index.levels?"]),
        ("[grid]\nindex.levels = [3, 99]".into(), &["[grid]: index.levels = 99", "from 1 to 64"]),
        (
            "[grid]\ndecoder.heads = [2, 5]".into(),
            &["row \"decoder.heads=5\": decoder.heads = 5 must divide"],
        ),
        (format!("{0}\n{0}", row("train.batch = 2")), &["row \"odd\" and row \"odd\" would share a folder"]),
        ("[[row]]".into(), &["grid.toml: row 1 has no name"]),
        (String::new(), &["grid.toml: has no rows"]),
        ("[[row".into(), &["grid.toml, line 1: is not TOML"]),
    ] {
        ablate(&space, &grid, &[]).output().refused(parts);
    }
    let several = format!("{}\n[grid]\nindex.levles = [3, 4]\nsearch.beam = [1, 2]", row("train.stepz = 3"));
    let outcome = ablate(&space, &several, &[]).output().refused(&["train.stepz", "index.levles"]);
    assert_eq!(outcome.error().lines().count(), 1 + 2, "each fault once: {outcome}");
    ablate(&space, GRID, &[]).args(["--seeds", "1,1"]).output().refused(&["--seeds", "twice"]);
    ablate(&space, GRID, &[]).args(["--seeds", "0,x"]).output().refused_with(2, &["--seeds"]);
    ablate(&space, GRID, &["train.stepz=3"]).output().refused(&["--set: train.stepz"]);
    space
        .dsi::<&str>("ablate", &[])
        .args(["--grid", "none.toml"])
        .output()
        .refused(&["none.toml", "cannot read"]);
    assert!(!space.path("out").exists());
}

/// Every row of the shipped grids has a valid configuration.
fn the_shipped_grids_are_grids() {
    for (of, grid, runs) in [
        ("scenes", "scenes", "48 runs (16 rows, seeds 0, 1, 2): 0 done, 0 to go on with, 36 to train"),
        ("scenes", "scenes-added", "33 runs (11 rows, seeds 0, 1, 2): 0 done, 0 to go on with, 27 to train"),
        ("features", "features", "39 runs (13 rows, seeds 0, 1, 2): 0 done, 0 to go on with, 27 to train"),
    ] {
        let space = Space::new();
        let ablate = space.run("ablate").config(format!("configs/{of}.toml")).out("out");
        let grid = repository(&format!("configs/ablate-{grid}.toml"));
        let plan = ablate.args([Path::new("--grid"), &grid, Path::new("--plan")]).output().succeeded();
        assert!(plan.stderr.contains(runs), "{plan}");
    }
}

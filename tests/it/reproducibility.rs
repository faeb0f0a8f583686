//! The same seed gives the same bits: in every run, on any number of threads, and after any interruption.

use std::fs;
use std::path::Path;

use dsi::config::Config;
use dsi::context::Context;
use dsi::encoder::embed_corpus::embed_corpus;
use dsi::error::Error;
use dsi::run_folder::RunFolder;
use dsi::stop_flag::Stop;
use dsi::{index, run_experiment, train};
use serde_json::Value;

use crate::fixture::{
    self, ENDLESS, INTERRUPTED, Outcome, RENAMED, STEPS, Space, TUNED, assert_same, contents, copy,
    json_lines, newest_step, repository,
};

tests! {
    the_seed_alone_decides_the_weights,
    the_seed_alone_decides_learned_codebooks,
    a_run_stopped_after_every_step_ends_as_an_unbroken_one,
    an_encoder_training_stopped_after_every_step_ends_as_an_unbroken_one,
    #[cfg(unix)]
    an_interrupted_run_is_saved_and_resumed_exactly,
    an_earlier_run_is_overwritten_only_on_demand,
    debris_of_a_crash_does_no_harm,
}

/// Compares the files of two runs that do not depend on the clock.
fn assert_same_run(left: &Path, right: &Path) {
    for part in ["checkpoints", "index"] {
        assert_same(&left.join(part), &right.join(part));
    }
    for file in ["eval/tiny-test.run", "eval/tiny-test.qrels"] {
        assert!(fs::read(left.join(file)).unwrap() == fs::read(right.join(file)).unwrap(), "{file}");
    }
    assert_eq!(metrics(left), metrics(right));
}

/// The metrics log without timings and memory figures.
fn metrics(run: &Path) -> Vec<Value> {
    let mut lines = json_lines(&run.join("metrics.jsonl"));
    for line in lines.iter_mut().map(|line| line.as_object_mut().unwrap()) {
        ["pairs_per_s", "wait_share", "memory_gb"].iter().for_each(|name| _ = line.remove(*name));
    }
    lines
}

fn the_seed_alone_decides_the_weights() {
    let space = Space::new();
    for (run, seed, threads) in
        [("a", "0", None), ("b", "0", None), ("one", "0", Some("1")), ("c", "1", None)]
    {
        let mut command = space.dsi::<&str>("train", &[]).out(run).args(["--seed", seed]);
        if let Some(threads) = threads {
            command.0.env("RAYON_NUM_THREADS", threads);
        }
        command.output().succeeded();
        // Makes the next run embed the corpus again.
        fs::remove_dir_all(space.path("cache")).unwrap();
    }
    assert_same_run(&space.path("a"), &space.path("b"));
    assert_same_run(&space.path("a"), &space.path("one"));
    let weights = |run: &str| contents(&space.path(run).join("checkpoints"));
    assert!(weights("a") != weights("c"), "the seed decides the weights");
}

fn the_seed_alone_decides_learned_codebooks() {
    let space = Space::new();
    let learned = ["index.family=learned", "index.first_codes=4"];
    for (run, seed, threads) in [("a", "0", None), ("one", "0", Some("1")), ("c", "1", None)] {
        let mut command = space.dsi("index", &learned).out(run).args(["--seed", seed]);
        if let Some(threads) = threads {
            command.0.env("RAYON_NUM_THREADS", threads);
        }
        command.output().succeeded();
    }
    assert_same(&space.path("a/index"), &space.path("one/index"));
    let vectors = |run: &str| fs::read(space.path(run).join("index/vectors.safetensors")).unwrap();
    assert!(vectors("a") != vectors("c"), "the seed decides the codebooks");
}

/// Trains through the library; with `stop`, only one step.
fn train_on(config: &Config, run: &RunFolder, resume: bool, stop: bool) -> Result<(), Error> {
    let prepared = embed_corpus(&config.data, &config.encoder, &Context::default())?;
    let index = index::open(&run_experiment::index_settings(config), &prepared, run, &Context::default())?;
    let wish = Stop::default();
    if stop {
        wish.request();
    }
    train::joint::train(
        &run_experiment::joint_settings(config),
        &prepared,
        &index,
        run,
        resume,
        &Context { stop: wish.clone(), ..Context::default() },
    )
}

fn a_run_stopped_after_every_step_ends_as_an_unbroken_one() {
    stopped_after_every_step(&[]);
}

fn an_encoder_training_stopped_after_every_step_ends_as_an_unbroken_one() {
    stopped_after_every_step(TUNED);
    stopped_after_every_step(RENAMED);
}

fn stopped_after_every_step(more: &[&str]) {
    let space = Space::new();
    let config = Config::load(&repository("configs/scenes.toml"), &space.overrides(more)).unwrap();
    let (whole, broken) = (RunFolder::new(space.path("whole")), RunFolder::new(space.path("broken")));
    train_on(&config, &whole, false, false).unwrap();
    for step in 1..STEPS {
        let stopped = train_on(&config, &broken, step > 1, true).unwrap_err().to_string();
        assert!(stopped.contains(&format!("saved at step {step} of {STEPS}")), "{stopped}");
    }
    train_on(&config, &broken, true, false).unwrap();
    assert_same(&whole.checkpoints(), &broken.checkpoints());
    assert_eq!(metrics(whole.path()), metrics(broken.path()));
    train_on(&config, &broken, true, false).unwrap();
    assert_same(&whole.checkpoints(), &broken.checkpoints());
}

/// Two interruptions by Ctrl-C, each at any step: the run names its step and resumes to the same bits.
#[cfg(unix)]
fn an_interrupted_run_is_saved_and_resumed_exactly() {
    let space = Space::new();
    let newest = |run: &str| newest_step(&space.path(run));
    let training = |run: &str, more: &[&str]| space.dsi("train", &[ENDLESS, more].concat()).out(run);
    let seldom = ["train.validate_every=100", "train.checkpoint_every=100"];
    let logged = || last_step_logged(&space.path("broken/metrics.jsonl"));
    let first = assert_saved(training("broken", &seldom).interrupted(|| logged().is_some()));
    assert_eq!(newest("broken"), first);
    let resumed = || logged().is_some_and(|step| step as usize > first);
    let second = assert_saved(training("broken", &seldom).args(["--resume"]).interrupted(resumed));
    assert!(second > first);

    let then = format!("train.checkpoint_every={second}");
    let sets = ["train.validate_every=100", &then, "train.keep=100"];
    assert_saved(training("whole", &sets).interrupted(|| newest("whole") >= second));
    let checkpoint = format!("checkpoints/step-{second}");
    assert_same(&space.path("whole").join(&checkpoint), &space.path("broken").join(&checkpoint));
}

/// The step at which an interrupted training was saved, by its message.
#[cfg(unix)]
fn assert_saved(outcome: Outcome) -> usize {
    assert_eq!(outcome.code, Some(INTERRUPTED), "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    let (_, saved) = outcome.stderr.split_once("stopped on request; saved at step ").unwrap();
    assert!(saved.contains("--resume"), "{outcome}");
    saved.split(' ').next().unwrap().parse().unwrap()
}

/// The last step in a log that is being written.
#[cfg(unix)]
fn last_step_logged(log: &Path) -> Option<u64> {
    let text = fs::read_to_string(log).ok()?;
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["step"].as_u64()).next()
}

fn an_earlier_run_is_overwritten_only_on_demand() {
    let trained = fixture::trained("rq");
    let (space, run) = (Space::new(), "run");
    copy(&trained.path(run), &space.path(run));
    let again = |more: &[&str]| trained.dsi("train", more).out(space.path(run));
    again(&[]).output().refused(&["holds a run already", "--resume", "another --out"]);
    again(&["train.steps=13"]).args(["--resume"]).output().refused(&[
        "another configuration",
        "train.steps",
        "12",
        "13",
    ]);
    again(&[]).args(["--resume", "--force"]).output().refused_with(2, &["cannot be used with"]);
    trained
        .dsi::<&str>("train", &[])
        .out(space.path("none"))
        .args(["--resume"])
        .output()
        .refused(&["holds no run to resume"]);
    assert_same(&trained.path(run), &space.path(run));
    assert!(!space.path("none").exists());

    again(&["train.steps=3"]).args(["--force"]).output().succeeded();
    assert_eq!(metrics(&space.path(run)).last().unwrap()["step"], 3);
}

/// A power cut during a write leaves an incomplete temporary folder, and log lines later than the last
/// checkpoint.
fn debris_of_a_crash_does_no_harm() {
    let trained = fixture::trained("rq");
    let space = Space::new();
    copy(&trained.path("run"), &space.path("run"));
    space.write("run/checkpoints/.tmpHALF/weights.safetensors", b"half");
    let log = fs::read_to_string(space.path("run/metrics.jsonl")).unwrap();
    space.write("run/metrics.jsonl", log + "{\"step\":13,\"loss\":0.1}\n{\"step\":14,\"lo");
    trained.dsi::<&str>("train", &[]).out(space.path("run")).args(["--resume"]).output().succeeded();
    assert_same_run_but_debris(&trained.path("run"), &space.path("run"));
}

fn assert_same_run_but_debris(left: &Path, right: &Path) {
    assert_eq!(metrics(left), metrics(right));
    for file in ["eval/tiny-test.run", "checkpoints/last", "checkpoints/best"] {
        assert!(fs::read(left.join(file)).unwrap() == fs::read(right.join(file)).unwrap(), "{file}");
    }
}

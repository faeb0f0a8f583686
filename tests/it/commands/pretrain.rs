//! `dsi pretrain` from an existing CLIP: its output, its refusals, and interruptions.

use std::fs;
use std::path::Path;

use candle_core::Device;
use dsi::config::Config;
use dsi::context::Context;
use dsi::data::corpus::Corpus;
use dsi::data::open_corpus;
use dsi::encoder::DualEncoder as _;
use dsi::encoder::clip::ClipEncoder;
use dsi::error::Error;
use dsi::run_folder::RunFolder;
use dsi::stop_flag::Stop;
use dsi::train::pretrain::{Pretraining, pretrain};

use crate::fixture::{Program, Space, assert_same, contents, copy, json_lines, repository};

tests! {
    a_tuned_clip_differs_and_serves_as_an_encoder,
    an_open_clip_model_is_written_in_transformers_layout,
    a_harmful_tuning_returns_the_original_model,
    untunable_encoders_are_refused,
    pretraining_stopped_after_every_step_ends_as_an_unbroken_one,
}

const STEPS: usize = 4;

/// The overrides of a small tuning of the CLIP in `init`; its result goes to `tuned` in the space.
fn tuning(space: &Space, init: &Path, more: &[&str]) -> Vec<String> {
    let mut sets = vec![
        format!("pretrain.init={}", init.display()),
        format!("pretrain.out={}", space.path("tuned").display()),
        format!("pretrain.steps={STEPS}"),
        "pretrain.batch=16".into(),
        "pretrain.lr=1e-4".into(),
        "pretrain.warmup=1".into(),
        "pretrain.validate_every=2".into(),
        "pretrain.log_every=1".into(),
    ];
    sets.extend(more.iter().map(|&set| set.to_owned()));
    space.overrides(&sets)
}

fn dsi(space: &Space, sets: &[String]) -> Program {
    space.run("pretrain").config("configs/scenes.toml").sets(sets)
}

fn own() -> std::path::PathBuf {
    repository("data/scenes-clip")
}

/// The embeddings of three captions by the CLIP in a folder.
fn embedded(folder: &Path) -> Vec<f32> {
    let encoder = ClipEncoder::open(folder, 8, &Device::Cpu).unwrap();
    let captions = ["a small red cube left of a ball", "two green cones", "a ball"];
    encoder.texts(&captions, &|_| ()).unwrap().data().to_vec()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.inspect(|apart| assert!(apart.is_finite())).fold(0.0, f32::max)
}

fn a_tuned_clip_differs_and_serves_as_an_encoder() {
    let space = Space::new();
    // With so few photos the recall of the source cannot be exceeded; among equals the last step
    // is the best.
    let outcome = dsi(&space, &tuning(&space, &own(), &[])).out("run").output().succeeded();
    let lines = json_lines(&space.path("run/metrics.jsonl"));
    assert_eq!(lines[0]["step"], 0, "the source is measured first");
    assert!(lines[0]["val_r10"].as_f64().unwrap() > 0.5, "{}", lines[0]);
    assert!((lines[1]["logit_scale"].as_f64().unwrap() - 1.0).abs() > 1.0, "{}", lines[1]);
    assert!(outcome.stderr.contains("the best on val"), "{outcome}");

    let tuned = space.path("tuned");
    for name in ["tokenizer.json", "preprocessor_config.json"] {
        let json = |at: &Path| -> serde_json::Value {
            serde_json::from_slice(&fs::read(at.join(name)).unwrap()).unwrap()
        };
        assert_eq!(json(&tuned), json(&own()), "{name}");
    }
    let moved = furthest(&embedded(&own()), &embedded(&tuned));
    assert!(moved > 1e-3, "{moved}");
    let encoder = format!("encoder.path={}", tuned.display());
    space.dsi("index", &[encoder]).out("index").output().succeeded();
}

fn an_open_clip_model_is_written_in_transformers_layout() {
    let space = Space::new();
    let init = space.path("open-clip");
    copy(&repository("tests/fixture/parity/open-clip/encoder"), &init);
    copy(&repository("tests/fixture/parity/tokenizer"), &init);
    let sets = tuning(&space, &init, &["pretrain.lr=0"]);
    dsi(&space, &sets).out("run").output().succeeded();
    let names: Vec<_> = contents(&space.path("tuned")).into_keys().map(|p| p.display().to_string()).collect();
    let written =
        [".dsi.json", "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"];
    assert_eq!(names, written);
    let moved = furthest(&embedded(&init), &embedded(&space.path("tuned")));
    assert!(moved < 2e-3, "f16 rounding and no more: {moved}");
}

fn a_harmful_tuning_returns_the_original_model() {
    let space = Space::new();
    let outcome = dsi(&space, &tuning(&space, &own(), &["pretrain.lr=0.9"])).out("run").output().succeeded();
    assert!(outcome.stderr.contains("no step was better on val"), "{outcome}");
    let read = |at: &Path| fs::read(at.join("model.safetensors")).unwrap();
    assert!(read(&own()) == read(&space.path("tuned")));
}

fn untunable_encoders_are_refused() {
    let space = Space::new();
    let refused = |init: &Path, more: &[&str], parts: &[&str]| {
        dsi(&space, &tuning(&space, init, more)).out("run").args(["--force"]).output().refused(parts);
    };
    refused(Path::new("no/such/clip"), &[], &["`no/such/clip`", "neither a local folder nor a hub id"]);
    fs::create_dir(space.path("empty")).unwrap();
    refused(&space.path("empty"), &[], &["empty/config.json", "cannot read"]);
    refused(&own(), &["pretrain.width=64"], &["pretrain.width", "scenes-clip", "brings its own"]);
    copy(&own(), &space.path("tuned"));
    refused(&space.path("tuned"), &[], &["pretrain.out", "choose another"]);
    assert_same(&own(), &space.path("tuned"));
}

/// Pretrains through the library; with `stop`, only one step.
fn tune(config: &Config, corpus: &Corpus, run: &RunFolder, resume: bool, stop: bool) -> Result<(), Error> {
    let wish = Stop::default();
    if stop {
        wish.request();
    }
    let settings =
        Pretraining { section: &config.pretrain, seed: config.seed, on_bad: config.data.on_bad_image };
    pretrain(&settings, corpus, run, resume, &|| Ok(()), &Context { stop: wish, ..Context::default() })
}

fn pretraining_stopped_after_every_step_ends_as_an_unbroken_one() {
    let space = Space::new();
    // The broken run recomputes its blocks, which changes no bit.
    let load = |out: &str, recompute: bool| {
        let out = format!("pretrain.out={}", space.path(out).display());
        let recompute = format!("pretrain.recompute={recompute}");
        let noise = ["pretrain.augment=true", "pretrain.patch_dropout=0.5", "pretrain.dropout=0.1"];
        let sets = tuning(&space, &own(), &[&noise[..], &[&out, &recompute]].concat());
        Config::load(&repository("configs/scenes.toml"), &sets).unwrap()
    };
    let (config, broken_config) = (load("whole-clip", false), load("broken-clip", true));
    let corpus = open_corpus::open(&config.data, &|| ()).unwrap();
    let (whole, broken) = (RunFolder::new(space.path("whole")), RunFolder::new(space.path("broken")));
    tune(&config, &corpus, &whole, false, false).unwrap();
    for step in 1..STEPS {
        let stopped = tune(&broken_config, &corpus, &broken, step > 1, true).unwrap_err().to_string();
        assert!(stopped.contains(&format!("saved at step {step} of {STEPS}")), "{stopped}");
    }
    tune(&broken_config, &corpus, &broken, true, false).unwrap();
    // The broken run may have kept more checkpoints.
    let (left, right) = (contents(&whole.checkpoints()), contents(&broken.checkpoints()));
    assert!(left.iter().all(|(file, bytes)| right.get(file) == Some(bytes)));
    assert_same(&space.path("whole-clip"), &space.path("broken-clip"));
}

//! `dsi train` with a trained encoder: which parameters change, and that the run searches with its own
//! encoder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::commands::timeless;
use crate::fixture::{Program, RENAMED, Space, TUNED, copy, json_lines, repository};

tests! {
    a_run_is_searched_with_its_own_trained_encoder,
    the_contrastive_loss_trains_towers_without_queries,
    an_unfinished_encoder_training_cannot_be_searched,
    contradictory_tuning_options_are_refused_by_name,
    runs_that_tune_differently_are_compared_as_two_experiments,
    recomputing_changes_no_bit,
    a_run_resumes_with_smaller_batches_of_the_same_steps,
    a_dry_run_says_what_it_would_take_and_keeps_nothing,
    docids_are_reassigned_as_the_encoder_changes,
    #[cfg(not(feature = "cuda"))]
    cuda_without_its_feature_is_refused_with_the_remedy,
}

/// The small experiment with a copy of the CLIP in the space, which is trained too.
fn tuned(space: &Space, more: &[&str]) -> Program {
    tuning(space, more).out("run")
}

fn tuning(space: &Space, more: &[&str]) -> Program {
    if !space.path("clip").exists() {
        copy(&repository("data/scenes-clip"), &space.path("clip"));
    }
    let clip = format!("encoder.path={}", space.path("clip").display());
    let sets: Vec<&str> = TUNED.iter().chain(more).copied().chain([clip.as_str()]).collect();
    space.dsi("train", &sets)
}

fn weights(folder: &Path) -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
}

fn a_run_is_searched_with_its_own_trained_encoder() {
    let space = Space::new();
    tuned(&space, &[]).output().succeeded();
    let (before, after) = (weights(&space.path("clip")), weights(&space.path("run/tuned/encoder")));
    let moved = |name: &str| {
        let before = before[name].to_dtype(candle_core::DType::F32).unwrap();
        let sum = (before - &after[name]).unwrap().abs().unwrap().sum_all().unwrap();
        sum.to_scalar::<f32>().unwrap() > 0.0
    };
    assert_eq!(before.len(), after.len());
    // The text tower has three blocks; its last one is trained, and all of the image tower.
    for (name, trained) in [
        ("text_model.encoder.layers.1.mlp.fc1.weight", false),
        ("text_model.encoder.layers.2.mlp.fc1.weight", true),
        ("text_model.embeddings.token_embedding.weight", false),
        ("text_projection.weight", true),
        ("vision_model.embeddings.patch_embedding.weight", true),
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", true),
        ("logit_scale", false),
    ] {
        assert_eq!(moved(name), trained, "{name}");
    }
    assert!(json_lines(&space.path("run/metrics.jsonl"))[0]["contrastive"].is_number());

    fs::remove_dir_all(space.path("clip")).unwrap();
    let report = fs::read(space.path("run/eval/tiny-test.json")).unwrap();
    let again = space.run("eval").of("run").args(["--json"]).output().succeeded();
    assert_eq!(timeless(again.json()), timeless(serde_json::from_slice(&report).unwrap()));
    let found = space.run("search").of("run").args(["a small red cube", "--json"]).output().succeeded();
    assert!(!found.json().as_array().unwrap().is_empty());
}

fn the_contrastive_loss_trains_towers_without_queries() {
    let space = Space::new();
    for share in ["train.caption_share=0", "train.caption_share=1"] {
        let sets =
            [share, "tune.contrastive=1", "train.consistency=0", "train.interpolation=0", "train.steps=2"];
        tuned(&space, &sets).args(["--force"]).output().succeeded();
        let line = json_lines(&space.path("run/metrics.jsonl")).remove(0);
        for figure in ["contrastive", "grad_norm_text", "grad_norm_image"] {
            assert!(line[figure].as_f64().unwrap() > 0.0, "{share}: {line}");
        }
    }
}

fn an_unfinished_encoder_training_cannot_be_searched() {
    let space = Space::new();
    tuned(&space, &["train.steps=1"]).output().succeeded();
    fs::remove_dir_all(space.path("run/tuned")).unwrap();
    let search = || space.run("search").of("run").args(["a cube"]).output();
    search().refused(&["run/tuned/encoder", "is not there", "--resume"]);
    let eval = space.run("eval").of("run").output();
    eval.refused(&["run", "has not ended", "--resume"]);
    tuned(&space, &["train.steps=1"]).args(["--resume"]).output().succeeded();
    search().succeeded();
}

fn contradictory_tuning_options_are_refused_by_name() {
    let space = Space::new();
    let refused = |sets: &[&str], parts: &[&str]| {
        tuned(&space, sets).output().refused(parts);
        assert!(!space.path("run/checkpoints").exists());
    };
    refused(&["tune.text=4"], &["tune.text = 4", "3 blocks", "\"all\""]);
    refused(&["tune.image=5"], &["tune.image = 5", "4 blocks"]);
    refused(&["tune.text=some"], &["tune.text", "some", "how many of the last blocks"]);
    refused(&["tune.audio_lr=1e-5"], &["tune.audio_lr"]);
    refused(&["tune.text=none", "tune.image=none"], &["tune.contrastive", "tune.text"]);
    refused(&["tune.image=none"], &["tune.augment", "tune.patch_dropout", "tune.image"]);
    refused(&["index.views=2"], &["index.views", "tune.image"]);
    refused(&["tune.reassign_every=3"], &["tune.reassign_every", "learned"]);
    let features = ["encoder.kind=features", "data.kind=features"];
    space.dsi("train", &[TUNED, &features].concat()).output().refused(&[
        "tune.text",
        "tune.image",
        "features",
    ]);
}

fn runs_that_tune_differently_are_compared_as_two_experiments() {
    let space = Space::new();
    for image in ["1", "none"] {
        let set = format!("tune.image={image}");
        tuning(&space, &[&set, "tune.augment=false", "tune.patch_dropout=0", "train.steps=2"])
            .out(image)
            .output()
            .succeeded();
    }
    let compared = space.run("compare").args(["1", "none", "--json"]).output().succeeded().json();
    let rows = compared[0]["measured"].as_array().unwrap().iter();
    let decoders = rows.filter(|row| row["stage"] == "decoder" && row["query"] == "caption");
    let runs: BTreeSet<String> = decoders.map(|row| row["runs"].to_string()).collect();
    assert_eq!(runs, ["[\"1\"]", "[\"none\"]"].map(str::to_owned).into(), "{compared}");
}

/// Recomputing blocks in the backward pass gives the same bits as keeping them.
fn recomputing_changes_no_bit() {
    let space = Space::new();
    for how in ["true", "false"] {
        let set = format!("tune.recompute={how}");
        tuning(&space, &[&set, "train.steps=4"]).out(how).output().succeeded();
    }
    let weights =
        |how: &str| fs::read(space.path(how).join("checkpoints/step-4/weights.safetensors")).unwrap();
    assert!(weights("true") == weights("false"));
}

/// The advice that a device without memory gives: smaller batches, accumulated.
fn a_run_resumes_with_smaller_batches_of_the_same_steps() {
    let space = Space::new();
    let steps = ["train.steps=4", "train.checkpoint_every=2", "train.keep=2", "tune.contrastive=0"];
    let run = |sets: &[&str]| tuned(&space, &[&steps[..], sets].concat());
    let resumed = |sets: &[&str]| run(sets).args(["--resume"]).output();
    run(&[]).output().succeeded(); // of 8 queries each
    fs::remove_dir_all(space.path("run/checkpoints/step-4")).unwrap();
    resumed(&["train.batch=4", "train.accumulate=2"]).succeeded();
    assert!(space.path("run/checkpoints/step-4").exists(), "it went on from step 2");
    resumed(&["train.batch=4"]).refused(&["train.accumulate: 1 here, 2 there"]);
}

fn a_dry_run_says_what_it_would_take_and_keeps_nothing() {
    let space = Space::new();
    let outcome = tuned(&space, &["train.steps=1000"]).args(["--dry-run"]).output().succeeded();
    for part in ["decoder", "grounding", "image", "text", "s a step", "1000 steps", "minutes"] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome}");
    }
    assert!(!space.path("run").exists());
}

fn docids_are_reassigned_as_the_encoder_changes() {
    let space = Space::new();
    let often = ["train.checkpoint_every=3", "train.keep=9"];
    let outcome = space.dsi("train", &[RENAMED, &often].concat()).out("run").output().succeeded();
    let rows = |step: usize| {
        let file = space.path(&format!("run/checkpoints/step-{step}/optimizer.safetensors"));
        let rows = &candle_core::safetensors::load(file, &Device::Cpu).unwrap()["images"];
        rows.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert!(rows(3) != rows(6) && rows(6) != rows(9), "what teaches moves with the encoder");
    for step in [4, 8] {
        assert!(outcome.stderr.contains(&format!("step {step}: ")), "{outcome}");
    }
    assert!(outcome.stderr.contains("of 80 images have another docid"), "{outcome}");
    let docids = |folder: &str| fs::read_to_string(space.path(folder).join("docids.jsonl")).unwrap();
    assert_ne!(docids("run/index"), docids("run/tuned/index"));
}

#[cfg(not(feature = "cuda"))]
fn cuda_without_its_feature_is_refused_with_the_remedy() {
    let parts = ["cuda:0", "--features cuda", "--device cpu"];
    Space::new().dsi("train", &["device=cuda:0"]).output().refused(&parts);
}

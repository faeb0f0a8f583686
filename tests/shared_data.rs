//! The main job on data that no repository carries: real photographs, and embeddings made elsewhere.
//!
//! `DSI_SHARED` names their folder (else `../shared`). What is missing there is skipped, and says so.

mod fixture;

use std::fs;

use fixture::{Space, shared};
use serde_json::Value;

/// Recall@10 of the generative retriever's captions over the whole corpus, by this stage, and that of chance.
fn recall10_and_chance(report: &Value, stage: &str) -> (f64, f64) {
    let of = |row: &&Value| {
        let is = |name: &str, value: &str| row[name] == value;
        is("retriever", "generative")
            && is("stage", stage)
            && is("query", "caption")
            && is("gallery", "corpus")
    };
    let row = report["rows"].as_array().unwrap().iter().find(of).unwrap();
    (row["recall"]["10"].as_f64().unwrap(), 10.0 / row["images"].as_f64().unwrap())
}

fn report(space: &Space, file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(space.path(file)).unwrap()).unwrap()
}

/// JPEGs and human captions, from a CLIP of their own to a table.
#[test]
fn photographs_go_from_pretraining_to_a_table() {
    let Some(root) = shared("flickr8k/dataset_flickr8k.json") else { return };
    let space = Space::new();
    let sets = [
        format!("data.root={}", root.parent().unwrap().display()),
        "data.limit=200".into(),
        "device=cpu".into(),
        format!("pretrain.out={}", space.path("clip").display()),
        format!("encoder.path={}", space.path("clip").display()),
        format!("encoder.cache={}", space.path("cache").display()),
    ];
    let small = [
        "pretrain.width=32",
        "pretrain.vision_layers=1",
        "pretrain.text_layers=1",
        "pretrain.heads=2",
        "pretrain.image_size=32",
        "pretrain.patch=16",
        "pretrain.projection=16",
        "pretrain.vocabulary=700",
        "pretrain.context=24",
        "pretrain.steps=10",
        "pretrain.batch=16",
        "pretrain.warmup=2",
        "index.levels=3",
        "index.codes=8",
        "index.align_steps=10",
        "index.align_batch=64",
        "index.min_perplexity=0",
        "index.max_collisions=1",
        "index.min_survival=0",
        "decoder.width=32",
        "decoder.layers=1",
        "train.steps=10",
        "train.batch=8",
        "eval.bootstrap=20",
    ];
    let dsi = |command: &str| space.run(command).config("configs/flickr8k.toml").sets(&sets).sets(&small);
    dsi("pretrain").out("pretrain").output().succeeded();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"] {
        assert!(space.path("clip").join(file).is_file(), "{file}");
    }
    let table = dsi("train").out("run").output().succeeded();
    assert!(table.stdout.contains("| dense"), "{table}");
    let report = report(&space, "run/eval/flickr8k-val.json");
    assert_eq!(report["encoder"], space.path("clip").to_str().unwrap());
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["gallery"] != "corpus" || row["images"] == 200), "{rows:?}");
    let found = space
        .run("search")
        .of("run")
        .args(["a dog runs over the grass", "-k", "3", "--json"])
        .output()
        .succeeded();
    assert_eq!(found.json().as_array().unwrap().len(), 3);
}

/// Embeddings of another encoder: no photo is opened, and a grounded decoder is far from chance at once.
#[test]
fn ready_made_embeddings_are_searched_better_than_by_chance() {
    let Some(root) = shared("features/flickr8k-minilm") else { return };
    let space = Space::new();
    let sets = [
        &format!("data.root={}", root.display()),
        "data.limit=1500",
        "device=cpu",
        "index.levels=4",
        "index.codes=32",
        "index.iterations=5",
        "index.align_steps=20",
        "index.align_batch=128",
        "decoder.width=32",
        "decoder.layers=1",
        "train.steps=20",
        "train.batch=16",
        "search.beam=20",
        "eval.gallery=corpus",
        "eval.bootstrap=20",
    ];
    space.run("train").config("configs/features.toml").sets(&sets).out("run").output().succeeded();
    let report = report(&space, "run/eval/flickr8k-minilm-val.json");
    assert_eq!(report["encoder"], "features");
    for stage in ["decoder", "rerank"] {
        let (recall, chance) = recall10_and_chance(&report, stage);
        assert!(recall > 10.0 * chance, "{stage}: R@10 {recall}, chance {chance}");
    }
    let refused = space.run("search").of("run").args(["a dog"]).output();
    refused.refused(&["ready-made features cannot embed", "encoder.kind = \"clip\""]);
}

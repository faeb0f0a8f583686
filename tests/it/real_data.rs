//! The main job on real photographs and on embeddings of other encoders, which the repository does not
//! contain.
//!
//! `DSI_SHARED` names their folder (default: `../shared`). A test is ignored when its files are missing.

use std::fs;
use std::path::Path;

use dsi::data::corpus::Split;
use dsi::data::settings::OnBadImage;
use dsi::data::tokenizer::Tokens;
use dsi::data::{karpathy, leaks};
use serde_json::Value;

use crate::fixture::Space;
use crate::harness::{Need::Photos, shared};

tests! {
    photographs_go_from_pretraining_to_a_table if Photos(FLICKR8K),
    ready_made_embeddings_are_searched_better_than_by_chance if Photos(FEATURES),
    clips_tokenizer_gives_clips_ids if Photos(TOKENIZER),
    both_layouts_of_a_tokenizer_give_the_same_ids if Photos(TOKENIZER),
    all_of_flickr8k_is_read if Photos(FLICKR8K),
    flickr8k_shares_no_photo_between_its_splits if Photos(FLICKR8K),
}

const FLICKR8K: &str = "flickr8k/dataset_flickr8k.json";
const FEATURES: &str = "features/flickr8k-minilm";
const TOKENIZER: &str = "tokenizer";

/// Recall@10 of the generative retriever for captions over the whole corpus at this stage, and recall@10 by
/// chance.
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

/// JPEGs with human captions: pretrain a CLIP, train, evaluate, search.
fn photographs_go_from_pretraining_to_a_table() {
    let root = shared(FLICKR8K);
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

/// Embeddings of another encoder: no photo is opened, and a grounded decoder is far above chance after a few
/// steps.
fn ready_made_embeddings_are_searched_better_than_by_chance() {
    let root = shared(FEATURES);
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
    refused.refused(&["ready-made embeddings and no encoder", "--vector FILE.npy"]);
}

fn clips_tokenizer_gives_clips_ids() {
    let tokens = Tokens::load(&shared(TOKENIZER)).unwrap();
    let cat = [49406, 320, 1125, 539, 320, 2368, 49407];
    assert_eq!(tokens.encode("a photo of a cat", 77).unwrap(), cat);
    assert_eq!(tokens.encode("  A  PHOTO\tof a\ncat ", 77).unwrap(), cat);
    assert_eq!(tokens.encode("a photo of a cat", 4).unwrap(), [49406, 320, 1125, 49407]);
    assert_eq!((tokens.end_id(), tokens.vocab_size()), (49407, 49408));
}

fn both_layouts_of_a_tokenizer_give_the_same_ids() {
    let folder = shared(TOKENIZER);
    let old = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(folder.join(name), old.path().join(name)).unwrap();
    }
    let [new, old] = [folder.as_path(), old.path()].map(|folder| Tokens::load(folder).unwrap());
    let corpus = karpathy::read(&shared(FLICKR8K), Path::new(""), "flickr8k", OnBadImage::Error).unwrap();
    let odd = ["it's 1984, isn't it?!", "naïve café 日本 🙂", "<|endoftext|> a", "x\u{200b}y"];
    for text in corpus.captions().iter().take(200).map(String::as_str).chain(odd) {
        assert_eq!(new.encode(text, 77).unwrap(), old.encode(text, 77).unwrap(), "{text}");
    }
}

fn all_of_flickr8k_is_read() {
    let corpus = karpathy::read(&shared(FLICKR8K), Path::new(""), "flickr8k", OnBadImage::Error).unwrap();
    let sizes = Split::ALL.map(|split| corpus.images_in(split).len());
    assert_eq!((sizes, corpus.train_pairs().len()), ([6000, 1000, 0], 30_000));
}

fn flickr8k_shares_no_photo_between_its_splits() {
    let path = shared(FLICKR8K);
    let corpus =
        karpathy::read(&path, &path.with_file_name("images"), "flickr8k", OnBadImage::Error).unwrap();
    let found = leaks::find(&corpus, &leaks::photo_hashes(&corpus));
    assert!(found.photos.is_empty(), "{} photos", found.photos.len());
    assert!(found.captions.len() < corpus.captions_in(Split::Val).len() / 20, "{}", found.captions.len());
}

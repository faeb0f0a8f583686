//! Drawn photos: the pretraining of a tiny CLIP, and a joint training that tunes it.

use std::fs;
use std::path::Path;

use dsi::config::Config;
use dsi::context::Context;
use dsi::data::settings::OnBadImage;
use dsi::data::{jsonl, scenes};
use dsi::error::Result;
use dsi::run_experiment::{self, early_checks};
use dsi::run_folder::RunFolder;
use dsi::train::pretrain::{Pretraining, pretrain};

use super::{Draw, accepted, all_end_well, cases, config};
use crate::fixture::Space;

tests! {
    every_pretraining_ends_or_is_refused_in_words,
    every_tuning_ends_or_is_refused_in_words,
}

/// A pretraining of two steps.
const PRETRAIN: [&str; 12] = [
    "device=cpu",
    "data.kind=jsonl",
    "pretrain.width=8",
    "pretrain.heads=1",
    "pretrain.vision_layers=1",
    "pretrain.text_layers=1",
    "pretrain.image_size=16",
    "pretrain.patch=8",
    "pretrain.projection=8",
    "pretrain.steps=2",
    "pretrain.batch=4",
    "pretrain.warmup=0",
];

const PRETRAIN_CHOICES: [(&str, &[&str]); 14] = [
    ("pretrain.batch", &["2", "3", "5", "6", "40"]),
    ("pretrain.heads", &["2", "8"]),
    ("pretrain.patch", &["2", "4", "16"]),
    ("pretrain.context", &["4", "5", "40"]),
    ("pretrain.vocabulary", &["514", "530", "5000"]),
    ("pretrain.patch_dropout", &["0.9"]),
    ("pretrain.dropout", &["0.9"]),
    ("pretrain.accumulate", &["3"]),
    ("pretrain.validate_every", &["1", "7"]),
    ("pretrain.patience", &["1"]),
    ("pretrain.keep", &["1"]),
    ("pretrain.ema", &["0.5"]),
    ("pretrain.augment", &["true"]),
    ("pretrain.recompute", &["true"]),
];

/// A joint training of two steps that trains the CLIP too.
const TUNE: [&str; 17] = [
    "data.kind=jsonl",
    "device=cpu",
    "index.levels=2",
    "index.codes=4",
    "index.iterations=2",
    "index.align_steps=1",
    "index.min_perplexity=0",
    "index.max_collisions=1",
    "index.min_survival=0",
    "index.view_steps=1",
    "decoder.width=8",
    "decoder.layers=1",
    "decoder.heads=2",
    "train.steps=2",
    "train.batch=3",
    "search.beam=3",
    "eval.bootstrap=2",
];

const TUNE_CHOICES: [(&str, &[&str]); 13] = [
    ("tune.image", &["1", "2", "all"]),
    ("tune.text", &["1", "2", "all"]),
    ("tune.contrastive", &["1"]),
    ("tune.contrastive_pairs", &["2", "3", "40"]),
    ("tune.patch_dropout", &["0.9"]),
    ("tune.reassign_every", &["1"]),
    ("index.family", &["learned"]),
    ("index.views", &["1", "2"]),
    ("eval.views", &["true"]),
    ("encoder.batch", &["1", "2", "100"]),
    ("train.batch", &["1", "2", "9"]),
    ("train.caption_share", &["0", "1"]),
    ("train.regime", &["inductive"]),
];

/// Draws five train, three val and three test scenes once.
fn draw_scenes(root: &Path) {
    let spec = scenes::Spec { seed: 3, train: 5, val: 3, test: 3, side: 32 };
    scenes::write(root, &spec, &|| ()).unwrap();
}

/// Writes the captions file `NAME.jsonl` with the first few images of each split, and returns its name.
fn write_captions(root: &Path, name: &str, images: [usize; 3]) -> String {
    let all = fs::read_to_string(root.join("corpus.jsonl")).unwrap();
    let of = |(split, count): (&str, usize)| {
        let mark = format!("\"split\":\"{split}\"");
        let lines: Vec<&str> = all.lines().filter(|line| line.contains(&mark)).collect();
        assert!(count <= lines.len(), "{split}");
        lines.into_iter().take(count).map(|line| format!("{line}\n")).collect::<String>()
    };
    let kept: String = ["train", "val", "test"].into_iter().zip(images).map(of).collect();
    let file = format!("{name}.jsonl");
    fs::write(root.join(&file), kept).unwrap();
    file
}

fn images(draw: &mut Draw) -> [usize; 3] {
    [draw.one(&[0, 1, 2, 3, 5, 5]), draw.one(&[0, 1, 3, 3]), draw.one(&[1, 2, 3])]
}

fn pretraining(space: &Space, case: u64, images: [usize; 3], mut config: Config) -> Result<()> {
    let root = space.path("corpus");
    config.pretrain.out = space.path(&format!("clip-{case}")).display().to_string();
    let captions = root.join(write_captions(&root, &format!("pretrain-{case}"), images));
    let corpus = jsonl::read(&captions, Some(&root), OnBadImage::Error)?;
    early_checks::pretraining(&config, &corpus)?;
    let run = RunFolder::new(space.path(&format!("pretrain-{case}")));
    let settings = Pretraining { section: &config.pretrain, seed: 0, on_bad: config.data.on_bad_image };
    pretrain(&settings, &corpus, &run, false, &|| Ok(()), &Context::default())
}

fn every_pretraining_ends_or_is_refused_in_words() {
    let space = Space::new();
    draw_scenes(&space.path("corpus"));
    all_end_well(cases(12), |case| {
        let mut draw = Draw::of_case("pretrain sizes", case);
        let images = images(&mut draw);
        let (sets, config) = accepted(&PRETRAIN, || draw.some_of(&PRETRAIN_CHOICES, 5));
        (format!("{images:?}, {}", sets.join(" ")), pretraining(&space, case, images, config))
    });
}

fn tuning(space: &Space, config: &Config, case: u64) -> Result<()> {
    let (ctx, run) = (Context::default(), RunFolder::new(space.path(&format!("tune-{case}"))));
    let prepared = run_experiment::prepare(config, &ctx)?;
    run_experiment::run(config, &prepared, &run, false, &ctx).map(drop)
}

fn every_tuning_ends_or_is_refused_in_words() {
    let space = Space::new();
    let root = space.path("corpus");
    draw_scenes(&root);
    pretraining(&space, 0, [5, 3, 3], config(&PRETRAIN, &[]).unwrap()).unwrap();
    all_end_well(cases(12), |case| {
        let mut draw = Draw::of_case("tune sizes", case);
        let images = images(&mut draw);
        let (sets, mut config) = accepted(&TUNE, || draw.some_of(&TUNE_CHOICES, 5));
        config.data.captions = write_captions(&root, &format!("tune-{case}"), images);
        config.data.root = root.display().to_string();
        config.encoder.path = space.path("clip-0").display().to_string();
        config.encoder.cache = space.path("cache").display().to_string();
        (format!("{images:?}, {}", sets.join(" ")), tuning(&space, &config, case))
    });
}

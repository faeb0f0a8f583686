//! Ready-made embeddings: the index, the joint training, the evaluation and a search.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use dsi::config::Config;
use dsi::context::Context;
use dsi::data::corpus::{Builder, Corpus, Entry, Split};
use dsi::data::corpus_embeddings::Embeddings;
use dsi::data::settings::OnBadImage;
use dsi::distributed::thread_comm;
use dsi::encoder::embed_corpus::embed_corpus_with;
use dsi::encoder::embedded_corpus::EmbeddedCorpus;
use dsi::encoder::precomputed_features::PrecomputedFeatures;
use dsi::error::Result;
use dsi::matrix::Matrix;
use dsi::modality::Modality;
use dsi::retriever::{Query, RETRIEVERS};
use dsi::run_experiment::{self, early_checks};
use dsi::run_folder::RunFolder;
use rand::Rng as _;

use super::{Draw, accepted, all_end_well, cases, config};

tests! {
    every_corpus_is_trained_on_or_refused_in_words,
    captions_have_fewer_candidates_than_photos,
    there_may_be_more_ranks_than_images,
}

/// Numbers in an embedding.
const WIDTH: usize = 6;

/// A training of two steps on features, with open gates.
const BASE: [&str; 22] = [
    "device=cpu",
    "data.kind=features",
    "encoder.kind=features",
    "index.levels=2",
    "index.codes=4",
    "index.iterations=2",
    "index.align_steps=1",
    "index.learned_steps=2",
    "index.learned_reassign=1",
    "index.min_perplexity=0",
    "index.max_collisions=1",
    "index.min_survival=0",
    "decoder.width=8",
    "decoder.layers=1",
    "decoder.heads=2",
    "decoder.memory=1",
    "train.steps=2",
    "train.batch=4",
    "train.warmup=0",
    "train.validate_every=1",
    "search.beam=3",
    "eval.bootstrap=2",
];

/// Keys that count something, and the largest count that is tried.
const COUNTS: [(&str, usize); 31] = [
    ("index.levels", 12),
    ("index.codes", 300),
    ("index.first_codes", 300),
    ("index.iterations", 9),
    ("index.encode_beam", 512),
    ("index.align_batch", 600),
    ("index.learned_batch", 300),
    ("index.learned_gallery", 65_536),
    ("index.learned_reassign", 9),
    ("index.pseudo_captions", 10_000),
    ("index.survival_beam", 512),
    ("train.batch", 100),
    ("train.candidates", 4096),
    ("train.candidates", 4096),
    ("train.beam_negatives", 4096),
    ("train.warmup", 50),
    ("train.accumulate", 5),
    ("train.patience", 3),
    ("train.keep", 5),
    ("train.validate_every", 7),
    ("train.checkpoint_every", 7),
    ("search.beam", 512),
    ("search.k", 10_000),
    ("eval.folds", 100),
    ("eval.depth", 10_000),
    ("eval.batch", 65_536),
    ("eval.bootstrap", 50),
    ("decoder.heads", 8),
    ("decoder.memory", 256),
    ("decoder.layers", 3),
    ("data.limit", 40),
];

/// Keys whose value decides what is counted.
const CHOICES: [(&str, &[&str]); 30] = [
    ("train.regime", &["inductive", "transductive"]),
    ("index.family", &["rq", "learned", "learned"]),
    ("train.loss", &["cross_entropy"]),
    ("train.caption_share", &["0", "0.5", "1"]),
    ("train.caption_noise", &["0", "1"]),
    ("train.interpolation", &["1"]),
    ("train.margin", &["1"]),
    ("train.consistency", &["1"]),
    ("train.label_smoothing", &["0.1", "1"]),
    ("train.target_gold", &["0", "1"]),
    ("train.ema", &["0.5"]),
    ("train.schedule", &["linear", "constant"]),
    ("index.seconds", &["own", "nearest"]),
    ("index.center", &["true"]),
    ("index.align_captions", &["1"]),
    ("index.align_steps", &["0", "3"]),
    ("index.learned_contrastive", &["1"]),
    ("index.min_perplexity", &["0.5"]),
    ("decoder.grounded", &["false"]),
    ("decoder.plan", &["true"]),
    ("search.lookahead", &["false"]),
    ("search.geometry", &["0"]),
    ("search.wildcard", &["0", "0.5"]),
    ("search.prior", &["0.3"]),
    ("search.rerank", &["false"]),
    ("search.fit_rerank", &["true"]),
    ("eval.split", &["train", "val"]),
    ("eval.gallery", &["split", "corpus"]),
    ("eval.exhaustive", &["true"]),
    ("decoder.dropout", &["0", "0.9"]),
];

/// Families without codebooks, for which the decoder is not grounded.
const UNGROUNDED: [&str; 3] = ["atomic", "numeric", "tree"];

/// A corpus with these numbers of train, val and test images, in mixed order; an image has one to three
/// captions.
fn corpus(images: [usize; 3], draw: &mut Draw) -> Corpus {
    let mut splits: Vec<Split> =
        Split::ALL.into_iter().zip(images).flat_map(|(split, count)| vec![split; count]).collect();
    for last in (1..splits.len()).rev() {
        let other = draw.below(last + 1);
        splits.swap(last, other);
    }
    let mut builder = Builder::new(Path::new("sizes"), "line", None);
    for (n, split) in splits.into_iter().enumerate() {
        let captions = (0..=draw.below(3)).map(|caption| format!("{n} {caption}")).collect();
        builder
            .push(n + 1, Entry { id: n.to_string(), file: n.to_string().into(), split, captions })
            .unwrap();
    }
    builder.build().unwrap()
}

/// Random unit rows; with `kinds`, only so many different ones.
fn rows(count: usize, kinds: usize, draw: &mut Draw) -> Matrix {
    let numbers = (0..kinds.min(count).max(1) * WIDTH).map(|_| draw.0.random_range(-1.0f32..1.0)).collect();
    let different = Matrix::new(WIDTH, numbers).normalized();
    different.select(&(0..count).map(|row| row % different.rows()).collect::<Vec<_>>())
}

fn embedded(config: &Config, all: &Corpus, draw: &mut Draw) -> Result<EmbeddedCorpus> {
    let corpus = all.keeping(&all.proportional(config.data.limit))?;
    early_checks::training(config, &corpus)?;
    let kinds = draw.one(&[1, 2, usize::MAX, usize::MAX, usize::MAX]);
    let embeddings = Embeddings {
        images: rows(corpus.len(), kinds, draw),
        captions: rows(corpus.captions().len(), kinds, draw),
    };
    let encoder = Arc::new(PrecomputedFeatures::new(embeddings));
    embed_corpus_with(encoder, corpus, Path::new("unused"), OnBadImage::Error, &Context::default())
}

/// Builds the index, trains, measures and searches.
fn run(config: &Config, prepared: &EmbeddedCorpus, ctx: &Context) -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path().join("run"));
    run_experiment::run(config, prepared, &run, false, ctx)?;
    let opened = run_experiment::open(config, prepared, &run, &Device::Cpu)?;
    let query = Query::embedded(Modality::Caption, prepared.embeddings.captions.row(0).to_vec());
    let queries = opened.complete(vec![query])?;
    let gallery: Vec<_> = prepared.corpus.images().collect();
    for retriever in RETRIEVERS.iter().filter(|retriever| retriever.is_available(&opened)) {
        let lists = retriever.build(&opened, &gallery)?.retrieve(&queries, config.search.k)?;
        assert!(lists[0].hits().len() <= gallery.len().min(config.search.k));
    }
    Ok(())
}

fn drawn(case: u64) -> (String, Result<()>) {
    let mut draw = Draw::of_case("sizes", case);
    let images = [0; 3].map(|_| draw.one(&[0, 1, 1, 2, 3, 5, 8, 12]));
    let images = if images == [0; 3] { [1, 0, 1] } else { images };
    let n = draw.one(&[images[0], images.iter().sum(), images[1], images[2]]);
    let (sets, config) = accepted(&BASE, || {
        let mut sets = draw.some_of(&CHOICES, 5);
        if draw.below(4) == 0 {
            let family = format!("index.family={}", draw.one(&UNGROUNDED));
            sets.extend([family, "decoder.grounded=false".into(), "index.seconds=none".into()]);
        }
        sets.extend(draw.counts_of(&COUNTS, n, 5));
        sets
    });
    let all = corpus(images, &mut draw);
    let outcome =
        embedded(&config, &all, &mut draw).and_then(|prepared| run(&config, &prepared, &Context::default()));
    (format!("{images:?}, {}", sets.join(" ")), outcome)
}

fn every_corpus_is_trained_on_or_refused_in_words() {
    all_end_well(cases(120), drawn);
}

/// With val and test images in the gallery, photos choose among more images than captions do.
fn captions_have_fewer_candidates_than_photos() {
    for train in 1..=7 {
        let mut draw = Draw::of_case("candidates", train);
        let config = config(&BASE, &["train.candidates=6", "train.margin=1"].map(str::to_owned)).unwrap();
        let all = corpus([train as usize, 3, 3], &mut draw);
        let prepared = embedded(&config, &all, &mut draw).unwrap();
        let outcome = run(&config, &prepared, &Context::default());
        outcome.unwrap_or_else(|error| panic!("{train} train images: {error}"));
    }
}

/// Ranks that get no image of a kind do their part all the same.
fn there_may_be_more_ranks_than_images() {
    for (case, images) in (0..).zip([[1, 0, 1], [2, 1, 1], [1, 2, 2]]) {
        let sets =
            ["index.family=learned", "train.batch=12", "train.caption_share=0.5", "index.seconds=nearest"];
        let config = config(&BASE, &sets.map(str::to_owned)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let outcomes = thread_comm::run(4, |comm| {
            let mut draw = Draw::of_case("ranks", case);
            let all = corpus(images, &mut draw);
            let prepared = embedded(&config, &all, &mut draw)?;
            let ctx = Context { comm: comm.clone(), ..Context::default() };
            run_experiment::run(&config, &prepared, &RunFolder::new(folder.path()), false, &ctx).map(drop)
        });
        let errors: Vec<String> =
            outcomes.into_iter().filter_map(|rank| Some(rank.err()?.to_string())).collect();
        assert!(errors.is_empty(), "{images:?}: {errors:?}");
    }
}

//! Speed as ratios measured in one run, because absolute times depend on the machine.
//!
//! `cargo bench` prints one line per ratio: median and range over paired repetitions.

#![allow(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip as stock;
use dsi::docid::rq::Codebooks;
use dsi::docid::trie::Trie;
use dsi::docid::{DocidSet, suffix};
use dsi::encoder::clip::{Clip, ClipConfig};
use dsi::matrix::Matrix;
use dsi::modality::Modality;
use dsi::model::beam_search::{Settings, beam_search, exhaustive};
use dsi::model::candidate_table::CandidateTable;
use dsi::model::decoder::Shape;
use dsi::model::generative_model::{GenerativeModel, Queries, Scoring};
use dsi::model::grounded_logits::Books;
use dsi::nn::params::Builder;
use dsi::rng;
use rand::Rng as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    vision_tower_against_stock();
    beam_against_exhaustive();
}

/// Prints time(a) / time(b), the two measured in turn.
fn ratio(name: &str, mut a: impl FnMut(), mut b: impl FnMut()) {
    let time = |f: &mut dyn FnMut()| {
        let began = Instant::now();
        f();
        began.elapsed().as_secs_f64()
    };
    // Warm up.
    time(&mut a);
    time(&mut b);
    let mut ratios: Vec<f64> = (0..7).map(|_| time(&mut a) / time(&mut b)).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{name:<60} {:>6.2} ({:.2} to {:.2})", ratios[3], ratios[0], ratios[6]);
}

/// The vision tower of ViT-B/32's shape, four photos.
fn vision_tower_against_stock() {
    let device = Device::Cpu;
    let builder = Builder::fresh(0, &device);
    let ours = Clip::new(&builder.root(), &ClipConfig::default()).expect("a CLIP");
    let params = builder.finish("bench".as_ref()).expect("parameters");
    let weights: HashMap<String, Tensor> = params.iter().map(|(n, t)| (n.to_owned(), t.detach())).collect();
    let shape = stock::ClipConfig::vit_base_patch32();
    let theirs = stock::ClipModel::new(VarBuilder::from_tensors(weights, DType::F32, &device), &shape)
        .expect("a CLIP");
    let pixels = Tensor::ones((4, 3, 224, 224), DType::F32, &device).expect("pixels");
    ratio(
        "ViT-B/32 forward, 4 photos: ours / candle-transformers",
        || drop(black_box(ours.embed_images(&pixels).expect("embeddings"))),
        || drop(black_box(theirs.get_image_features(&pixels).expect("embeddings"))),
    );
}

/// A grounded decoder over 1,000 docids of 6 levels, 16 queries.
fn beam_against_exhaustive() {
    let (device, mut rng) = (Device::Cpu, rng::stream(0, "bench", 0));
    let points: Vec<f32> = (0..1000 * 64).map(|_| rng.random_range(-1.0..1.0)).collect();
    let points = Matrix::new(64, points).normalized();
    let books = Codebooks::fit(&points, &[64; 6], 10, &mut rng).expect("codebooks");
    let (docids, _): (DocidSet, _) =
        suffix::unique(books.encode_all(&points, 1), &books.codes_per_level()).expect("docids");
    let shape = Shape {
        query: 64,
        width: 192,
        layers: 2,
        heads: 4,
        memory: 4,
        codes: docids.codes_per_level().to_vec(),
        silent: true,
    };
    let builder = Builder::fresh(0, &device);
    let grounding = Some((Books::new(&books, &device).expect("books"), 0.05));
    let dsi = Arc::new(
        GenerativeModel::new(&builder.root(), shape, grounding, false, Scoring::Logit).expect("a model"),
    );
    let (trie, candidate_table) = (Trie::new(&docids), CandidateTable::new(docids, Some(&books)));
    let asked: Vec<usize> = (0..16).collect();
    let queries = Queries::new(&points.select(&asked), &[Modality::Image; 16], &device).expect("queries");
    let settings = Settings { beam: 20, geometry: None, lookahead: None, leaves: &[], wildcard: 1.0 };
    ratio(
        "search among 1,000 images: beam 20 / exhaustive",
        || drop(black_box(beam_search(&dsi, &trie, &queries, settings).expect("hits"))),
        || drop(black_box(exhaustive(&dsi, &candidate_table, trie.rows(), &queries).expect("scores"))),
    );
}

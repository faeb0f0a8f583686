//! Embeddings of photos and captions against those of transformers and open_clip. Each case is a folder with
//! an encoder, photos, captions and their embeddings.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use dsi::data::npy;
use dsi::data::photos::Photo;
use dsi::encoder::clip::ClipEncoder;
use dsi::encoder::{DualEncoder as _, PhotoView};
use dsi::matrix::Matrix;
use serde::Deserialize;

use crate::harness::{Need::Parity, parity};

tests! {
    full_shapes_embed_as_by_their_own_libraries if Parity("models"),
    every_layout_embeds_as_by_the_library_that_wrote_it,
    open_clip_files_win_over_a_foreign_config,
}

const BATCH: usize = 8;

/// `case.json`.
#[derive(Deserialize)]
struct Case {
    /// Paths; relative ones start at the case's folder.
    photos: Vec<PathBuf>,
    captions: Vec<String>,
    /// The largest allowed difference between two numbers of two unit embeddings.
    bar: f32,
}

/// Compares all embeddings of a case with those of the encoder in another folder.
fn compare(folder: &Path, encoder: &Path) {
    let case: Case = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
    let encoder = ClipEncoder::open(encoder, BATCH, &Device::Cpu).unwrap();
    let photos: Vec<Photo> = case.photos.iter().map(|photo| Photo::File(folder.join(photo))).collect();
    let rows = encoder.photos(&photos, PhotoView::PLAIN, &|_| {}).unwrap();
    let rows: Vec<Vec<f32>> = rows.into_iter().map(Result::unwrap).collect();
    let images = largest_difference(&rows.concat(), &folder.join("images.npy"));
    let captions: Vec<&str> = case.captions.iter().map(String::as_str).collect();
    let rows = encoder.texts(&captions, &|_| {}).unwrap();
    let texts = largest_difference(rows.data(), &folder.join("captions.npy"));
    let name = folder.file_name().unwrap().display();
    println!(
        "| {name} | {} | {images:.1e} | {} | {texts:.1e} | {:.0e} |",
        photos.len(),
        captions.len(),
        case.bar
    );
    assert!(images <= case.bar && texts <= case.bar, "{name}: images {images:e}, captions {texts:e}");
}

fn largest_difference(ours: &[f32], theirs: &Path) -> f32 {
    let theirs: Matrix = npy::read(theirs).unwrap();
    assert_eq!(ours.len(), theirs.data().len());
    ours.iter()
        .zip(theirs.data())
        .map(|(a, b)| (a - b).abs())
        .inspect(|apart| assert!(apart.is_finite()))
        .fold(0.0, f32::max)
}

fn full_shapes_embed_as_by_their_own_libraries() {
    println!("| case | photos | max |Δ| | captions | max |Δ| | bar |");
    let cases = super::folders(&parity("models"));
    assert!(!cases.is_empty(), "no models");
    cases.iter().for_each(|case| compare(case, &case.join("encoder")));
}

fn every_layout_embeds_as_by_the_library_that_wrote_it() {
    let mut cases = super::folders(&super::fixture(""));
    cases.retain(|case| case.join("case.json").exists());
    assert!(!cases.is_empty(), "no layouts");
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        for file in case.join("encoder").read_dir().unwrap().map(|file| file.unwrap().path()) {
            fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        fs::copy(super::fixture("tokenizer/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        compare(case, folder.path());
    }
}

/// timm's repositories also have a `config.json` and a `model.safetensors` of an image tower alone; both are
/// ignored.
fn open_clip_files_win_over_a_foreign_config() {
    let (case, folder) = (super::fixture("open-clip"), tempfile::tempdir().unwrap());
    for file in case.join("encoder").read_dir().unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    fs::copy(super::fixture("tokenizer/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let timm = r#"{"architecture": "vit_base_patch32_clip_224", "num_classes": 512, "pretrained_cfg": {"tag": "openai"}}"#;
    fs::write(folder.path().join("config.json"), timm).unwrap();
    fs::write(folder.path().join("model.safetensors"), b"an image tower alone").unwrap();
    compare(&case, folder.path());
}

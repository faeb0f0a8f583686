//! The gradients of every parameter of CLIP, against PyTorch's.

use std::path::Path;

use candle_core::{Device, Tensor};
use dsi::encoder::clip::{ClipBundle, TokenBatch};
use dsi::encoder::contrastive_loss::contrastive_loss;
use dsi::encoder::trainable_dual_encoder::TrainableTowers;
use dsi::nn::tensors::unit_rows;

use super::fixture;

tests! {
    every_parameter_of_clip_has_pytorchs_gradient,
}

/// The token ids of `scripts/parity/gradients.py`.
const CAPTIONS: [&[u32]; 3] = [&[638, 1, 2, 639], &[638, 300, 17, 4, 5, 639], &[638, 9, 639]];

fn pixels(side: usize) -> Tensor {
    let numbers = (0..CAPTIONS.len() * 3 * side * side).map(|i| ((i * 37 % 101) as f64 / 50.0 - 1.0) as f32);
    Tensor::from_vec(numbers.collect::<Vec<_>>(), (CAPTIONS.len(), 3, side, side), &Device::Cpu).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(candle_core::DType::F64).unwrap();
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn every_parameter_of_clip_has_pytorchs_gradient() {
    for case in ["quick-gelu", "gelu-sharded"] {
        let folder = fixture(case).join("encoder");
        // The case's folder has no tokenizer.
        let space = tempfile::tempdir().unwrap();
        for file in folder.read_dir().unwrap().chain(fixture("tokenizer").read_dir().unwrap()) {
            let file = file.unwrap();
            std::fs::copy(file.path(), space.path().join(file.file_name())).unwrap();
        }
        compare(case, space.path());
    }
}

fn compare(case: &str, folder: &Path) {
    let whole = ClipBundle::read(folder, TrainableTowers::EVERYTHING, &Device::Cpu).unwrap();
    let images = unit_rows(&whole.clip.embed_images(&pixels(whole.shape.vision_config.image_size)).unwrap());
    let texts = unit_rows(&whole.clip.embed_text(&TokenBatch::new(CAPTIONS.into_iter())).unwrap());
    let loss = contrastive_loss(&images.unwrap(), &texts.unwrap(), &whole.clip.logit_scale).unwrap();
    let theirs =
        candle_core::safetensors::load(fixture(case).join("gradients.safetensors"), &Device::Cpu).unwrap();
    let their_loss = numbers(&theirs["loss"])[0];
    assert!((numbers(&loss)[0] - their_loss).abs() < 1e-5 * their_loss, "{case}: loss");

    let ours = loss.backward().unwrap();
    assert_eq!(whole.params.iter().count() + 1, theirs.len(), "{case}");
    let mut worst: (f64, &str) = (0.0, "");
    for (name, parameter) in whole.params.iter() {
        let (a, b) = (numbers(ours.get(parameter).unwrap()), numbers(&theirs[name]));
        let apart: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        // Adding one vector to every key changes no softmax: these gradients are zero up to rounding.
        let whole = if name.ends_with("k_proj.bias") { 1.0 } else { norm(&b) };
        let relative = norm(&apart) / whole;
        assert!(relative.is_finite(), "{case}: {name}");
        if relative > worst.0 {
            worst = (relative, name);
        }
    }
    println!(
        "{case}: gradients of {} parameters, at most {:.1e} apart ({})",
        theirs.len() - 1,
        worst.0,
        worst.1
    );
    assert!(worst.0 < 1e-4, "{case}: {} {:e}", worst.1, worst.0);
}

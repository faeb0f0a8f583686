//! A GPU against the CPU (`cargo test --features cuda`); ignored without a GPU. Gradients of the whole
//! model are compared in `model_gradients.rs`.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use dsi::error::Result;
use dsi::nn::adamw::{AdamW, Group};
use dsi::nn::checkpoint_block::{self, Block, Keep};
use dsi::nn::gradients::Gradients;
use dsi::nn::params::{Builder, Init, Params};
use dsi::nn::{device, fused};

use crate::fixture::{RENAMED, Space, TUNED, json_lines};
use crate::harness::Need::Gpu;

tests! {
    recomputing_a_block_gives_the_same_bits,
    checkpointed_blocks_and_the_optimiser_agree_with_the_cpu if Gpu,
    a_joint_training_on_a_gpu_is_that_of_the_cpu if Gpu,
    sixteen_bits_are_refused_on_the_cpu,
}

fn parameters(device: &Device) -> (Params, Tensor) {
    let builder = Builder::fresh(4, device);
    let weight = builder.root().param("weight", (5, 5), Init::Normal(1.0)).unwrap();
    (builder.finish(Path::new("p")).unwrap(), weight)
}

#[derive(Clone)]
struct Squared(Tensor);

impl Block for Squared {
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.0)?.sqr()?)
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(a: &[f32], b: &[f32], what: &str) {
    let size = b.iter().fold(0f32, |size, x| size.max(x.abs()));
    a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() <= 1e-5 * size, "{what}: {a} {b}"));
}

/// Three training steps of one checkpointed block: its output, the gradients of its input and its parameter,
/// and the parameter after each step. The last step uses a restored optimiser.
fn trained(device: &Device, held: Keep) -> Vec<Vec<f32>> {
    let (params, weight) = parameters(device);
    let x: Vec<f32> = (0..10).map(|i| (i as f32).sin()).collect();
    let x = Var::from_vec(x, (2, 5), device).unwrap();
    let mut adamw = AdamW::new(&params).unwrap();
    let mut results = Vec::new();
    for step in 0..3 {
        let block = checkpoint_block::TrainedParams::new(vec![weight.clone()]);
        let y = checkpoint_block::run(&Squared(weight.clone()), &block, held, &x).unwrap();
        let found = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let mut gradients = Gradients::of(&params);
        gradients.add(&found, 1.0).unwrap();
        results.extend([numbers(&y), numbers(found.get(&x).unwrap())]);
        results.push(gradients.squares().unwrap().iter().map(|(_, square)| *square as f32).collect());
        if step == 2 {
            let state = adamw.state().unwrap().into_iter();
            let written = state.map(|(name, moment)| (name, moment.to_device(&Device::Cpu).unwrap()));
            adamw.restore(written.collect(), 2, Path::new("optimizer")).unwrap();
        }
        adamw.update(&gradients, 0.5, |_| Group { lr: 0.1, decay: 0.1 }).unwrap();
        results.push(numbers(&weight));
    }
    results
}

fn recomputing_a_block_gives_the_same_bits() {
    assert_eq!(trained(&Device::Cpu, Keep::Everything), trained(&Device::Cpu, Keep::Input));
}

fn checkpointed_blocks_and_the_optimiser_agree_with_the_cpu() {
    let here = trained(&Device::Cpu, Keep::Everything);
    let gpu = device::cuda(0).unwrap();
    assert!(!fused::serves(&Tensor::zeros(1, candle_core::DType::F32, &gpu).unwrap()));
    for held in [Keep::Everything, Keep::Input] {
        for (there, here) in trained(&gpu, held).iter().zip(&here) {
            assert_near(there, here, "GPU");
        }
    }
}

/// Turns off what rounding could decide: beam negatives and the trained alignment.
const ROUNDED: &[&str] = &[
    "index.align_steps=0",
    "train.beam_negatives=0",
    "tune.text_lr=1e-4",
    "tune.image_lr=1e-4",
    "train.steps=4",
    "train.checkpoint_every=2",
    "train.keep=2",
];

/// The main job with a trained encoder: the GPU's losses equal the CPU's in f32 and are close in bf16. A run
/// that began on the GPU resumes on the CPU.
fn a_joint_training_on_a_gpu_is_that_of_the_cpu() {
    let space = Space::new();
    let trained = |out: &str, sets: &[&str]| space.dsi("train", &[TUNED, ROUNDED, sets].concat()).out(out);
    let losses = |out: &str| -> Vec<f64> {
        let lines = json_lines(&space.path(out).join("metrics.jsonl"));
        lines.iter().filter_map(|line| line["loss"].as_f64()).collect()
    };
    trained("cpu", &["precision=f32"]).output().succeeded();
    for (precision, bound) in [("f32", 1e-3), ("bf16", 0.05)] {
        let set = format!("precision={precision}");
        trained(precision, &["device=cuda:0", &set]).output().succeeded();
        let (there, here) = (losses(precision), losses("cpu"));
        assert_eq!(there.len(), here.len());
        let apart = there.iter().zip(&here).map(|(a, b)| (a - b).abs() / b.abs());
        let apart = apart.inspect(|apart| assert!(apart.is_finite())).fold(0.0, f64::max);
        assert!(apart < bound, "{precision}: {there:?} {here:?}");
    }
    let last = space.path("f32/checkpoints/step-4");
    fs::remove_dir_all(last).unwrap();
    trained("f32", &["precision=f32"]).args(["--resume"]).output().succeeded();
    let (there, here) = (losses("f32"), losses("cpu"));
    assert!(there.iter().zip(&here).all(|(a, b)| (a - b).abs() < 1e-3 * b.abs()), "{there:?} {here:?}");
    space.dsi("train", &[RENAMED, &["device=cuda:0"]].concat()).out("renamed").output().succeeded();
    for device in ["device=cuda:0", "device=cpu"] {
        let search = space.run("search").of("bf16").args(["a small red cube", "--set", device]);
        search.output().succeeded();
    }
}

fn sixteen_bits_are_refused_on_the_cpu() {
    let parts = ["bf16", "precision=f32", "--device cuda:0"];
    Space::new().dsi("train", &["precision=bf16"]).output().refused(&parts);
}

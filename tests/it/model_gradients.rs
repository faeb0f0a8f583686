//! The gradients of the joint model, towers and decoder and grounding under the listwise, the margin and the
//! contrastive loss together, against finite differences in f64: four entries of every parameter. (The fused
//! f32 kernels are tested against the composed operations in their own files.)

use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use dsi::docid::rq::Codebooks;
use dsi::docid::{Docid, DocidSet};
use dsi::encoder::clip::config::{TextConfig, VisionConfig};
use dsi::encoder::clip::{Clip, ClipConfig, TokenBatch};
use dsi::encoder::contrastive_loss::contrastive_loss;
use dsi::ids::DocidRow;
use dsi::matrix::Matrix;
use dsi::modality::Modality;
use dsi::model::alignment::SideMap;
use dsi::model::candidate_table::CandidateTable;
use dsi::model::decoder::Shape;
use dsi::model::generative_model::{GenerativeModel, Queries, Scoring};
use dsi::model::grounded_logits::Books;
use dsi::nn::device;
use dsi::nn::dropout::Dropout;
use dsi::nn::params::{Builder, Params};
use dsi::nn::tensors::unit_rows;
use dsi::train::objective::listwise::listwise;
use dsi::train::objective::prefix_targets::{PrefixTargets, TargetWeights};
use dsi::train::objective::terms::margin::margin;

use crate::harness::Need::Gpu;

tests! {
    every_parameter_has_the_gradient_of_finite_differences,
    fewer_bits_give_nearly_the_same_gradients,
    a_gpu_gives_nearly_the_same_gradients if Gpu,
}

const WIDTH: usize = 6;

struct Joint {
    clip: Clip,
    dsi: GenerativeModel,
    candidate_table: CandidateTable,
    side: SideMap,
    dtype: DType,
    device: Device,
}

/// A CLIP small enough for finite differences.
fn tiny() -> ClipConfig {
    ClipConfig {
        projection_dim: WIDTH,
        text_config: TextConfig {
            vocab_size: 11,
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            max_position_embeddings: 7,
            ..Default::default()
        },
        vision_config: VisionConfig {
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: 8,
            patch_size: 4,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// Irregular numbers in [−1, 1).
fn numbers(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + salt * 53) % 101) as f32 / 50.5 - 1.0).collect()
}

/// The test model in a number type on a device.
fn joint(dtype: DType, device: &Device) -> (Joint, Params) {
    let docids: Vec<Docid> = [[0, 1], [0, 2], [1, 0], [2, 2]].map(|c| Docid::new(c.to_vec())).into();
    let docids = DocidSet::new(docids, vec![3, 3]).unwrap();
    let books = (0..2).map(|salt| Matrix::new(WIDTH, numbers(3 * WIDTH, salt))).collect();
    let books = Codebooks::new(books).unwrap();
    let builder = Builder::fresh(5, device).of(dtype);
    let clip = Clip::new(&builder.root().sub("encoder"), &tiny()).unwrap();
    let shape =
        Shape { query: WIDTH, width: 8, layers: 1, heads: 2, memory: 2, codes: vec![3, 3], silent: false };
    let ground = Books::new(&books, device).unwrap().to_dtype(dtype).unwrap();
    let dsi =
        GenerativeModel::new(&builder.root(), shape, Some((ground, 0.5)), true, Scoring::Logit).unwrap();
    let side = SideMap {
        mean: Matrix::new(WIDTH, numbers(WIDTH, 3).iter().map(|x| x / 10.0).collect()),
        map: Matrix::new(WIDTH, numbers(WIDTH * WIDTH, 4).iter().map(|x| x / 5.0).collect()),
    };
    let candidate_table = CandidateTable::new(docids, Some(&books));
    let params = builder.finish(Path::new("x")).unwrap();
    params.iter().enumerate().for_each(|(salt, (_, parameter))| nudge(parameter, salt));
    (Joint { clip, dsi, candidate_table, side, dtype, device: device.clone() }, params)
}

/// Moves a parameter off its initial value: heads that start at zero give all layers before them a zero
/// gradient.
fn nudge(parameter: &Tensor, salt: usize) {
    let by = numbers(parameter.elem_count(), salt);
    let by = Tensor::from_vec(by, parameter.shape(), parameter.device()).unwrap();
    let moved = (parameter.detach() + (by.to_dtype(parameter.dtype()).unwrap() * 0.1).unwrap()).unwrap();
    Var::from_tensor(parameter).unwrap().set(&moved).unwrap();
}

impl Joint {
    /// Listwise and margin loss of two captions and two photos over all images, plus the contrastive loss.
    fn loss(&self) -> Tensor {
        let pixels = self.tensor(numbers(2 * 3 * 64, 7), &[2, 3, 8, 8]);
        let captions: [&[u32]; 2] = [&[9, 1, 2, 10], &[9, 3, 10]];
        let texts =
            unit_rows(&self.clip.embed_text(&TokenBatch::new(captions.into_iter())).unwrap()).unwrap();
        let photos = unit_rows(&self.clip.embed_images(&pixels).unwrap()).unwrap();
        let own = contrastive_loss(&photos, &texts, &self.clip.logit_scale).unwrap();

        let rows = Tensor::cat(&[&texts, &photos], 0).unwrap();
        let modalities = [Modality::Caption, Modality::Caption, Modality::Image, Modality::Image];
        let queries = Queries::of(self.side.forward(&rows).unwrap(), &modalities).unwrap();
        let images = [vec![0, 1, 2, 3], vec![2, 0, 3, 1], vec![0, 3, 2, 1], vec![3, 2, 1, 0]];
        let rows: Vec<Vec<DocidRow>> =
            images.iter().map(|images| images.iter().map(|&image| image.into()).collect()).collect();
        let candidates =
            self.candidate_table.candidates(&rows, &self.device).unwrap().to_dtype(self.dtype).unwrap();
        let scores = self.dsi.step_scores(&queries, &candidates, &mut Dropout::off()).unwrap();
        let targets = images.iter().map(|images| {
            let codes: Vec<&[u32]> =
                images.iter().map(|&image| self.candidate_table.docids().get(image.into()).codes()).collect();
            let teacher = vec![vec![0.4, 0.2], vec![0.3, 0.3], vec![0.2, 0.4], vec![0.1, 0.1]];
            PrefixTargets::new(&codes, &teacher, TargetWeights { gold: 0.5, smoothing: 0.1 })
        });
        let targets: Vec<PrefixTargets> = targets.collect();
        let tensor = |part: fn(&PrefixTargets) -> &Vec<f32>| {
            let values: Vec<f32> = targets.iter().flat_map(part).copied().collect();
            self.tensor(values, scores.dims())
        };
        let (hidden, mass) = (tensor(|t| &t.hidden), tensor(|t| &t.mass));
        let ranked = listwise(&scores, &hidden, &mass).unwrap();
        let margin = margin(&scores, &hidden, 0.7).unwrap();
        ((ranked + (own * 0.3).unwrap()).unwrap() + (margin * 0.2).unwrap()).unwrap()
    }

    fn tensor(&self, values: Vec<f32>, shape: &[usize]) -> Tensor {
        Tensor::from_vec(values, shape, &self.device).unwrap().to_dtype(self.dtype).unwrap()
    }

    fn value(&self) -> f64 {
        self.loss().to_scalar().unwrap()
    }

    fn slope(&self, parameter: &Tensor, at: usize) -> f64 {
        let var = Var::from_tensor(parameter).unwrap();
        let original = parameter.copy().unwrap();
        let nudged = |by: f64| {
            let mut values = original.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            values[at] += by;
            var.set(&Tensor::from_vec(values, parameter.shape(), &Device::Cpu).unwrap()).unwrap();
            self.value()
        };
        let slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
        var.set(&original).unwrap();
        slope
    }
}

/// Parameters whose gradient is zero in theory: adding one vector to every key changes no softmax.
fn is_idle(name: &str) -> bool {
    name.ends_with("k_proj.bias")
}

fn every_parameter_has_the_gradient_of_finite_differences() {
    let (joint, params) = joint(DType::F64, &Device::Cpu);
    let gradients = joint.loss().backward().unwrap();
    for (name, parameter) in params.iter() {
        let gradient = gradients.get(parameter).unwrap_or_else(|| panic!("{name} has no gradient"));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm > 1e-9 || is_idle(name), "{name} has gradient zero");
        for at in [0, gradient.len() / 3, gradient.len() / 2, gradient.len() - 1] {
            let slope = joint.slope(parameter, at);
            assert!(
                (gradient[at] - slope).abs() < 1e-6 * (1.0 + norm),
                "{name}[{at}]: {} {slope}",
                gradient[at]
            );
        }
    }
}

/// The gradient of each parameter, by name.
type Named = (String, Vec<f64>);

fn gradients(joint: &Joint, params: &Params) -> Vec<Named> {
    let found = joint.loss().backward().unwrap();
    let own = |(name, parameter): (&str, &Tensor)| {
        let gradient = found.get(parameter).unwrap().to_dtype(DType::F64).unwrap();
        (name.to_owned(), gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap())
    };
    params.iter().map(own).collect()
}

/// Largest ‖a − b‖/‖b‖ of a parameter's gradient, with its name.
fn furthest(a: &[Named], b: &[Named]) -> (f64, String) {
    let norm = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>().sqrt();
    let apart = |((name, a), (_, b)): (&Named, &Named)| {
        let by: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        (norm(&by) / norm(b).max(1e-3), name.clone())
    };
    let pairs = a.iter().zip(b).filter(|((name, _), _)| !is_idle(name));
    pairs.map(apart).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// f32, and 16 bits inside the blocks, agree with f64 up to rounding.
fn fewer_bits_give_nearly_the_same_gradients() {
    assert_near_f64(&Device::Cpu, [(DType::F32, 1e-5), (DType::F16, 0.01)]);
}

fn a_gpu_gives_nearly_the_same_gradients() {
    assert_near_f64(&device::cuda(0).unwrap(), [(DType::F32, 1e-4), (DType::BF16, 0.08)]);
}

/// Compares gradients computed in each type with those of f64 on the CPU, up to a bound.
fn assert_near_f64(device: &Device, cases: [(DType, f64); 2]) {
    let (exact, params) = joint(DType::F64, &Device::Cpu);
    let exact = gradients(&exact, &params);
    for (compute, bound) in cases {
        let (mut joint, params) = joint(DType::F32, device);
        joint.clip.compute_in(compute);
        joint.dsi.compute_in(compute);
        let own = gradients(&joint, &params);
        assert!(own.iter().flat_map(|(_, gradient)| gradient).all(|g| g.is_finite()));
        let (apart, name) = furthest(&own, &exact);
        assert!(apart < bound, "{compute:?} on {device:?}: {name} is {apart} away");
    }
}

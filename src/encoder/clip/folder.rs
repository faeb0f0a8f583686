//! The weights and the shape of a CLIP on disk: read from any layout of [`crate::data::clip_files`], written
//! in Hugging Face's. The same folder holds the tokenizer and the preprocessing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::{Clip, ClipConfig, open_clip, openai_shape, parameter_depth, read_weights};
use crate::data::clip_files::{
    self, CONFIG, Library, MERGES, PREPROCESSOR, PROCESSOR, TOKENIZER, VOCABULARY,
};
use crate::data::preprocess::Preprocess;
use crate::encoder::trainable_dual_encoder::TrainableTowers;
use crate::error::{Error, Result};
use crate::file_io;
use crate::nn::params::{Builder, Params};
use crate::nn::tensors;
use read_weights::TensorMap;

/// Reads a CLIP. Parameters of the trained layers become variables; the others never get a gradient.
///
/// # Errors
/// When a file is missing or broken, a tensor is missing, extra, misshapen or not finite (all are named), or
/// a tower has fewer blocks than are to be trained.
pub fn read(folder: &Path, trained: TrainableTowers, device: &Device) -> Result<(Clip, Params, ClipConfig)> {
    let path = folder.join(clip_files::weights(folder).file);
    let (config, tensors) = read_parts(folder, &path)?;
    parameter_depth::check_depth(trained, &config)?;
    let shape = config.clone();
    let is_trained = move |name: &str| parameter_depth::is_trained(trained, name, &shape);
    let builder = Builder::loaded(tensors, is_trained, device);
    let clip = Clip::new(&builder.root(), &config)?;
    Ok((clip, builder.finish(&path)?, config))
}

/// The shape and the tensors of a folder under transformers' names; `path` is its file of weights.
fn read_parts(folder: &Path, path: &Path) -> Result<(ClipConfig, TensorMap)> {
    let stated = clip_files::config(folder);
    let tensors = || open_clip::renamed(read_weights::read(folder)?);
    match clip_files::library(folder) {
        Library::Transformers => Ok((ClipConfig::read(&stated)?, tensors()?)),
        Library::OpenClip => Ok((open_clip::config(&stated)?, tensors()?)),
        Library::OpenAi => {
            let tensors = tensors()?;
            let config = openai_shape::config(&tensors).map_err(|what| Error::file(path, what))?;
            Ok((config, tensors))
        }
    }
}

/// How photos are prepared for the CLIP in a folder, which takes squares of `side` pixels.
///
/// # Errors
/// When the file that states it cannot be read, or asks for something that is not supported.
pub fn preprocess(folder: &Path, side: usize) -> Result<Preprocess> {
    let (path, stated) = (clip_files::preprocessing(folder), clip_files::config(folder));
    let side = u32::try_from(side).map_err(|_| Error::file(&stated, format!("a side of {side} pixels")))?;
    match clip_files::library(folder) {
        Library::OpenClip if !folder.join(PREPROCESSOR).exists() => open_clip::preprocess(&stated, side),
        Library::OpenAi if !path.exists() => Preprocess::clip(side),
        _ if path.ends_with(PROCESSOR) => Preprocess::from_processor_json(&path),
        _ => Preprocess::from_json(&path),
    }
}

/// The files that decide the embeddings of the CLIP in a folder, without its preprocessing.
///
/// # Errors
/// When an index of shards cannot be read.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = read_weights::files(folder)?;
    files.push(clip_files::config(folder));
    files.extend([TOKENIZER, VOCABULARY, MERGES].map(|name| folder.join(name)));
    Ok(files)
}

/// Hash of the weights, shape, tokenizer and preprocessing of a folder: equal hashes mean equal embeddings.
///
/// # Errors
/// When a file cannot be read.
pub fn fingerprint(folder: &Path, preprocess: &Preprocess) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in files(folder)?.iter().filter(|file| file.exists()) {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update_reader(file_io::open_regular(file)?).map_err(Error::io("read", file))?;
    }
    hasher.update(preprocess.fingerprint().as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes a CLIP, its weights in `dtype`: f16 halves the size without a loss that retrieval notices, f32
/// keeps every bit.
///
/// # Errors
/// When the disk refuses.
pub fn write(folder: &Path, params: &Params, config: &ClipConfig, dtype: DType) -> Result<()> {
    let cast = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), tensor.to_dtype(dtype)?));
    let cast = params.iter().map(cast).collect::<Result<BTreeMap<_, _>>>()?;
    tensors::write(&folder.join(clip_files::WEIGHTS[0].file), &cast)?;
    file_io::write_json(&folder.join(CONFIG), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::clip::{TokenBatch, config};
    use crate::encoder::contrastive_loss::contrastive_loss;

    fn loss(clip: &Clip, dtype: DType) -> Tensor {
        let pixels: Vec<f32> = (0..3 * 3 * 64).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
        let pixels = Tensor::from_vec(pixels, (3, 3, 8, 8), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let captions: [&[u32]; 3] = [&[9, 1, 2, 10], &[9, 3, 10], &[9, 4, 5, 6, 10]];
        let unit = |x: Tensor| tensors::unit_rows(&x).unwrap();
        let images = unit(clip.embed_images(&pixels).unwrap());
        let texts = unit(clip.embed_text(&TokenBatch::new(captions.into_iter())).unwrap());
        contrastive_loss(&images, &texts, &clip.logit_scale).unwrap()
    }

    fn value(loss: &Tensor) -> f64 {
        loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    /// Every trainable tensor receives a gradient, and it is the slope of the loss: central differences in
    /// f64 for the composed operations; the fused f32 kernels then agree with those.
    #[test]
    fn every_parameter_has_the_gradient_of_finite_differences() {
        let builder = Builder::fresh(3, &Device::Cpu).of(DType::F64);
        let clip = Clip::new(&builder.root(), &config::tiny(6)).unwrap();
        let params = builder.finish(Path::new("x")).unwrap();
        let exact = loss(&clip, DType::F64).backward().unwrap();

        let fused_builder = Builder::fresh(3, &Device::Cpu);
        let fused_clip = Clip::new(&fused_builder.root(), &config::tiny(6)).unwrap();
        let fused_params = fused_builder.finish(Path::new("x")).unwrap();
        let fused = loss(&fused_clip, DType::F32).backward().unwrap();

        for (name, tensor) in params.iter() {
            let gradient = exact.get(tensor).unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            // Adding the same vector to every key does not change a softmax.
            assert!(norm > 1e-9 || name.ends_with("k_proj.bias"), "{name} has gradient zero");
            for at in [0, gradient.len() / 2, gradient.len() - 1] {
                let slope = central_difference(&clip, tensor, at);
                assert!(
                    (gradient[at] - slope).abs() < 1e-6 * (1.0 + norm),
                    "{name}[{at}]: {} {slope}",
                    gradient[at]
                );
            }
            let ours = fused
                .get(fused_params.get(name).unwrap())
                .unwrap_or_else(|| panic!("{name}: no fused gradient"));
            let ours = ours.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (a, b) in ours.iter().zip(&gradient) {
                assert!((f64::from(*a) - b).abs() < 1e-4 * norm + 1e-6, "{name}: fused {a}, composed {b}");
            }
        }
    }

    fn central_difference(clip: &Clip, tensor: &Tensor, at: usize) -> f64 {
        let var = candle_core::Var::from_tensor(tensor).unwrap();
        let original = tensor.copy().unwrap();
        let nudged = |by: f64| {
            let mut values = original.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            values[at] += by;
            var.set(&Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap()).unwrap();
            value(&loss(clip, DType::F64))
        };
        let slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
        var.set(&original).unwrap();
        slope
    }

    #[test]
    fn a_folder_round_trips_and_names_what_is_wrong() {
        let builder = Builder::fresh(3, &Device::Cpu);
        let clip = Clip::new(&builder.root(), &config::tiny(6)).unwrap();
        let params = builder.finish(Path::new("x")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &params, &config::tiny(6), DType::F16).unwrap();
        let (back, _, config) = read(folder.path(), TrainableTowers::NOTHING, &Device::Cpu).unwrap();
        assert_eq!(config, config::tiny(6));
        let (a, b) = (value(&loss(&clip, DType::F32)), value(&loss(&back, DType::F32)));
        assert!((a - b).abs() < 1e-2, "{a} {b}");

        let wider = ClipConfig { projection_dim: 7, ..config::tiny(6) };
        let json = serde_json::to_string(&wider).unwrap();
        std::fs::write(folder.path().join(CONFIG), json).unwrap();
        let message = read(folder.path(), TrainableTowers::NOTHING, &Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("text_projection.weight has shape [6, 8], [7, 8] expected"), "{message}");
        std::fs::write(folder.path().join(clip_files::WEIGHTS[0].file), b"<html>not found</html>").unwrap();
        assert!(
            read(folder.path(), TrainableTowers::NOTHING, &Device::Cpu)
                .unwrap_err()
                .to_string()
                .contains("safetensors")
        );
    }
}

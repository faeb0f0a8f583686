//! The file layouts of a CLIP, on disk or on the hub, for the code that fetches and the code that reads them.
//!
//! Two libraries write CLIPs: Hugging Face's transformers (`config.json`, and weights in one file or in
//! shards) and LAION's open_clip (`open_clip_config.json`). If a folder has several forms of a file, the
//! first one in the tables below counts. A third library, timm, also writes a `config.json`, and weights of
//! an image tower under transformers' names; its CLIP repositories have open_clip's files too. So the content
//! of `config.json` decides. OpenAI's first release is a single file (`ViT-B-32.pt`, …); its tensors give the
//! model's shape.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::json;
use crate::error::{Error, Result};
use crate::{file_io, known_heads};

/// Bytes of the largest index of shards; an index of ten thousand tensors has one million.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Bytes of the largest model configuration.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// The largest number of shards.
const MAX_SHARDS: usize = 256;

/// The storage format of a weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One safetensors file.
    Safetensors,
    /// One file of `torch.save` or `torch.jit.save`, in its zip form.
    Pickle,
}

/// A file with weights, or with the list of their shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// The name in the folder.
    pub file: &'static str,
    /// The format of this file, or of its shards.
    pub form: Form,
    /// Whether this is an index: JSON with a `weight_map` from tensors to shards.
    pub sharded: bool,
}

/// The weight files of transformers, in order of preference.
pub const WEIGHTS: [Weights; 4] = [
    Weights { file: "model.safetensors", form: Form::Safetensors, sharded: false },
    Weights { file: "model.safetensors.index.json", form: Form::Safetensors, sharded: true },
    Weights { file: "pytorch_model.bin", form: Form::Pickle, sharded: false },
    Weights { file: "pytorch_model.bin.index.json", form: Form::Pickle, sharded: true },
];

/// The weight files of open_clip, in order of preference.
pub const OPEN_CLIP_WEIGHTS: [Weights; 2] = [
    Weights { file: "open_clip_model.safetensors", form: Form::Safetensors, sharded: false },
    Weights { file: "open_clip_pytorch_model.bin", form: Form::Pickle, sharded: false },
];

/// OpenAI's first release of the vision transformers (github.com/openai/CLIP, clip/clip.py: `_MODELS`).
pub const OPENAI_WEIGHTS: [Weights; 4] = [
    Weights { file: "ViT-B-32.pt", form: Form::Pickle, sharded: false },
    Weights { file: "ViT-B-16.pt", form: Form::Pickle, sharded: false },
    Weights { file: "ViT-L-14.pt", form: Form::Pickle, sharded: false },
    Weights { file: "ViT-L-14-336px.pt", form: Form::Pickle, sharded: false },
];

/// The model's shape, in transformers' format.
pub const CONFIG: &str = "config.json";
/// The model's shape and preprocessing, in open_clip's format.
pub const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
/// The preprocessing of photos, in transformers' format.
pub const PREPROCESSOR: &str = "preprocessor_config.json";
/// The key of [`PROCESSOR`] for photos.
const IMAGE_PROCESSOR: &str = "image_processor";
/// The preprocessing of photos and texts, in the format of transformers 5, which may write no [`PREPROCESSOR`]; the key
/// `image_processor` has that of photos.
pub const PROCESSOR: &str = "processor_config.json";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The vocabulary of the older tokenizer format.
pub const VOCABULARY: &str = "vocab.json";
/// The merges of the older tokenizer format.
pub const MERGES: &str = "merges.txt";

/// The library that wrote a CLIP; it decides which files take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// Hugging Face's transformers.
    Transformers,
    /// open_clip.
    OpenClip,
    /// OpenAI.
    OpenAi,
}

/// The library that wrote the CLIP in a folder: open_clip if its configuration exists and no [`CONFIG`] of a
/// CLIP does; OpenAI if there is no configuration but a file of its release; otherwise transformers.
pub fn library(folder: &Path) -> Library {
    let has = |file: &str| folder.join(file).exists();
    if has(OPEN_CLIP_CONFIG) && !is_of_a_clip(&folder.join(CONFIG)) {
        Library::OpenClip
    } else if !has(CONFIG) && OPENAI_WEIGHTS.iter().any(|weights| has(weights.file)) {
        Library::OpenAi
    } else {
        Library::Transformers
    }
}

/// Whether a [`CONFIG`] is one of transformers for a model with two towers. Its content is not checked
/// further.
pub fn is_of_a_clip(config: &Path) -> bool {
    let value = || json::read::<Value>(&file_io::read(config, MAX_CONFIG_BYTES).ok()?).ok();
    let keys = ["text_config", "vision_config", "text_config_dict", "vision_config_dict"];
    value().is_some_and(|value| {
        value.get("model_type").is_some_and(|kind| kind == "clip")
            || keys.iter().any(|key| value.get(key).is_some_and(Value::is_object))
    })
}

/// The weights of a folder: the first existing file in its library's order, then in the other library's. If
/// there is none, the first of all, so that the reader reports it as missing.
pub fn weights(folder: &Path) -> Weights {
    let (first, second) = match library(folder) {
        Library::Transformers => (&WEIGHTS[..], &OPEN_CLIP_WEIGHTS[..]),
        Library::OpenClip => (&OPEN_CLIP_WEIGHTS[..], &WEIGHTS[..]),
        Library::OpenAi => (&OPENAI_WEIGHTS[..], &[][..]),
    };
    let mut all = first.iter().chain(second);
    *all.find(|weights| folder.join(weights.file).exists()).unwrap_or(&first[0])
}

/// The file that gives the shape of the CLIP in a folder: [`CONFIG`], [`OPEN_CLIP_CONFIG`], or OpenAI's
/// weights.
pub fn config(folder: &Path) -> PathBuf {
    folder.join(match library(folder) {
        Library::Transformers => CONFIG,
        Library::OpenClip => OPEN_CLIP_CONFIG,
        Library::OpenAi => weights(folder).file,
    })
}

/// The file that states how photos are prepared: [`PREPROCESSOR`], or [`PROCESSOR`] if that alone exists.
pub fn preprocessing(folder: &Path) -> PathBuf {
    let has = |file: &str| folder.join(file).exists();
    folder.join(if !has(PREPROCESSOR) && has(PROCESSOR) { PROCESSOR } else { PREPROCESSOR })
}

/// Whether a [`PROCESSOR`] states how photos are prepared; those of transformers 4 do not.
pub fn has_image_processor(processor: &Path) -> bool {
    let value = || json::read::<Value>(&file_io::read(processor, MAX_CONFIG_BYTES).ok()?).ok();
    value().is_some_and(|value| value.get(IMAGE_PROCESSOR).is_some_and(Value::is_object))
}

/// The shards in an index.
///
/// # Errors
/// When it cannot be read, is no index, or names no shards, too many, or one outside the folder.
pub fn shards(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = file_io::read(index, MAX_INDEX_BYTES)?;
    let Index { weight_map } = json::read(&bytes).map_err(|e| {
        let what = format!("is not a list of a model's shards: {e}; fetch the index of shards again");
        known_heads::explain(index, &bytes, Error::file(index, what))
    })?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    if let Some(unsafe_name) = shards.iter().find(|shard| !is_plain(shard)) {
        return Err(Error::file(index, format!("names `{unsafe_name}`, which is no plain file name")));
    }
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        let what = format!("names {} shards; 1 to {MAX_SHARDS} are allowed", shards.len());
        return Err(Error::file(index, what));
    }
    Ok(shards)
}

/// Whether an outside name (a shard, a commit, a part of a hub id) is safe as one component of a path or a
/// URL: it cannot leave the folder.
pub fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with(['-', '.']) && !name.contains("..") && name.chars().all(allowed)
}

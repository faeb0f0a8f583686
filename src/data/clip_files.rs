//! Which files a CLIP on disk or on the hub consists of, in one place for who fetches and who reads them.
//!
//! Two libraries write CLIPs: Hugging Face's transformers (`config.json` and weights whole or in shards) and
//! open_clip, LAION's (`open_clip_config.json`). Where a folder has several forms of a thing, the first counts. A
//! third, timm, writes a `config.json` too, and under transformers' names the weights of an image tower alone; its
//! repositories of CLIPs have open_clip's files beside those. So the kind of `config.json` decides. And OpenAI's first
//! release is one file, `ViT-B-32.pt` and so on, whose tensors tell the shape.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file_io;

/// Bytes of the longest index of shards; that of a model with ten thousand tensors has one million.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Bytes of the longest shape of a model.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Shards of a model at most.
const MAX_SHARDS: usize = 256;

/// How the tensors of a weights file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One safetensors file.
    Safetensors,
    /// One file of `torch.save` or `torch.jit.save`, in its zip form.
    Pickle,
}

/// A file that holds weights, or lists the shards that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Its name in the folder.
    pub file: &'static str,
    /// The form of this file, or of its shards.
    pub form: Form,
    /// Whether it is an index: JSON whose `weight_map` gives the shard of each tensor.
    pub sharded: bool,
}

/// The forms that transformers writes weights in.
pub const WEIGHTS: [Weights; 4] = [
    Weights { file: "model.safetensors", form: Form::Safetensors, sharded: false },
    Weights { file: "model.safetensors.index.json", form: Form::Safetensors, sharded: true },
    Weights { file: "pytorch_model.bin", form: Form::Pickle, sharded: false },
    Weights { file: "pytorch_model.bin.index.json", form: Form::Pickle, sharded: true },
];

/// The forms that open_clip writes weights in.
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

/// The shape of the model, as transformers writes it.
pub const CONFIG: &str = "config.json";
/// The shape of the model and how photos are prepared for it, as open_clip writes it.
pub const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
/// How photos are prepared, as transformers writes it.
pub const PREPROCESSOR: &str = "preprocessor_config.json";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The tokenizer in its older form: the vocabulary.
pub const VOCABULARY: &str = "vocab.json";
/// The other half of the older form.
pub const MERGES: &str = "merges.txt";

/// Who wrote a CLIP, and so which of its files count first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// Hugging Face's transformers.
    Transformers,
    /// open_clip.
    OpenClip,
    /// OpenAI.
    OpenAi,
}

/// Who wrote the CLIP in a folder: open_clip, where its shape is there and a CLIP's [`CONFIG`] is not; OpenAI, where
/// neither is and a file of its release is.
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

/// Whether a [`CONFIG`] is one that transformers writes for a model of two towers; what it then says of them is its
/// reader's to judge.
pub fn is_of_a_clip(config: &Path) -> bool {
    let value = || serde_json::from_slice::<Value>(&file_io::read(config, MAX_CONFIG_BYTES).ok()?).ok();
    let keys = ["text_config", "vision_config", "text_config_dict", "vision_config_dict"];
    value().is_some_and(|value| {
        value.get("model_type").is_some_and(|kind| kind == "clip")
            || keys.iter().any(|key| value.get(key).is_some_and(Value::is_object))
    })
}

/// The weights of a folder: the first of its library's forms, or of the other's, that it has; else the first of all,
/// whose absence its reader reports.
pub fn weights(folder: &Path) -> Weights {
    let (first, second) = match library(folder) {
        Library::Transformers => (&WEIGHTS[..], &OPEN_CLIP_WEIGHTS[..]),
        Library::OpenClip => (&OPEN_CLIP_WEIGHTS[..], &WEIGHTS[..]),
        Library::OpenAi => (&OPENAI_WEIGHTS[..], &[][..]),
    };
    let mut all = first.iter().chain(second);
    *all.find(|weights| folder.join(weights.file).exists()).unwrap_or(&first[0])
}

/// The path of what states the shape of the CLIP in a folder: [`CONFIG`], [`OPEN_CLIP_CONFIG`], or OpenAI's weights.
pub fn config(folder: &Path) -> PathBuf {
    folder.join(match library(folder) {
        Library::Transformers => CONFIG,
        Library::OpenClip => OPEN_CLIP_CONFIG,
        Library::OpenAi => weights(folder).file,
    })
}

/// The shards that an index names.
///
/// # Errors
/// When it cannot be read, is no index, or names too many shards, none, or one that leads out of the folder.
pub fn shards(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } =
        serde_json::from_slice(&file_io::read(index, MAX_INDEX_BYTES)?).map_err(|e| {
            let remedy = "fetch the index of shards again";
            Error::file(index, format!("is not a list of a model's shards: {e}; {remedy}"))
        })?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    if let Some(evil) = shards.iter().find(|shard| !is_plain(shard)) {
        return Err(Error::file(index, format!("names `{evil}`, which is no plain file name")));
    }
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        let what = format!("names {} shards; 1 to {MAX_SHARDS} are allowed", shards.len());
        return Err(Error::file(index, what));
    }
    Ok(shards)
}

/// Whether a name from outside (a shard, a commit, a part of a hub id) is safe as one part of a path and of an
/// address: it cannot lead out of the folder.
pub fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with(['-', '.']) && !name.contains("..") && name.chars().all(allowed)
}

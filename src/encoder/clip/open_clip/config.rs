//! Reads `open_clip_config.json`: the shape of the model and how photos are prepared for it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::data::json;
use crate::data::preprocess::Preprocess;
use crate::encoder::clip::config::{ClipConfig, TextConfig, VisionConfig};
use crate::error::{Error, Result};
use crate::nn::activation::Activation;
use crate::{file_io, known_heads};

/// `open_clip_config.json`.
#[derive(Deserialize)]
struct File {
    model_cfg: Model,
    #[serde(default)]
    preprocess_cfg: Photos,
}

#[derive(Deserialize)]
struct Model {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    #[serde(default)]
    vision_cfg: Vision,
    #[serde(default)]
    text_cfg: Text,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Vision {
    layers: usize,
    width: usize,
    head_width: usize,
    mlp_ratio: f64,
    patch_size: usize,
    image_size: Side,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Text {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// One side of a square, or both sides.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Side {
    One(usize),
    Both([usize; 2]),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Photos {
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
    interpolation: Option<String>,
    resize_mode: Option<String>,
}

impl Default for Vision {
    fn default() -> Self {
        let other = BTreeMap::new();
        let image_size = Side::One(224);
        Self { layers: 12, width: 768, head_width: 64, mlp_ratio: 4.0, patch_size: 16, image_size, other }
    }
}

impl Default for Text {
    fn default() -> Self {
        let other = BTreeMap::new();
        let (context_length, vocab_size) = (77, 49408);
        Self { context_length, vocab_size, width: 512, heads: 8, layers: 12, mlp_ratio: 4.0, other }
    }
}

/// Keys whose values do not affect embeddings.
const HARMLESS: [&str; 7] = [
    "hf_tokenizer_name",
    "tokenizer_kwargs",
    "tokenizer_mode",
    "patch_dropout",
    "pad_id",
    "init_logit_scale",
    "output_tokens",
];

/// The shape that an `open_clip_config.json` states.
///
/// # Errors
/// When the file cannot be read, or states another architecture: the key is named.
pub fn config(path: &Path) -> Result<ClipConfig> {
    let File { model_cfg: model, .. } = parse(path)?;
    let hidden_act = if model.quick_gelu { Activation::QuickGelu } else { Activation::Gelu };
    refuse_unknown_keys(&model).map_err(|what| Error::file(path, what))?;
    let image_size = model.vision_cfg.image_size.of_square().map_err(|what| Error::file(path, what))?;
    let (text, vision) = (model.text_cfg, model.vision_cfg);
    let mlp_width = |width: usize, ratio: f64| (width as f64 * ratio) as usize;
    Ok(ClipConfig {
        projection_dim: model.embed_dim,
        text_config: TextConfig {
            vocab_size: text.vocab_size,
            hidden_size: text.width,
            intermediate_size: mlp_width(text.width, text.mlp_ratio),
            num_hidden_layers: text.layers,
            num_attention_heads: text.heads,
            max_position_embeddings: text.context_length,
            hidden_act,
            ..TextConfig::default()
        },
        vision_config: VisionConfig {
            hidden_size: vision.width,
            intermediate_size: mlp_width(vision.width, vision.mlp_ratio),
            num_hidden_layers: vision.layers,
            num_attention_heads: vision.width / vision.head_width.max(1),
            image_size,
            patch_size: vision.patch_size,
            hidden_act,
            ..VisionConfig::default()
        },
        ..ClipConfig::default()
    })
}

/// The preprocessing that an `open_clip_config.json` states, for squares of `side` pixels. Omitted keys have
/// CLIP's values.
///
/// # Errors
/// When the file cannot be read, or states something that is not supported.
pub fn preprocess(path: &Path, side: u32) -> Result<Preprocess> {
    let File { preprocess_cfg: photos, .. } = parse(path)?;
    let supported = [
        ("interpolation", photos.interpolation.as_deref(), "bicubic"),
        ("resize_mode", photos.resize_mode.as_deref(), "shortest"),
    ];
    for (key, value, allowed) in supported {
        if let Some(value) = value.filter(|value| *value != allowed) {
            let what = format!("preprocess_cfg.{key} is `{value}`; `{allowed}` is allowed");
            return Err(Error::file(path, what));
        }
    }
    Preprocess::normalizing(side, photos.mean, photos.std)
        .map_err(|error| Error::file(path, error.to_string()))
}

/// The first key that asks for another architecture, as a clause.
fn refuse_unknown_keys(model: &Model) -> Result<(), String> {
    let sections =
        [("", &model.other), (".text_cfg", &model.text_cfg.other), (".vision_cfg", &model.vision_cfg.other)];
    for (section, other) in sections {
        if let Some((key, value)) = other.iter().find(|(key, value)| !is_harmless(key, value)) {
            return Err(format!(
                "model_cfg{section}.{key} is {value}; CLIP's plain vision transformers are read"
            ));
        }
    }
    Ok(())
}

impl Side {
    /// The side of a square; the error is a clause.
    fn of_square(self) -> Result<usize, String> {
        match self {
            Self::One(side) => Ok(side),
            Self::Both([height, width]) if height == width => Ok(height),
            Self::Both(sides) => {
                Err(format!("model_cfg.vision_cfg.image_size is {sides:?}; a square is allowed"))
            }
        }
    }
}

fn parse(path: &Path) -> Result<File> {
    let bytes = file_io::read(path, 1 << 20)?;
    json::read(&bytes).map_err(|fault| {
        let what = format!("is not a configuration of open_clip: {fault}");
        known_heads::explain(path, &bytes, Error::line(path, fault.line, what))
    })
}

fn is_harmless(key: &str, value: &Value) -> bool {
    HARMLESS.contains(&key) || matches!(value, Value::Null | Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("open_clip_config.json");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_published_configuration_gives_the_shape_of_transformers() {
        // open_clip's ViT-B-32-quickgelu, as its save_for_hf writes it
        let (_folder, path) = written(
            r#"{"model_cfg": {"embed_dim": 512, "quick_gelu": true,
                "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}},
                "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0]}}"#,
        );
        assert_eq!(config(&path).unwrap(), ClipConfig::default());
        let mut out = [0.0; 3];
        preprocess(&path, 1).unwrap().normalize(&[255, 0, 255], &mut out);
        assert_eq!(out, [2.0, -1.0, 0.5]);
    }

    #[test]
    fn another_architecture_is_refused_by_key() {
        let refused = |model: &str, photos: &str| {
            let text = format!(r#"{{"model_cfg": {model}, "preprocess_cfg": {photos}}}"#);
            let (_folder, path) = written(&text);
            let failed = config(&path).map(drop).and_then(|()| preprocess(&path, 224).map(drop));
            failed.unwrap_err().to_string()
        };
        let timm = r#"{"embed_dim": 8, "vision_cfg": {"timm_model_name": "vit"}}"#;
        assert!(refused(timm, "{}").contains("model_cfg.vision_cfg.timm_model_name"));
        assert!(refused(r#"{"embed_dim": 8, "custom_text": true}"#, "{}").contains("model_cfg.custom_text"));
        assert!(refused(r#"{"embed_dim": 8}"#, r#"{"resize_mode": "squash"}"#).contains("`squash`"));
        assert!(refused("{}", "{}").contains("embed_dim"));
    }
}

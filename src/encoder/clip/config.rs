//! The shape of a CLIP: Hugging Face's `config.json`. A key that the file omits has that library's default.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::json;
use crate::error::{Error, Result};
use crate::nn::activation::Activation;
use crate::{file_io, known_heads};

/// The whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Names the layout; always `clip`.
    pub model_type: String,
    /// Width of the joint space.
    pub projection_dim: usize,
    /// Initial logarithm of the inverse temperature.
    pub logit_scale_init_value: f64,
    /// The text tower.
    pub text_config: TextConfig,
    /// The vision tower.
    pub vision_config: VisionConfig,
}

/// The text tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of a block.
    pub num_attention_heads: usize,
    /// Longest text in tokens, start and end included.
    pub max_position_embeddings: usize,
    /// The token at whose first occurrence the text's embedding is read. Files older than this key say 2 and
    /// mean the highest token of a text, which is the end token too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eos_token_id: Option<u32>,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width of a patch token.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of a block.
    pub num_attention_heads: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Side of the square photo in pixels.
    pub image_size: usize,
    /// Side of a square patch in pixels.
    pub patch_size: usize,
    /// Activation of the MLP.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            model_type: "clip".to_owned(),
            projection_dim: 512,
            logit_scale_init_value: 2.6592,
            text_config: TextConfig::default(),
            vision_config: VisionConfig::default(),
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            eos_token_id: None,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl VisionConfig {
    /// Patches along one side.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }
}

impl ClipConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When the file is missing, is not JSON, or states a shape that cannot be built.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = file_io::read(path, 1 << 20)?;
        let config =
            Self::parse(&bytes).map_err(|fault| match (known_heads::describe(&bytes), fault.line) {
                (Some(what), _) => Error::file(path, what),
                (None, 0) => Error::file(path, format!("is not a CLIP configuration: {fault}")),
                (None, line) => Error::line(path, line, format!("is not a CLIP configuration: {fault}")),
            })?;
        config.check().map_err(|what| Error::file(path, what))?;
        Ok(config)
    }

    /// Merges the sections as transformers' `CLIPConfig` does: any may be null, and a section under its older
    /// name (`_dict`) replaces the one under the newer name.
    fn parse(text: &[u8]) -> Result<Self, json::Fault> {
        let mut sections: serde_json::Map<String, serde_json::Value> = json::read(text)?;
        for section in ["text_config", "vision_config"] {
            let older = sections.remove(&format!("{section}_dict")).filter(|value| !value.is_null());
            sections.extend(older.map(|older| (section.to_owned(), older)));
        }
        sections.retain(|_, value| !value.is_null());
        Ok(serde_json::from_value(sections.into())?)
    }

    /// Checks bounds, which keep a hostile file from using absurd memory, and the divisions that the towers
    /// rely on.
    ///
    /// # Errors
    /// The first violation, as a clause that names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.model_type != "clip" {
            return Err(format!("model_type is `{}`; `clip` is allowed", self.model_type));
        }
        self.check_sizes()?;
        self.check_divisions()
    }

    fn check_sizes(&self) -> Result<(), String> {
        let (t, v) = (&self.text_config, &self.vision_config);
        let sizes = [
            ("projection_dim", self.projection_dim, 1 << 14),
            ("text_config.vocab_size", t.vocab_size, 1 << 20),
            ("text_config.hidden_size", t.hidden_size, 1 << 14),
            ("text_config.intermediate_size", t.intermediate_size, 1 << 16),
            ("text_config.num_hidden_layers", t.num_hidden_layers, 256),
            ("text_config.num_attention_heads", t.num_attention_heads, 256),
            ("text_config.max_position_embeddings", t.max_position_embeddings, 1 << 14),
            ("vision_config.hidden_size", v.hidden_size, 1 << 14),
            ("vision_config.intermediate_size", v.intermediate_size, 1 << 16),
            ("vision_config.num_hidden_layers", v.num_hidden_layers, 256),
            ("vision_config.num_attention_heads", v.num_attention_heads, 256),
            ("vision_config.num_channels", v.num_channels, 4),
            ("vision_config.image_size", v.image_size, 1 << 12),
            ("vision_config.patch_size", v.patch_size, 1 << 10),
        ];
        match sizes.iter().find(|(_, value, most)| *value == 0 || value > most) {
            Some((key, value, most)) => Err(format!("{key} is {value}; 1 to {most} allowed")),
            None => Ok(()),
        }
    }

    fn check_divisions(&self) -> Result<(), String> {
        let (t, v) = (&self.text_config, &self.vision_config);
        let divisions = [
            ("text_config.hidden_size by num_attention_heads", t.hidden_size, t.num_attention_heads),
            ("vision_config.hidden_size by num_attention_heads", v.hidden_size, v.num_attention_heads),
            ("vision_config.image_size by patch_size", v.image_size, v.patch_size),
        ];
        match divisions.iter().find(|(_, dividend, divisor)| dividend % divisor != 0) {
            Some((what, dividend, divisor)) => Err(format!("{what}: {divisor} does not divide {dividend}")),
            None => Ok(()),
        }
    }
}

/// A CLIP small enough for finite differences.
#[cfg(test)]
pub fn tiny(projection: usize) -> ClipConfig {
    ClipConfig {
        projection_dim: projection,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn omitted_keys_have_the_defaults_of_hugging_face() {
        let config = ClipConfig::parse(
            br#"{"projection_dim": 768, "text_config": {"hidden_size": 768, "id2label": {"0": "a"}}, "other": 1,
                "vision_config": null, "text_config_dict": null}"#,
        )
        .unwrap();
        assert_eq!(config.projection_dim, 768);
        assert_eq!(config.text_config.hidden_size, 768);
        assert_eq!(config.text_config.vocab_size, 49408);
        assert_eq!(config.vision_config.patch_size, 32);
        assert!(config.check().is_ok());
    }

    #[test]
    fn a_section_under_its_older_name_is_used() {
        let config = ClipConfig::parse(
            br#"{"vision_config_dict": {"hidden_size": 1024, "hidden_act": "gelu"},
                "vision_config": {"hidden_size": 1, "num_hidden_layers": 9}}"#,
        );
        let vision = config.unwrap().vision_config;
        assert_eq!((vision.hidden_size, vision.num_hidden_layers), (1024, 12));
        assert_eq!(vision.hidden_act, Activation::Gelu);
        let unknown =
            ClipConfig::parse(br#"{"text_config": {"hidden_act": "relu"}}"#).unwrap_err().to_string();
        assert!(unknown.contains("`relu`") && unknown.contains("`quick_gelu`"), "{unknown}");
    }

    #[test]
    fn impossible_shapes_are_refused_by_key() {
        let refused = |json: &str| serde_json::from_str::<ClipConfig>(json).unwrap().check().unwrap_err();
        assert!(refused(r#"{"text_config": {"hidden_size": 0}}"#).contains("text_config.hidden_size is 0"));
        assert!(refused(r#"{"vision_config": {"patch_size": 33}}"#).contains("33 does not divide 224"));
        assert!(refused(r#"{"model_type": "siglip"}"#).contains("`siglip`"));
        assert!(refused(r#"{"projection_dim": 99999999}"#).contains("1 to 16384"));
    }
}

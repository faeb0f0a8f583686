//! Translates the tensor names and the configuration of open_clip (LAION) and of OpenAI's first release into
//! those of transformers.
//!
//! In their files the three input projections of attention are one tensor, the two projections into the joint
//! space are transposed, and `open_clip_config.json` has its own keys.

use super::read_weights::TensorMap;
use crate::error::Result;

mod config;

pub use config::{config, preprocess};

/// Complete names.
const NAMES: [(&str, &str); 6] = [
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text_projection", "text_projection.weight"),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.proj", "visual_projection.weight"),
];

/// Beginnings of names.
const PREFIXES: [(&str, &str); 6] = [
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("ln_final.", "text_model.final_layer_norm."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
];

/// Parts of a block.
const PARTS: [(&str, &str); 5] = [
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
];

/// Names of matrices that are stored as the transpose of transformers' ones.
const TRANSPOSED: [&str; 2] = ["text_projection", "visual.proj"];

/// Constants that OpenAI's release saved with the weights.
const CONSTANTS: [&str; 4] = ["attn_mask", "input_resolution", "context_length", "vocab_size"];

/// Tensors under transformers' names. Those of transformers are returned as they are. A name of neither
/// library stays, and the loader refuses it.
///
/// # Errors
/// When a tensor cannot be split.
pub fn renamed(tensors: TensorMap) -> Result<TensorMap> {
    if !tensors.contains_key("visual.conv1.weight") {
        return Ok(tensors);
    }
    let mut all = TensorMap::new();
    for (name, tensor) in tensors {
        if CONSTANTS.contains(&name.as_str()) {
            continue;
        }
        let new = rename(&name);
        match new.split_once("in_proj_") {
            Some((prefix, kind)) if tensor.rank() > 0 && tensor.dim(0)? % 3 == 0 => {
                for (part, tensor) in ["q", "k", "v"].into_iter().zip(tensor.chunk(3, 0)?) {
                    all.insert(format!("{prefix}{part}_proj.{kind}"), tensor);
                }
            }
            _ if TRANSPOSED.contains(&name.as_str()) && tensor.rank() == 2 => {
                all.insert(new, tensor.t()?.contiguous()?);
            }
            _ => {
                all.insert(new, tensor);
            }
        }
    }
    Ok(all)
}

fn rename(name: &str) -> String {
    if let Some((_, new)) = NAMES.iter().find(|(old, _)| *old == name) {
        return (*new).to_owned();
    }
    let renamed = PREFIXES.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    let Some(name) = renamed else { return name.to_owned() };
    PARTS.iter().fold(name, |name, (old, new)| name.replacen(old, new, 1))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn the_joint_projection_tensor_is_split_into_three() {
        let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let names = [
            ("visual.conv1.weight", &[2, 3, 4, 4][..]),
            ("transformer.resblocks.7.attn.in_proj_weight", &[6, 2]),
            ("visual.proj", &[2, 5]),
            ("attn_mask", &[1]),
            ("logit_bias", &[1]),
        ];
        let named = names.map(|(name, shape)| (name.to_owned(), tensor(shape))).into();
        let shapes: Vec<String> =
            renamed(named).unwrap().iter().map(|(name, t)| format!("{name} {:?}", t.dims())).collect();
        assert_eq!(
            shapes,
            [
                "logit_bias [1]",
                "text_model.encoder.layers.7.self_attn.k_proj.weight [2, 2]",
                "text_model.encoder.layers.7.self_attn.q_proj.weight [2, 2]",
                "text_model.encoder.layers.7.self_attn.v_proj.weight [2, 2]",
                "vision_model.embeddings.patch_embedding.weight [2, 3, 4, 4]",
                "visual_projection.weight [5, 2]",
            ]
        );
    }
}

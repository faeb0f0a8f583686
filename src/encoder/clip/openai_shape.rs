//! The shape of a CLIP of OpenAI's first release, which has no configuration file. It is read off the shapes
//! of the tensors, as OpenAI's `build_model` does (github.com/openai/CLIP, clip/model.py), here under
//! transformers' names.

use candle_core::Tensor;

use super::config::{ClipConfig, TextConfig, VisionConfig};
use super::read_weights::TensorMap;

/// Width of an attention head in all of OpenAI's models.
const HEAD_WIDTH: usize = 64;
/// Width inside the MLP, in widths of the tower.
const MLP_RATIO: usize = 4;

/// The shape of the CLIP that these tensors belong to.
///
/// # Errors
/// When a tensor is missing or has another rank, or the shape cannot be built; as a clause.
pub fn config(tensors: &TensorMap) -> Result<ClipConfig, String> {
    let tokens = dims(tensors, "text_model.embeddings.token_embedding.weight", 2)?;
    let context = dims(tensors, "text_model.embeddings.position_embedding.weight", 2)?[0];
    let patches = dims(tensors, "vision_model.embeddings.patch_embedding.weight", 4)?;
    let positions = dims(tensors, "vision_model.embeddings.position_embedding.weight", 2)?[0];
    let grid = positions.saturating_sub(1).isqrt();
    let (text, vision) = (tokens[1], patches[0]);
    let config = ClipConfig {
        projection_dim: dims(tensors, "text_projection.weight", 2)?[0],
        text_config: TextConfig {
            vocab_size: tokens[0],
            hidden_size: text,
            intermediate_size: MLP_RATIO * text,
            num_hidden_layers: blocks(tensors, "text_model"),
            num_attention_heads: text / HEAD_WIDTH,
            max_position_embeddings: context,
            ..TextConfig::default()
        },
        vision_config: VisionConfig {
            hidden_size: vision,
            intermediate_size: MLP_RATIO * vision,
            num_hidden_layers: blocks(tensors, "vision_model"),
            num_attention_heads: vision / HEAD_WIDTH,
            image_size: grid * patches[3],
            patch_size: patches[3],
            ..VisionConfig::default()
        },
        ..ClipConfig::default()
    };
    config.check().map(|()| config)
}

/// The dimensions of a tensor that must have `rank` of them.
fn dims<'a>(tensors: &'a TensorMap, name: &str, rank: usize) -> Result<&'a [usize], String> {
    let dims = tensors.get(name).map(Tensor::dims).filter(|dims| dims.len() == rank);
    dims.ok_or_else(|| {
        format!("is not one of OpenAI's vision transformers: tensor {name} of {rank} dimensions is missing")
    })
}

/// The number of blocks of a tower.
fn blocks(tensors: &TensorMap, tower: &str) -> usize {
    let norm = |n: usize| format!("{tower}.encoder.layers.{n}.layer_norm1.weight");
    (0..tensors.len()).take_while(|&n| tensors.contains_key(&norm(n))).count()
}

//! The shape of OpenAI's first release, which says it nowhere: it is read off the tensors, as OpenAI's own `build_model`
//! does (github.com/openai/CLIP, clip/model.py), here under transformers' names.

use candle_core::Tensor;

use super::config::{ClipConfig, TextConfig, VisionConfig};
use super::read_weights::TensorMap;

/// Width of a head, in all of OpenAI's models.
const HEAD: usize = 64;
/// Width inside the MLP, in widths of the tower.
const MLP: usize = 4;

/// The shape that the tensors have.
///
/// # Errors
/// When a tensor that tells of it is missing or has another rank, or the shape cannot be built; as a clause.
pub fn config(tensors: &TensorMap) -> Result<ClipConfig, String> {
    let sides = |name: &str, rank: usize| -> Result<&[usize], String> {
        let dims = tensors.get(name).map(Tensor::dims).filter(|dims| dims.len() == rank);
        dims.ok_or_else(|| {
            format!(
                "is not one of OpenAI's vision transformers: tensor {name} of {rank} dimensions is missing"
            )
        })
    };
    let blocks = |tower: &str| {
        let first =
            |n: &usize| tensors.contains_key(&format!("{tower}.encoder.layers.{n}.layer_norm1.weight"));
        (0..tensors.len()).take_while(first).count()
    };
    let tokens = sides("text_model.embeddings.token_embedding.weight", 2)?;
    let context = sides("text_model.embeddings.position_embedding.weight", 2)?[0];
    let patches = sides("vision_model.embeddings.patch_embedding.weight", 4)?;
    let grid = sides("vision_model.embeddings.position_embedding.weight", 2)?[0].saturating_sub(1).isqrt();
    let (text, vision) = (tokens[1], patches[0]);
    let config = ClipConfig {
        projection_dim: sides("text_projection.weight", 2)?[0],
        text_config: TextConfig {
            vocab_size: tokens[0],
            hidden_size: text,
            intermediate_size: MLP * text,
            num_hidden_layers: blocks("text_model"),
            num_attention_heads: text / HEAD,
            max_position_embeddings: context,
            ..TextConfig::default()
        },
        vision_config: VisionConfig {
            hidden_size: vision,
            intermediate_size: MLP * vision,
            num_hidden_layers: blocks("vision_model"),
            num_attention_heads: vision / HEAD,
            image_size: grid * patches[3],
            patch_size: patches[3],
            ..VisionConfig::default()
        },
        ..ClipConfig::default()
    };
    config.check().map(|()| config)
}

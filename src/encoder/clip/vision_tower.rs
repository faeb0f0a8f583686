//! The vision tower: a vision transformer (Dosovitskiy et al. 2021). The state of its class token, projected,
//! is the photo's embedding.

use candle_core::Tensor;

use super::config::VisionConfig;
use super::transformer::{Transformer, TransformerShape};
use crate::encoder::regularization::Regularization;
use crate::error::Result;
use crate::nn::layers::{Embedding, LayerNorm};
use crate::nn::params::{Init, Scope};
use crate::rng::Rng;

/// Patch, class and position embeddings, norm, blocks, norm.
#[derive(Debug, Clone)]
pub struct VisionTower {
    class: Tensor,
    patch: Tensor,
    positions: Embedding,
    pre_norm: LayerNorm,
    pub(super) transformer: Transformer,
    post_norm: LayerNorm,
    config: VisionConfig,
}

impl VisionTower {
    /// Parameters under `vision_model`. (`pre_layrnorm` is how the published checkpoints spell it.)
    pub fn new(scope: &Scope, config: &VisionConfig) -> Result<Self> {
        let (width, patch, embeddings) = (config.hidden_size, config.patch_size, scope.sub("embeddings"));
        let shape = TransformerShape {
            width,
            mlp: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            causal: false,
        };
        let std = Init::Normal((width as f32).powf(-0.5));
        let pixels = Init::Normal(((config.num_channels * patch * patch) as f32).powf(-0.5));
        let kernel = (width, config.num_channels, patch, patch);
        let positions = config.grid() * config.grid() + 1;
        Ok(Self {
            class: embeddings.param("class_embedding", width, std)?,
            patch: embeddings.sub("patch_embedding").param("weight", kernel, pixels)?,
            positions: Embedding::new(&embeddings.sub("position_embedding"), positions, width, std)?,
            pre_norm: LayerNorm::new(&scope.sub("pre_layrnorm"), width, config.layer_norm_eps)?,
            transformer: Transformer::new(scope, &shape)?,
            post_norm: LayerNorm::new(&scope.sub("post_layernorm"), width, config.layer_norm_eps)?,
            config: config.clone(),
        })
    }

    /// Normalised pixels (batch, channels, side, side) → the class token's state (batch, width).
    ///
    /// # Errors
    /// When the photos are not of the model's size.
    pub fn forward(&self, pixels: &Tensor, regularization: &mut Regularization) -> Result<Tensor> {
        let tokens = self.input_tokens(pixels)?;
        let left_out = regularization.patches;
        let tokens = match regularization.patch_rng() {
            Some(rng) => sample_patches(&tokens, 1.0 - left_out, rng)?,
            None => tokens,
        };
        let x = self.transformer.forward(&self.pre_norm.forward(&tokens)?, regularization)?;
        self.post_norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)
    }

    /// The class token and the patches with their positions: (batch, 1 + grid², width).
    fn input_tokens(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches(pixels)?; // (batch, grid², width)
        let class = self.class.broadcast_as((pixels.dim(0)?, 1, self.class.elem_count()))?;
        Ok(Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions.weight)?)
    }

    /// Pixels → patch tokens (batch, grid², width). A convolution with stride = kernel is one matrix product
    /// of the cut-out patches, which is twice as fast here.
    fn patches(&self, pixels: &Tensor) -> Result<Tensor> {
        let (grid, side, channels) = (self.config.grid(), self.config.patch_size, self.config.num_channels);
        let batch = pixels.dim(0)?;
        let cut = pixels.reshape(vec![batch, channels, grid, side, grid, side])?;
        let flat =
            cut.permute(vec![0, 2, 4, 1, 3, 5])?.reshape((batch * grid * grid, channels * side * side))?;
        Ok(flat.matmul(&self.patch.flatten_from(1)?.t()?)?.reshape((batch, grid * grid, ()))?)
    }
}

/// Tokens (batch, tokens, width) → the class token, which comes first, and a random `share` of the patches,
/// in their order: (batch, 1 + kept, width).
fn sample_patches(tokens: &Tensor, share: f64, rng: &mut Rng) -> Result<Tensor> {
    let (batch, count, width) = tokens.dims3()?;
    let kept = (((count - 1) as f64 * share).round() as usize).max(1);
    let rows = (0..batch).flat_map(|photo| {
        let mut patches = rand::seq::index::sample(rng, count - 1, kept).into_vec();
        patches.sort_unstable();
        let of_photo = std::iter::once(0).chain(patches.into_iter().map(|patch| patch + 1));
        of_photo.map(move |token| (photo * count + token) as u32).collect::<Vec<_>>()
    });
    let rows = Tensor::from_vec(rows.collect::<Vec<u32>>(), batch * (kept + 1), tokens.device())?;
    let chosen = tokens.reshape((batch * count, width))?.index_select(&rows, 0)?;
    Ok(chosen.reshape((batch, kept + 1, width))?)
}

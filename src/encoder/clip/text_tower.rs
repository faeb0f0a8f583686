//! The text tower: a causal transformer. Its state at the end token, projected, is the caption's embedding.

use candle_core::Tensor;

use super::config::TextConfig;
use super::transformer::{Transformer, TransformerShape};
use crate::encoder::regularization::Regularization;
use crate::error::{Error, Result};
use crate::nn::layers::{Embedding, LayerNorm};
use crate::nn::params::{Init, Scope};

/// Token and position embeddings, blocks, final norm.
#[derive(Debug, Clone)]
pub struct TextTower {
    tokens: Embedding,
    positions: Embedding,
    pub(super) transformer: Transformer,
    norm: LayerNorm,
}

/// A batch of tokenised captions, padded at the right to the longest of them. Under causal attention the end
/// token does not see the padding after it, so no mask is needed.
#[derive(Debug, Clone)]
pub struct TokenBatch {
    /// Token ids (batch, tokens), row by row.
    ids: Vec<u32>,
    /// The position of each caption's end token.
    ends: Vec<u32>,
}

impl TokenBatch {
    /// Captions as token ids, the end token last; no caption may be empty.
    pub fn new<'a>(captions: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        let longest = captions.clone().map(<[u32]>::len).max().unwrap_or(0);
        let padded = |ids: &[u32]| {
            let end = *ids.last().expect("invariant: a tokenised caption has an end token");
            ids.iter().copied().chain(std::iter::repeat_n(end, longest - ids.len())).collect::<Vec<_>>()
        };
        Self {
            ids: captions.clone().flat_map(padded).collect(),
            ends: captions.map(|ids| ids.len() as u32 - 1).collect(),
        }
    }
}

impl TextTower {
    /// Parameters under `text_model`.
    pub fn new(scope: &Scope, config: &TextConfig) -> Result<Self> {
        let (width, embeddings) = (config.hidden_size, scope.sub("embeddings"));
        let shape = TransformerShape {
            width,
            mlp: config.intermediate_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            causal: true,
        };
        let positions = config.max_position_embeddings;
        Ok(Self {
            tokens: Embedding::new(
                &embeddings.sub("token_embedding"),
                config.vocab_size,
                width,
                Init::Normal(0.02),
            )?,
            positions: Embedding::new(
                &embeddings.sub("position_embedding"),
                positions,
                width,
                Init::Normal(0.01),
            )?,
            transformer: Transformer::new(scope, &shape)?,
            norm: LayerNorm::new(&scope.sub("final_layer_norm"), width, config.layer_norm_eps)?,
        })
    }

    /// The state at each caption's end token: (batch, width).
    ///
    /// # Errors
    /// When a caption has more tokens than the tower has positions.
    pub fn forward(&self, batch: &TokenBatch, regularization: &mut Regularization) -> Result<Tensor> {
        let (count, device) = (batch.ends.len(), self.tokens.weight.device());
        let longest = batch.ids.len() / count.max(1);
        if longest > self.positions.weight.dim(0)? {
            return Err(Error::input(format!(
                "{longest} tokens exceed the text encoder's {} positions",
                self.positions.weight.dim(0)?
            )));
        }
        let ids = Tensor::from_slice(&batch.ids, (count, longest), device)?;
        let positions = self.positions.weight.narrow(0, 0, longest)?;
        let x = self.tokens.forward(&ids)?.broadcast_add(&positions)?; // (batch, tokens, width)
        let x = self.transformer.forward(&x, regularization)?.flatten_to(1)?;
        let rows: Vec<u32> =
            batch.ends.iter().enumerate().map(|(i, end)| (i * longest) as u32 + end).collect();
        self.norm.forward(&x.index_select(&Tensor::from_vec(rows, count, device)?, 0)?)
    }
}

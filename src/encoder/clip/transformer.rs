//! The pre-norm transformer block that both towers stack.

use candle_core::{DType, Tensor};

use super::regularization::Regularization;
use crate::error::Result;
use crate::nn::activation::Activation;
use crate::nn::attention::{Attention, Shape};
use crate::nn::checkpoint_block::{self, Block as _, Keep};
use crate::nn::dropout::Dropout;
use crate::nn::layers::{LayerNorm, Linear, residual};
use crate::nn::params::{Init, Scope};

/// The shape of a stack of blocks.
#[derive(Debug, Clone, Copy)]
pub struct TransformerShape {
    /// Width of a token.
    pub width: usize,
    /// Width inside the MLP.
    pub mlp: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of a block.
    pub heads: usize,
    /// Non-linearity of the MLP.
    pub activation: Activation,
    /// Added to variances.
    pub eps: f64,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
}

/// x ← x + attention(norm(x)); x ← x + mlp(norm(x)).
#[derive(Debug, Clone)]
pub(super) struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    causal: bool,
    /// What attention and mlp compute with; the residual stream and the norms keep the type of x.
    compute: DType,
}

impl Block {
    fn new(scope: &Scope, stack: &TransformerShape) -> Result<Self> {
        let std_in = (stack.width as f32).powf(-0.5);
        let std_out = std_in * (2.0 * stack.layers as f32).powf(-0.5);
        let shape = Shape { width: stack.width, heads: stack.heads, std_in: std_in * 0.5f32.sqrt(), std_out };
        let mlp = scope.sub("mlp");
        Ok(Self {
            norm1: LayerNorm::new(&scope.sub("layer_norm1"), stack.width, stack.eps)?,
            attention: Attention::new(&scope.sub("self_attn"), shape)?,
            norm2: LayerNorm::new(&scope.sub("layer_norm2"), stack.width, stack.eps)?,
            fc1: Linear::new(&mlp.sub("fc1"), stack.width, stack.mlp, Init::Normal(std_in * 0.5f32.sqrt()))?,
            fc2: Linear::new(&mlp.sub("fc2"), stack.mlp, stack.width, Init::Normal(std_out))?,
            activation: stack.activation,
            causal: stack.causal,
            compute: scope.dtype(),
        })
    }

    /// `dropout`: of what is added to x.
    pub(super) fn forward(&self, x: &Tensor, dropout: &mut Dropout) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?.to_dtype(self.compute)?;
        let x = residual(x, &dropout.apply(&self.attention.over_itself(&normed, self.causal)?)?)?;
        let normed = self.norm2.forward(&x)?.to_dtype(self.compute)?;
        let hidden = self.activation.forward(&self.fc1.forward(&normed)?)?;
        residual(&x, &dropout.apply(&self.fc2.forward(&hidden)?)?)
    }
}

/// A stack of blocks, named `encoder.layers.N`.
#[derive(Debug, Clone)]
pub struct Transformer {
    /// Each with those of its parameters that are trained.
    blocks: Vec<(Block, checkpoint_block::TrainedParams)>,
    /// What is held of a block between its passes, where each is a node of the graph.
    pub held: Option<Keep>,
}

impl Transformer {
    /// Parameters under `encoder.layers` of `scope`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(scope: &Scope, stack: &TransformerShape) -> Result<Self> {
        let layers = scope.sub("encoder.layers");
        let block = |n: usize| {
            let scope = layers.sub(n);
            Ok((Block::new(&scope, stack)?, checkpoint_block::TrainedParams::new(scope.variables())))
        };
        Ok(Self { blocks: (0..stack.layers).map(block).collect::<Result<_>>()?, held: None })
    }

    /// From now on the blocks compute with this type.
    pub fn compute_in(&mut self, dtype: DType) {
        self.blocks.iter_mut().for_each(|(block, _)| block.compute = dtype);
    }

    /// (batch, tokens, width) → the same shape.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn forward(&self, x: &Tensor, noise: &mut Regularization) -> Result<Tensor> {
        self.blocks.iter().try_fold(x.clone(), |x, (block, trained)| {
            let block = noise.within(block);
            match self.held {
                Some(held) => checkpoint_block::run(&block, trained, held, &x),
                None => block.run(&x),
            }
        })
    }

    /// The trained parameters of each block that has any, in the order in which a backward pass comes by.
    pub fn trained(&self) -> impl Iterator<Item = &[Tensor]> {
        self.blocks.iter().rev().map(|(_, trained)| trained.variables()).filter(|trained| !trained.is_empty())
    }
}

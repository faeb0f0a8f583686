//! The pre-norm transformer block that both towers stack.

use candle_core::Tensor;

use crate::error::Result;
use crate::nn::activation::Activation;
use crate::nn::attention::{Attention, Shape};
use crate::nn::layers::{LayerNorm, Linear};
use crate::nn::params::{Init, Scope};
use crate::nn::recompute;

/// The shape of a stack of blocks.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
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
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
    causal: bool,
}

impl Block {
    fn new(scope: &Scope, stack: &Stack) -> Result<Self> {
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
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attention.over_itself(&self.norm1.forward(x)?, self.causal)?)?;
        let hidden = self.activation.forward(&self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok((&x + self.fc2.forward(&hidden)?)?)
    }
}

impl recompute::Block for Block {
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}

/// A stack of blocks, named `encoder.layers.N`.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Each with those of its parameters that are trained.
    blocks: Vec<(Block, Vec<Tensor>)>,
    /// Whether what lies inside a block is computed again in the backward pass instead of held.
    pub recomputes: bool,
}

impl Encoder {
    /// Parameters under `encoder.layers` of `scope`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(scope: &Scope, stack: &Stack) -> Result<Self> {
        let layers = scope.sub("encoder.layers");
        let block = |n: usize| {
            let scope = layers.sub(n);
            Ok((Block::new(&scope, stack)?, scope.variables()))
        };
        Ok(Self { blocks: (0..stack.layers).map(block).collect::<Result<_>>()?, recomputes: false })
    }

    /// (batch, tokens, width) → the same shape.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.blocks.iter().try_fold(x.clone(), |x, (block, variables)| match self.recomputes {
            true => recompute::recomputed(block, variables, &x),
            false => block.forward(&x),
        })
    }
}

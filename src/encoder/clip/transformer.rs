//! The pre-norm transformer that both towers are made of: a stack of blocks, each attention and an MLP.

use candle_core::{DType, Tensor};

use crate::encoder::regularization::Regularization;
use crate::error::Result;
use crate::nn::activation::Activation;
use crate::nn::attention::{Attention, Shape};
use crate::nn::checkpoint_block::{self, Block as _, Keep, TrainedParams};
use crate::nn::dropout::Dropout;
use crate::nn::layers::{LayerNorm, Linear, residual};
use crate::nn::params::{Init, Scope};
use crate::rng;

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
    /// Activation of the MLP.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// Whether a token attends only to itself and the tokens before it.
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
    /// The type that attention and MLP compute with; the residual stream and the norms keep the type of x.
    compute: DType,
}

impl Block {
    fn new(scope: &Scope, shape: &TransformerShape) -> Result<Self> {
        let std_in = (shape.width as f32).powf(-0.5);
        let std_out = std_in * (2.0 * shape.layers as f32).powf(-0.5);
        let attention =
            Shape { width: shape.width, heads: shape.heads, std_in: std_in * 0.5f32.sqrt(), std_out };
        let mlp = scope.sub("mlp");
        Ok(Self {
            norm1: LayerNorm::new(&scope.sub("layer_norm1"), shape.width, shape.eps)?,
            attention: Attention::new(&scope.sub("self_attn"), attention)?,
            norm2: LayerNorm::new(&scope.sub("layer_norm2"), shape.width, shape.eps)?,
            fc1: Linear::new(&mlp.sub("fc1"), shape.width, shape.mlp, Init::Normal(std_in * 0.5f32.sqrt()))?,
            fc2: Linear::new(&mlp.sub("fc2"), shape.mlp, shape.width, Init::Normal(std_out))?,
            activation: shape.activation,
            causal: shape.causal,
            compute: scope.dtype(),
        })
    }

    /// `dropout` applies to what is added to x.
    fn forward(&self, x: &Tensor, dropout: &mut Dropout) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?.to_dtype(self.compute)?;
        let x = residual(x, &dropout.apply(&self.attention.over_itself(&normed, self.causal)?)?)?;
        let normed = self.norm2.forward(&x)?.to_dtype(self.compute)?;
        let hidden = self.activation.forward(&self.fc1.forward(&normed)?)?;
        residual(&x, &dropout.apply(&self.fc2.forward(&hidden)?)?)
    }
}

/// A block and the dropout of one pass, which is the same however often the pass is run.
#[derive(Clone)]
struct BlockPass {
    block: Block,
    dropout: f64,
    /// `None`: no dropout.
    seed: Option<u64>,
}

impl checkpoint_block::Block for BlockPass {
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        match self.seed {
            Some(seed) => {
                let mut rng = rng::stream(seed, "dropout inside a block", 0);
                self.block.forward(x, &mut Dropout::new(self.dropout, &mut rng))
            }
            None => self.block.forward(x, &mut Dropout::off()),
        }
    }
}

/// A stack of blocks, named `encoder.layers.N`.
#[derive(Debug, Clone)]
pub struct Transformer {
    /// Each block with its trained parameters.
    blocks: Vec<(Block, TrainedParams)>,
    /// What a checkpointed block keeps between its passes; `None`: blocks are not checkpointed.
    keep: Option<Keep>,
}

impl Transformer {
    /// Parameters under `encoder.layers` of `scope`.
    pub fn new(scope: &Scope, shape: &TransformerShape) -> Result<Self> {
        let layers = scope.sub("encoder.layers");
        let block = |n: usize| {
            let scope = layers.sub(n);
            Ok((Block::new(&scope, shape)?, TrainedParams::new(scope.variables())))
        };
        Ok(Self { blocks: (0..shape.layers).map(block).collect::<Result<_>>()?, keep: None })
    }

    /// From now on each block is one node of the graph that keeps this between its passes.
    pub fn checkpoint_blocks(&mut self, keep: Keep) {
        self.keep = Some(keep);
    }

    /// From now on the blocks compute with this type.
    pub fn compute_in(&mut self, dtype: DType) {
        self.blocks.iter_mut().for_each(|(block, _)| block.compute = dtype);
    }

    /// (batch, tokens, width) → the same shape.
    pub fn forward(&self, x: &Tensor, regularization: &mut Regularization) -> Result<Tensor> {
        let mut x = x.clone();
        for (block, trained) in &self.blocks {
            let seed = regularization.next_block_seed();
            let pass = BlockPass { block: block.clone(), dropout: regularization.dropout, seed };
            x = match self.keep {
                Some(keep) => checkpoint_block::run(&pass, trained, keep, &x)?,
                None => pass.run(&x)?,
            };
        }
        Ok(x)
    }

    /// The trained parameters of each block that has any, in the order of the backward pass.
    pub fn trained_blocks(&self) -> impl Iterator<Item = &[Tensor]> {
        self.blocks.iter().rev().map(|(_, trained)| trained.variables()).filter(|trained| !trained.is_empty())
    }
}

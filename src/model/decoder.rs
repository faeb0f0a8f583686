//! The autoregressive decoder: a causal transformer over the levels of a docid, with attention over memory
//! vectors that are made of the query. Each level has a token embedding and an output head of its own;
//! positions are levels.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::{D, DType, Device, Tensor};

use crate::error::Result;
use crate::nn::activation::Activation;
use crate::nn::attention::{Attention, Shape as AttentionShape};
use crate::nn::dropout::Dropout;
use crate::nn::layers::{Embedding, LayerNorm, Linear, residual};
use crate::nn::params::{Init, Scope};

const EPS: f64 = 1e-5;
const STD: f32 = 0.02;

/// The shape of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Width of a query's embedding.
    pub query: usize,
    /// Width d of the decoder.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Memory vectors m that are made of a query.
    pub memory: usize,
    /// Number of codes at each level.
    pub codes: Vec<usize>,
    /// Whether the output heads start at zero, because grounded logits are the start.
    pub silent: bool,
}

/// x ← x + self-attention; x ← x + attention over the memory; x ← x + mlp; each on the normalised x.
#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    itself: Attention,
    norm2: LayerNorm,
    memory: Attention,
    norm3: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    /// The type that attention and mlp compute in. The residual stream and the norms keep the type of x.
    compute: DType,
}

/// The decoder's parameters.
#[derive(Debug, Clone)]
pub struct Decoder {
    to_memory: Linear,
    modality: Embedding,
    memory_norm: LayerNorm,
    start: Tensor,
    tokens: Vec<Embedding>,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    heads: Vec<Linear>,
    shape: Shape,
}

/// Keys and values of each block's attention over the memory: (query, m, 2d) each. They are computed once a
/// query and shared by its beams.
#[derive(Debug, Clone)]
pub struct Memory(Vec<Tensor>);

/// Keys and values of the tokens so far: (row, level, 2d) for each block. Rows are queries × beams.
#[derive(Debug, Clone, Default)]
pub struct Cache(Vec<Tensor>);

impl Cache {
    /// The cache whose row i is row `rows[i]` of this one: the beams that are kept, in their new order.
    pub fn reordered(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self(self.0.iter().map(|kv| kv.index_select(rows, 0)).collect::<candle_core::Result<_>>()?))
    }
}

impl Block {
    fn new(scope: &Scope, shape: &Shape) -> Result<Self> {
        let width = shape.width;
        let std_out = STD / (2.0 * shape.layers as f32).sqrt();
        let attention =
            AttentionShape { width, heads: shape.heads, std_in: (width as f32).powf(-0.5), std_out };
        Ok(Self {
            norm1: LayerNorm::new(&scope.sub("norm1"), width, EPS)?,
            itself: Attention::new(&scope.sub("self_attn"), attention)?,
            norm2: LayerNorm::new(&scope.sub("norm2"), width, EPS)?,
            memory: Attention::new(&scope.sub("memory_attn"), attention)?,
            norm3: LayerNorm::new(&scope.sub("norm3"), width, EPS)?,
            fc1: Linear::new(&scope.sub("fc1"), width, 4 * width, Init::Normal((width as f32).powf(-0.5)))?,
            fc2: Linear::new(&scope.sub("fc2"), 4 * width, width, Init::Normal(std_out))?,
            compute: scope.dtype(),
        })
    }

    /// `norm` of x, in the type that attention and mlp compute in.
    fn normed(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        Ok(norm.forward(x)?.to_dtype(self.compute)?)
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward(&self.normed(&self.norm3, x)?)?;
        self.fc2.forward(&Activation::QuickGelu.forward(&hidden)?)
    }
}

impl Decoder {
    /// Fresh or loaded parameters of this shape.
    pub fn new(scope: &Scope, shape: Shape) -> Result<Self> {
        let (width, levels) = (shape.width, shape.codes.len());
        let into_memory = Init::Normal((shape.query as f32).powf(-0.5));
        let head = if shape.silent { Init::Constant(0.0) } else { Init::Normal(STD) };
        let token = |level: usize| {
            Embedding::new(&scope.sub("tokens").sub(level), shape.codes[level], width, Init::Normal(STD))
        };
        let to_head =
            |level: usize| Linear::new(&scope.sub("heads").sub(level), width, shape.codes[level], head);
        Ok(Self {
            to_memory: Linear::new(&scope.sub("to_memory"), shape.query, shape.memory * width, into_memory)?,
            modality: Embedding::new(&scope.sub("modality"), 2, width, Init::Normal(STD))?,
            memory_norm: LayerNorm::new(&scope.sub("memory_norm"), width, EPS)?,
            start: scope.param("start", width, Init::Normal(STD))?,
            tokens: (0..levels - 1).map(token).collect::<Result<_>>()?,
            positions: Embedding::new(&scope.sub("positions"), levels, width, Init::Normal(STD))?,
            blocks: (0..shape.layers)
                .map(|n| Block::new(&scope.sub("blocks").sub(n), &shape))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(&scope.sub("norm"), width, EPS)?,
            heads: (0..levels).map(to_head).collect::<Result<_>>()?,
            shape,
        })
    }

    /// Makes the blocks compute in this type, even if the parameters have another.
    pub fn compute_in(&mut self, dtype: DType) {
        self.blocks.iter_mut().for_each(|block| block.compute = dtype);
    }

    /// The device of the parameters.
    pub fn device(&self) -> &Device {
        self.start.device()
    }

    /// Numbers in the embedding of a query.
    pub fn query_width(&self) -> usize {
        self.shape.query
    }

    /// Levels of a docid.
    pub fn levels(&self) -> usize {
        self.heads.len()
    }

    /// Queries (query, width of a query), each with its modality's number (query) → their memory.
    pub fn memory(&self, queries: &Tensor, modalities: &Tensor) -> Result<Memory> {
        // Unit vectors have entries of size 1/√width; the memory starts from entries of size one.
        let scaled = (queries * (self.shape.query as f64).sqrt())?;
        let memory = self.to_memory.forward(&scaled)?.reshape(((), self.shape.memory, self.shape.width))?;
        let memory = memory.broadcast_add(&self.modality.forward(modalities)?.unsqueeze(1)?)?;
        let memory = self.memory_norm.forward(&memory)?; // (query, m, d)
        let packed = |block: &Block| block.memory.keys_values(&memory.to_dtype(block.compute)?);
        Ok(Memory(self.blocks.iter().map(packed).collect::<Result<_>>()?))
    }

    /// Teacher forcing: the states before each level of each candidate. Codes (query, candidate, level) →
    /// (query · candidate, level, d).
    pub fn forward(&self, memory: &Memory, codes: &Tensor, dropout: &mut Dropout) -> Result<Tensor> {
        let (queries, candidates, levels) = codes.dims3()?;
        let rows = queries * candidates;
        let codes = codes.reshape((rows, levels))?;
        let mut inputs = vec![self.start.broadcast_as((rows, 1, self.shape.width))?];
        for (level, tokens) in self.tokens.iter().enumerate() {
            inputs.push(tokens.forward(&codes.narrow(1, level, 1)?.contiguous()?)?);
        }
        let x = Tensor::cat(&inputs, 1)?.broadcast_add(&self.positions.weight)?; // (row, level, d)
        let mut x = dropout.apply(&x)?;
        for (block, kv) in self.blocks.iter().zip(&memory.0) {
            let attended = block.itself.over_itself(&block.normed(&block.norm1, &x)?, true)?;
            x = residual(&x, &dropout.apply(&attended)?)?;
            let normed = block.normed(&block.norm2, &x)?;
            let by_query = normed.reshape((queries, candidates * levels, self.shape.width))?;
            let attended = block.memory.over(&by_query, kv)?.reshape(x.shape())?;
            x = residual(&x, &dropout.apply(&attended)?)?;
            x = residual(&x, &dropout.apply(&block.mlp(&x)?)?)?;
        }
        self.norm.forward(&x)
    }

    /// One level of decoding → states (query · beam, d). `codes` (query · beam) were chosen at the level
    /// before (`None` at the first level); the cache holds the levels so far.
    pub fn step(
        &self,
        level: usize,
        codes: Option<&Tensor>,
        memory: &Memory,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let (width, queries) = (self.shape.width, memory.0[0].dim(0)?);
        let token = match codes {
            Some(codes) => self.tokens[level - 1].forward(codes)?,
            None => self.start.broadcast_as((queries, width))?,
        };
        let position = self.positions.weight.narrow(0, level, 1)?;
        let mut x = token.broadcast_add(&position)?.unsqueeze(1)?; // (row, 1, d)
        let mut grown = Vec::with_capacity(self.blocks.len());
        for (n, (block, kv)) in self.blocks.iter().zip(&memory.0).enumerate() {
            let normed = block.normed(&block.norm1, &x)?;
            let keys_values = block.itself.keys_values(&normed)?;
            let keys_values = match cache.0.get(n) {
                Some(before) => Tensor::cat(&[before, &keys_values], 1)?, // (row, level + 1, 2d)
                None => keys_values,
            };
            x = residual(&x, &block.itself.over(&normed, &keys_values)?)?;
            let by_query = block.normed(&block.norm2, &x)?.reshape((queries, (), width))?; // (query, beam, d)
            x = residual(&x, &block.memory.over(&by_query, kv)?.reshape(x.shape())?)?;
            x = residual(&x, &block.mlp(&x)?)?;
            // Only searches decode level by level, and they need no gradient.
            grown.push(keys_values.detach());
        }
        cache.0 = grown;
        Ok(self.norm.forward(&x)?.squeeze(1)?)
    }

    /// Logits of every code of a level: states (row, d) → (row, code).
    pub fn logits(&self, level: usize, states: &Tensor) -> Result<Tensor> {
        self.heads[level].forward(states)
    }

    /// The logit of one code a row: states (row, d), codes (row) → (row).
    pub fn chosen(&self, level: usize, states: &Tensor, codes: &Tensor) -> Result<Tensor> {
        let head = &self.heads[level];
        let logits = (states * head.weight.index_select(codes, 0)?)?.sum(D::Minus1)?;
        match &head.bias {
            Some(bias) => Ok((logits + bias.index_select(codes, 0)?)?),
            None => Ok(logits),
        }
    }
}

//! CLIP (Radford et al. 2021): two towers that put photos and captions into one space.
//!
//! Written from differentiable operations, so that it can be trained (`dsi pretrain`) and fine-tuned; candle's
//! own implementation silently trains a third of its tensors. Parameter names are those of Hugging Face's
//! `CLIPModel`; open_clip's are translated ([`folder`]).

mod bundle;
pub mod config;
pub mod contrastive_loss;
pub mod folder;
mod open_clip;
mod openai_weights;
mod read_weights;
mod regularization;
mod text_tower;
mod trainable_towers;
mod transformer;
mod vision_tower;

use candle_core::{DType, Tensor};

pub use bundle::{ClipBundle, pixels};
pub use config::ClipConfig;
pub use regularization::Regularization;
pub use text_tower::TokenBatch;
pub use trainable_towers::{TowerSide, TrainableTowers, blocks_above, decays, part, side};

use crate::error::Result;
use crate::nn::checkpoint_block::Keep;
use crate::nn::layers::Linear;
use crate::nn::params::{Init, Scope};
use text_tower::TextTower;
use vision_tower::VisionTower;

/// Both towers with their projections into the joint space.
#[derive(Debug, Clone)]
pub struct Clip {
    text: TextTower,
    vision: VisionTower,
    text_projection: Linear,
    visual_projection: Linear,
    /// Logarithm of the inverse temperature of the contrastive loss; a scalar.
    pub logit_scale: Tensor,
}

impl Clip {
    /// The inverse temperature never exceeds this (Radford et al. 2021, §2.5).
    pub const LARGEST_SCALE: f64 = 100.0;

    /// The parameters of a CLIP of this shape.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(scope: &Scope, config: &ClipConfig) -> Result<Self> {
        let projection = |name: &str, width: usize| {
            let std = Init::Normal((width as f32).powf(-0.5));
            Linear::without_bias(&scope.sub(name), width, config.projection_dim, std)
        };
        Ok(Self {
            text: TextTower::new(&scope.sub("text_model"), &config.text_config)?,
            vision: VisionTower::new(&scope.sub("vision_model"), &config.vision_config)?,
            text_projection: projection("text_projection", config.text_config.hidden_size)?,
            visual_projection: projection("visual_projection", config.vision_config.hidden_size)?,
            logit_scale: scope.param(
                "logit_scale",
                (),
                Init::Constant(config.logit_scale_init_value as f32),
            )?,
        })
    }

    /// From now on its blocks are nodes of the graph, of which this is held between their passes.
    pub fn hold(&mut self, held: Keep) {
        self.text.encoder.held = Some(held);
        self.vision.encoder.held = Some(held);
    }

    /// The trained parameters of each block, in the order in which a backward pass comes by.
    pub fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.vision.encoder.trained().chain(self.text.encoder.trained()).map(<[_]>::to_vec).collect()
    }

    /// From now on its blocks compute with this type, whatever that of the parameters.
    pub fn compute_in(&mut self, dtype: DType) {
        self.text.encoder.compute_in(dtype);
        self.vision.encoder.compute_in(dtype);
    }

    /// Captions → (batch, projection), not normalised.
    ///
    /// # Errors
    /// When a caption is longer than the model's positions.
    pub fn embed_text(&self, captions: &TokenBatch) -> Result<Tensor> {
        self.embed_text_with(&mut Regularization::off(), captions)
    }

    /// The same in a training that leaves something out.
    ///
    /// # Errors
    /// As [`Self::embed_text`].
    pub fn embed_text_with(&self, noise: &mut Regularization, captions: &TokenBatch) -> Result<Tensor> {
        self.text_projection.forward(&self.text.forward(captions, noise)?)
    }

    /// Normalised pixels (batch, channels, side, side) → (batch, projection), not normalised.
    ///
    /// # Errors
    /// When the photos are not of the model's size.
    pub fn embed_images(&self, pixels: &Tensor) -> Result<Tensor> {
        self.embed_images_with(&mut Regularization::off(), pixels)
    }

    /// The same in a training that leaves something out.
    ///
    /// # Errors
    /// As [`Self::embed_images`].
    pub fn embed_images_with(&self, noise: &mut Regularization, pixels: &Tensor) -> Result<Tensor> {
        self.visual_projection.forward(&self.vision.forward(pixels, noise)?)
    }
}

//! CLIP (Radford et al. 2021): two towers that embed photos and captions in one space.
//!
//! [`Clip`] is the model, [`ClipBundle`] adds tokenizer and preprocessing, [`ClipEncoder`] is the frozen
//! encoder of an experiment.
//!
//! It is written in differentiable operations, so it can be trained (`dsi pretrain`) and fine-tuned; candle's
//! own implementation silently trains only a third of its tensors. Parameter names are those of Hugging
//! Face's `CLIPModel`; open_clip's are translated ([`folder`]).

mod bundle;
pub mod clip_encoder;
pub mod config;
pub mod folder;
mod open_clip;
mod openai_shape;
mod parameter_depth;
pub mod pretraining_start;
mod read_weights;
mod text_tower;
mod transformer;
mod vision_tower;

use candle_core::{DType, Tensor};

pub use bundle::{ClipBundle, pixels};
pub use clip_encoder::ClipEncoder;
pub use config::ClipConfig;
pub use text_tower::TokenBatch;

use crate::encoder::regularization::Regularization;
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
    /// The largest inverse temperature (Radford et al. 2021, §2.5).
    pub const LARGEST_SCALE: f64 = 100.0;

    /// A CLIP of this shape with the parameters of `scope`.
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

    /// From now on each of its blocks is one node of the graph that keeps this between its passes.
    pub fn checkpoint_blocks(&mut self, keep: Keep) {
        self.text.transformer.checkpoint_blocks(keep);
        self.vision.transformer.checkpoint_blocks(keep);
    }

    /// The trained parameters of each block, in the order of the backward pass.
    pub fn blocks(&self) -> Vec<Vec<Tensor>> {
        let towers = [&self.vision.transformer, &self.text.transformer];
        towers.into_iter().flat_map(|tower| tower.trained_blocks().map(<[_]>::to_vec)).collect()
    }

    /// From now on its blocks compute with this type; parameters keep theirs.
    pub fn compute_in(&mut self, dtype: DType) {
        self.text.transformer.compute_in(dtype);
        self.vision.transformer.compute_in(dtype);
    }

    /// Captions → (caption, projection), not of unit length.
    ///
    /// # Errors
    /// When a caption has more tokens than the text tower has positions.
    pub fn embed_text(&self, captions: &TokenBatch) -> Result<Tensor> {
        self.embed_text_with(&mut Regularization::off(), captions)
    }

    /// [`Self::embed_text`] in a training pass that leaves something out.
    ///
    /// # Errors
    /// As [`Self::embed_text`].
    pub fn embed_text_with(
        &self,
        regularization: &mut Regularization,
        captions: &TokenBatch,
    ) -> Result<Tensor> {
        self.text_projection.forward(&self.text.forward(captions, regularization)?)
    }

    /// Normalised pixels (photo, channels, side, side) → (photo, projection), not of unit length.
    ///
    /// # Errors
    /// When the photos are not of the model's size.
    pub fn embed_images(&self, pixels: &Tensor) -> Result<Tensor> {
        self.embed_images_with(&mut Regularization::off(), pixels)
    }

    /// [`Self::embed_images`] in a training pass that leaves something out.
    ///
    /// # Errors
    /// As [`Self::embed_images`].
    pub fn embed_images_with(&self, regularization: &mut Regularization, pixels: &Tensor) -> Result<Tensor> {
        self.visual_projection.forward(&self.vision.forward(pixels, regularization)?)
    }
}

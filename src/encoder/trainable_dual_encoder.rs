//! An encoder whose chosen layers are variables: it embeds with gradients, for `dsi train` and `dsi
//! pretrain`.
//!
//! Errors: tensor operations fail only when the device does.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::regularization::Regularization;
use crate::data::preprocess::Preprocess;
use crate::encoder::trainable_layers::TrainableLayers;
use crate::encoder::tune_settings::Tune;
use crate::error::Result;
use crate::nn::checkpoint_block::Keep;
use crate::nn::params::Params;

/// The layers of each tower that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainableTowers {
    /// Of the text tower.
    pub text: TrainableLayers,
    /// Of the image tower.
    pub image: TrainableLayers,
}

impl TrainableTowers {
    /// No layer.
    pub const NOTHING: Self = Self { text: TrainableLayers::None, image: TrainableLayers::None };
    /// All layers.
    pub const EVERYTHING: Self = Self { text: TrainableLayers::All, image: TrainableLayers::All };

    /// The layers that `[tune]` trains.
    pub fn of(section: &Tune) -> Self {
        Self { text: section.text, image: section.image }
    }
}

/// How an encoder is opened for training.
pub struct TrainableSettings<'a> {
    /// The layers that become variables.
    pub towers: TrainableTowers,
    /// Where tensors live.
    pub device: &'a Device,
    /// The type that transformer blocks compute with; parameters stay f32.
    pub compute: DType,
    /// What a block keeps between its forward and its backward pass, where blocks are checkpointed.
    pub keep: Option<Keep>,
}

/// A tower of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TowerSide {
    /// It embeds captions.
    Text,
    /// It embeds photos.
    Image,
}

/// Where a parameter lies in an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its tower; `None` for the temperature.
    pub tower: Option<TowerSide>,
    /// Blocks of its tower between it and the output: 0 for the last block and what follows it, all of them
    /// for the embeddings.
    pub blocks_above: usize,
    /// Whether weight decay applies: not to norms, biases, embeddings and the temperature.
    pub decays: bool,
}

impl Placement {
    /// The name of its part of the encoder in logs.
    pub fn part(self) -> &'static str {
        match self.tower {
            Some(TowerSide::Text) => "text",
            Some(TowerSide::Image) => "image",
            None => "temperature",
        }
    }
}

/// Embeds with gradients to the trained layers.
pub trait TrainableDualEncoder {
    /// What it is, for the log.
    fn summary(&self) -> String;

    /// Width of a row.
    fn width(&self) -> usize;

    /// All parameters, trained or not.
    fn params(&self) -> &Params;

    /// The trained parameters of both towers, without the temperature.
    fn trained_towers(&self) -> Params;

    /// The trained parameters of each checkpointed block, in the order of the backward pass.
    fn blocks(&self) -> Vec<Vec<Tensor>>;

    /// Where the parameter of this name lies.
    fn placement(&self, parameter: &str) -> Placement;

    /// Logarithm of the inverse temperature of the contrastive loss: a scalar, at most the encoder's largest.
    fn logit_scale(&self) -> Result<Tensor>;

    /// A caption as token ids, the end token last.
    ///
    /// # Errors
    /// When the caption is blank.
    fn tokenize(&self, caption: &str) -> Result<Vec<u32>>;

    /// How photos are prepared for it.
    fn preprocess(&self) -> &Preprocess;

    /// Tokenised captions → unit rows (caption, width).
    ///
    /// # Errors
    /// When a caption has more tokens than the text tower has positions.
    fn texts(&self, captions: &[&[u32]], regularization: &mut Regularization) -> Result<Tensor>;

    /// Preprocessed photos → unit rows (photo, width).
    fn photos(&self, photos: &[&[u8]], regularization: &mut Regularization) -> Result<Tensor>;

    /// Writes it to a folder that an encoder of its kind is opened from, weights in `dtype`, and returns the
    /// fingerprint of that encoder.
    ///
    /// # Errors
    /// When the disk refuses.
    fn write(&self, folder: &Path, dtype: DType) -> Result<String>;
}

//! The CLIP that `dsi pretrain` starts from: a fresh one, or one that is read from a folder.

use std::path::Path;

use super::config::{TextConfig, VisionConfig};
use super::{Clip, ClipBundle, ClipConfig};
use crate::data::preprocess::Preprocess;
use crate::data::tokenizer::Tokens;
use crate::encoder::pretrain_settings::Pretrain;
use crate::encoder::{TrainableDualEncoder, TrainableSettings};
use crate::error::Result;
use crate::nn::params::Builder;

/// A CLIP with random weights of `seed` and a vocabulary learned from captions.
///
/// # Errors
/// When `pretrain.vocabulary` has no room for the bytes, or `pretrain.image_size` is impossible.
pub fn fresh<'a>(
    section: &Pretrain,
    captions: impl IntoIterator<Item = &'a str>,
    seed: u64,
    settings: &TrainableSettings,
) -> Result<Box<dyn TrainableDualEncoder>> {
    let tokens = Tokens::train(captions, section.vocabulary)?;
    let preprocess = Preprocess::clip(section.image_size as u32)?;
    let shape = shape(section, &tokens);
    let builder = Builder::fresh(seed, settings.device);
    let clip = Clip::new(&builder.root(), &shape)?;
    let params = builder.finish("clip".as_ref())?;
    let mut bundle = ClipBundle { clip, params, shape, tokens, preprocess };
    bundle.prepare_training(settings);
    Ok(Box::new(bundle))
}

/// The CLIP of a folder in a layout of [`crate::data::clip_files`].
///
/// # Errors
/// When a file is missing or broken, or the files do not belong together.
pub fn from_folder(folder: &Path, settings: &TrainableSettings) -> Result<Box<dyn TrainableDualEncoder>> {
    Ok(Box::new(ClipBundle::open_trainable(folder, settings)?))
}

/// Two towers of one width, with as many tokens as the vocabulary has.
fn shape(section: &Pretrain, tokens: &Tokens) -> ClipConfig {
    let width = section.width;
    ClipConfig {
        projection_dim: section.projection,
        text_config: TextConfig {
            vocab_size: tokens.vocab_size(),
            hidden_size: width,
            intermediate_size: 4 * width,
            num_hidden_layers: section.text_layers,
            num_attention_heads: section.heads,
            max_position_embeddings: section.context,
            eos_token_id: Some(tokens.end_id()),
            ..Default::default()
        },
        vision_config: VisionConfig {
            hidden_size: width,
            intermediate_size: 4 * width,
            num_hidden_layers: section.vision_layers,
            num_attention_heads: section.heads,
            image_size: section.image_size,
            patch_size: section.patch,
            ..Default::default()
        },
        ..Default::default()
    }
}

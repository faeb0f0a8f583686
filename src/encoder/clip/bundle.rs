//! A CLIP with all that belongs to it, weights, tokenizer and preprocessing: read from one folder, held against each
//! other, written to one folder.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::config::TextConfig;
use super::{Clip, ClipConfig, Regularization, TokenBatch, TrainableTowers, folder, side};
use crate::data::clip_files::PREPROCESSOR;
use crate::data::preprocess::Preprocess;
use crate::data::tokenizer::Tokens;
use crate::error::{Error, Result};
use crate::file_io;
use crate::nn::params::Params;
use crate::nn::tensors::unit_rows;

/// What turns captions and photos into embeddings.
pub struct ClipBundle {
    /// Both towers.
    pub clip: Clip,
    /// Their parameters.
    pub params: Params,
    /// Their shape.
    pub shape: ClipConfig,
    /// From captions to the text tower's ids.
    pub tokens: Tokens,
    /// From photos to the image tower's squares.
    pub preprocess: Preprocess,
}

impl ClipBundle {
    /// Reads a folder in a layout of [`crate::data::clip_files`]; parameters of the trained part become variables.
    ///
    /// # Errors
    /// When a file is missing or broken, or the files do not belong together.
    pub fn read(path: &Path, trained: TrainableTowers, device: &Device) -> Result<Self> {
        let (clip, params, shape) = folder::read(path, trained, device)?;
        let tokens = Tokens::load(path)?;
        let preprocess = folder::preprocess(path, shape.vision_config.image_size)?;
        check_vocabulary(&tokens, &shape.text_config).map_err(|what| Error::file(path, what))?;
        if preprocess.side() != shape.vision_config.image_size {
            let (side, wanted) = (preprocess.side(), shape.vision_config.image_size);
            let what = format!("crops photos to {side} pixels, the vision tower takes {wanted}");
            return Err(Error::file(path.join(PREPROCESSOR), what));
        }
        Ok(Self { clip, params, shape, tokens, preprocess })
    }

    /// What is trained of the towers: all trained parameters but the temperature.
    pub fn towers(&self) -> Params {
        self.params.only(|name, tensor| tensor.is_variable() && side(name).is_some())
    }

    /// A caption as ids of the text tower, its end token last.
    ///
    /// # Errors
    /// When the caption is empty.
    pub fn encode(&self, caption: &str) -> Result<Vec<u32>> {
        self.tokens.encode(caption, self.shape.text_config.max_position_embeddings)
    }

    /// Captions as ids → unit rows (captions, projection).
    ///
    /// # Errors
    /// When the device refuses.
    pub fn captions(&self, captions: &[&[u32]], noise: &mut Regularization) -> Result<Tensor> {
        unit_rows(&self.clip.embed_text_with(noise, &TokenBatch::new(captions.iter().copied()))?)
    }

    /// Preprocessed photos → unit rows (photos, projection).
    ///
    /// # Errors
    /// When the device refuses.
    pub fn photos(&self, photos: &[&[u8]], noise: &mut Regularization) -> Result<Tensor> {
        unit_rows(&self.clip.embed_images_with(noise, &self.pixels(photos)?)?)
    }

    fn pixels(&self, photos: &[&[u8]]) -> Result<Tensor> {
        pixels(photos, &self.preprocess, self.clip.logit_scale.device())
    }

    /// Writes a folder in transformers' layout, whatever layout it was read from, weights in `dtype`. The preprocessing comes last: with
    /// it the folder is complete.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path, dtype: DType) -> Result<()> {
        let mut shape = self.shape.clone();
        // Left out, transformers would look for CLIP's own end token in any vocabulary.
        shape.text_config.eos_token_id = Some(self.tokens.end_id());
        folder::write(path, &self.params, &shape, dtype)?;
        self.tokens.save(path)?;
        let json = self.preprocess.to_json();
        file_io::write_atomic(&path.join(PREPROCESSOR), |file| writeln!(file, "{json}"))
    }
}

/// Preprocessed photos (side × side × 3 bytes each) → normalised pixels (photo, 3, side, side).
///
/// # Errors
/// When the device refuses.
pub fn pixels(photos: &[&[u8]], preprocess: &Preprocess, device: &Device) -> Result<Tensor> {
    use rayon::prelude::*;
    let side = preprocess.side();
    let mut values = vec![0.0f32; photos.len() * 3 * side * side];
    values
        .par_chunks_mut(3 * side * side)
        .zip(photos)
        .for_each(|(out, photo)| preprocess.normalize(photo, out));
    Ok(Tensor::from_vec(values, (photos.len(), 3, side, side), device)?)
}

/// Whether a tokenizer is the one that a text tower was made for.
fn check_vocabulary(tokens: &Tokens, text: &TextConfig) -> Result<(), String> {
    let (given, wanted) = (tokens.vocab_size(), text.vocab_size);
    if given != wanted {
        return Err(format!(
            "its tokenizer has {given} tokens, its text tower embeds {wanted} (vocab_size): they belong to \
             different models; put the tokenizer.json of this model beside its weights"
        ));
    }
    // 2 is what files say that were written before the key meant anything.
    match text.eos_token_id.filter(|&id| id != 2 && id != tokens.end_id()) {
        Some(id) => Err(format!(
            "its text tower ends captions with token {id} (eos_token_id), its tokenizer with {}: they belong to \
             different models",
            tokens.end_id()
        )),
        None => Ok(()),
    }
}

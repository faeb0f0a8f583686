//! A CLIP with its tokenizer and preprocessing: read from one folder, checked against each other, written to
//! one folder.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::config::TextConfig;
use super::{Clip, ClipConfig, TokenBatch, folder, parameter_depth};
use crate::data::clip_files::{self, PREPROCESSOR};
use crate::data::preprocess::Preprocess;
use crate::data::tokenizer::Tokens;
use crate::encoder::regularization::Regularization;
use crate::encoder::trainable_dual_encoder::{Placement, TrainableTowers};
use crate::encoder::{TrainableDualEncoder, TrainableSettings};
use crate::error::{Error, Result};
use crate::file_io;
use crate::nn::params::Params;
use crate::nn::tensors::unit_rows;

/// Both towers and what prepares their inputs.
pub struct ClipBundle {
    /// Both towers.
    pub clip: Clip,
    /// Their parameters.
    pub params: Params,
    /// Their shape.
    pub shape: ClipConfig,
    /// Captions → ids of the text tower.
    pub tokens: Tokens,
    /// Photos → squares of the image tower.
    pub preprocess: Preprocess,
}

impl ClipBundle {
    /// Reads a folder in a layout of [`crate::data::clip_files`]; parameters of the trained layers become
    /// variables.
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
            return Err(Error::file(clip_files::preprocessing(path), what));
        }
        Ok(Self { clip, params, shape, tokens, preprocess })
    }

    /// [`ClipBundle::read`] for a training.
    ///
    /// # Errors
    /// As [`ClipBundle::read`], and when a tower has fewer blocks than are to be trained.
    pub fn open_trainable(path: &Path, settings: &TrainableSettings) -> Result<Self> {
        let mut bundle = Self::read(path, settings.towers, settings.device)?;
        bundle.prepare_training(settings);
        Ok(bundle)
    }

    /// Sets the type that blocks compute with and what they keep for the backward pass.
    pub(super) fn prepare_training(&mut self, settings: &TrainableSettings) {
        self.clip.compute_in(settings.compute);
        if let Some(keep) = settings.keep {
            self.clip.checkpoint_blocks(keep);
        }
    }

    /// Tokens of the longest text, start and end included.
    pub fn context(&self) -> usize {
        self.shape.text_config.max_position_embeddings
    }

    /// The token ids of a caption, and whether it was cut at [`context`](Self::context).
    ///
    /// # Errors
    /// When the caption is blank.
    pub fn tokenize_whole_or_cut(&self, caption: &str) -> Result<(Vec<u32>, bool)> {
        self.tokens.encode_whole_or_cut(caption, self.context())
    }

    /// Where its tensors live.
    pub fn device(&self) -> &Device {
        self.clip.logit_scale.device()
    }
}

impl TrainableDualEncoder for ClipBundle {
    fn summary(&self) -> String {
        format!("a CLIP of {} parameters, {} tokens", self.params.count(), self.tokens.vocab_size())
    }

    fn width(&self) -> usize {
        self.shape.projection_dim
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn trained_towers(&self) -> Params {
        let in_tower = |name: &str| parameter_depth::tower(name).is_some();
        self.params.only(|name, tensor| tensor.is_variable() && in_tower(name))
    }

    fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.clip.blocks()
    }

    fn placement(&self, parameter: &str) -> Placement {
        parameter_depth::placement(parameter, &self.shape)
    }

    fn logit_scale(&self) -> Result<Tensor> {
        Ok(self.clip.logit_scale.minimum(Clip::LARGEST_SCALE.ln())?)
    }

    fn tokenize(&self, caption: &str) -> Result<Vec<u32>> {
        self.tokens.encode(caption, self.context())
    }

    fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    fn texts(&self, captions: &[&[u32]], regularization: &mut Regularization) -> Result<Tensor> {
        let captions = TokenBatch::new(captions.iter().copied());
        unit_rows(&self.clip.embed_text_with(regularization, &captions)?)
    }

    fn photos(&self, photos: &[&[u8]], regularization: &mut Regularization) -> Result<Tensor> {
        let pixels = pixels(photos, &self.preprocess, self.device())?;
        unit_rows(&self.clip.embed_images_with(regularization, &pixels)?)
    }

    /// Writes transformers' layout, whatever layout it was read from. The preprocessing comes last: with it
    /// the folder is complete.
    fn write(&self, path: &Path, dtype: DType) -> Result<String> {
        let mut shape = self.shape.clone();
        // Without it, transformers would look for CLIP's own end token in any vocabulary.
        shape.text_config.eos_token_id = Some(self.tokens.end_id());
        folder::write(path, &self.params, &shape, dtype)?;
        self.tokens.save(path)?;
        let json = self.preprocess.to_json();
        file_io::write_atomic(&path.join(PREPROCESSOR), |file| writeln!(file, "{json}"))?;
        folder::fingerprint(path, &folder::preprocess(path, shape.vision_config.image_size)?)
    }
}

/// Preprocessed photos (side × side × 3 bytes each) → normalised pixels (photo, 3, side, side).
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

/// Checks that a tokenizer is the one that a text tower was made for; the error is a clause.
fn check_vocabulary(tokens: &Tokens, text: &TextConfig) -> Result<(), String> {
    let (given, wanted) = (tokens.vocab_size(), text.vocab_size);
    if given != wanted {
        return Err(format!(
            "its tokenizer has {given} tokens, its text tower embeds {wanted} (vocab_size): they belong to \
             different models; put the tokenizer.json of this model beside its weights"
        ));
    }
    // Files written before the key had a meaning say 2.
    match text.eos_token_id.filter(|&id| id != 2 && id != tokens.end_id()) {
        Some(id) => Err(format!(
            "its text tower ends captions with token {id} (eos_token_id), its tokenizer with {}: they belong to \
             different models",
            tokens.end_id()
        )),
        None => Ok(()),
    }
}

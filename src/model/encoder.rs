//! The frozen CLIP of an experiment: captions and photos in, unit embeddings out.

use std::borrow::Borrow;
use std::fs::File;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::clip::{Clip, TokenBatch, Whole, folder};
use crate::data::photos::{Photo, decode_batch, view_batch};
use crate::data::preprocess::Preprocess;
use crate::data::tokens::Tokens;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;

/// CLIP with its tokenizer and preprocessing.
pub struct Encoder {
    clip: Clip,
    tokens: Tokens,
    preprocess: Preprocess,
    context: usize,
    batch: usize,
    device: Device,
    fingerprint: String,
}

/// A batch of photos and the place of its first in the list → the prepared bytes of each.
type Decode<'a, P> = &'a dyn Fn(&[P], usize) -> Vec<Result<Vec<u8>>>;

impl Encoder {
    /// Opens a folder in a layout of [`crate::data::layout`]; `batch` captions or photos are encoded at once.
    ///
    /// # Errors
    /// When a file is missing or broken, or the files do not belong together.
    pub fn open(path: &Path, batch: usize, device: &Device) -> Result<Self> {
        let Whole { clip, shape, tokens, preprocess, .. } = Whole::read(path, false, device)?;
        let fingerprint = fingerprint(path, &preprocess)?;
        let context = shape.text_config.max_position_embeddings;
        Ok(Self { clip, tokens, preprocess, context, batch, device: device.clone(), fingerprint })
    }

    /// Hash of weights, shape, tokenizer and preprocessing: equal encoders give equal embeddings.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Captions → unit rows (caption, width). `done` hears how many more are finished.
    ///
    /// # Errors
    /// When a caption is empty.
    pub fn captions(&self, captions: &[&str], done: &dyn Fn(usize)) -> Result<Matrix> {
        let ids: Vec<Vec<u32>> =
            captions.iter().map(|text| self.tokens.encode(text, self.context)).collect::<Result<_>>()?;
        // Captions of like length share a batch, so that little of it is padding.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&i| ids[i].len());
        let mut rows = vec![Vec::new(); ids.len()];
        for batch in order.chunks(self.batch) {
            let tokens = TokenBatch::new(batch.iter().map(|&i| ids[i].as_slice()));
            let embedded = self.unit(&self.clip.embed_text(&tokens)?)?;
            batch.iter().zip(embedded.iter()).for_each(|(&i, row)| rows[i] = row.to_vec());
            done(batch.len());
        }
        stack(rows)
    }

    /// Photos → a unit row (width) each, or why it could not be read. `done` hears how many more are finished.
    ///
    /// # Errors
    /// When the device refuses; a photo that cannot be read is an error of its own row only.
    pub fn photos<P: Borrow<Photo> + Sync>(
        &self,
        photos: &[P],
        done: &dyn Fn(usize),
    ) -> Result<Vec<Result<Vec<f32>>>> {
        self.pictures(photos, &|batch, _| decode_batch(batch, &self.preprocess), done)
    }

    /// As [`Self::photos`], but of a second view of each photo, drawn from `seed`.
    ///
    /// # Errors
    /// As [`Self::photos`].
    pub fn views(&self, photos: &[Photo], seed: u64, done: &dyn Fn(usize)) -> Result<Vec<Result<Vec<f32>>>> {
        self.pictures(photos, &|batch, first| view_batch(batch, &self.preprocess, seed, first), done)
    }

    /// `decode` gets a batch of photos and the place of its first.
    fn pictures<P>(
        &self,
        photos: &[P],
        decode: Decode<P>,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Result<Vec<f32>>>> {
        let mut rows = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let decoded = decode(batch, rows.len());
            let good: Vec<&[u8]> = decoded.iter().filter_map(|p| p.as_deref().ok()).collect();
            let embedded = match good.is_empty() {
                true => Matrix::default(),
                false => {
                    self.unit(&self.clip.embed_images(&pixels(&good, &self.preprocess, &self.device)?)?)?
                }
            };
            let mut embedded = embedded.iter();
            rows.extend(decoded.into_iter().map(|photo| {
                photo.map(|_| embedded.next().expect("invariant: one row a decoded photo").to_vec())
            }));
            done(batch.len());
        }
        Ok(rows)
    }

    fn unit(&self, x: &Tensor) -> Result<Matrix> {
        Ok(tensors::to_matrix(x)?.normalized())
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

fn stack(rows: Vec<Vec<f32>>) -> Result<Matrix> {
    let width = rows.first().map_or(1, Vec::len);
    Ok(Matrix::new(width, rows.concat()))
}

fn fingerprint(path: &Path, preprocess: &Preprocess) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in folder::files(path)?.iter().filter(|file| file.exists()) {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        let open = File::open(file).and_then(|open| hasher.update_reader(open).map(drop));
        open.map_err(Error::io("read", file))?;
    }
    hasher.update(preprocess.fingerprint().as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

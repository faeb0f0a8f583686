//! The frozen CLIP of an experiment: captions and photos in, unit embeddings out.

use std::borrow::Borrow;
use std::fs::File;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::config::Config;
use crate::data::photos::{Photo, decode_batch, view_batch};
use crate::data::preprocess::Preprocess;
use crate::data::tokenizer::Tokens;
use crate::encoder::clip::{Clip, ClipBundle, TokenBatch, TrainableTowers, folder, pixels};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;
use crate::rng::Rng;

/// CLIP with its tokenizer and preprocessing.
pub struct ClipEncoder {
    clip: Clip,
    tokens: Tokens,
    preprocess: Preprocess,
    context: usize,
    width: usize,
    batch: usize,
    device: Device,
    fingerprint: String,
}

/// How a photo is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorTta {
    /// As it is.
    Off,
    /// As it is and mirrored: the mean of both embeddings.
    On,
}

impl MirrorTta {
    /// How a configuration wants queries looked at. (What is searched is always taken as it is.)
    pub fn of(config: &Config) -> Self {
        if config.search.mirrored { Self::On } else { Self::Off }
    }
}

/// A batch of photos and the place of its first in the list → the prepared bytes of each.
type Decode<'a, P> = &'a dyn Fn(&[P], usize) -> Vec<Result<Vec<u8>>>;

impl ClipEncoder {
    /// Opens a folder in a layout of [`crate::data::clip_files`]; `batch` captions or photos are encoded at once.
    ///
    /// # Errors
    /// When a file is missing or broken, or the files do not belong together.
    pub fn open(path: &Path, batch: usize, device: &Device) -> Result<Self> {
        let ClipBundle { clip, shape, tokens, preprocess, .. } =
            ClipBundle::read(path, TrainableTowers::NOTHING, device)?;
        let fingerprint = fingerprint(path, &preprocess)?;
        let (context, width) = (shape.text_config.max_position_embeddings, shape.projection_dim);
        Ok(Self { clip, tokens, preprocess, context, width, batch, device: device.clone(), fingerprint })
    }

    /// Hash of weights, shape, tokenizer and preprocessing: equal encoders give equal embeddings.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Width of its rows.
    pub fn width(&self) -> usize {
        self.width
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
        Ok(Matrix::new(self.width, rows.concat()))
    }

    /// Photos → a unit row (width) each, or why it could not be read. `done` hears how many more are finished.
    ///
    /// # Errors
    /// When the device refuses; a photo that cannot be read is an error of its own row only.
    pub fn photos<P: Borrow<Photo> + Sync>(
        &self,
        photos: &[P],
        sides: MirrorTta,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Result<Vec<f32>>>> {
        self.pictures(photos, &|batch, _| decode_batch(batch, &self.preprocess), sides, done)
    }

    /// As [`Self::photos`], but of a second view of each photo, that of the n-th drawn from `draw(n)`.
    ///
    /// # Errors
    /// As [`Self::photos`].
    pub fn views(
        &self,
        photos: &[Photo],
        draw: &(dyn Fn(usize) -> Rng + Sync),
        sides: MirrorTta,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Result<Vec<f32>>>> {
        let decode = |batch: &[Photo], first| view_batch(batch, &self.preprocess, &|n| draw(first + n));
        self.pictures(photos, &decode, sides, done)
    }

    /// `decode` gets a batch of photos and the place of its first.
    fn pictures<P>(
        &self,
        photos: &[P],
        decode: Decode<P>,
        sides: MirrorTta,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Result<Vec<f32>>>> {
        let mut rows = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let decoded = decode(batch, rows.len());
            let good: Vec<&[u8]> = decoded.iter().filter_map(|p| p.as_deref().ok()).collect();
            let embedded = match (good.is_empty(), sides) {
                (true, _) => Matrix::default(),
                (false, MirrorTta::Off) => self.embedded(&good)?,
                (false, MirrorTta::On) => self.embedded_with_mirrored(&good)?,
            };
            let mut embedded = embedded.iter();
            rows.extend(decoded.into_iter().map(|photo| {
                photo.map(|_| embedded.next().expect("invariant: one row a decoded photo").to_vec())
            }));
            done(batch.len());
        }
        Ok(rows)
    }

    /// Preprocessed photos → unit rows.
    fn embedded(&self, photos: &[&[u8]]) -> Result<Matrix> {
        self.unit(&self.clip.embed_images(&pixels(photos, &self.preprocess, &self.device)?)?)
    }

    /// Preprocessed photos → the mean of each one's row and its mirror image's, of unit length.
    fn embedded_with_mirrored(&self, photos: &[&[u8]]) -> Result<Matrix> {
        let mirrored: Vec<Vec<u8>> = photos.iter().map(|photo| self.mirrored(photo)).collect();
        let mirrored = self.embedded(&mirrored.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let mut both = self.embedded(photos)?;
        both.data_mut().iter_mut().zip(mirrored.data()).for_each(|(x, other)| *x += other);
        Ok(both.normalized())
    }

    /// A preprocessed photo, left and right exchanged.
    fn mirrored(&self, photo: &[u8]) -> Vec<u8> {
        let lines = photo.chunks(3 * self.preprocess.side());
        lines.flat_map(|line| line.rchunks(3)).flatten().copied().collect()
    }

    fn unit(&self, x: &Tensor) -> Result<Matrix> {
        Ok(tensors::to_matrix(x)?.normalized())
    }
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

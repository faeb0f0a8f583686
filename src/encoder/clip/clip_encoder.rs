//! CLIP as a frozen [`DualEncoder`]: batches of captions and photos in, unit rows out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{ClipBundle, TokenBatch, folder, parameter_depth, pixels};
use crate::data::encoder_folder;
use crate::data::photos::{Photo, decode_batch, view_batch};
use crate::encoder::embed_in_batches::{embed_in_batches, shortest_first};
use crate::encoder::settings::Encoder;
use crate::encoder::trainable_dual_encoder::TrainableTowers;
use crate::encoder::unreadable_photos::embed_readable;
use crate::encoder::{
    Advance, DualEncoder, EncoderSource, EncoderSpec, MirrorTta, PhotoView, TrainableDualEncoder,
    TrainableSettings,
};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::nn::tensors;

/// `encoder.kind = "clip"`.
pub const SPEC: EncoderSpec = EncoderSpec {
    name: "clip",
    about: "A CLIP model, in Hugging Face's layout or as a file of open_clip or OpenAI.",
    label,
    open,
};

/// A CLIP of a folder whose parameters do not change.
pub struct ClipEncoder {
    bundle: ClipBundle,
    folder: PathBuf,
    batch: usize,
    fingerprint: String,
}

fn label(section: &Encoder) -> &str {
    &section.path
}

fn open(source: &EncoderSource) -> Result<Arc<dyn DualEncoder>> {
    let section = source.section;
    // The first rank may have to fetch the folder before the others read it.
    let find = || encoder_folder::find(&section.path, &section.revision, source.ctx.progress);
    let folder = source.ctx.comm.first_rank_first(find)?;
    Ok(Arc::new(ClipEncoder::open(&folder, section.batch, &source.ctx.device)?))
}

impl ClipEncoder {
    /// Opens a folder in a layout of [`crate::data::clip_files`]; `batch` captions or photos are encoded at
    /// once.
    ///
    /// # Errors
    /// When a file is missing or broken, or the files do not belong together.
    pub fn open(folder: &Path, batch: usize, device: &Device) -> Result<Self> {
        let bundle = ClipBundle::read(folder, TrainableTowers::NOTHING, device)?;
        let fingerprint = folder::fingerprint(folder, &bundle.preprocess)?;
        Ok(Self { bundle, folder: folder.to_owned(), batch, fingerprint })
    }

    fn decode(&self, photos: &[Photo], first: usize, view: PhotoView) -> Vec<Result<Vec<u8>>> {
        match view.second_view {
            Some(draw) => view_batch(photos, &self.bundle.preprocess, &|n| draw(first + n)),
            None => decode_batch(photos, &self.bundle.preprocess),
        }
    }

    /// The token ids of captions, and how many captions were cut at the context.
    fn tokenize(&self, captions: &[&str]) -> Result<(Vec<Vec<u32>>, usize)> {
        let encoded = captions.par_iter().map(|caption| self.bundle.tokenize_whole_or_cut(caption));
        let encoded: Vec<(Vec<u32>, bool)> = encoded.collect::<Result<_>>()?;
        let cut = encoded.iter().filter(|(_, is_cut)| *is_cut).count();
        Ok((encoded.into_iter().map(|(ids, _)| ids).collect(), cut))
    }

    fn embed_tokens(&self, captions: &TokenBatch) -> Result<Matrix> {
        unit_matrix(&self.bundle.clip.embed_text(captions)?)
    }

    /// Preprocessed photos → unit rows (photo, width).
    fn embed_preprocessed(&self, photos: &[&[u8]], mirror: MirrorTta) -> Result<Matrix> {
        match mirror {
            MirrorTta::Off => self.embed_squares(photos),
            MirrorTta::On => self.embed_with_mirror_images(photos),
        }
    }

    fn embed_squares(&self, photos: &[&[u8]]) -> Result<Matrix> {
        let pixels = pixels(photos, &self.bundle.preprocess, self.bundle.device())?;
        unit_matrix(&self.bundle.clip.embed_images(&pixels)?)
    }

    /// The mean of each photo's row and that of its mirror image, scaled to unit length.
    fn embed_with_mirror_images(&self, photos: &[&[u8]]) -> Result<Matrix> {
        let side = self.bundle.preprocess.side();
        let mirror_images: Vec<Vec<u8>> = photos.iter().map(|photo| mirror_image(photo, side)).collect();
        let mirror_images: Vec<&[u8]> = mirror_images.iter().map(Vec::as_slice).collect();
        let mirror_rows = self.embed_squares(&mirror_images)?;
        let mut rows = self.embed_squares(photos)?;
        rows.data_mut().iter_mut().zip(mirror_rows.data()).for_each(|(x, mirror)| *x += mirror);
        Ok(rows.normalized())
    }
}

impl ClipEncoder {
    /// Refuses the first row that could not be scaled to unit length; `name` says what it embeds.
    fn check_unit_rows<'r>(
        &self,
        mut rows: impl Iterator<Item = &'r [f32]>,
        name: impl Fn(usize) -> String,
    ) -> Result<()> {
        match rows.position(|row| !is_unit(row)) {
            None => Ok(()),
            Some(row) => Err(Error::file(
                &self.folder,
                format!(
                    "the embedding of {} cannot be scaled to unit length (all zeros, or numbers that are not finite): the \
                     weights of this encoder are damaged or too large; fetch or export it again",
                    name(row)
                ),
            )),
        }
    }
}

/// Whether a row has unit length, but for rounding.
fn is_unit(row: &[f32]) -> bool {
    (dot(row, row) - 1.0).abs() < 1e-3
}

/// The first words of a caption, for a message.
fn start(caption: &str) -> String {
    caption.chars().take(60).collect()
}

impl DualEncoder for ClipEncoder {
    fn texts(&self, texts: &[&str], advance: Advance) -> Result<Matrix> {
        let (ids, _) = self.tokenize(texts)?;
        embed_in_batches(&shortest_first(&ids), self.batch, self.width(), |captions| {
            let tokens = TokenBatch::new(captions.iter().map(|&caption| ids[caption].as_slice()));
            let rows = self.embed_tokens(&tokens)?;
            let name = |row: usize| format!("the caption {:?}", start(texts[captions[row]]));
            self.check_unit_rows(rows.iter(), name)?;
            advance(captions.len());
            Ok(rows)
        })
    }

    fn photos(&self, photos: &[Photo], view: PhotoView, advance: Advance) -> Result<Vec<Result<Vec<f32>>>> {
        let mut rows = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let decoded = self.decode(batch, rows.len(), view);
            let embed = |readable: &[&[u8]]| self.embed_preprocessed(readable, view.mirror);
            let embedded = embed_readable(decoded, embed)?;
            let (photos, found): (Vec<&Photo>, Vec<&[f32]>) = batch
                .iter()
                .zip(&embedded)
                .filter_map(|(photo, row)| Some((photo, row.as_deref().ok()?)))
                .unzip();
            self.check_unit_rows(found.into_iter(), |row| format!("the photo {}", photos[row]))?;
            rows.extend(embedded);
            advance(batch.len());
        }
        Ok(rows)
    }

    fn caption_batches(&self, captions: &[&str]) -> Result<Vec<Vec<usize>>> {
        let (ids, _) = self.tokenize(captions)?;
        Ok(shortest_first(&ids).chunks(self.batch).map(<[usize]>::to_vec).collect())
    }

    fn report_cut_captions(&self, captions: &[&str]) -> Result<()> {
        let (_, cut) = self.tokenize(captions)?;
        warn_of_cut_captions(cut, captions.len(), self.bundle.context());
        Ok(())
    }

    fn photo_batch(&self) -> usize {
        self.batch
    }

    fn width(&self) -> usize {
        self.bundle.shape.projection_dim
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn check_trainable(&self, towers: TrainableTowers) -> Result<()> {
        parameter_depth::check_depth(towers, &self.bundle.shape)
    }

    fn trainable(&self, settings: &TrainableSettings) -> Result<Box<dyn TrainableDualEncoder>> {
        Ok(Box::new(ClipBundle::open_trainable(&self.folder, settings)?))
    }
}

/// Says once how many captions of a call are longer than the encoder reads.
fn warn_of_cut_captions(cut: usize, all: usize, context: usize) {
    match (cut, all) {
        (0, _) => {}
        (_, 1) => tracing::warn!(
            "the query was cut: the encoder reads {context} tokens, and what follows has no effect; shorten it"
        ),
        _ => tracing::warn!(
            "{cut} of {all} captions were cut at {context} tokens, all that the encoder reads; the rest has no effect"
        ),
    }
}

/// Raw rows (row, width) as unit rows on the CPU.
fn unit_matrix(rows: &Tensor) -> Result<Matrix> {
    Ok(tensors::to_matrix(rows)?.normalized())
}

/// A preprocessed photo of `side` pixels a side, left and right exchanged.
fn mirror_image(photo: &[u8], side: usize) -> Vec<u8> {
    let lines = photo.chunks(3 * side);
    lines.flat_map(|line| line.rchunks(3)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_zeros_and_of_no_numbers_are_not_unit_rows() {
        assert!(is_unit(&[0.6, 0.8]));
        assert!(![[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 0.0]].iter().any(|row| is_unit(row)));
    }

    #[test]
    fn a_mirror_image_exchanges_left_and_right() {
        let photo: Vec<u8> = (0..12).collect(); // 2 × 2 pixels
        assert_eq!(mirror_image(&photo, 2), [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
    }
}

//! CLIP as a frozen [`DualEncoder`]: batches of captions and photos in, unit rows out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{ClipBundle, TokenBatch, folder, pixels};
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
use crate::error::Result;
use crate::matrix::Matrix;
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

impl DualEncoder for ClipEncoder {
    fn texts(&self, captions: &[&str], advance: Advance) -> Result<Matrix> {
        let ids: Vec<Vec<u32>> =
            captions.iter().map(|caption| self.bundle.tokenize(caption)).collect::<Result<_>>()?;
        embed_in_batches(&shortest_first(&ids), self.batch, self.width(), |captions| {
            let tokens = TokenBatch::new(captions.iter().map(|&caption| ids[caption].as_slice()));
            let rows = self.embed_tokens(&tokens)?;
            advance(captions.len());
            Ok(rows)
        })
    }

    fn photos(&self, photos: &[Photo], view: PhotoView, advance: Advance) -> Result<Vec<Result<Vec<f32>>>> {
        let mut rows = Vec::with_capacity(photos.len());
        for batch in photos.chunks(self.batch) {
            let decoded = self.decode(batch, rows.len(), view);
            rows.extend(embed_readable(decoded, |readable| self.embed_preprocessed(readable, view.mirror))?);
            advance(batch.len());
        }
        Ok(rows)
    }

    fn width(&self) -> usize {
        self.bundle.shape.projection_dim
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn trainable(&self, settings: &TrainableSettings) -> Result<Box<dyn TrainableDualEncoder>> {
        Ok(Box::new(ClipBundle::open_trainable(&self.folder, settings)?))
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
    fn a_mirror_image_exchanges_left_and_right() {
        let photo: Vec<u8> = (0..12).collect(); // 2 × 2 pixels
        assert_eq!(mirror_image(&photo, 2), [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
    }
}

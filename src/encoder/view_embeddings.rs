//! Second views of the photos of a corpus, embedded once and cached: what image queries are learnt from.
//!
//! They are drawn apart from those that an evaluation asks with.

use std::path::Path;

use candle_core::Device;
use indicatif::ProgressBar;
use rand::Rng as _;

use crate::context::Context;
use crate::data::photos::Photo;
use crate::distributed::Comm;
use crate::encoder::clip_encoder::{ClipEncoder, MirrorTta};
use crate::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;
use crate::rng::{self, Rng};

const VIEWS: &str = "views";

/// What asks for each image of a corpus: other views of its photo, and the photo itself.
pub struct ViewEmbeddings {
    /// One pass over all images in corpus order after the other.
    rows: Matrix,
    images: usize,
}

impl ViewEmbeddings {
    /// Rows of a corpus of `images` images, a whole number of passes over them.
    pub fn new(rows: Matrix, images: usize) -> Self {
        assert!(rows.rows() >= images && rows.rows().is_multiple_of(images), "invariant: whole passes");
        Self { rows, images }
    }

    /// The encoder's unit rows of the photos and of `count` views of each, of which each rank embeds a share. Each pass is kept
    /// as soon as it is made; more views later cost only those that are new.
    ///
    /// # Errors
    /// When there are no photos, or one can no longer be read.
    pub fn embed(prepared: &EmbeddedCorpus, count: usize, ctx: &Context) -> Result<Self> {
        let (Some(encoder), Some(cache)) = (&prepared.encoder, &prepared.cache) else {
            return Err(Error::input("second views need photos, and ready-made features have none"));
        };
        let (corpus, width) = (&prepared.corpus, prepared.embeddings.images.width());
        let photos = photos_of(corpus, corpus.images())?;
        let bar = ctx.bar(count * photos.len(), "encoding second views");
        let mut rows = Vec::new();
        for pass in 0..count {
            let file = cache.with_extension("views").join(format!("{pass}.safetensors"));
            let kept = kept(&file).filter(|kept| (kept.rows(), kept.width()) == (photos.len(), width));
            let missing = ctx.comm.any(kept.is_none());
            let embedded = match kept {
                Some(kept) if !missing => kept,
                // One without it has all of them encode.
                _ => embed(encoder, &photos, pass, &file, &bar, &ctx.comm)?,
            };
            rows.extend_from_slice(embedded.data());
            bar.set_position(((pass + 1) * photos.len()) as u64);
        }
        bar.finish_and_clear();
        rows.extend_from_slice(prepared.embeddings.images.data());
        Ok(Self::new(Matrix::new(width, rows), photos.len()))
    }

    /// The same, each row moved.
    ///
    /// # Errors
    /// What `to` reports.
    pub fn moved(self, to: impl FnOnce(&Matrix) -> Result<Matrix>) -> Result<Self> {
        Ok(Self { rows: to(&self.rows)?, ..self })
    }

    /// One view of each of these images.
    pub fn draw(&self, images: &[usize], rng: &mut Rng) -> Matrix {
        let passes = self.rows.rows() / self.images;
        let view = |&image: &usize| image + self.images * rng.random_range(0..passes);
        self.rows.select(&images.iter().map(view).collect::<Vec<_>>())
    }
}

/// A pass that was made before, if its file is whole.
fn kept(file: &Path) -> Option<Matrix> {
    tensors::to_matrix(&tensors::read(file).ok()?.remove(VIEWS)?).ok()
}

fn embed(
    encoder: &ClipEncoder,
    photos: &[Photo],
    pass: usize,
    file: &Path,
    bar: &ProgressBar,
    comm: &Comm,
) -> Result<Matrix> {
    let views = comm.gather_shares(photos.len(), |own| {
        let draw = |photo: usize| rng::stream(pass as u64, "view to learn from", (own.start + photo) as u64);
        // Each rank stands for all.
        let done = |n: usize| bar.inc((n * comm.size()) as u64);
        let rows = encoder.views(&photos[own.clone()], &draw, MirrorTta::Off, &done)?;
        Ok(Matrix::new(encoder.width(), rows.into_iter().collect::<Result<Vec<_>>>()?.concat()))
    })?;
    if comm.is_first() {
        tensors::write(file, &[(VIEWS.to_owned(), tensors::from_matrix(&views, &Device::Cpu)?)].into())?;
    }
    Ok(views)
}

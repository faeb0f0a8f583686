//! Second views of a corpus' photos, embedded once and cached: image queries are learned from them.
//!
//! Their random streams differ from those of the views that an evaluation uses as queries.

use std::path::{Path, PathBuf};

use candle_core::Device;
use rand::Rng as _;

use super::embedded_corpus::{EmbeddedCorpus, photos_of};
use super::{Advance, DualEncoder, MirrorTta, PhotoView};
use crate::context::Context;
use crate::data::photos::Photo;
use crate::distributed::Comm;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;
use crate::rng::{self, Rng};

/// The only tensor of a cache file.
const VIEWS: &str = "views";

/// Rows of several views of each image of a corpus; the last view is the photo as it is.
pub struct ViewEmbeddings {
    /// View after view, each with all images in the order of the corpus.
    rows: Matrix,
    images: usize,
}

impl ViewEmbeddings {
    /// Rows (view × image, width) of `images` images, view after view.
    pub fn new(rows: Matrix, images: usize) -> Self {
        assert!(rows.rows() >= images && rows.rows().is_multiple_of(images), "invariant: whole passes");
        Self { rows, images }
    }

    /// The encoder's unit rows of `count` second views of each photo, and of the photos. Each rank embeds a
    /// share. Each view is cached when it is done, so a larger `count` later embeds only the new ones.
    ///
    /// # Errors
    /// When there are no photos, or one can no longer be read.
    pub fn embed(prepared: &EmbeddedCorpus, count: usize, ctx: &Context) -> Result<Self> {
        let Some(cache) = &prepared.cache else {
            return Err(Error::input("second views need photos, and ready-made features have none"));
        };
        let corpus = &prepared.corpus;
        let photos = photos_of(corpus, corpus.images())?;
        let cache = ViewCache {
            folder: cache.with_extension("views"),
            shape: (photos.len(), prepared.encoder.width()),
        };
        let bar = ctx.bar(count * photos.len(), "encoding second views");
        // The bar of one rank stands for all: they advance together.
        let advance = |count: usize| bar.inc((count * ctx.comm.size()) as u64);
        let mut rows = Vec::new();
        for view in 0..count {
            let embedded = match cache.read_on_all_ranks(view, &ctx.comm) {
                Some(cached) => cached,
                None => embed_view(&*prepared.encoder, &photos, view, &cache, &advance, &ctx.comm)?,
            };
            rows.extend_from_slice(embedded.data());
            bar.set_position(((view + 1) * photos.len()) as u64);
        }
        bar.finish_and_clear();
        rows.extend_from_slice(prepared.embeddings.images.data());
        Ok(Self::new(Matrix::new(prepared.encoder.width(), rows), photos.len()))
    }

    /// The views with `map` applied to their rows.
    ///
    /// # Errors
    /// Those of `map`.
    pub fn mapped(self, map: impl FnOnce(&Matrix) -> Result<Matrix>) -> Result<Self> {
        Ok(Self { rows: map(&self.rows)?, ..self })
    }

    /// A random view of each of these images: (image, width).
    pub fn draw(&self, images: &[usize], rng: &mut Rng) -> Matrix {
        let views = self.rows.rows() / self.images;
        let row = |&image: &usize| image + self.images * rng.random_range(0..views);
        self.rows.select(&images.iter().map(row).collect::<Vec<_>>())
    }
}

/// The files that keep one view each.
struct ViewCache {
    folder: PathBuf,
    /// Images and width.
    shape: (usize, usize),
}

impl ViewCache {
    fn path(&self, view: usize) -> PathBuf {
        self.folder.join(format!("{view}.safetensors"))
    }

    /// A cached view; `None` on all ranks when one of them has none, since all must then embed their shares.
    fn read_on_all_ranks(&self, view: usize, comm: &Comm) -> Option<Matrix> {
        let cached = read_view(&self.path(view)).filter(|rows| (rows.rows(), rows.width()) == self.shape);
        comm.all_or_none(cached)
    }

    fn write(&self, view: usize, rows: &Matrix) -> Result<()> {
        let tensor = tensors::from_matrix(rows, &Device::Cpu)?;
        tensors::write(&self.path(view), &[(VIEWS.to_owned(), tensor)].into())
    }
}

/// `None` when the file is missing or damaged.
fn read_view(path: &Path) -> Option<Matrix> {
    tensors::to_matrix(&tensors::read(path).ok()?.remove(VIEWS)?).ok()
}

fn embed_view(
    encoder: &dyn DualEncoder,
    photos: &[Photo],
    view: usize,
    cache: &ViewCache,
    advance: Advance,
    comm: &Comm,
) -> Result<Matrix> {
    let rows = comm.gather_shares(photos.len(), |share| {
        let draw =
            |photo: usize| rng::stream(view as u64, "view to learn from", (share.start + photo) as u64);
        let second_view = PhotoView::second(&draw, MirrorTta::Off);
        let rows = encoder.photos(&photos[share.clone()], second_view, advance)?;
        Ok(Matrix::new(encoder.width(), rows.into_iter().collect::<Result<Vec<_>>>()?.concat()))
    })?;
    if comm.is_first()
        && let Err(error) = cache.write(view, &rows)
    {
        tracing::warn!("second views are not kept, and the next command computes them again: {error}");
    }
    Ok(rows)
}

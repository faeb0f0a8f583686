//! Second views of the photos of a corpus, embedded once and cached: what image queries are learnt from.
//!
//! They are drawn apart from those that an evaluation asks with.

use std::path::Path;

use candle_core::Device;
use indicatif::ProgressBar;

use super::encoder::{Encoder, Sides};
use super::features::Prepared;
use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;
use crate::{progress, rng};

const VIEWS: &str = "views";

/// Unit rows of `count` views of every image: the first views of all images in corpus order, then the second ones, …
/// Each such pass over the images is kept as soon as it is made; more views later cost only those that are new.
///
/// # Errors
/// When there are no photos, or one can no longer be read.
pub fn views(prepared: &Prepared, count: usize) -> Result<Matrix> {
    let (Some(encoder), Some(cache)) = (&prepared.encoder, &prepared.cache) else {
        return Err(Error::input("second views need photos, and ready-made features have none"));
    };
    let (photos, width) = (photos(prepared)?, prepared.embeddings.images.width());
    let bar = progress::bar(count * photos.len(), "encoding second views");
    let mut rows = Vec::new();
    for pass in 0..count {
        let file = cache.with_extension("views").join(format!("{pass}.safetensors"));
        let embedded = match kept(&file).filter(|kept| (kept.rows(), kept.width()) == (photos.len(), width)) {
            Some(kept) => kept,
            None => embed(encoder, &photos, pass, &file, &bar)?,
        };
        rows.extend_from_slice(embedded.data());
        bar.set_position(((pass + 1) * photos.len()) as u64);
    }
    bar.finish_and_clear();
    Ok(Matrix::new(width, rows))
}

fn photos(prepared: &Prepared) -> Result<Vec<Photo>> {
    let corpus = &prepared.corpus;
    let photo = |image| corpus.photo(image).cloned().ok_or_else(|| Error::input("this corpus has no photos"));
    corpus.images().map(photo).collect()
}

/// A pass that was made before, if its file is whole.
fn kept(file: &Path) -> Option<Matrix> {
    tensors::to_matrix(&tensors::read(file).ok()?.remove(VIEWS)?).ok()
}

fn embed(encoder: &Encoder, photos: &[Photo], pass: usize, file: &Path, bar: &ProgressBar) -> Result<Matrix> {
    let draw = |photo: usize| rng::stream(pass as u64, "view to learn from", photo as u64);
    let rows = encoder
        .views(photos, &draw, Sides::AsTaken, &|n| bar.inc(n as u64))?
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let views = Matrix::new(rows.first().map_or(1, Vec::len), rows.concat());
    tensors::write(file, &[(VIEWS.to_owned(), tensors::from_matrix(&views, &Device::Cpu)?)].into())?;
    Ok(views)
}

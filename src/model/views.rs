//! Second views of the photos of a corpus, embedded once and cached: what image queries are learnt from.
//!
//! They are drawn apart from those that an evaluation asks with.

use candle_core::Device;

use super::encoder::{Encoder, Sides};
use super::features::Prepared;
use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::nn::tensors;
use crate::{progress, rng};

const VIEWS: &str = "views";

/// Unit rows of `count` views of every image: the first views of all images in corpus order, then the second ones, …
///
/// # Errors
/// When there are no photos, or one can no longer be read.
pub fn views(prepared: &Prepared, count: usize) -> Result<Matrix> {
    let (encoder, cache) = match (&prepared.encoder, &prepared.cache) {
        (Some(encoder), Some(cache)) => (encoder, cache.with_extension(format!("{count}-views.safetensors"))),
        _ => return Err(Error::input("second views need photos, and ready-made features have none")),
    };
    let rows = count * prepared.corpus.len();
    let read = || tensors::to_matrix(&tensors::read(&cache).ok()?.remove(VIEWS)?).ok();
    if let Some(views) = read().filter(|views| views.rows() == rows) {
        return Ok(views);
    }
    let views = embedded(encoder, &photos(prepared)?, count)?;
    let tensor = tensors::from_matrix(&views, &Device::Cpu)?;
    tensors::write(&cache, &[(VIEWS.to_owned(), tensor)].into())?;
    Ok(views)
}

fn photos(prepared: &Prepared) -> Result<Vec<Photo>> {
    let corpus = &prepared.corpus;
    let photo = |image| corpus.photo(image).cloned().ok_or_else(|| Error::input("this corpus has no photos"));
    corpus.images().map(photo).collect()
}

fn embedded(encoder: &Encoder, photos: &[Photo], count: usize) -> Result<Matrix> {
    let bar = progress::bar(count * photos.len(), "encoding second views");
    let mut rows = Vec::new();
    for view in 0..count {
        let draw = |photo: usize| rng::stream(view as u64, "view to learn from", photo as u64);
        let embedded = encoder.views(photos, &draw, Sides::AsTaken, &|n| bar.inc(n as u64))?;
        for row in embedded {
            rows.extend(row?);
        }
    }
    bar.finish_and_clear();
    Ok(Matrix::new(rows.len() / (count * photos.len()), rows))
}

//! Photos that cannot be read: which are skipped, which stop the program, and how many there were.
//!
//! When a corpus is opened, its unreadable photos are left out ([`split_readable`]). In a training that has
//! begun, a photo that can no longer be read keeps the embedding it had ([`PhotoFallback`]).

use std::collections::BTreeSet;

use candle_core::Tensor;

use crate::data::settings::OnBadImage;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// The log target of photos that a training can no longer read: every rank reports those of its own share.
pub const PHOTO_FAULTS: &str = "dsi::photo_faults";

/// Skipped photos that the log names; it only counts the others.
const NAMED: usize = 5;

/// The readable ones of `photos` and their positions. The log counts those that are skipped.
///
/// # Errors
/// The first unreadable photo, with the remedy, unless `on_bad` is to skip it.
pub fn split_readable<T>(photos: Vec<Result<T>>, on_bad: OnBadImage) -> Result<(Vec<usize>, Vec<T>)> {
    let (mut positions, mut readable, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (position, photo) in photos.into_iter().enumerate() {
        match photo {
            Ok(photo) => {
                positions.push(position);
                readable.push(photo);
            }
            Err(error) if on_bad == OnBadImage::Error => {
                let remedy = "replace the photo, or set data.on_bad_image = \"skip\" to leave it out";
                return Err(Error::input(format!("{error}; {remedy}")));
            }
            Err(error) => errors.push(error),
        }
    }
    errors.iter().take(NAMED).for_each(|error| tracing::warn!("skipped: {error}"));
    if !errors.is_empty() {
        tracing::warn!("{} images were left out: their photos cannot be read", errors.len());
    }
    Ok((positions, readable))
}

/// Embeds the readable ones of decoded photos in one call; each unreadable one keeps its error.
///
/// # Errors
/// Those of `embed`, which turns decoded photos into as many rows.
pub fn embed_readable(
    decoded: Vec<Result<Vec<u8>>>,
    embed: impl FnOnce(&[&[u8]]) -> Result<Matrix>,
) -> Result<Vec<Result<Vec<f32>>>> {
    let readable: Vec<&[u8]> = decoded.iter().filter_map(|photo| photo.as_deref().ok()).collect();
    let rows = if readable.is_empty() { Matrix::default() } else { embed(&readable)? };
    let mut rows = rows.iter();
    let mut next_row = || rows.next().expect("invariant: one row for each readable photo").to_vec();
    Ok(decoded.into_iter().map(|photo| photo.map(|_| next_row())).collect())
}

/// Decoded photos; `None` for one that can no longer be read.
pub type DecodedPhotos = Vec<Option<Vec<u8>>>;

/// In a training: lets an embedding from before the training stand in for a photo that can no longer be read.
pub struct PhotoFallback {
    on_bad: OnBadImage,
    /// Errors that were logged.
    logged: BTreeSet<String>,
    count: usize,
}

impl PhotoFallback {
    /// Without unreadable photos so far.
    pub fn new(on_bad: OnBadImage) -> Self {
        Self { on_bad, logged: BTreeSet::new(), count: 0 }
    }

    /// Drops the errors of decoded photos. Each one is logged the first time.
    ///
    /// # Errors
    /// The first unreadable photo, with the remedy, unless such photos are to be skipped.
    pub fn admit(&mut self, decoded: Vec<Result<Vec<u8>>>) -> Result<DecodedPhotos> {
        decoded.into_iter().map(|photo| photo.map(Some).or_else(|error| self.skip(&error))).collect()
    }

    fn skip(&mut self, error: &Error) -> Result<Option<Vec<u8>>> {
        if self.on_bad == OnBadImage::Error {
            let remedy = "replace the photo and go on with --resume, or set data.on_bad_image = \"skip\"";
            return Err(Error::input(format!("{error}; {remedy}")));
        }
        self.count += 1;
        let message = error.to_string();
        if self.logged.insert(message.clone()) {
            tracing::warn!(
                target: PHOTO_FAULTS,
                "{message}: its embedding from before the training stands in for it ({} such so far)",
                self.count
            );
        }
        Ok(None)
    }
}

/// Rows of all `photos` (photo, width): those that `embed` makes of the readable ones, and for each other
/// photo its row of `fallback` (photo, width). The readable rows keep their gradients.
///
/// # Errors
/// Those of `embed` and `fallback`.
pub fn rows_or_fallback(
    photos: &DecodedPhotos,
    embed: impl FnOnce(&[&[u8]]) -> Result<Tensor>,
    fallback: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    let readable: Vec<&[u8]> = photos.iter().flatten().map(Vec::as_slice).collect();
    if readable.is_empty() {
        return fallback();
    }
    let rows = embed(&readable)?;
    if readable.len() == photos.len() {
        return Ok(rows);
    }
    let places = places_in_stack(photos, readable.len());
    let stack = Tensor::cat(&[&rows, &fallback()?], 0)?;
    let places = Tensor::from_vec(places, photos.len(), stack.device())?;
    Ok(stack.index_select(&places, 0)?)
}

/// For each photo its row in a stack of the readable photos' rows over the fallback rows of all photos.
fn places_in_stack(photos: &DecodedPhotos, readable: usize) -> Vec<u32> {
    let mut next_readable = 0;
    let mut place = |(position, photo): (usize, &Option<Vec<u8>>)| {
        if photo.is_none() {
            return (readable + position) as u32;
        }
        next_readable += 1;
        next_readable - 1
    };
    photos.iter().enumerate().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn photos(readable: &[bool]) -> Vec<Result<Vec<u8>>> {
        let photo = |(n, &readable): (usize, &bool)| {
            if readable { Ok(vec![n as u8]) } else { Err(Error::input(format!("photo {n}"))) }
        };
        readable.iter().enumerate().map(photo).collect()
    }

    #[test]
    fn readable_photos_keep_their_positions() {
        let (positions, readable) = split_readable(photos(&[true, false, true]), OnBadImage::Skip).unwrap();
        assert_eq!((positions, readable), (vec![0, 2], vec![vec![0], vec![2]]));
        let refused = split_readable(photos(&[true, false]), OnBadImage::Error).unwrap_err().to_string();
        assert!(refused.contains("photo 1") && refused.contains("on_bad_image"), "{refused}");
    }

    #[test]
    fn only_readable_photos_are_embedded() {
        let embed = |readable: &[&[u8]]| {
            Ok(Matrix::new(1, readable.iter().map(|photo| f32::from(photo[0])).collect()))
        };
        let rows = embed_readable(photos(&[false, true, true]), embed).unwrap();
        assert!(rows[0].is_err());
        assert_eq!(rows[1].as_ref().unwrap(), &[1.0]);
        assert_eq!(rows[2].as_ref().unwrap(), &[2.0]);
    }

    #[test]
    fn an_unreadable_photo_gets_its_fallback_row() {
        let mut fallback = PhotoFallback::new(OnBadImage::Skip);
        let decoded = fallback.admit(photos(&[true, false, true])).unwrap();
        let column = |values: Vec<f32>| Ok(Tensor::from_vec(values, (3, 1), &Device::Cpu)?);
        let embed = |readable: &[&[u8]]| {
            let values: Vec<f32> = readable.iter().map(|photo| f32::from(photo[0])).collect();
            Ok(Tensor::from_vec(values, (readable.len(), 1), &Device::Cpu)?)
        };
        let rows = rows_or_fallback(&decoded, embed, || column(vec![10.0, 11.0, 12.0])).unwrap();
        assert_eq!(rows.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.0, 11.0, 2.0]);
        let refused = PhotoFallback::new(OnBadImage::Error).admit(photos(&[false])).unwrap_err().to_string();
        assert!(refused.contains("--resume"), "{refused}");
    }
}

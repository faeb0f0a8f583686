//! Checks a corpus: photos that are missing or cannot be decoded, split sizes that differ from the published
//! ones.

use rayon::prelude::*;

use super::corpus::{Corpus, Split};
use super::photos::Photo;
use super::{photos, published_splits};
use crate::data::settings::OnBadImage;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

/// A message names this many missing photos and counts the rest.
const NAMED: usize = 10;

/// The size of a split, and its published size if the dataset is a published one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The split.
    pub split: Split,
    /// Number of images.
    pub images: usize,
    /// Number of captions.
    pub captions: usize,
    /// The published number of images.
    pub published: Option<usize>,
}

/// The split sizes of a corpus called `name`.
pub fn counts(corpus: &Corpus, name: &str) -> [Count; 3] {
    let known = published_splits::find(name);
    Split::ALL.map(|split| Count {
        split,
        images: corpus.images_in(split).len(),
        captions: corpus.captions_in(split).len(),
        published: known.map(|known| known.images(split)),
    })
}

/// The images with missing photos, in order.
pub fn missing(corpus: &Corpus) -> Vec<ImageIdx> {
    let images: Vec<ImageIdx> = corpus.images().collect();
    images
        .into_par_iter()
        .filter(|&image| corpus.photo(image).is_some_and(|photo| !photo.is_there()))
        .collect()
}

/// One error for each photo that exists and cannot be decoded. `on_photo` is called once for each photo
/// tried.
pub fn broken(corpus: &Corpus, on_photo: &(dyn Fn() + Sync)) -> Vec<Error> {
    let existing: Vec<&Photo> =
        corpus.images().filter_map(|image| corpus.photo(image)).filter(|photo| photo.is_there()).collect();
    let results = existing.par_iter().map(|photo| {
        let result = photos::read(photo);
        on_photo();
        result
    });
    results.filter_map(Result::err).collect()
}

/// Refuses a corpus with missing photos before any photo is decoded, unless `on_bad` is to skip them.
///
/// # Errors
/// When photos are missing: the message counts them and names the first ones.
pub fn photos_are_there(corpus: &Corpus, on_bad: OnBadImage) -> Result<()> {
    let missing = missing(corpus);
    if missing.is_empty() || on_bad == OnBadImage::Skip {
        return Ok(());
    }
    Err(Error::input(format!(
        "{} of {} photos are missing: {}; get them (dsi data fetch knows flickr8k, flickr30k and coco), correct \
         data.images, or leave them out with --allow-missing (data.on_bad_image = \"skip\")",
        missing.len(),
        corpus.len(),
        named(corpus, &missing)
    )))
}

/// The files of the first few images, and the number of the others.
pub fn named(corpus: &Corpus, images: &[ImageIdx]) -> String {
    let photos = images.iter().filter_map(|&image| corpus.photo(image));
    let mut names: Vec<String> = photos.take(NAMED).map(Photo::to_string).collect();
    if let Some(more) = images.len().checked_sub(NAMED).filter(|&more| more > 0) {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::corpus::{Builder, Entry};
    use super::*;

    #[test]
    fn missing_photos_are_counted_and_the_first_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(Path::new("c"), "line", Some(folder.path()));
        for n in 0..15 {
            let id = format!("{n}.png");
            if n < 2 {
                std::fs::write(folder.path().join(&id), b"no photo").unwrap();
            }
            let entry = Entry { file: id.clone().into(), id, split: Split::Test, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        let corpus = builder.build().unwrap();
        assert_eq!(missing(&corpus).len(), 13);
        assert_eq!(broken(&corpus, &|| ()).len(), 2);
        let message = photos_are_there(&corpus, OnBadImage::Error).unwrap_err().to_string();
        for part in ["13 of 15 photos are missing", "/2.png, ", "/11.png, and 3 more", "--allow-missing"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        photos_are_there(&corpus, OnBadImage::Skip).unwrap();
        assert_eq!(counts(&corpus, "coco")[2].published, Some(5_000));
        assert_eq!(
            counts(&corpus, "mine")[2],
            Count { split: Split::Test, images: 15, captions: 15, published: None }
        );
    }
}

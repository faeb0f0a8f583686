//! The photos and captions of one split in memory: captions as tokens, photos as the squares that the encoder
//! takes.
//!
//! Every photo is decoded once at the start, in parallel, so an unreadable one is found before anything is
//! trained. Its square is kept while there is a [`MemoryBudget`]; the other photos are decoded again for each
//! batch, ahead of it. Decoding is a function of the file, so the budget changes the speed and nothing else.

use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::data::photos::{self, Photo};
use crate::data::preprocess::Preprocess;
use crate::data::second_view::second_view;
use crate::data::settings::OnBadImage;
use crate::encoder::TrainableDualEncoder;
use crate::encoder::unreadable_photos::split_readable;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::rng::Rng;

/// Photos that are decoded together.
const DECODED_AT_ONCE: usize = 256;

/// Bytes of memory that squares may still take.
pub struct MemoryBudget(pub usize);

impl MemoryBudget {
    /// All splits together: 40,000 photos of 72 pixels a side, or 7,000 of 224.
    pub const ALL_SPLITS: Self = Self(1 << 30);

    /// The square, if the budget covers it.
    fn keep(&mut self, square: Vec<u8>) -> Option<Arc<[u8]>> {
        self.0 = self.0.checked_sub(square.len())?;
        Some(square.into())
    }
}

/// A photo and, if the budget covered it, its square.
struct Example {
    photo: Photo,
    square: Option<Arc<[u8]>>,
}

/// One split.
pub struct SplitExamples {
    photos: Vec<Example>,
    /// The captions of each photo, in tokens.
    captions: Vec<Vec<Vec<u32>>>,
    preprocess: Preprocess,
}

impl SplitExamples {
    /// The split, prepared for an encoder.
    ///
    /// # Errors
    /// When the split has no photos, or one cannot be read and is not to be skipped.
    pub fn read(
        corpus: &Corpus,
        split: Split,
        encoder: &dyn TrainableDualEncoder,
        budget: &mut MemoryBudget,
        on_bad: OnBadImage,
        ctx: &Context,
    ) -> Result<Self> {
        let (images, files) = (corpus.images_in(split), photos_in(corpus, split)?);
        let preprocess = encoder.preprocess().clone();
        let photos = decode_photos(&files, &preprocess, budget, ctx);
        let (kept, photos) = split_readable(photos, on_bad)?;
        if photos.is_empty() {
            return Err(Error::input(format!("no photo of the {split} split can be read")));
        }
        let tokenize = |&position: &usize| tokenize_captions(corpus, images[position], encoder);
        let captions = kept.iter().map(tokenize).collect::<Result<_>>()?;
        Ok(Self { photos, captions, preprocess })
    }

    /// Number of photos.
    pub fn len(&self) -> usize {
        self.photos.len()
    }

    /// The captions of a photo, in tokens.
    pub fn captions(&self, photo: usize) -> &[Vec<u32>] {
        &self.captions[photo]
    }

    /// All captions in tokens, each with its photo.
    pub fn captions_with_photo(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let photos = self.captions.iter().enumerate();
        photos.flat_map(|(photo, captions)| captions.iter().map(move |ids| (photo, ids.as_slice())))
    }

    /// A second view of each of these photos' squares, the n-th drawn from `draw(n)`, as a square. (The view
    /// is taken of the square because the whole photo is not kept.)
    ///
    /// # Errors
    /// As [`Self::photos`].
    pub fn second_views(
        &self,
        photos: &[usize],
        draw: &(dyn Fn(usize) -> Rng + Sync),
    ) -> Result<Vec<Arc<[u8]>>> {
        let side = self.preprocess.side() as u32;
        let view = |(n, square): (usize, &Arc<[u8]>)| {
            let square =
                RgbImage::from_raw(side, side, square.to_vec()).expect("invariant: a square's bytes");
            self.preprocess.apply(&second_view(&square, &mut draw(n))).into()
        };
        Ok(self.photos(photos)?.par_iter().enumerate().map(view).collect())
    }

    /// The squares of these photos, in their order.
    ///
    /// # Errors
    /// When a photo that could be read at the start no longer can.
    pub fn photos(&self, photos: &[usize]) -> Result<Vec<Arc<[u8]>>> {
        let square = |&photo: &usize| match &self.photos[photo] {
            Example { square: Some(square), .. } => Ok(square.clone()),
            Example { photo, .. } => photos::read(photo).map(|photo| self.preprocess.apply(&photo).into()),
        };
        photos.par_iter().map(square).collect()
    }
}

fn tokenize_captions(
    corpus: &Corpus,
    image: ImageIdx,
    encoder: &dyn TrainableDualEncoder,
) -> Result<Vec<Vec<u32>>> {
    corpus.captions_of(image).map(|caption| encoder.tokenize(corpus.caption(caption))).collect()
}

/// Decodes each photo and keeps its square within the budget, or returns what is wrong with it.
fn decode_photos(
    files: &[Photo],
    preprocess: &Preprocess,
    budget: &mut MemoryBudget,
    ctx: &Context,
) -> Vec<Result<Example>> {
    let bar = ctx.bar(files.len(), "decoding photos");
    let mut all = Vec::with_capacity(files.len());
    for batch in files.chunks(DECODED_AT_ONCE) {
        let squares = photos::decode_batch(batch, preprocess);
        for (photo, square) in batch.iter().zip(squares) {
            all.push(square.map(|square| Example { photo: photo.clone(), square: budget.keep(square) }));
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    all
}

/// The photos of a split.
///
/// # Errors
/// When it has no images, or they have no photos.
pub fn photos_in(corpus: &Corpus, split: Split) -> Result<Vec<Photo>> {
    let images = corpus.images_in(split);
    if images.is_empty() {
        return Err(Error::input(format!(
            "the corpus has no images in its {split} split; pretraining needs some"
        )));
    }
    let photo = |image: ImageIdx| {
        let photo = corpus.photo(image).cloned();
        photo.ok_or_else(|| Error::input("pretraining needs photos; this corpus has features only"))
    };
    images.into_iter().map(photo).collect()
}

#[cfg(all(test, feature = "scenes"))]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::data::{jsonl, scenes};
    use crate::encoder::clip::ClipBundle;
    use crate::encoder::trainable_dual_encoder::TrainableTowers;

    #[test]
    fn the_memory_budget_does_not_change_the_squares() {
        let root = tempfile::tempdir().unwrap();
        let spec = scenes::Spec { seed: 3, train: 5, val: 1, test: 1, side: 32 };
        scenes::write(root.path(), &spec, &|| ()).unwrap();
        let corpus =
            jsonl::read(&root.path().join("corpus.jsonl"), Some(root.path()), OnBadImage::Error).unwrap();
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/scenes-clip");
        let clip = ClipBundle::read(&clip, TrainableTowers::NOTHING, &Device::Cpu).unwrap();
        let side = clip.preprocess.side();
        let ctx = Context::default();
        let squares = |kept: usize| {
            let mut budget = MemoryBudget(kept * 3 * side * side);
            let read =
                SplitExamples::read(&corpus, Split::Train, &clip, &mut budget, OnBadImage::Error, &ctx)
                    .unwrap();
            assert_eq!(read.photos.iter().filter(|e| e.square.is_some()).count(), kept.min(5));
            read.photos(&[4, 0, 2]).unwrap()
        };
        assert_eq!(squares(9), squares(0));
        assert_eq!(squares(9), squares(3));
        assert_ne!(squares(0)[0], squares(0)[1]);
    }
}

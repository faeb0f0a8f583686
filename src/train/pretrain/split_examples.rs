//! The photos and captions of one split, ready for a CLIP: captions as tokens, photos as bytes of its squares.
//!
//! A corpus of photos may be larger than memory. Each photo is decoded once at the start, in parallel, so that a
//! broken one is found before anything is trained; its bytes are kept while there is [`Room`], and whatever lies beyond
//! is decoded again for each batch, ahead of it. DecodeState is a function of the file: what is kept changes the speed and nothing else.

use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use crate::config::OnBadImage;
use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::data::photos::{self, Photo};
use crate::data::preprocess::Preprocess;
use crate::data::second_view::second_view;
use crate::encoder::clip::ClipBundle;
use crate::encoder::embedded_corpus::split_readable;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::rng::Rng;

/// Photos that are decoded together.
const AT_ONCE: usize = 256;

/// Bytes of memory that photos may still take.
pub struct Room(pub usize);

impl Room {
    /// All splits together: 40,000 photos of 72 pixels a side, or 7,000 of 224.
    pub const ALL: Self = Self(1 << 30);

    /// The bytes, where there is room for them.
    fn keep(&mut self, bytes: Vec<u8>) -> Option<Arc<[u8]>> {
        self.0 = self.0.checked_sub(bytes.len())?;
        Some(bytes.into())
    }
}

/// A photo and, where there was room for it, its square.
struct Example {
    photo: Photo,
    square: Option<Arc<[u8]>>,
}

/// One split.
pub struct Examples {
    photos: Vec<Example>,
    /// The captions of each photo, in tokens.
    captions: Vec<Vec<Vec<u32>>>,
    preprocess: Preprocess,
}

impl Examples {
    /// The split, as `whole` is to see it.
    ///
    /// # Errors
    /// When the split has no photos, or one cannot be read and is not to be left out.
    pub fn read(
        corpus: &Corpus,
        split: Split,
        whole: &ClipBundle,
        room: &mut Room,
        on_bad: OnBadImage,
        ctx: &Context,
    ) -> Result<Self> {
        let images = corpus.images_in(split);
        if images.is_empty() {
            return Err(Error::input(format!(
                "the corpus has no images in its {split} split; pretraining needs some"
            )));
        }
        let (kept, photos) = split_readable(prepared(corpus, &images, whole, room, ctx)?, on_bad)?;
        if photos.is_empty() {
            return Err(Error::input(format!("no photo of the {split} split can be read")));
        }
        let context = whole.shape.text_config.max_position_embeddings;
        let encode = |&place: &usize| {
            let captions = corpus.captions_of(images[place]);
            captions.map(|caption| whole.tokens.encode(corpus.caption(caption), context)).collect()
        };
        let captions = kept.iter().map(encode).collect::<Result<_>>()?;
        Ok(Self { photos, captions, preprocess: whole.preprocess.clone() })
    }

    /// Number of photos.
    pub fn len(&self) -> usize {
        self.photos.len()
    }

    /// The captions of each photo, in tokens.
    pub fn captions(&self) -> &[Vec<Vec<u32>>] {
        &self.captions
    }

    /// A second view of the square of each of some photos, the n-th drawn from `draw(n)`, as a square. (Of the square, not of
    /// the photo: that may be kept no longer.)
    ///
    /// # Errors
    /// As [`Self::photos`].
    pub fn views(&self, items: &[usize], draw: &(dyn Fn(usize) -> Rng + Sync)) -> Result<Vec<Arc<[u8]>>> {
        let side = self.preprocess.side() as u32;
        let view = |(n, square): (usize, &Arc<[u8]>)| {
            let square =
                RgbImage::from_raw(side, side, square.to_vec()).expect("invariant: a square's bytes");
            self.preprocess.apply(&second_view(&square, &mut draw(n))).into()
        };
        Ok(self.photos(items)?.par_iter().enumerate().map(view).collect())
    }

    /// The squares of some photos, in the order asked for.
    ///
    /// # Errors
    /// When a photo that could be read at the start no longer can.
    pub fn photos(&self, items: &[usize]) -> Result<Vec<Arc<[u8]>>> {
        let square = |&item: &usize| match &self.photos[item] {
            Example { square: Some(square), .. } => Ok(square.clone()),
            Example { photo, .. } => Ok(self.preprocess.apply(&photos::read(photo)?).into()),
        };
        items.par_iter().map(square).collect()
    }
}

/// Decodes each photo: itself with what is kept of it, or what is wrong with it.
fn prepared(
    corpus: &Corpus,
    images: &[ImageIdx],
    whole: &ClipBundle,
    room: &mut Room,
    ctx: &Context,
) -> Result<Vec<Result<Example>>> {
    let file = |&image: &ImageIdx| {
        let photo = corpus.photo(image).cloned();
        photo.ok_or_else(|| Error::input("pretraining needs photos; this corpus has features only"))
    };
    let files = images.iter().map(file).collect::<Result<Vec<_>>>()?;
    let bar = ctx.bar(files.len(), "decoding photos");
    let mut all = Vec::with_capacity(files.len());
    for batch in files.chunks(AT_ONCE) {
        let decoded = photos::decode_batch(batch, &whole.preprocess);
        let example = |(photo, square): (&Photo, Result<Vec<u8>>)| {
            square.map(|bytes| Example { photo: photo.clone(), square: room.keep(bytes) })
        };
        all.extend(batch.iter().zip(decoded).map(example));
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(all)
}

#[cfg(all(test, feature = "scenes"))]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::data::{jsonl, scenes};
    use crate::encoder::clip::TrainableTowers;

    #[test]
    fn what_is_kept_changes_nothing_but_the_speed() {
        let root = tempfile::tempdir().unwrap();
        let spec = scenes::Spec { seed: 3, train: 5, val: 1, test: 1, side: 32 };
        scenes::write(root.path(), &spec, &|| ()).unwrap();
        let corpus = jsonl::read(&root.path().join("corpus.jsonl"), Some(root.path())).unwrap();
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/scenes-clip");
        let whole = ClipBundle::read(&clip, TrainableTowers::NOTHING, &Device::Cpu).unwrap();
        let side = whole.preprocess.side();
        let squares = |squares_of_room: usize| {
            let mut room = Room(squares_of_room * 3 * side * side);
            let read = Examples::read(
                &corpus,
                Split::Train,
                &whole,
                &mut room,
                OnBadImage::Error,
                &Context::default(),
            )
            .unwrap();
            assert_eq!(read.photos.iter().filter(|e| e.square.is_some()).count(), squares_of_room.min(5));
            read.photos(&[4, 0, 2]).unwrap()
        };
        assert_eq!(squares(9), squares(0));
        assert_eq!(squares(9), squares(3));
        assert_ne!(squares(0)[0], squares(0)[1]);
    }
}

//! The corpus: an ordered list of images, each with a split and captions.
//!
//! Every reader ([`karpathy`](super::karpathy), [`jsonl`](super::jsonl), [`webdataset`](super::webdataset))
//! fills a [`Builder`], which refuses entries that would spoil a measurement: a duplicate image name, an
//! image without captions, a blank caption. What a reader does not use it counts by reason ([`unused`]). All other code addresses images by [`ImageIdx`] and captions by
//! their position.
//!
//! The first rule of measurement, *no training sees test captions*, is kept by types: training code takes a
//! [`TrainCaption`] or a [`TrainPair`], and only this file makes them, from the train split.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

pub use self::builder::{Builder, Entry, LEAVE_OUT};
use self::unused::UnusedList;
use super::photos::Photo;
use crate::data::settings::Regime;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

mod builder;
pub mod captions;
pub mod photo_path;
pub mod unused;

pub use crate::data::settings::Split;

/// A caption of the train split, by its position in the corpus. Only a [`Corpus`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrainCaption(usize);

impl TrainCaption {
    /// The caption's position in the corpus.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A caption of the train split and the image it describes: the training data of retrieval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainPair {
    caption: TrainCaption,
    image: ImageIdx,
}

impl TrainPair {
    /// The caption.
    pub fn caption(self) -> TrainCaption {
        self.caption
    }

    /// The image it describes.
    pub fn image(self) -> ImageIdx {
        self.image
    }
}

/// Images in order (row = [`ImageIdx`]) and their captions in the same order, contiguous per image. Never
/// empty. It also keeps what its reader did not use.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    images: Vec<Image>,
    captions: Vec<String>,
    rows: HashMap<String, ImageIdx>,
    unused: UnusedList,
}

#[derive(Debug, Clone)]
struct Image {
    id: String,
    photo: Option<Photo>,
    split: Split,
    captions: Range<usize>,
}

#[allow(clippy::len_without_is_empty, reason = "a corpus is never empty")]
impl Corpus {
    /// BLAKE3 (hex) of all names, splits and captions: equal corpora have equal fingerprints.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for image in self.images() {
            hasher.update(format!("{:?} {}\n", self.id(image), self.split(image)).as_bytes());
            self.captions_of(image)
                .for_each(|n| _ = hasher.update(format!("{:?}\n", self.caption(n)).as_bytes()));
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What the reader of the corpus did not use, and why.
    pub fn unused(&self) -> &UnusedList {
        &self.unused
    }

    /// Number of images, at least one.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// The image's name in the corpus file, unique in the corpus.
    pub fn id(&self, image: ImageIdx) -> &str {
        &self.images[image.row()].id
    }

    /// The image called `id`.
    pub fn find(&self, id: &str) -> Option<ImageIdx> {
        self.rows.get(id).copied()
    }

    /// The location of the photo, which may be missing on disk; `None` in a corpus of features.
    pub fn photo(&self, image: ImageIdx) -> Option<&Photo> {
        self.images[image.row()].photo.as_ref()
    }

    /// The photo's file; `None` also if the photo is part of an archive.
    pub fn file(&self, image: ImageIdx) -> Option<&Path> {
        match self.photo(image)? {
            Photo::File(path) | Photo::Given(path) => Some(path),
            Photo::Slice { .. } => None,
        }
    }

    /// The split of the image and all its captions.
    pub fn split(&self, image: ImageIdx) -> Split {
        self.images[image.row()].split
    }

    /// All images in order.
    pub fn images(&self) -> impl ExactSizeIterator<Item = ImageIdx> + use<> {
        (0..self.len()).map(ImageIdx::from)
    }

    /// The images of one split in order.
    pub fn images_in(&self, split: Split) -> Vec<ImageIdx> {
        self.images().filter(|&image| self.split(image) == split).collect()
    }

    /// The images that training may memorise: all, or those of the train split.
    pub fn memorised(&self, regime: Regime) -> Vec<ImageIdx> {
        match regime {
            Regime::Transductive => self.images().collect(),
            Regime::Inductive => self.images_in(Split::Train),
        }
    }

    /// Positions of the image's captions, at least one.
    pub fn captions_of(&self, image: ImageIdx) -> Range<usize> {
        self.images[image.row()].captions.clone()
    }

    /// Positions of the captions of one split in order.
    pub fn captions_in(&self, split: Split) -> Vec<usize> {
        self.images_in(split).into_iter().flat_map(|image| self.captions_of(image)).collect()
    }

    /// All captions in order.
    pub fn captions(&self) -> &[String] {
        &self.captions
    }

    /// The caption at a position.
    pub fn caption(&self, caption: usize) -> &str {
        &self.captions[caption]
    }

    /// The image that the caption at a position describes.
    pub fn owner(&self, caption: usize) -> ImageIdx {
        self.images.partition_point(|image| image.captions.end <= caption).into()
    }

    /// Every train caption with its image, in corpus order.
    pub fn train_pairs(&self) -> Vec<TrainPair> {
        let pairs = |image| {
            self.captions_of(image).map(move |caption| TrainPair { caption: TrainCaption(caption), image })
        };
        self.images_in(Split::Train).into_iter().flat_map(pairs).collect()
    }

    /// The images of a smaller corpus: the first ones of each split, `count` in all (0 means every image), in
    /// the proportion of the splits. Every non-empty split keeps an image if `count` is large enough.
    pub fn proportional(&self, count: usize) -> Vec<ImageIdx> {
        if count == 0 || count >= self.len() {
            return self.images().collect();
        }
        let splits = Split::ALL.map(|split| self.images_in(split));
        // Adams' apportionment: the next place goes to the split with the most images a place.
        let mut places = [0usize; 3];
        for _ in 0..count {
            let next = (0..3).filter(|&s| places[s] < splits[s].len()).max_by(|&a, &b| {
                let (of_a, of_b) = (splits[a].len() * places[b], splits[b].len() * places[a]);
                of_a.cmp(&of_b).then(b.cmp(&a))
            });
            places[next.expect("invariant: fewer places than images")] += 1;
        }
        let mut kept: Vec<_> = splits.iter().zip(places).flat_map(|(s, n)| &s[..n]).copied().collect();
        kept.sort_unstable();
        kept
    }

    /// The corpus reduced to these images (strictly ascending); their rows become 0, 1, 2, …
    ///
    /// # Errors
    /// When no image is left.
    pub fn keeping(&self, images: &[ImageIdx]) -> Result<Self> {
        assert!(images.is_sorted_by(|a, b| a < b), "invariant: ascending rows");
        if images.is_empty() {
            return Err(Error::input("no image of the corpus is left; at least one is needed"));
        }
        let mut kept = Self { unused: self.unused.clone(), ..Self::default() };
        for image in images.iter().map(|image| &self.images[image.row()]) {
            kept.append(image.clone(), &self.captions[image.captions.clone()]);
        }
        Ok(kept)
    }

    fn append(&mut self, image: Image, captions: &[String]) {
        let start = self.captions.len();
        self.captions.extend_from_slice(captions);
        self.rows.insert(image.id.clone(), self.images.len().into());
        self.images.push(Image { captions: start..self.captions.len(), ..image });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, split: Split, captions: &[&str]) -> Entry {
        Entry {
            id: id.into(),
            file: id.into(),
            split,
            captions: captions.iter().map(|&c| c.into()).collect(),
        }
    }

    fn corpus(splits: &[Split]) -> Corpus {
        let mut builder = Builder::new(Path::new("c"), "line", Some(Path::new("photos")));
        for (i, &split) in splits.iter().enumerate() {
            builder.push(i + 1, entry(&format!("{i}.png"), split, &["one", "two"][..1 + i % 2])).unwrap();
        }
        builder.build().unwrap()
    }

    #[test]
    fn captions_are_contiguous_and_know_their_image() {
        let corpus = corpus(&[Split::Train, Split::Test, Split::Train]);
        assert_eq!(corpus.captions_of(ImageIdx(1)), 1..3);
        assert_eq!((0..4).map(|i| corpus.owner(i).0).collect::<Vec<_>>(), [0, 1, 1, 2]);
        assert_eq!(corpus.find("2.png"), Some(ImageIdx(2)));
        assert_eq!(corpus.find("3.png"), None);
        assert_eq!(corpus.file(ImageIdx(2)), Some(Path::new("photos/2.png")));
    }

    #[test]
    fn only_train_captions_become_pairs() {
        let corpus = corpus(&[Split::Train, Split::Test, Split::Val, Split::Train]);
        let pairs: Vec<_> =
            corpus.train_pairs().iter().map(|p| (p.caption().index(), p.image().row())).collect();
        assert_eq!(pairs, [(0, 0), (4, 3), (5, 3)]);
        assert_eq!(corpus.captions_in(Split::Test), [1, 2]);
    }

    #[test]
    fn limiting_keeps_the_proportion_and_the_first_images_of_each_split() {
        let splits = [vec![Split::Test], vec![Split::Train; 6], vec![Split::Val; 3]].concat();
        let corpus = corpus(&splits);
        let limited = |count| corpus.keeping(&corpus.proportional(count)).unwrap();
        let small = limited(5);
        let ids: Vec<_> = small.images().map(|image| small.id(image).to_owned()).collect();
        assert_eq!(ids, ["0.png", "1.png", "2.png", "3.png", "7.png"]);
        assert_eq!((small.captions().len(), small.owner(4)), (8, ImageIdx(3)));
        assert_eq!(small.find("7.png"), Some(ImageIdx(4)));
        assert_eq!(limited(0).len(), 10);
        assert_eq!(limited(99).len(), 10);
    }
}

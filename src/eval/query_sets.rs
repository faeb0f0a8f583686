//! What is asked, and over which images.

use std::ops::Range;

use super::row_setting::{Gallery, QueryKind};
use crate::config;
use crate::data::corpus::{Corpus, Split};
use crate::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use crate::encoder::{MirrorTta, PhotoView};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::modality::Modality;
use crate::retriever::Query;
use crate::rng;

/// Queries of one kind, each with the image it asks for, in the order of the images.
#[derive(Clone)]
pub struct QuerySet {
    /// What is asked with.
    pub kind: QueryKind,
    /// The queries, embedded.
    pub queries: Vec<Query>,
    /// The right image of each.
    pub gold: Vec<ImageIdx>,
    /// Names for run files.
    pub ids: Vec<String>,
}

/// The captions of a split.
pub fn captions(prepared: &EmbeddedCorpus, split: Split) -> QuerySet {
    let corpus = &prepared.corpus;
    let captions = corpus.captions_in(split);
    let query =
        |&n: &usize| Query::Embedding(Modality::Caption, prepared.embeddings.captions.row(n).to_vec());
    QuerySet {
        kind: QueryKind::Caption,
        queries: captions.iter().map(query).collect(),
        gold: captions.iter().map(|&n| corpus.owner(n)).collect(),
        ids: captions.iter().map(|&n| caption_id(corpus, n)).collect(),
    }
}

/// The name of a caption in run files: its image's and its number there.
pub fn caption_id(corpus: &Corpus, caption: usize) -> String {
    let image = corpus.owner(caption);
    format!("{}#{}", corpus.id(image), caption - corpus.captions_of(image).start)
}

/// These images, each asking for itself.
pub fn images(prepared: &EmbeddedCorpus, images: &[ImageIdx]) -> QuerySet {
    let row = |image: &ImageIdx| prepared.embeddings.images.row(image.row()).to_vec();
    QuerySet {
        kind: QueryKind::Image,
        queries: images.iter().map(|image| Query::Embedding(Modality::Image, row(image))).collect(),
        gold: images.to_vec(),
        ids: images.iter().map(|&image| prepared.corpus.id(image).to_owned()).collect(),
    }
}

/// A second view of each of these images, asking for the image; none where there are no photos.
///
/// # Errors
/// When a photo can no longer be read.
pub fn views(
    prepared: &EmbeddedCorpus,
    images: &[ImageIdx],
    mirror: MirrorTta,
    seed: u64,
) -> Result<Option<QuerySet>> {
    let encoder = &prepared.encoder;
    if !encoder.embeds_new_inputs() {
        return Ok(None);
    }
    let photos = photos_of(&prepared.corpus, images.iter().copied())?;
    let draw = |n: usize| rng::stream(seed, "view", n as u64);
    let rows = encoder
        .photos(&photos, PhotoView::second(&draw, mirror), &|_| ())?
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(QuerySet {
        kind: QueryKind::View,
        queries: rows.into_iter().map(|row| Query::Embedding(Modality::Image, row)).collect(),
        gold: images.to_vec(),
        ids: images.iter().map(|&image| prepared.corpus.id(image).to_owned()).collect(),
    }))
}

/// A gallery of a table: one list of images, or the folds it consists of.
pub struct GalleryFolds {
    /// Which.
    pub gallery: Gallery,
    /// The images that may be returned, fold by fold.
    pub folds: Vec<Vec<ImageIdx>>,
}

impl GalleryFolds {
    /// Images of the largest fold.
    pub fn images(&self) -> usize {
        self.folds.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The queries that each fold is asked, given the image of each query, ascending and in one of the folds, whose
    /// images ascend too.
    pub fn asked(&self, gold: &[ImageIdx]) -> Vec<Range<usize>> {
        let end = |fold: &Vec<ImageIdx>| gold.partition_point(|image| Some(image) <= fold.last());
        let ends: Vec<usize> = self.folds.iter().map(end).collect();
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| start..end).collect()
    }
}

/// The galleries that a configuration asks for.
///
/// # Errors
/// When the split has fewer images than folds.
pub fn pools(section: &config::Eval, corpus: &Corpus, split: Split) -> Result<Vec<GalleryFolds>> {
    let of_split = corpus.images_in(split);
    let folded = folds(&of_split, section.folds);
    if folded.iter().any(Vec::is_empty) {
        let (folds, images) = (section.folds, of_split.len());
        return Err(Error::input(format!(
            "eval.folds = {folds}, but the {split} split has {images} images; each fold needs one"
        )));
    }
    let mut pools = Vec::new();
    if section.gallery != config::Gallery::Corpus {
        pools.push(GalleryFolds { gallery: Gallery::Split, folds: vec![of_split] });
        if section.folds > 1 {
            pools.push(GalleryFolds { gallery: Gallery::Folds, folds: folded });
        }
    }
    if section.gallery != config::Gallery::Split {
        pools.push(GalleryFolds { gallery: Gallery::Corpus, folds: vec![corpus.images().collect()] });
    }
    Ok(pools)
}

/// `count` runs of consecutive images, as equal as can be: those of Karpathy's 5 × 1,000 for COCO's 5,000.
fn folds(images: &[ImageIdx], count: usize) -> Vec<Vec<ImageIdx>> {
    let start = |fold: usize| fold * images.len() / count;
    (0..count).map(|fold| images[start(fold)..start(fold + 1)].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one fold")]

    use super::*;

    fn rows(rows: impl IntoIterator<Item = u32>) -> Vec<ImageIdx> {
        rows.into_iter().map(ImageIdx).collect()
    }

    #[test]
    fn folds_are_consecutive_images_and_as_equal_as_can_be() {
        let five = folds(&rows(0..5000), 5);
        assert_eq!(five.iter().map(Vec::len).collect::<Vec<_>>(), [1000; 5]);
        assert_eq!((five[1][0], five[4][999]), (ImageIdx(1000), ImageIdx(4999)));
        assert_eq!(folds(&rows([3, 5, 8, 9, 12]), 2), [rows([3, 5]), rows([8, 9, 12])]);
        assert_eq!(folds(&rows([3]), 1), [rows([3])]);
    }

    #[test]
    fn a_fold_is_asked_the_queries_of_its_own_images() {
        let pool = GalleryFolds { gallery: Gallery::Folds, folds: vec![rows([3, 5]), rows([8, 9, 12])] };
        assert_eq!(pool.asked(&rows([3, 3, 5, 8, 8, 12, 12])), [0..3, 3..7]);
        assert_eq!(pool.images(), 3);
        let whole = GalleryFolds { gallery: Gallery::Corpus, folds: vec![rows(0..20)] };
        assert_eq!(whole.asked(&rows([3, 5])), [0..2]);
    }

    #[test]
    fn the_folds_stand_between_the_split_and_the_corpus() {
        use crate::data::corpus::{Builder, Entry};
        let mut builder = Builder::new(std::path::Path::new("c"), "line", None);
        for n in 0..6 {
            let split = if n % 2 == 0 { Split::Train } else { Split::Test };
            let entry = Entry { id: n.to_string(), file: "x".into(), split, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        let corpus = builder.build().unwrap();
        let section = |folds, gallery| config::Eval { folds, gallery, ..Default::default() };
        let of = |folds, gallery| pools(&section(folds, gallery), &corpus, Split::Test);
        let names = |pools: Vec<GalleryFolds>| pools.iter().map(|pool| pool.gallery).collect::<Vec<_>>();
        use Gallery::{Corpus, Folds, Split as OfSplit};
        assert_eq!(names(of(1, config::Gallery::Both).unwrap()), [OfSplit, Corpus]);
        assert_eq!(names(of(3, config::Gallery::Both).unwrap()), [OfSplit, Folds, Corpus]);
        assert_eq!(names(of(3, config::Gallery::Corpus).unwrap()), [Corpus]);
        assert_eq!(of(2, config::Gallery::Split).unwrap()[1].folds, [rows([1]), rows([3, 5])]);
        let refusal = of(4, config::Gallery::Both).err().unwrap().to_string();
        assert!(refusal.contains("eval.folds = 4") && refusal.contains("3 images"), "{refusal}");
    }
}

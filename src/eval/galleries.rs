//! The images that may be returned: a split, its folds, the whole corpus.

use std::ops::Range;

use super::row_setting::Gallery;
use super::settings;
use crate::data::corpus::Corpus;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

/// A gallery of a report: one list of images, or the folds that it consists of.
pub struct GalleryFolds {
    /// Its name.
    pub gallery: Gallery,
    /// The images that may be returned, fold by fold.
    pub folds: Vec<Vec<ImageIdx>>,
}

impl GalleryFolds {
    /// Images of the largest fold.
    pub fn images(&self) -> usize {
        self.folds.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The queries of each fold, given the right image of each query. Images ascend, both in `gold` and from
    /// fold to fold.
    pub fn query_ranges(&self, gold: &[ImageIdx]) -> Vec<Range<usize>> {
        let end = |fold: &Vec<ImageIdx>| gold.partition_point(|image| Some(image) <= fold.last());
        let ends: Vec<usize> = self.folds.iter().map(end).collect();
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, &end)| start..end).collect()
    }
}

/// The galleries that a configuration measures over.
///
/// # Errors
/// When the split has no images, or fewer than folds.
pub fn galleries(section: &settings::Eval, corpus: &Corpus) -> Result<Vec<GalleryFolds>> {
    let of_split = corpus.images_in(section.split);
    if of_split.is_empty() {
        let split = section.split;
        return Err(Error::input(format!(
            "the corpus has no images in its {split} split; choose another with eval.split"
        )));
    }
    let folded = folds(&of_split, section.folds);
    if folded.iter().any(Vec::is_empty) {
        let images = of_split.len();
        return Err(Error::input(format!(
            "eval.folds = {}, but the {} split has {images} images; each fold needs one",
            section.folds, section.split
        )));
    }
    let mut galleries = Vec::new();
    if section.gallery != settings::Gallery::Corpus {
        galleries.push(GalleryFolds { gallery: Gallery::Split, folds: vec![of_split] });
        if section.folds > 1 {
            galleries.push(GalleryFolds { gallery: Gallery::Folds, folds: folded });
        }
    }
    if section.gallery != settings::Gallery::Split {
        galleries.push(GalleryFolds { gallery: Gallery::Corpus, folds: vec![corpus.images().collect()] });
    }
    Ok(galleries)
}

/// Checks that the split can be measured, so that a training does not end with a refusal.
///
/// # Errors
/// As [`galleries`].
pub fn require(section: &settings::Eval, corpus: &Corpus) -> Result<()> {
    galleries(section, corpus).map(|_| ())
}

/// `count` runs of consecutive images, as equal as possible: those of Karpathy's 5 × 1,000 for COCO's 5,000.
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
    fn folds_are_consecutive_images_and_as_equal_as_possible() {
        let five = folds(&rows(0..5000), 5);
        assert_eq!(five.iter().map(Vec::len).collect::<Vec<_>>(), [1000; 5]);
        assert_eq!((five[1][0], five[4][999]), (ImageIdx(1000), ImageIdx(4999)));
        assert_eq!(folds(&rows([3, 5, 8, 9, 12]), 2), [rows([3, 5]), rows([8, 9, 12])]);
        assert_eq!(folds(&rows([3]), 1), [rows([3])]);
    }

    #[test]
    fn a_fold_has_the_queries_of_its_own_images() {
        let pool = GalleryFolds { gallery: Gallery::Folds, folds: vec![rows([3, 5]), rows([8, 9, 12])] };
        assert_eq!(pool.query_ranges(&rows([3, 3, 5, 8, 8, 12, 12])), [0..3, 3..7]);
        assert_eq!(pool.images(), 3);
        let whole = GalleryFolds { gallery: Gallery::Corpus, folds: vec![rows(0..20)] };
        assert_eq!(whole.query_ranges(&rows([3, 5])), [0..2]);
    }

    #[test]
    fn folds_come_between_the_split_and_the_corpus() {
        use crate::data::corpus::{Builder, Entry, Split};
        let mut builder = Builder::new(std::path::Path::new("c"), "line", None);
        for n in 0..6 {
            let split = if n % 2 == 0 { Split::Train } else { Split::Test };
            let entry = Entry { id: n.to_string(), file: "x".into(), split, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        let corpus = builder.build().unwrap();
        let section = |folds, gallery| settings::Eval { folds, gallery, ..Default::default() };
        let of = |folds, gallery| galleries(&section(folds, gallery), &corpus);
        let names =
            |found: Vec<GalleryFolds>| found.iter().map(|gallery| gallery.gallery).collect::<Vec<_>>();
        use Gallery::{Corpus, Folds, Split as OfSplit};
        assert_eq!(names(of(1, settings::Gallery::Both).unwrap()), [OfSplit, Corpus]);
        assert_eq!(names(of(3, settings::Gallery::Both).unwrap()), [OfSplit, Folds, Corpus]);
        assert_eq!(names(of(3, settings::Gallery::Corpus).unwrap()), [Corpus]);
        assert_eq!(of(2, settings::Gallery::Split).unwrap()[1].folds, [rows([1]), rows([3, 5])]);
        let refusal = of(4, settings::Gallery::Both).err().unwrap().to_string();
        assert!(refusal.contains("eval.folds = 4") && refusal.contains("3 images"), "{refusal}");
    }
}

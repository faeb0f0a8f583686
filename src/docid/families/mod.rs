//! The families of docids: one file each, and one line in [`FAMILIES`].
//!
//! # How to add a family
//! 1. Write a file here with a type that implements [`DocidFamily`]: its name, a sentence about it, and
//!    [`DocidFamily::assign`], which gives every image a docid. Mathematics that several families may use lies
//!    beside this folder ([`super::rq`], [`super::kmeans_tree`], [`super::suffix`]).
//! 2. Declare the module below and add the type to [`FAMILIES`].
//!
//! `index.family` then takes the name, `dsi config` and messages list it, and the tests of this module check
//! that it keeps what all families promise. A family with settings of its own also adds them to
//! [`FamilySettings`] and to the section `[index]`.

mod atomic;
pub mod family_choice;
mod learned;
mod numeric;
mod rq;
mod tree;

pub use self::family_choice::Family;
use super::rq::Codebooks;
use super::suffix::Collisions;
use super::{Code, DocidSet, unique_paths};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::rng::{self, Rng};

/// All families, in the order in which messages list them.
pub static FAMILIES: &[&dyn DocidFamily] =
    &[&atomic::Atomic, &numeric::Numeric, &tree::Tree, &rq::Rq, &learned::Learned];

/// A way to give docids.
pub trait DocidFamily: Sync {
    /// The word for it in a configuration file and in an index.
    fn name(&self) -> &'static str;

    /// What a docid of this family is, in one sentence.
    fn about(&self) -> &'static str;

    /// Whether docids are codes of codebooks in the space of the queries. Grounded logits and second docids
    /// need that.
    fn has_codebooks(&self) -> bool {
        false
    }

    /// Whether docids are fitted to the images of the train split, of which there must then be some.
    fn fits_train_images(&self) -> bool {
        false
    }

    /// Whether the codebooks are trained for retrieval after their fit ([`CodebookTools::train`]).
    fn trains_codebooks(&self) -> bool {
        false
    }

    /// Whether the codes alone are unique, whatever the embeddings are. Reassignment during training needs
    /// that.
    fn codes_are_unique(&self) -> bool {
        false
    }

    /// Gives every image a docid. Whatever is fitted sees images and captions of the train split only.
    ///
    /// # Errors
    /// When the corpus or the settings allow no docids of this family.
    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput>;
}

/// The settings of all families; each uses those that it needs.
#[derive(Debug, Clone)]
pub struct FamilySettings {
    /// The number of codes of each codebook, the first level first.
    pub codebook_sizes: Vec<usize>,
    /// The base of `numeric`, the branching of `tree`.
    pub codes: usize,
    /// Iterations of each k-means.
    pub iterations: usize,
    /// Beam of the quantiser.
    pub encode_beam: usize,
}

/// What a family makes docids from.
pub struct FamilyInput<'a> {
    /// The settings.
    pub settings: &'a FamilySettings,
    /// The seed of all random streams.
    pub seed: u64,
    /// Aligned unit rows of all images, in corpus order.
    pub images: &'a Matrix,
    /// The rows of `images` that are of the train split.
    pub train_images: &'a [usize],
    /// For each train caption its position in the corpus, and the row of its image.
    pub train_captions: &'a [(usize, usize)],
    /// Aligned unit rows of the captions at these positions of the corpus.
    pub captions: &'a dyn Fn(&[usize]) -> Matrix,
    /// What needs several processes or gradients.
    pub tools: &'a dyn CodebookTools,
}

impl FamilyInput<'_> {
    /// The random stream that docids are made with.
    pub fn rng(&self) -> Rng {
        rng::stream(self.seed, "docids", 0)
    }
}

/// Steps that the caller may share among processes or train by gradients. As they are here, one process does
/// them alone and trains nothing.
pub trait CodebookTools {
    /// Codebooks of these numbers of codes and this width, made by `fit`. Only one of several processes calls
    /// `fit`; all get its result.
    fn fit_once(
        &self,
        _codes_per_level: &[usize],
        _width: usize,
        fit: &mut dyn FnMut() -> Result<Codebooks>,
    ) -> Result<Codebooks> {
        fit()
    }

    /// Trains fitted codebooks for retrieval.
    fn train(&self, start: Codebooks, _input: &FamilyInput) -> Result<Codebooks> {
        Ok(start)
    }

    /// [`Codebooks::encode_all`].
    fn encode_all(&self, books: &Codebooks, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        books.encode_all(points, beam)
    }

    /// Codes that differ between images as far as the quantiser allows, see [`super::unique_paths`].
    fn encode_unique(&self, books: &Codebooks, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        unique_paths::choose(books, points, books.ranked_all(points, beam), beam)
    }
}

/// The docids of a corpus and what they were made with.
pub struct FamilyOutput {
    /// One docid per image.
    pub docids: DocidSet,
    /// The codebooks, for families that have them.
    pub codebooks: Option<Codebooks>,
    /// Levels that the family made. Docids with one more have a collision suffix as their last level.
    pub family_levels: usize,
    /// How many images share their codes; `None` where that is not a fault.
    pub collisions: Option<Collisions>,
}

impl FamilyOutput {
    /// The output of a family whose docids need neither codebooks nor a suffix.
    fn without_codebooks(docids: DocidSet) -> Self {
        Self { family_levels: docids.levels(), docids, codebooks: None, collisions: None }
    }

    /// Docids of these codes, with a suffix level if images share their codes.
    fn quantised(books: Codebooks, codes: Vec<Vec<Code>>) -> Result<Self> {
        let (docids, collisions) = super::suffix::unique(codes, &books.codes_per_level())?;
        let family_levels = books.levels().len();
        Ok(Self { docids, codebooks: Some(books), family_levels, collisions: Some(collisions) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;

    /// One process, and no training.
    struct Plain;

    impl CodebookTools for Plain {}

    /// The docids of 60 images, of which 40 with one caption each are of the train split.
    fn assigned(family: &dyn DocidFamily, seed: u64) -> FamilyOutput {
        let (images, captions) = (noise(60, 6).normalized(), noise(90, 6).normalized());
        let train_images: Vec<usize> = (0..40).collect();
        let train_captions: Vec<(usize, usize)> = (0..40).map(|row| (2 * row, row)).collect();
        let settings = FamilySettings { codebook_sizes: vec![8; 3], codes: 8, iterations: 5, encode_beam: 8 };
        let input = FamilyInput {
            settings: &settings,
            seed,
            images: &images,
            train_images: &train_images,
            train_captions: &train_captions,
            captions: &|rows| captions.select(rows),
            tools: &Plain,
        };
        family.assign(&input).unwrap()
    }

    #[test]
    fn every_family_names_all_images_reproducibly() {
        for family in FAMILIES {
            let name = family.name();
            let made = assigned(*family, 1);
            assert_eq!(made.docids.images(), 60, "{name}");
            assert!((made.family_levels..=made.family_levels + 1).contains(&made.docids.levels()), "{name}");
            assert_eq!(made.codebooks.is_some(), family.has_codebooks(), "{name}");
            assert!(made.codebooks.is_none_or(|books| books.levels().len() == made.family_levels), "{name}");
            assert_eq!(made.docids, assigned(*family, 1).docids, "{name}");
        }
    }

    #[test]
    fn families_that_promise_unique_codes_add_no_suffix() {
        for family in FAMILIES.iter().filter(|family| family.codes_are_unique()) {
            let made = assigned(*family, 1);
            assert_eq!(made.docids.levels(), made.family_levels, "{}", family.name());
        }
    }
}

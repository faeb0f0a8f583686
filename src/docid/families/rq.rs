//! Residual quantisation: the codes of an image embedding, one codebook per level (IRGen, TIGER, GENIUS).

use super::{DocidFamily, FamilyInput, FamilyOutput};
use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::matrix::Matrix;

/// The most vectors that codebooks are fitted on; more make the fit slower, not better.
const MOST_POINTS: usize = 100_000;

/// The family `rq`.
pub struct Rq;

impl DocidFamily for Rq {
    fn name(&self) -> &'static str {
        "rq"
    }

    fn about(&self) -> &'static str {
        "Residual quantisation of the image embedding (IRGen, GENIUS, TIGER)."
    }

    fn has_codebooks(&self) -> bool {
        true
    }

    fn fits_train_images(&self) -> bool {
        true
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        let books = fitted(input)?;
        let codes = input.tools.encode_all(&books, input.images, input.settings.encode_beam);
        FamilyOutput::quantised(books, codes)
    }
}

/// Codebooks fitted to the train split: its images, and its captions, because queries lie there too.
pub fn fitted(input: &FamilyInput) -> Result<Codebooks> {
    let sizes = &input.settings.codebook_sizes;
    let mut fit = || Codebooks::fit(&points(input), sizes, input.settings.iterations, &mut input.rng());
    input.tools.fit_once(sizes, input.images.width(), &mut fit)
}

/// Train images, then train captions; every n-th of them, so that at most [`MOST_POINTS`] are left.
fn points(input: &FamilyInput) -> Matrix {
    let images = input.train_images.len();
    let count = images + input.train_captions.len();
    let chosen = (0..count).step_by(count.div_ceil(MOST_POINTS).max(1));
    let (of_images, of_captions): (Vec<usize>, Vec<usize>) = chosen.partition(|&point| point < images);
    let rows: Vec<usize> = of_images.into_iter().map(|point| input.train_images[point]).collect();
    let positions: Vec<usize> =
        of_captions.into_iter().map(|point| input.train_captions[point - images].0).collect();
    input.images.select(&rows).stacked(&(input.captions)(&positions))
}

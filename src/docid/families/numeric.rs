//! Numeric docids: the digits of an arbitrary number (DSI "naive", GRACE "numeric"). Prefixes mean nothing,
//! so the family shows what a decoder reaches by memory alone.

use rand::seq::SliceRandom;

use super::{DocidFamily, FamilyInput, FamilyOutput};
use crate::docid::{Code, Docid, DocidSet};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// The family `numeric`.
pub struct Numeric;

impl DocidFamily for Numeric {
    fn name(&self) -> &'static str {
        "numeric"
    }

    fn about(&self) -> &'static str {
        "The digits of an arbitrary number (\"naive\" in DSI)."
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        let docids = numeric(input.images.rows(), input.settings.codes, &mut input.rng())?;
        Ok(FamilyOutput::without_codebooks(docids))
    }
}

/// Numbers the images by a random permutation of `0..images` and writes each number in `base`, most
/// significant digit first, in as few digits as the largest needs. The first level has only the codes
/// that a leading digit can take.
///
/// # Errors
/// When there is no image, or `base` is not 2 to [`crate::docid::MAX_CODES`].
fn numeric(images: usize, base: usize, rng: &mut Rng) -> Result<DocidSet> {
    if base < 2 {
        return Err(Error::input(format!("numeric docids in base {base}: the base must be at least 2")));
    }
    let mut numbers: Vec<usize> = (0..images).collect();
    numbers.shuffle(rng);
    let largest = digits(images.saturating_sub(1), base, 1);
    let docids = numbers.into_iter().map(|number| Docid::new(digits(number, base, largest.len()))).collect();
    let mut codes_per_level = vec![base; largest.len()];
    codes_per_level[0] = largest[0] as usize + 1;
    DocidSet::new(docids, codes_per_level)
}

/// The digits of `number`, with zeros in front up to `width` of them.
fn digits(mut number: usize, base: usize, width: usize) -> Vec<Code> {
    let mut digits = Vec::with_capacity(width);
    while number > 0 || digits.len() < width {
        digits.push((number % base) as Code);
        number /= base;
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use proptest::prelude::*;

    #[test]
    fn digits_are_written_most_significant_first() {
        assert_eq!(digits(203, 10, 4), [0, 2, 0, 3]);
        assert_eq!(digits(5, 2, 1), [1, 0, 1]);
        assert_eq!(digits(0, 10, 1), [0]);
    }

    #[test]
    fn width_is_minimal() {
        let widths = |images| numeric(images, 10, &mut stream(1, "n", 0)).unwrap().codes_per_level().to_vec();
        assert_eq!(widths(1), [1]);
        assert_eq!(widths(10), [10]);
        assert_eq!(widths(11), [2, 10]);
        assert_eq!(widths(301), [4, 10, 10]);
        assert!(numeric(5, 1, &mut stream(1, "n", 0)).is_err());
    }

    proptest! {
        #[test]
        fn docids_are_unique_and_follow_the_seed(images in 1usize..500, base in 2usize..40, seed: u64) {
            let make = || numeric(images, base, &mut stream(seed, "n", 0));
            let docids = make().expect("unique");
            prop_assert_eq!(docids.images(), images);
            prop_assert_eq!(make().unwrap(), docids);
        }
    }
}

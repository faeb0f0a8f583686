//! Residual quantisation: an embedding becomes a sum of codewords, one per level (IRGen, TIGER, GENIUS;
//! the quantiser itself: Chen, Guan & Wang 2010).
//!
//! r₀ = x; c_l = argmin_k ‖r_l − e_{l,k}‖; r_{l+1} = r_l − e_{l,c_l}; the reconstruction x̂ is Σ_l e_{l,c_l}.
//! Each level describes what the levels above left over, so a prefix is a coarse version of the whole. The
//! codebooks are fitted once, on the images and captions of the train split. Later images get their codes
//! without retraining.

mod beam_encode;

use rayon::prelude::*;

use self::beam_encode::{Path, Paths};
use super::{Code, Docid, DocidSet, MAX_CODES, kmeans};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::rng::Rng;

/// Paths (points × beam) that are extended by one matrix product.
const BLOCK: usize = 1024;

/// One codebook per level, each `codes × width`.
#[derive(Debug, Clone, PartialEq)]
pub struct Codebooks {
    levels: Vec<Matrix>,
}

impl Codebooks {
    /// Codebooks that were read from an index or trained for retrieval.
    ///
    /// # Errors
    /// When there is no level, widths differ, a level has no code or more than [`MAX_CODES`], or a number is
    /// not finite.
    pub fn new(levels: Vec<Matrix>) -> Result<Self> {
        let width =
            levels.first().map(Matrix::width).ok_or_else(|| Error::input("codebooks without a level"))?;
        for (level, book) in levels.iter().enumerate() {
            let problem = if book.width() != width {
                format!("is {} wide, the first is {width} wide", book.width())
            } else if !(1..=MAX_CODES).contains(&book.rows()) {
                format!("has {} codes; 1 to {MAX_CODES} are allowed", book.rows())
            } else if book.data().iter().any(|x| !x.is_finite()) {
                "has a number that is not finite".into()
            } else {
                continue;
            };
            return Err(Error::input(format!("the codebook of level {level} {problem}")));
        }
        Ok(Self { levels })
    }

    /// Fits one codebook for each of `sizes`, with that many codewords, to `points` (rows), level by level on
    /// the residuals, each with k-means of `iterations` rounds.
    ///
    /// # Errors
    /// When there is no size, or as [`kmeans::fit`].
    pub fn fit(points: &Matrix, sizes: &[usize], iterations: usize, rng: &mut Rng) -> Result<Self> {
        let mut residuals = points.clone();
        let mut books = Vec::new();
        for &codes in sizes {
            let book = kmeans::fit(&residuals, codes, iterations, rng)?;
            let nearest = kmeans::assign(&residuals, &book);
            let width = residuals.width();
            residuals.data_mut().par_chunks_mut(width).zip(nearest).for_each(|(residual, nearest)| {
                subtract(residual, book.row(nearest.centroid));
            });
            books.push(book);
        }
        Self::new(books)
    }

    /// The codebooks, the first level first.
    pub fn levels(&self) -> &[Matrix] {
        &self.levels
    }

    /// Width of the embeddings.
    pub fn width(&self) -> usize {
        self.levels[0].width()
    }

    /// Number of codewords of each level.
    pub fn codes_per_level(&self) -> Vec<usize> {
        self.levels.iter().map(Matrix::rows).collect()
    }

    /// The codes of every row of `points`, one per level. A `beam` of 1 takes the nearest codeword at each
    /// level; a wider one keeps the best `beam` partial sums and never reconstructs worse.
    pub fn encode_all(&self, points: &Matrix, beam: usize) -> Vec<Vec<Code>> {
        self.by_block(points, beam, |block| self.encode_block(block, beam))
    }

    /// For every row of `points` the codes of all paths at the end of its beam, best first: the second-best
    /// ones can name an image when another image has the best one.
    pub fn ranked_all(&self, points: &Matrix, beam: usize) -> Vec<Vec<Vec<Code>>> {
        let codes = |paths: Vec<Path>| paths.into_iter().map(|path| path.codes).collect();
        self.by_block(points, beam, |block| self.ranked_block(block, beam).into_iter().map(codes).collect())
    }

    /// Runs `encode` on blocks of rows; the paths of a block are one matrix product.
    fn by_block<T: Send>(
        &self,
        points: &Matrix,
        beam: usize,
        encode: impl Fn(&[f32]) -> Vec<T> + Send + Sync,
    ) -> Vec<T> {
        let rows = (BLOCK / beam.max(1)).max(1);
        points.data().par_chunks(rows * self.width()).flat_map_iter(encode).collect()
    }

    /// The codes of a few rows.
    fn encode_block(&self, block: &[f32], beam: usize) -> Vec<Vec<Code>> {
        self.ranked_block(block, beam).into_iter().map(|mut paths| paths.swap_remove(0).codes).collect()
    }

    /// The paths of a few rows. A beam may drop the greedy path midway, hence the comparison at the end.
    fn ranked_block(&self, block: &[f32], beam: usize) -> Vec<Vec<Path>> {
        let search = |beam| {
            let start = Paths::start(Matrix::new(self.width(), block.to_vec()));
            self.levels.iter().fold(start, |paths, book| paths.extended(book, beam)).by_point()
        };
        let greedy = search(1);
        if beam <= 1 {
            return greedy;
        }
        let better = |(mut wide, greedy): (Vec<Path>, Vec<Path>)| {
            if greedy[0].error < wide[0].error {
                wide.splice(0..0, greedy);
            }
            wide
        };
        search(beam).into_iter().zip(greedy).map(better).collect()
    }

    /// Σ_l e_{l,c_l} over the given codes: all levels, or a prefix of them. Codes after the last codebook (a
    /// collision suffix) add nothing. Every code is below the size of its level.
    pub fn reconstruct(&self, codes: &[Code]) -> Vec<f32> {
        let mut sum = vec![0.0; self.width()];
        for (book, &code) in self.levels.iter().zip(codes) {
            sum.iter_mut().zip(book.row(code as usize)).for_each(|(sum, e)| *sum += e);
        }
        sum
    }

    /// The reconstruction of every image (`images × width`).
    pub fn reconstruct_all(&self, docids: &DocidSet) -> Matrix {
        let rows = docids.iter().map(Docid::codes).flat_map(|codes| self.reconstruct(codes));
        Matrix::new(self.width(), rows.collect())
    }
}

/// `r ← r − e`.
fn subtract(r: &mut [f32], e: &[f32]) {
    r.iter_mut().zip(e).for_each(|(r, e)| *r -= e);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::rng::stream;
    use proptest::prelude::*;

    /// Level 0: (0,0), (10,0); level 1: (1,0), (0,2), (−4,0).
    fn small() -> Codebooks {
        let first = Matrix::new(2, vec![0.0, 0.0, 10.0, 0.0]);
        let second = Matrix::new(2, vec![1.0, 0.0, 0.0, 2.0, -4.0, 0.0]);
        Codebooks::new(vec![first, second]).unwrap()
    }

    fn error(books: &Codebooks, x: &[f32], codes: &[Code]) -> f32 {
        books.reconstruct(codes).iter().zip(x).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    fn encode(books: &Codebooks, x: &[f32], beam: usize) -> Vec<Code> {
        books.encode_block(x, beam).remove(0)
    }

    #[test]
    fn greedy_codes_match_hand_computation() {
        assert_eq!(encode(&small(), &[11.0, 0.5], 1), [1, 0]);
        assert_eq!(encode(&small(), &[0.0, 1.9], 1), [0, 1]);
        assert_eq!(small().reconstruct(&[1, 1]), [10.0, 2.0]);
        assert_eq!(small().reconstruct(&[1, 1, 7]), [10.0, 2.0], "a suffix adds nothing");
        assert_eq!(small().reconstruct(&[1]), [10.0, 0.0], "a prefix is a coarse reconstruction");
    }

    #[test]
    fn a_beam_finds_the_sum_that_the_greedy_choice_misses() {
        let x = [4.9, 0.0]; // nearer to (0,0), but (10,0) + (−4,0) = (6,0) is the best sum
        assert_eq!(encode(&small(), &x, 1), [0, 0]);
        assert_eq!(encode(&small(), &x, 2), [1, 2]);
    }

    #[test]
    fn fitting_needs_a_level_and_finds_sums() {
        assert!(Codebooks::fit(&noise(9, 2), &[], 5, &mut stream(1, "rq", 0)).is_err());
        let points = Matrix::new(1, vec![0.0, 1.0, 100.0, 101.0]);
        let books = Codebooks::fit(&points, &[2; 2], 10, &mut stream(1, "rq", 0)).unwrap();
        for (x, codes) in points.iter().zip(books.encode_all(&points, 1)) {
            assert_eq!(books.reconstruct(&codes), x);
        }
    }

    #[test]
    fn bad_codebooks_are_refused() {
        let good = Matrix::new(2, vec![0.0; 4]);
        let message = |levels| Codebooks::new(levels).unwrap_err().to_string();
        assert!(message(vec![]).contains("without a level"));
        assert!(message(vec![good.clone(), Matrix::new(1, vec![0.0])]).contains("level 1 is 1 wide"));
        assert!(message(vec![Matrix::new(2, vec![f32::NAN, 0.0])]).contains("not finite"));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let points = noise(2500, 16);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let books = Codebooks::fit(&points, &[16; 3], 4, &mut stream(1, "rq", 0)).unwrap();
                let codes = books.encode_all(&points, 3);
                (books, codes)
            })
        };
        assert_eq!(run(1), run(3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn error_falls_with_levels_and_with_the_beam(seed: u64, beam in 2usize..9) {
            let points = noise(60, 6);
            let books = Codebooks::fit(&points, &[5; 4], 8, &mut stream(seed, "rq", 0)).unwrap();
            let (greedy, wide) = (books.encode_all(&points, 1), books.encode_all(&points, beam));
            let total = |codes: &[Vec<Code>], levels: usize| -> f32 {
                points.iter().zip(codes).map(|(x, codes)| error(&books, x, &codes[..levels])).sum()
            };
            for levels in 0..4 {
                prop_assert!(total(&greedy, levels + 1) <= total(&greedy, levels) * 1.0001);
            }
            for (x, (greedy, wide)) in points.iter().zip(greedy.iter().zip(&wide)) {
                prop_assert!(error(&books, x, wide) <= error(&books, x, greedy) + 1e-5);
                let alone = error(&books, x, &encode(&books, x, 1)); // equal but for rounding
                prop_assert!((alone - error(&books, x, greedy)).abs() < 1e-5);
            }
        }
    }
}

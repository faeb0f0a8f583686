//! The quantiser of a store of photos: which directions of the embeddings it keeps, and its codebooks.
//!
//! Codebooks of hundreds of numbers that are learnt from some thousand photos overfit: they describe new photos much
//! worse than those they were learnt from. So the quantiser keeps the principal directions in which it describes
//! held-out photos best, and few photos are joined by mixed ones ([`crate::docid::mixed_points`]).

use crate::docid::mixed_points::with_mixed_points;
use crate::docid::principal_directions::principal_directions;
use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::matrix::{Matrix, dot};
use crate::rng;

/// Photos that codebooks are fitted on at most.
const MOST_POINTS: usize = 100_000;
/// Photos that are mixed at most: more need no mixed ones.
const MOST_MIXED: usize = 10_000;
/// Photos that dimensions are chosen with at most.
const MOST_TRIAL: usize = 4000;
/// Mixed photos for each photo.
const MIXED_ROUNDS: usize = 1;
/// Numbers of directions to choose from; all of them is another choice.
const DIMENSIONS: [usize; 5] = [32, 64, 96, 128, 192];
/// One photo in so many is held out to choose.
const HELD_OUT: usize = 5;
/// Lloyd iterations of the fits that are compared.
const TRIAL_ITERATIONS: usize = 6;
/// The fewest photos with which a choice means something.
const LEAST_TO_CHOOSE: usize = 100;

/// Directions and codebooks.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoQuantiser {
    /// Orthonormal rows (dimensions, width); `None`: all numbers of an embedding as they are.
    pub basis: Option<Matrix>,
    /// Codebooks of vectors of that many dimensions.
    pub books: Codebooks,
}

/// How a quantiser is fitted.
#[derive(Debug, Clone, Copy)]
pub struct FitSettings<'a> {
    /// Number of codes at each level.
    pub codes_per_level: &'a [usize],
    /// Lloyd iterations of each k-means.
    pub iterations: usize,
    /// Number of directions; 0: chosen by the error of held-out photos.
    pub dimensions: usize,
    /// Beam of the quantiser.
    pub encode_beam: usize,
    /// The seed of all random streams.
    pub seed: u64,
}

/// Rows in the coordinates of a basis.
pub fn projected(basis: Option<&Matrix>, rows: &Matrix) -> Matrix {
    basis.map_or_else(|| rows.clone(), |basis| rows.mul_transposed(basis))
}

impl PhotoQuantiser {
    /// Fits a quantiser to the embeddings of photos.
    ///
    /// # Errors
    /// When there are none, or a number is not finite.
    pub fn fit(rows: &Matrix, settings: FitSettings) -> Result<Self> {
        let dimensions = match settings.dimensions {
            0 => choose_dimensions(rows, settings)?,
            given => given.min(rows.width()),
        };
        let rows = every_nth(rows, MOST_POINTS);
        let basis = (dimensions < rows.width()).then(|| directions(&rows, dimensions, settings.seed));
        Self::fit_in(basis, &rows, settings.iterations, settings)
    }

    fn fit_in(
        basis: Option<Matrix>,
        rows: &Matrix,
        iterations: usize,
        settings: FitSettings,
    ) -> Result<Self> {
        let mut points = projected(basis.as_ref(), rows);
        if points.rows() <= MOST_MIXED {
            points = with_mixed_points(&points, MIXED_ROUNDS, &mut random(settings.seed, 1));
        }
        let books =
            Codebooks::fit(&points, settings.codes_per_level, iterations, &mut random(settings.seed, 2))?;
        Ok(Self { basis, books })
    }

    /// Mean ‖x − x̂‖² of some rows: what the directions leave out, and what the codes do.
    fn error(&self, rows: &Matrix, beam: usize) -> f64 {
        let points = projected(self.basis.as_ref(), rows);
        let codes = self.books.encode_all(&points, beam);
        let of_row = |((x, y), codes): ((&[f32], &[f32]), &Vec<u32>)| {
            let left: f32 = self.books.reconstruct(codes).iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum();
            f64::from(dot(x, x) - dot(y, y) + left)
        };
        rows.iter().zip(points.iter()).zip(&codes).map(of_row).sum::<f64>() / rows.rows().max(1) as f64
    }
}

/// The first principal directions of rows.
fn directions(rows: &Matrix, count: usize, seed: u64) -> Matrix {
    principal_directions(rows, count, &mut random(seed, 0))
}

fn random(seed: u64, part: u64) -> rng::Rng {
    rng::stream(seed, "photo docids", part)
}

/// The number of directions with the least error on photos that the codebooks have not seen.
fn choose_dimensions(rows: &Matrix, settings: FitSettings) -> Result<usize> {
    let width = rows.width();
    if rows.rows() < LEAST_TO_CHOOSE {
        return Ok(width.min(DIMENSIONS[1]));
    }
    let rows = every_nth(rows, MOST_TRIAL);
    let (held_out, seen): (Vec<usize>, Vec<usize>) = (0..rows.rows()).partition(|row| row % HELD_OUT == 0);
    let (held_out, seen) = (rows.select(&held_out), rows.select(&seen));
    let mut best = (f64::INFINITY, width);
    let fewer: Vec<usize> = DIMENSIONS.into_iter().filter(|&dimensions| dimensions < width).collect();
    let widest = fewer.last().map(|&widest| directions(&seen, widest, settings.seed));
    for dimensions in fewer.into_iter().chain([width]) {
        let first: Vec<usize> = (0..dimensions).collect();
        let basis = widest.as_ref().filter(|_| dimensions < width).map(|widest| widest.select(&first));
        let fitted = PhotoQuantiser::fit_in(basis, &seen, TRIAL_ITERATIONS, settings)?;
        let error = fitted.error(&held_out, settings.encode_beam);
        tracing::debug!("{dimensions} directions: error {error:.4} on held-out photos");
        if error < best.0 {
            best = (error, dimensions);
        }
    }
    Ok(best.1)
}

/// Every n-th row, so that at most `most` are left.
fn every_nth(rows: &Matrix, most: usize) -> Matrix {
    let step = rows.rows().div_ceil(most).max(1);
    if step == 1 { rows.clone() } else { rows.select(&(0..rows.rows()).step_by(step).collect::<Vec<_>>()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;

    /// Rows that have a structure in few directions, and noise in the others.
    fn rows(count: usize) -> Matrix {
        let (wide, mut all) = (noise(count, 40), noise(count, 200));
        for (row, x) in wide.iter().enumerate() {
            let own = all.row_mut(row);
            own.iter_mut().for_each(|x| *x *= 0.01);
            own[..40].copy_from_slice(x);
        }
        all.normalized()
    }

    #[test]
    fn the_directions_are_chosen_that_describe_unseen_photos_best() {
        let settings =
            FitSettings { codes_per_level: &[16; 4], iterations: 5, dimensions: 0, encode_beam: 2, seed: 1 };
        let fitted = PhotoQuantiser::fit(&rows(300), settings).unwrap();
        let dimensions = fitted.books.width();
        assert!(dimensions < 200, "{dimensions}");
        assert_eq!(fitted.basis.as_ref().map(Matrix::rows), Some(dimensions));
        assert_eq!(fitted, PhotoQuantiser::fit(&rows(300), settings).unwrap());
        let all = FitSettings { dimensions: 500, ..settings };
        assert_eq!(PhotoQuantiser::fit(&rows(300), all).unwrap().basis, None);
    }
}

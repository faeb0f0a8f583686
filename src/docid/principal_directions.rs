//! The first principal directions of some rows: the subspace that keeps most of them.
//!
//! Orthogonal iteration (Golub & Van Loan, *Matrix Computations*, 8.2.4) on XᵀX, without subtracting the mean: the mean
//! is one of the directions, and inner products with the kept part need no further term.

use rand::Rng as _;

use crate::matrix::{Matrix, dot};
use crate::rng::Rng;

/// Rows that decide the directions at most; more change nothing that a quantiser notices.
const MOST_ROWS: usize = 20_000;
/// Rounds of the iteration.
const ROUNDS: usize = 30;

/// The `count` first principal directions of rows, as orthonormal rows (count, width). `count` is at most the width.
pub fn principal_directions(rows: &Matrix, count: usize, rng: &mut Rng) -> Matrix {
    let width = rows.width();
    let moments = second_moments(rows);
    let mut directions =
        Matrix::new(width, (0..count * width).map(|_| rng.random_range(-1.0..1.0)).collect());
    orthonormalise(&mut directions);
    for _ in 0..ROUNDS {
        directions = directions.mul_transposed(&moments);
        orthonormalise(&mut directions);
    }
    directions
}

/// XᵀX of the rows, or of every n-th of them: (width, width).
fn second_moments(rows: &Matrix) -> Matrix {
    let step = rows.rows().div_ceil(MOST_ROWS).max(1);
    let chosen: Vec<&[f32]> = rows.iter().step_by(step).collect();
    let transposed = (0..rows.width()).flat_map(|column| chosen.iter().map(move |row| row[column]));
    let transposed = Matrix::new(chosen.len(), transposed.collect());
    transposed.mul_transposed(&transposed)
}

/// Gram–Schmidt on the rows, twice for the rounding. A row that depends on those before it becomes zero.
fn orthonormalise(rows: &mut Matrix) {
    let width = rows.width();
    for row in 0..rows.rows() {
        let (before, rest) = rows.data_mut().split_at_mut(row * width);
        let own = &mut rest[..width];
        for other in before.chunks_exact(width).chain(before.chunks_exact(width)) {
            let along = dot(own, other);
            own.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let norm = dot(own, own).sqrt();
        let scale = if norm > 1e-12 { 1.0 / norm } else { 0.0 };
        own.iter_mut().for_each(|x| *x *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn the_widest_directions_are_found() {
        let mut rng = stream(1, "test", 0);
        // Spread 9 along the second axis, 3 along the fourth, almost nothing along the others.
        let scale = [0.01, 9.0, 0.01, 3.0, 0.01];
        let rows: Vec<f32> = (0..500 * 5).map(|n| rng.random_range(-1.0..1.0) * scale[n % 5]).collect();
        let found = principal_directions(&Matrix::new(5, rows), 2, &mut rng);
        assert!(found.row(0)[1].abs() > 0.999 && found.row(1)[3].abs() > 0.999, "{found:?}");
        let products = found.mul_transposed(&found);
        assert!((products.data()[0] - 1.0).abs() < 1e-5 && products.data()[1].abs() < 1e-5);
    }
}

//! Mixup among neighbours: points between near points. A codebook that is fitted on them too fits points that it has
//! not seen.
//!
//! A mixed point is (1 − w)·x + w·y, y one of the nearest points of x and w up to one half (mixup, Zhang et al. 2018,
//! among neighbours).

use rand::Rng as _;
use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::rng::Rng;

/// Neighbours of a point that it may be mixed with.
const NEIGHBOURS: usize = 5;
/// Rows of one matrix product.
const BLOCK: usize = 256;

/// `rounds` mixed points for each point, and before them the points themselves.
pub fn with_mixed_points(points: &Matrix, rounds: usize, rng: &mut Rng) -> Matrix {
    let near = neighbours(points);
    let mut all = points.data().to_vec();
    for _ in 0..rounds {
        for (point, near) in points.iter().zip(&near) {
            let Some(&other) = near.get(rng.random_range(0..near.len().max(1))) else { continue };
            let weight = rng.random_range(0.0..0.5);
            all.extend(point.iter().zip(points.row(other)).map(|(x, y)| x + weight * (y - x)));
        }
    }
    Matrix::new(points.width(), all)
}

/// The nearest other points of each point.
fn neighbours(points: &Matrix) -> Vec<Vec<usize>> {
    let norms: Vec<f32> = points.iter().map(|x| crate::matrix::dot(x, x)).collect();
    let blocks = points.data().par_chunks(BLOCK * points.width()).enumerate();
    let of_block = |(number, rows): (usize, &[f32])| {
        let products = Matrix::new(points.width(), rows.to_vec()).mul_transposed(points);
        let of_row = |(row, products): (usize, &[f32])| {
            let own = number * BLOCK + row;
            let mut others: Vec<usize> = (0..points.rows()).filter(|&other| other != own).collect();
            let distance = |other: usize| norms[other] - 2.0 * products[other];
            let nearer = |a: &usize, b: &usize| distance(*a).total_cmp(&distance(*b)).then(a.cmp(b));
            if others.len() > NEIGHBOURS {
                others.select_nth_unstable_by(NEIGHBOURS - 1, nearer);
                others.truncate(NEIGHBOURS);
            }
            others.sort_unstable_by(nearer);
            others
        };
        products.iter().enumerate().map(of_row).collect::<Vec<_>>()
    };
    blocks.flat_map_iter(of_block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    #[test]
    fn mixed_points_lie_between_neighbours() {
        let near_zero = (0..8).map(|n| n as f32 / 8.0);
        let points = Matrix::new(1, near_zero.clone().chain(near_zero.map(|x| x + 100.0)).collect());
        let mixed = with_mixed_points(&points, 3, &mut stream(1, "test", 0));
        assert_eq!((mixed.rows(), &mixed.data()[..16]), (64, points.data()));
        let between = |x: &f32| (0.0..1.0).contains(x) || (100.0..101.0).contains(x);
        assert!(mixed.data()[16..].iter().all(between), "neighbours only: {:?}", mixed.data());
        assert_eq!(with_mixed_points(&Matrix::new(1, vec![2.0]), 2, &mut stream(1, "test", 0)).rows(), 1);
    }
}

//! Revival of dead codes. While codebooks are trained (the family `learned`), some codes lose all their
//! points; they then get no gradient and would stay unused.

use rand::Rng as _;

use super::Code;
use super::rq::Codebooks;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::rng::Rng;

/// Moves every code that no point uses towards a point with a large error at its level: halfway from the
/// point's codeword to its residual. On the residual itself the code would keep only that point, as in
/// [`super::kmeans`]. Points are drawn in proportion to their squared error, none twice a level. The moved
/// codes were unused, so no reconstruction changes. Returns the codebooks and the number of moved codes.
///
/// `codes`: those of each row of `points`.
///
/// # Errors
/// When a number is not finite.
pub fn revive(
    books: &Codebooks,
    points: &Matrix,
    codes: &[Vec<Code>],
    rng: &mut Rng,
) -> Result<(Codebooks, usize)> {
    let mut residuals = points.clone();
    let mut levels = books.levels().to_vec();
    let mut moved = 0;
    for (level, book) in levels.iter_mut().enumerate() {
        let chosen: Vec<usize> = codes.iter().map(|codes| codes[level] as usize).collect();
        moved += revive_level(book, &residuals, &chosen, rng);
        for (row, &code) in chosen.iter().enumerate() {
            residuals.row_mut(row).iter_mut().zip(book.row(code)).for_each(|(r, e)| *r -= e);
        }
    }
    Ok((Codebooks::new(levels)?, moved))
}

/// Moves the unused codes of one level, and returns their number. `chosen`: the code of each residual.
fn revive_level(book: &mut Matrix, residuals: &Matrix, chosen: &[usize], rng: &mut Rng) -> usize {
    let mut used = vec![false; book.rows()];
    chosen.iter().for_each(|&code| used[code] = true);
    let dead: Vec<usize> = (0..book.rows()).filter(|&code| !used[code]).collect();
    if dead.is_empty() {
        return 0;
    }
    let error = |(row, &code): (usize, &usize)| squared_error(residuals.row(row), book.row(code));
    let worst = draw(chosen.iter().enumerate().map(error).collect(), dead.len(), rng);
    for (&code, &row) in dead.iter().zip(&worst) {
        let codeword = book.row(chosen[row]);
        let halfway: Vec<f32> = residuals.row(row).iter().zip(codeword).map(|(r, e)| 0.5 * (r + e)).collect();
        book.row_mut(code).copy_from_slice(&halfway);
    }
    worst.len()
}

/// ‖r − e‖²
fn squared_error(r: &[f32], e: &[f32]) -> f64 {
    r.iter().zip(e).map(|(r, e)| f64::from(r - e).powi(2)).sum()
}

/// Up to `count` different positions, each drawn in proportion to its weight; those of weight zero are never
/// drawn. (Efraimidis & Spirakis 2006: the largest u^(1/w).)
fn draw(weights: Vec<f64>, count: usize, rng: &mut Rng) -> Vec<usize> {
    let key = |weight: f64| (1.0 - rng.random::<f64>()).ln() / weight;
    let keys = weights.iter().copied().map(key).collect::<Vec<_>>();
    let mut order: Vec<usize> = (0..weights.len()).filter(|&at| weights[at] > 0.0).collect();
    order.sort_unstable_by(|&a, &b| keys[b].total_cmp(&keys[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::rng::stream;

    #[test]
    fn a_dead_code_moves_halfway_to_the_worst_served_point() {
        let books =
            Codebooks::new(vec![Matrix::new(1, vec![1.0, 90.0]), Matrix::new(1, vec![0.0, 50.0])]).unwrap();
        let points = Matrix::new(1, vec![1.0, 9.0, 1.0]);
        let codes = vec![vec![0, 0]; 3];
        let (revived, moved) = revive(&books, &points, &codes, &mut stream(1, "x", 0)).unwrap();
        assert_eq!(moved, 2);
        assert_eq!(revived.levels()[0].data(), [1.0, 5.0], "1 serves 9");
        assert_eq!(revived.levels()[1].data(), [0.0, 4.0], "0 serves what is left, 8");
    }

    #[test]
    fn used_codes_and_reconstructions_stay_as_they_are() {
        let points = noise(40, 4);
        let books = Codebooks::new(vec![noise(30, 4), noise(90, 4)]).unwrap();
        let codes = books.encode_all(&points, 2);
        let (revived, moved) = revive(&books, &points, &codes, &mut stream(1, "x", 0)).unwrap();
        assert!(moved > 30, "{moved}");
        assert!(codes.iter().all(|codes| revived.reconstruct(codes) == books.reconstruct(codes)));
        let again = revived.encode_all(&points, 2);
        let used = |codes: &[Vec<Code>], level: usize| {
            codes.iter().map(|codes| codes[level]).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert!(used(&again, 0) > used(&codes, 0), "a revived code finds points");
    }

    #[test]
    fn points_without_error_are_not_drawn() {
        assert_eq!(draw(vec![0.0, 2.0, 0.0], 3, &mut stream(1, "x", 0)), [1]);
    }
}

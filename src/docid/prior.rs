//! The prior probability of each docid over all queries.
//!
//! In a space of many dimensions a few points are the nearest neighbours of very many others (hubs,
//! Radovanović et al. 2010). Their docids come up for every query, so a search answers better with log p(c |
//! q) − η·log p(c) than with log p(c | q) alone. The prior is measured with train captions. An image's own
//! captions do not count. Only train images have train captions, so counting them would lower the scores of
//! train images alone, and tables over a whole corpus would look better than they are.

use rayon::prelude::*;

use crate::matrix::Matrix;

/// Images whose priors are computed by one matrix product.
const BLOCK: usize = 64;

/// log p(c) of each image: the logarithm of the mean of exp(⟨q, x⟩/τ) over all queries but the image's own.
///
/// `images`, `queries`: unit rows; `own`: the image of each query. Zero for an image when all queries are its
/// own.
pub fn log_prior(images: &Matrix, queries: &Matrix, own: &[usize], temperature: f64) -> Vec<f32> {
    let width = images.width();
    let blocks = images.data().par_chunks(BLOCK * width).enumerate();
    let of_block = |(block, rows): (usize, &[f32])| {
        let rows = Matrix::new(width, rows.to_vec());
        let cosines = rows.mul_transposed(queries); // (image, query)
        let of_image = |(place, cosines): (usize, &[f32])| {
            let others = cosines.iter().zip(own).filter(|&(_, &own)| own != block * BLOCK + place);
            log_mean_exp(others.map(|(&cosine, _)| f64::from(cosine) / temperature))
        };
        cosines.iter().enumerate().map(of_image).collect::<Vec<f32>>()
    };
    blocks.flat_map_iter(of_block).collect()
}

fn log_mean_exp(values: impl Iterator<Item = f64> + Clone) -> f32 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + (x - most).exp(), count + 1.0));
    if count == 0.0 { 0.0 } else { (most + f64::ln(sum / count)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docid_near_all_queries_has_the_largest_prior() {
        let images = Matrix::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0]);
        let prior = log_prior(&images, &images, &[0, 1, 2], 0.5);
        // The queries of the first are the second (cosine 0.6) and the third (0): log((e^1.2 + e^0) / 2).
        assert!((prior[0] - f32::midpoint(1.2f32.exp(), 1.0).ln()).abs() < 1e-6);
        assert!(prior[1] > prior[0] && prior[1] > prior[2]);
        assert_eq!(log_prior(&images, &images.select(&[0]), &[0], 0.5)[..1], [0.0]);
    }
}

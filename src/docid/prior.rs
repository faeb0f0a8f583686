//! How readily each docid is given, whatever is asked.
//!
//! In a space of many dimensions a few points are the nearest ones of very many others (hubs, Radovanović et al. 2010).
//! Their docids come up for every query, so a search that means log p(c | q) answers better with log p(c | q) − η·log p(c).
//! The prior is measured with train captions. An image's own ones are left out: a train image would be punished for being
//! found by them, which an image of val or test, having none there, is not, and tables over a whole corpus would gain
//! many points by that alone.

use rayon::prelude::*;

use crate::matrix::Matrix;

/// Images whose priors are computed by one matrix product.
const BLOCK: usize = 64;

/// log p(c) of each image: the logarithm of the mean of exp(⟨q, x⟩/τ) over the questions but the image's own.
///
/// `images`, `asked`: unit rows; `own`: the image that each question is about. Zero for an image that no other asks.
pub fn log_prior(images: &Matrix, asked: &Matrix, own: &[usize], temperature: f64) -> Vec<f32> {
    let width = images.width();
    let blocks = images.data().par_chunks(BLOCK * width).enumerate();
    let of_block = |(block, rows): (usize, &[f32])| {
        let rows = Matrix::new(width, rows.to_vec());
        let cosines = rows.mul_transposed(asked); // (image, question)
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
    fn a_docid_near_to_all_questions_but_its_own_has_the_larger_prior() {
        let images = Matrix::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0]);
        let prior = log_prior(&images, &images, &[0, 1, 2], 0.5);
        // The first is asked by the second (cosine 0.6) and the third (0): log((e^1.2 + e^0) / 2).
        assert!((prior[0] - f32::midpoint(1.2f32.exp(), 1.0).ln()).abs() < 1e-6);
        assert!(prior[1] > prior[0] && prior[1] > prior[2]);
        assert_eq!(log_prior(&images, &images.select(&[0]), &[0], 0.5)[..1], [0.0]);
    }
}

//! The dense teacher of the listwise loss: which images a query could be confused with, and how strongly.

use crate::matrix::Matrix;
use crate::retriever::topk::top_k;

/// The candidates of one query and the mass each should get.
pub struct Lesson {
    /// Rows of the corpus; the gold image first.
    pub images: Vec<usize>,
    /// Target distribution over them.
    pub mass: Vec<f32>,
}

/// Chooses candidates among the gallery by exact cosine.
pub struct Teacher {
    /// Rows of the corpus that may be candidates.
    pub gallery: Vec<usize>,
    /// Their aligned unit rows.
    pub embeddings: Matrix,
    /// Candidates a query, the gold image included.
    pub candidates: usize,
    /// Mass of the gold image; the rest is the teacher's softmax(q·x/τ).
    pub target_gold: f64,
    /// τ
    pub temperature: f64,
}

impl Teacher {
    /// One lesson a query: `queries` are aligned unit rows, `gold` their images.
    pub fn lessons(&self, queries: &Matrix, gold: &[usize]) -> Vec<Lesson> {
        let scores = queries.mul_transposed(&self.embeddings);
        scores.iter().zip(gold).map(|(scores, &gold)| self.lesson(scores, gold)).collect()
    }

    /// The gold image and the nearest others, which are the hard ones.
    fn lesson(&self, scores: &[f32], gold: usize) -> Lesson {
        let candidates = self.candidates.min(self.gallery.len());
        let nearest = top_k(scores, candidates).into_iter().filter(|&at| self.gallery[at] != gold);
        let own = self.gallery.partition_point(|&image| image < gold);
        let order: Vec<usize> = std::iter::once(own).chain(nearest).take(candidates).collect();
        let softmax = softmax(order.iter().map(|&at| f64::from(scores[at]) / self.temperature));
        let mass = |(place, p): (usize, f64)| {
            let gold = if place == 0 { self.target_gold } else { 0.0 };
            (gold + (1.0 - self.target_gold) * p) as f32
        };
        Lesson {
            images: order.iter().map(|&at| self.gallery[at]).collect(),
            mass: softmax.into_iter().enumerate().map(mass).collect(),
        }
    }
}

fn softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.map(|x| (x - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gold_image_comes_first_then_the_nearest() {
        let teacher = Teacher {
            gallery: vec![2, 5, 9],
            embeddings: Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]),
            candidates: 2,
            target_gold: 0.5,
            temperature: 1.0,
        };
        let lessons = teacher.lessons(&Matrix::new(2, vec![0.0, 1.0]), &[2]);
        assert_eq!(lessons[0].images, [2, 5]);
        let p = 1.0 / (1.0 + 1f32.exp());
        assert!((lessons[0].mass[0] - (0.5 + 0.5 * p)).abs() < 1e-6);
        assert!((lessons[0].mass.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

//! The dense teacher of the listwise loss: which images a query could be confused with, and how strongly.

use rand::Rng as _;

use crate::docid::trie::Trie;
use crate::matrix::Matrix;
use crate::model::search::Beams;
use crate::retriever::topk::top_k;
use crate::rng::Rng;

/// The candidates of one query and the mass each should get.
pub struct Lesson {
    /// Rows of the corpus; the gold image first, none twice.
    pub images: Vec<usize>,
    /// Target distribution over them.
    pub mass: Vec<f32>,
}

/// Chooses candidates among the gallery by exact cosine.
pub struct Teacher {
    /// Rows of the corpus that may be candidates, ascending.
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
    /// One lesson a query: `queries` are aligned unit rows, `gold` their images, `rivals` further images that must
    /// be among the candidates. The nearest others, which are the hard ones, fill the rest.
    pub fn lessons(&self, queries: &Matrix, gold: &[usize], rivals: &[Vec<usize>]) -> Vec<Lesson> {
        let scores = queries.mul_transposed(&self.embeddings);
        let asked = gold.iter().zip(rivals);
        scores.iter().zip(asked).map(|(scores, (&gold, rivals))| self.lesson(scores, gold, rivals)).collect()
    }

    fn lesson(&self, scores: &[f32], gold: usize, rivals: &[usize]) -> Lesson {
        let count = self.candidates.min(self.gallery.len());
        let place = |image: usize| self.gallery.partition_point(|&other| other < image);
        let nearest = top_k(scores, count);
        let mut chosen: Vec<usize> = Vec::with_capacity(count);
        for at in std::iter::once(gold).chain(rivals.iter().copied()).map(place).chain(nearest) {
            if chosen.len() < count && !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        let p = softmax(chosen.iter().map(|&at| f64::from(scores[at]) / self.temperature));
        let mass = |(place, p): (usize, f64)| {
            let gold = if place == 0 { self.target_gold } else { 0.0 };
            (gold + (1.0 - self.target_gold) * p) as f32
        };
        Lesson {
            images: chosen.iter().map(|&at| self.gallery[at]).collect(),
            mass: p.into_iter().enumerate().map(mass).collect(),
        }
    }
}

/// `count` images under prefixes that a search has kept, evenly from all its levels: what the gold prefix has to
/// beat to survive (RIPOR, Zeng et al. 2024).
pub fn rivals(beams: &Beams, trie: &Trie, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut draw = |n: usize| {
        let level = n % beams.len();
        let kept = &beams[level];
        let under = trie.images_under(level, kept[rng.random_range(0..kept.len())].node);
        under[rng.random_range(0..under.len())].row()
    };
    (0..count).map(&mut draw).collect()
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
    fn the_gold_image_comes_first_then_rivals_then_the_nearest() {
        let teacher = Teacher {
            gallery: vec![2, 5, 9],
            embeddings: Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]),
            candidates: 2,
            target_gold: 0.5,
            temperature: 1.0,
        };
        let lesson = |rivals| teacher.lessons(&Matrix::new(2, vec![0.0, 1.0]), &[2], &[rivals]).remove(0);
        assert_eq!(lesson(vec![]).images, [2, 5]);
        assert_eq!(lesson(vec![2, 9]).images, [2, 9]);
        let mass = lesson(vec![]).mass;
        let p = 1.0 / (1.0 + 1f32.exp());
        assert!((mass[0] - (0.5 + 0.5 * p)).abs() < 1e-6);
        assert!((mass.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

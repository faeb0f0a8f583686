//! The dense teacher of the listwise loss: which images a query could be confused with, and how strongly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rand::Rng as _;

use super::query_batches::QueryBatch;
use crate::config::Train;
use crate::data::corpus::Corpus;
use crate::data::npy::Rows;
use crate::docid::trie::Trie;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::beam_search::Beams;
use crate::retriever::top_k::top_k;
use crate::rng::Rng;

/// The candidates of one query, and how likely the teacher finds each of their prefixes.
pub struct TeacherTarget {
    /// Rows of the corpus; the gold image first, none twice.
    pub images: Vec<usize>,
    /// For each candidate and level, the teacher's mass of all images of the gallery under that prefix.
    pub mass: Vec<Vec<f32>>,
}

/// Scores that somebody else has given to the pairs of a corpus, a cross-encoder say: (captions, images).
pub struct Scores(Mutex<Rows>);

impl Scores {
    /// The scores that `train.teacher` names; none where it names nothing.
    ///
    /// # Errors
    /// When the file cannot be read or has not a row for each caption and a column for each image of the corpus.
    pub fn open(section: &Train, corpus: &Corpus) -> Result<Option<Self>> {
        if section.teacher.is_empty() {
            return Ok(None);
        }
        let path = Path::new(&section.teacher);
        let rows = Rows::open(path)?;
        let (wanted, (captions, images)) = ((corpus.captions().len(), corpus.len()), rows.shape());
        if (captions, images) != wanted {
            return Err(Error::file(
                path,
                format!(
                    "(train.teacher) is {captions} × {images}; it needs a row for each of the {} captions and a column for \
                     each of the {} images of the corpus",
                    wanted.0, wanted.1
                ),
            ));
        }
        Ok(Some(Self(Mutex::new(rows))))
    }

    /// What a caption gives these images, all rows of the corpus.
    fn of(&self, caption: usize, images: &[ImageIdx]) -> Result<Vec<f32>> {
        let row = self.0.lock().unwrap_or_else(PoisonError::into_inner).row(caption)?;
        Ok(images.iter().map(|image| row[image.row()]).collect())
    }
}

/// Exact cosine over a gallery: p(x | q) = softmax(q·x/τ), summed under each prefix of the trie.
pub struct Teacher {
    trie: Trie,
    /// Aligned unit rows of the images, in the order of the trie's leaves.
    embeddings: Matrix,
    /// The leaf of each image of the corpus that is in the gallery.
    leaves: HashMap<usize, usize>,
    /// Candidates a query, the gold image included.
    candidates: usize,
    /// τ
    temperature: f64,
}

impl Teacher {
    /// A teacher over the images of a trie; `images` has an aligned unit row for every image of the corpus.
    pub fn new(trie: Trie, images: &Matrix, candidates: usize, temperature: f64) -> Self {
        let rows: Vec<usize> = trie.images().iter().map(|image| image.row()).collect();
        Self {
            embeddings: images.select(&rows),
            leaves: rows.into_iter().enumerate().map(|(leaf, row)| (row, leaf)).collect(),
            trie,
            candidates,
            temperature,
        }
    }

    /// The docids of the gallery.
    pub fn trie(&self) -> &Trie {
        &self.trie
    }

    /// One target a query; `rows` are the queries' aligned unit rows, `rivals` further images that must be among their
    /// candidates. The nearest others, which are the hard ones, fill the rest.
    /// `told`: scores to go by in place of the cosine, where a query is a caption that has some.
    ///
    /// # Errors
    /// When such scores cannot be read.
    pub fn targets(
        &self,
        asked: &QueryBatch,
        rows: &Matrix,
        rivals: &[Vec<usize>],
        told: Option<&Scores>,
    ) -> Result<Vec<TeacherTarget>> {
        let cosines = rows.mul_transposed(&self.embeddings);
        let target = |query: usize| {
            let own = asked.captions[query].filter(|_| asked.moves.scale[query] == 1.0);
            let told =
                told.zip(own).map(|(scores, caption)| scores.of(caption, self.trie.images())).transpose()?;
            let scores = told.as_deref().unwrap_or(cosines.row(query));
            Ok(self.target(scores, asked.gold[query], &rivals[query]))
        };
        (0..asked.gold.len()).map(target).collect()
    }

    /// `scores`: what the teacher gives every leaf.
    fn target(&self, scores: &[f32], gold: usize, rivals: &[usize]) -> TeacherTarget {
        let count = self.candidates.min(scores.len());
        let named = std::iter::once(&gold).chain(rivals).filter_map(|row| self.leaves.get(row).copied());
        let mut chosen: Vec<usize> = Vec::with_capacity(count);
        for leaf in named.chain(top_k(scores, count)) {
            if chosen.len() < count && !chosen.contains(&leaf) {
                chosen.push(leaf);
            }
        }
        // Leaves under a prefix are contiguous, so its mass is a difference of two running sums.
        let mut running = vec![0.0];
        for p in softmax(scores.iter().map(|&score| f64::from(score) / self.temperature)) {
            running.push(running[running.len() - 1] + p);
        }
        let under = |leaf: usize| {
            let ranges = self.trie.prefixes(leaf as u32);
            ranges.iter().map(|r| (running[r.end as usize] - running[r.start as usize]) as f32).collect()
        };
        TeacherTarget {
            images: chosen.iter().map(|&leaf| self.trie.image(leaf as u32).row()).collect(),
            mass: chosen.iter().map(|&leaf| under(leaf)).collect(),
        }
    }
}

/// `count` images under prefixes that a search has kept, evenly from the first half of its levels, where right
/// prefixes are lost: what the gold prefix has to beat to survive (RIPOR, Zeng et al. 2024).
pub fn beam_negatives(beams: &Beams, trie: &Trie, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut draw = |n: usize| {
        let level = n % beams.len().div_ceil(2);
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
    use crate::docid::{Docid, DocidSet};
    use crate::modality::Modality;
    use crate::train::query_batches::QueryShift;

    #[test]
    fn the_gold_image_comes_first_and_prefixes_gather_the_mass_below_them() {
        let docids = [[0, 0], [0, 1], [1, 0]].map(|codes| Docid::new(codes.to_vec()));
        let trie = Trie::new(&DocidSet::new(docids.to_vec(), vec![2, 2]).unwrap());
        let images = Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        let teacher = Teacher::new(trie, &images, 2, 1.0);
        let asked = QueryBatch {
            rows: Matrix::new(2, vec![0.0, 1.0]),
            modalities: vec![Modality::Caption],
            gold: vec![0],
            captions: vec![None],
            moves: QueryShift::none(1, 2),
        };
        let target = |rivals| teacher.targets(&asked, &asked.rows, &[rivals], None).unwrap().remove(0);
        assert_eq!(target(vec![]).images, [0, 1]);
        assert_eq!(target(vec![0, 2]).images, [0, 2]);
        let moved = Matrix::new(2, vec![0.8, 0.6]);
        assert_eq!(
            teacher.targets(&asked, &moved, &[vec![]], None).unwrap()[0].images,
            [0, 2],
            "by the rows given"
        );
        let total = 1.0 + 1f32.exp() + 0.8f32.exp();
        let mass = &target(vec![]).mass[0];
        assert!((mass[0] - (1.0 + 1f32.exp()) / total).abs() < 1e-6);
        assert!((mass[1] - 1.0 / total).abs() < 1e-6);
    }
}

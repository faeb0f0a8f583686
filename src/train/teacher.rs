//! The dense teacher of the listwise loss: which images a query could be confused with, and how strongly.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rand::Rng as _;

use super::query_batches::QueryBatch;
use crate::data::corpus::Corpus;
use crate::data::npy::Rows;
use crate::docid::trie::Trie;
use crate::error::{Error, Result};
use crate::ids::DocidRow;
use crate::matrix::Matrix;
use crate::model::beam_search::Beams;
use crate::model::candidate_table::CandidateTable;
use crate::model::lookahead::Lookahead;
use crate::ranking::top_k;
use crate::rng::Rng;
use crate::train::settings::Train;

/// The candidates of one query, and the probability that the teacher gives each of their prefixes.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherTarget {
    /// Rows of the corpus: the gold image first, and no other one twice.
    pub images: Vec<usize>,
    /// For each candidate and level, the teacher's mass of all gallery images under that prefix.
    pub mass: Vec<Vec<f32>>,
}

impl TeacherTarget {
    /// The gold image as the only candidate, with all of the mass.
    pub fn gold_alone(gold: usize, levels: usize) -> Self {
        Self { images: vec![gold], mass: vec![vec![1.0; levels]] }
    }

    /// Gives all targets as many candidates as the longest has, because they share tensors: captions choose
    /// among train images, photos perhaps among more. The gold image is repeated, which changes no loss: of
    /// candidates that share a prefix only the first counts
    /// ([`PrefixTargets`](super::objective::prefix_targets::PrefixTargets)).
    pub fn pad_to_longest(targets: &mut [Self]) {
        let longest = targets.iter().map(|target| target.images.len()).max().unwrap_or(0);
        targets.iter_mut().for_each(|target| target.pad(longest));
    }

    fn pad(&mut self, count: usize) {
        let missing = count.saturating_sub(self.images.len());
        self.images.extend(vec![self.images[0]; missing]);
        self.mass.extend(vec![self.mass[0].clone(); missing]);
    }
}

/// Scores of all (caption, image) pairs of a corpus by another model, for example a cross-encoder.
pub struct Scores(Mutex<Rows>);

impl Scores {
    /// The scores in the file that `train.teacher` names; `None` if it names no file.
    ///
    /// # Errors
    /// When the file cannot be read or has not a row for each caption and a column for each image of the
    /// corpus.
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

    /// The scores of a caption with these images.
    fn of(&self, caption: usize, images: &[DocidRow]) -> Result<Vec<f32>> {
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
    lookahead: Option<Lookahead>,
}

impl Teacher {
    /// A teacher over the images of a trie; `images` has an aligned unit row for every image of the corpus.
    pub fn new(trie: Trie, images: &Matrix, candidates: usize, temperature: f64) -> Self {
        // Each image has one docid here, so a docid's row is its image's.
        let rows: Vec<usize> = trie.rows().iter().map(|docid| docid.row()).collect();
        Self {
            embeddings: images.select(&rows),
            leaves: rows.into_iter().enumerate().map(|(leaf, row)| (row, leaf)).collect(),
            trie,
            candidates,
            temperature,
            lookahead: None,
        }
    }

    /// This teacher, with the lookahead of beam searches over its gallery.
    pub fn with_lookahead(self, table: &CandidateTable) -> Self {
        Self { lookahead: Some(Lookahead::new(&self.trie, table)), ..self }
    }

    /// The docids of the gallery.
    pub fn trie(&self) -> &Trie {
        &self.trie
    }

    /// The lookahead of a beam search for negatives, if the search looks ahead.
    pub fn lookahead(&self) -> Option<&Lookahead> {
        self.lookahead.as_ref()
    }

    /// One target a query. `rows` are the aligned unit rows (query, width) by which the teacher compares
    /// queries with images. `negatives` are images that must be among a query's candidates; the nearest
    /// others fill the rest. `caption_scores` replace the cosine for queries that are captions as they are.
    ///
    /// # Errors
    /// When such scores cannot be read.
    pub fn targets(
        &self,
        batch: &QueryBatch,
        rows: &Matrix,
        negatives: &[Vec<usize>],
        caption_scores: Option<&Scores>,
    ) -> Result<Vec<TeacherTarget>> {
        let cosines = rows.mul_transposed(&self.embeddings);
        let mut targets = Vec::with_capacity(batch.len());
        for (query, negatives) in negatives.iter().enumerate() {
            let gold = batch.queries[query].gold;
            targets.push(match (caption_scores, unshifted_caption(batch, query)) {
                (Some(scores), Some(caption)) => {
                    self.target(&scores.of(caption, self.trie.rows())?, gold, negatives)
                }
                _ => self.target(cosines.row(query), gold, negatives),
            });
        }
        Ok(targets)
    }

    /// The target of a query whose scores with all leaves are given.
    fn target(&self, scores: &[f32], gold: usize, negatives: &[usize]) -> TeacherTarget {
        let candidates = self.choose(scores, gold, negatives);
        let running = self.running_mass(scores);
        // Leaves under a prefix are contiguous, so its mass is a difference of two running sums.
        let mass = |range: &Range<u32>| (running[range.end as usize] - running[range.start as usize]) as f32;
        let masses = |&leaf: &usize| self.trie.prefixes(leaf as u32).iter().map(mass).collect();
        TeacherTarget {
            images: candidates.iter().map(|&leaf| self.trie.row(leaf as u32).row()).collect(),
            mass: candidates.iter().map(masses).collect(),
        }
    }

    /// The leaves of a query's candidates: its gold image, the negatives, then the highest scores; and any
    /// leaves where too few scores are numbers, so that all queries have equally many.
    fn choose(&self, scores: &[f32], gold: usize, negatives: &[usize]) -> Vec<usize> {
        let count = self.candidates.min(scores.len());
        let required =
            std::iter::once(&gold).chain(negatives).filter_map(|row| self.leaves.get(row).copied());
        let mut chosen: Vec<usize> = Vec::with_capacity(count);
        for leaf in required.chain(top_k(scores, count)).chain(0..scores.len()) {
            if chosen.len() == count {
                break;
            }
            if !chosen.contains(&leaf) {
                chosen.push(leaf);
            }
        }
        chosen
    }

    /// Before each leaf, the sum of p(x | q) over the leaves that precede it; at the end, the sum of all.
    fn running_mass(&self, scores: &[f32]) -> Vec<f64> {
        let mut running = vec![0.0];
        for p in softmax(scores.iter().map(|&score| f64::from(score) / self.temperature)) {
            running.push(running[running.len() - 1] + p);
        }
        running
    }
}

/// The caption that a query is; `None` if it is a photo, or a caption interpolated with its image.
fn unshifted_caption(batch: &QueryBatch, query: usize) -> Option<usize> {
    batch.queries[query].caption.filter(|_| batch.shift.scale[query] == 1.0)
}

/// `count` hard negatives: images under prefixes that a search has kept, evenly from the first half of its
/// levels, where right prefixes are lost. The gold prefix has to beat these to survive (RIPOR, Zeng et al.
/// 2024).
pub fn beam_negatives(beams: &Beams, trie: &Trie, count: usize, rng: &mut Rng) -> Vec<usize> {
    let levels = beams.len().div_ceil(2);
    (0..count).map(|n| random_image_under_beam(beams, trie, n % levels, rng)).collect()
}

fn random_image_under_beam(beams: &Beams, trie: &Trie, level: usize, rng: &mut Rng) -> usize {
    let kept = &beams[level];
    let images = trie.rows_under(level, kept[rng.random_range(0..kept.len())].node);
    images[rng.random_range(0..images.len())].row()
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
    use crate::train::query_batches::{QueryShift, TrainQuery};

    #[test]
    fn shorter_lists_repeat_the_gold_image() {
        let target = |images: Vec<usize>| TeacherTarget { mass: vec![vec![0.5]; images.len()], images };
        let mut targets = [target(vec![3]), target(vec![2, 0, 1])];
        TeacherTarget::pad_to_longest(&mut targets);
        assert_eq!(targets, [target(vec![3, 3, 3]), target(vec![2, 0, 1])]);
        TeacherTarget::pad_to_longest(&mut []);
    }

    #[test]
    fn scores_that_are_no_numbers_leave_no_gap() {
        let docids = [[0], [1], [2]].map(|codes| Docid::new(codes.to_vec()));
        let trie = Trie::new(&DocidSet::new(docids.to_vec(), vec![3]).unwrap());
        let teacher = Teacher::new(trie, &Matrix::zeros(3, 2), 3, 1.0);
        assert_eq!(teacher.choose(&[f32::NAN; 3], 1, &[]), [1, 0, 2]);
    }

    #[test]
    fn the_gold_image_comes_first_and_prefixes_gather_the_mass_below_them() {
        let docids = [[0, 0], [0, 1], [1, 0]].map(|codes| Docid::new(codes.to_vec()));
        let trie = Trie::new(&DocidSet::new(docids.to_vec(), vec![2, 2]).unwrap());
        let images = Matrix::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        let teacher = Teacher::new(trie, &images, 2, 1.0);
        let batch = QueryBatch {
            queries: vec![TrainQuery { modality: Modality::Caption, gold: 0, caption: None }],
            initial_rows: Matrix::new(2, vec![0.0, 1.0]),
            shift: QueryShift::none(1, 2),
        };
        let target =
            |negatives| teacher.targets(&batch, &batch.initial_rows, &[negatives], None).unwrap().remove(0);
        assert_eq!(target(vec![]).images, [0, 1]);
        assert_eq!(target(vec![0, 2]).images, [0, 2]);
        let moved = Matrix::new(2, vec![0.8, 0.6]);
        assert_eq!(
            teacher.targets(&batch, &moved, &[vec![]], None).unwrap()[0].images,
            [0, 2],
            "by the rows given"
        );
        let total = 1.0 + 1f32.exp() + 0.8f32.exp();
        let mass = &target(vec![]).mass[0];
        assert!((mass[0] - (1.0 + 1f32.exp()) / total).abs() < 1e-6);
        assert!((mass[1] - 1.0 / total).abs() < 1e-6);
    }
}

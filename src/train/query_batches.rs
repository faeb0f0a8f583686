//! What a training step asks: captions and images, as they are, moved, or mixed; and the pairs of its contrastive loss.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use rand::Rng as _;

use crate::config::{Config, Train};
use crate::context::Context;
use crate::data::corpus::{Corpus, TrainPair};
use crate::data::epochs::Epochs;
use crate::distributed::Comm;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::nn::tensors;
use crate::rng::{self, Rng};

/// Queries of one kind in a step.
pub struct QueryBatch {
    /// Aligned unit rows.
    pub rows: Matrix,
    /// What each is made of.
    pub modalities: Vec<Modality>,
    /// The image that each asks for, as a row of the corpus.
    pub gold: Vec<usize>,
    /// The caption behind each query; none: the photo of its image.
    pub captions: Vec<Option<usize>>,
    /// What became of the encoder's rows on the way to `rows`.
    pub moves: QueryShift,
}

impl QueryBatch {
    /// Some of its queries.
    pub fn part(self, rows: Range<usize>) -> Self {
        if rows.len() == self.gold.len() {
            return self;
        }
        let chosen: Vec<usize> = rows.clone().collect();
        Self {
            rows: self.rows.select(&chosen),
            modalities: self.modalities[rows.clone()].to_vec(),
            gold: self.gold[rows.clone()].to_vec(),
            captions: self.captions[rows.clone()].to_vec(),
            moves: QueryShift {
                scale: self.moves.scale[rows].to_vec(),
                offset: self.moves.offset.select(&chosen),
            },
        }
    }
}

/// How queries are made of their captions' and photos' own aligned rows x: normalise(a·x + b).
pub struct QueryShift {
    /// a of each
    pub scale: Vec<f32>,
    /// b of each
    pub offset: Matrix,
}

impl QueryShift {
    /// What changes nothing.
    pub fn none(queries: usize, width: usize) -> Self {
        Self { scale: vec![1.0; queries], offset: Matrix::zeros(queries, width) }
    }

    /// Own aligned rows (queries, width) → queries, with gradients.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        let scale = Tensor::from_slice(&self.scale, (self.scale.len(), 1), rows.device())?;
        let offset = tensors::from_matrix(&self.offset, rows.device())?;
        tensors::unit_rows(&(rows.broadcast_mul(&scale)? + offset)?)
    }
}

/// Who asks at each step, and which pairs are contrasted: a function of the seed and the step alone.
pub struct BatchSampler {
    /// Caption queries a step, and image queries.
    counts: [usize; 2],
    /// (caption→docid): only train captions can make these.
    pairs: Vec<TrainPair>,
    /// (image→docid): the images that may be learnt by heart.
    memorised: Vec<ImageIdx>,
    caption_order: Epochs,
    image_order: Epochs,
    /// Pairs of the contrastive loss a batch, where it has a weight at all.
    paired: usize,
    pair_order: Epochs,
}

impl BatchSampler {
    /// The order of a configuration's queries.
    ///
    /// # Errors
    /// When the corpus has no train split.
    pub fn new(config: &Config, corpus: &Corpus) -> Result<Self> {
        let (pairs, memorised) = (corpus.train_pairs(), corpus.memorised(config.train.regime));
        if pairs.is_empty() {
            return Err(Error::input("the corpus has no train split, so there is nothing to train on"));
        }
        let captions = config.train.captions_a_batch();
        Ok(Self {
            counts: [captions, config.train.batch - captions],
            caption_order: Epochs::new(config.seed, "caption order", pairs.len()),
            image_order: Epochs::new(config.seed, "image order", memorised.len()),
            paired: if config.tune.contrastive.is_zero() { 0 } else { config.tune.contrastive_pairs },
            pair_order: Epochs::new(config.seed, "pair order", pairs.len()),
            pairs,
            memorised,
        })
    }

    /// Whether every rank has queries of each kind that steps have, and pairs.
    ///
    /// # Errors
    /// When one has not.
    pub fn check(&self, comm: &Comm) -> Result<()> {
        let ([captions, photos], paired) = (self.counts, self.paired);
        let few = |count: usize| count > 0 && count < comm.size();
        if few(paired) {
            return Err(Error::input(format!(
                "tune.contrastive_pairs = {paired} are too few for {} ranks: each needs one; raise it, or start fewer ranks",
                comm.size()
            )));
        }
        if !few(captions) && !few(photos) {
            return Ok(());
        }
        Err(Error::input(format!(
            "train.batch = {} makes {captions} caption and {photos} photo queries a step, too few for {} ranks: each needs one \
             of both; raise train.batch, or start fewer ranks",
            captions + photos,
            comm.size()
        )))
    }

    /// The captions that ask at a step, with their images.
    pub fn captions(&self, step: usize) -> Vec<TrainPair> {
        self.caption_order.batch(step, self.counts[0]).into_iter().map(|i| self.pairs[i]).collect()
    }

    /// The captions that the contrastive loss of a step is of, with their images.
    pub fn paired(&self, step: usize) -> Vec<TrainPair> {
        self.pair_order.batch(step, self.paired).into_iter().map(|i| self.pairs[i]).collect()
    }

    /// The images whose photos ask at a step, as rows of the corpus.
    pub fn images(&self, step: usize) -> Vec<usize> {
        self.image_order.batch(step, self.counts[1]).into_iter().map(|i| self.memorised[i].row()).collect()
    }
}

/// Where the queries of every step come from.
pub struct QueryBuilder<'a> {
    section: &'a Train,
    seed: u64,
    corpus: &'a Corpus,
    align: &'a Alignment,
    order: Arc<BatchSampler>,
    /// The captions' own unit rows; a step aligns those it needs.
    captions: &'a Matrix,
    /// Aligned unit rows of all images, by the encoder before its training, as those of captions.
    images: Arc<Matrix>,
    /// Those of what asks for images; none: they ask as they are.
    views: Option<ViewEmbeddings>,
}

impl<'a> QueryBuilder<'a> {
    /// The queries of a corpus; `images` are the aligned unit rows of its images.
    ///
    /// # Errors
    /// When a photo can no longer be read.
    pub fn new(
        config: &'a Config,
        prepared: &'a EmbeddedCorpus,
        align: &'a Alignment,
        order: Arc<BatchSampler>,
        images: Arc<Matrix>,
        ctx: &Context,
    ) -> Result<Self> {
        let aligned = |rows: &Matrix| align.query(Modality::Image, rows);
        let count = config.index.views;
        let views = (count > 0).then(|| ViewEmbeddings::embed(prepared, count, ctx)?.mapped(aligned));
        Ok(Self {
            section: &config.train,
            seed: config.seed,
            corpus: &prepared.corpus,
            align,
            order,
            captions: &prepared.embeddings.captions,
            views: views.transpose()?,
            images,
        })
    }

    /// Caption queries of a step, of all ranks together.
    pub fn captions_a_step(&self) -> usize {
        self.order.counts[0]
    }

    /// Caption queries of a step, a share of them drawn towards their images.
    pub fn captions(&self, step: usize) -> QueryBatch {
        let pairs = self.order.captions(step);
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        let mut batch = QueryBatch {
            rows: self.caption_rows(&captions),
            modalities: vec![Modality::Caption; pairs.len()],
            gold: pairs.iter().map(|pair| pair.image().row()).collect(),
            moves: QueryShift::none(captions.len(), self.images.width()),
            captions: captions.into_iter().map(Some).collect(),
        };
        self.interpolate(&mut batch, step);
        batch
    }

    /// Image queries of a step, a share of them disguised as captions.
    pub fn images(&self, step: usize) -> QueryBatch {
        let gold = self.order.images(step);
        let mut batch = QueryBatch {
            rows: self.asking(&gold, step),
            modalities: vec![Modality::Image; gold.len()],
            captions: vec![None; gold.len()],
            moves: QueryShift::none(gold.len(), self.images.width()),
            gold,
        };
        self.caption_noise(&mut batch, step);
        batch
    }

    /// What asks for these images at a step.
    fn asking(&self, gold: &[usize], step: usize) -> Matrix {
        let Some(views) = &self.views else { return self.images.select(gold) };
        views.draw(gold, &mut rng::stream(self.seed, "views", step as u64))
    }

    /// For each caption query of a step another caption of the same image (itself, where there is no other).
    pub fn siblings(&self, step: usize) -> Vec<usize> {
        let pairs = self.order.captions(step);
        let mut rng = rng::stream(self.seed, "siblings", step as u64);
        let sibling = |pair: &TrainPair| {
            let (own, all) = (pair.caption().index(), self.corpus.captions_of(pair.image()));
            let others: Vec<usize> = all.clone().filter(|&other| other != own).collect();
            if others.is_empty() { all.start } else { others[rng.random_range(0..others.len())] }
        };
        pairs.iter().map(sibling).collect()
    }

    /// Aligned unit rows of captions: made for each step, as those of half a million captions fill a gigabyte.
    pub fn caption_rows(&self, captions: &[usize]) -> Matrix {
        self.align.apply(Modality::Caption, &self.captions.select(captions))
    }

    /// Interpolated queries (GENIUS, Kim et al. 2025): z̃ = normalise(s·image + (1 − s)·caption), s ~ Beta(2, 2).
    fn interpolate(&self, batch: &mut QueryBatch, step: usize) {
        let mut rng = rng::stream(self.seed, "interpolation", step as u64);
        for (row, &gold) in batch.gold.iter().enumerate() {
            if rng.random_bool(self.section.interpolation) {
                let s = beta22(&mut rng);
                let image = self.images.row(gold);
                batch.rows.row_mut(row).iter_mut().zip(image).for_each(|(z, x)| *z = s * x + (1.0 - s) * *z);
                batch.moves.scale[row] = 1.0 - s;
                batch.moves.offset.row_mut(row).iter_mut().zip(image).for_each(|(b, x)| *b = s * x);
            }
        }
        if batch.moves.scale.iter().any(|&scale| scale != 1.0) {
            batch.rows = std::mem::take(&mut batch.rows).normalized();
        }
    }

    /// QueryShift a share of the image queries to where a caption of theirs might lie, x + (c − x') for the caption c
    /// and the image x' of a random train pair: no caption of a val or test image is needed to learn what a
    /// caption's distance from its image does to a search. They count as captions then.
    fn caption_noise(&self, batch: &mut QueryBatch, step: usize) {
        let mut rng = rng::stream(self.seed, "caption noise", step as u64);
        let (mut moved, mut pairs) = (Vec::new(), Vec::new());
        for (row, modality) in batch.modalities.iter_mut().enumerate() {
            if rng.random_bool(self.section.caption_noise) {
                *modality = Modality::Caption;
                moved.push(row);
                pairs.push(self.order.pairs[rng.random_range(0..self.order.pairs.len())]);
            }
        }
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        for ((&row, pair), caption) in moved.iter().zip(&pairs).zip(self.caption_rows(&captions).iter()) {
            let gap = caption.iter().zip(self.images.row(pair.image().row())).map(|(c, x)| c - x);
            batch.moves.offset.row_mut(row).iter_mut().zip(gap).for_each(|(b, gap)| *b = gap);
            let gap = batch.moves.offset.row(row);
            batch.rows.row_mut(row).iter_mut().zip(gap).for_each(|(x, gap)| *x += gap);
        }
        batch.rows = std::mem::take(&mut batch.rows).normalized();
    }
}

/// Beta(2, 2): the middle one of three uniform numbers.
fn beta22(rng: &mut Rng) -> f32 {
    let mut three: [f32; 3] = rng.random();
    three.sort_unstable_by(f32::total_cmp);
    three[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta22_has_its_mean_and_variance() {
        let mut rng = rng::stream(0, "test", 0);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(beta22(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.01 && (variance - 0.05).abs() < 0.002, "{mean} {variance}");
    }
}

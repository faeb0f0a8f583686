//! The queries of each micro-batch: captions and photos as they are, interpolated, or shifted by caption
//! noise.
//!
//! Their embeddings here are those of the initial encoder, from before the training. [`super::embedded_queries`]
//! embeds the same queries by the encoder in training.
//!
//! Errors: tensor operations fail only when the device does.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use rand::Rng as _;

use super::batch_sampler::BatchSampler;
use super::joint_settings::JointSettings;
use super::step_and_micro_batch::MicroBatch;
use crate::context::Context;
use crate::data::corpus::{Corpus, TrainPair};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::nn::tensors;
use crate::rng::{self, Rng};
use crate::train::settings::Train;

/// What one query is made of, and the image it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainQuery {
    /// The modality that the decoder sees. A photo with caption noise counts as a caption.
    pub modality: Modality,
    /// The wanted image, as a row of the corpus.
    pub gold: usize,
    /// The caption that the query is made of; `None` if it is made of the photo of its image.
    pub caption: Option<usize>,
}

/// Queries of one kind, captions or photos, of a micro-batch.
pub struct QueryBatch {
    /// The queries.
    pub queries: Vec<TrainQuery>,
    /// Their aligned unit rows (query, width) by the initial encoder, shifted.
    pub initial_rows: Matrix,
    /// How the rows of captions and photos are shifted.
    pub shift: QueryShift,
}

impl QueryBatch {
    /// The number of queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// The modality of each query.
    pub fn modalities(&self) -> Vec<Modality> {
        self.queries.iter().map(|query| query.modality).collect()
    }

    /// The wanted image of each query, as rows of the corpus.
    pub fn gold(&self) -> Vec<usize> {
        self.queries.iter().map(|query| query.gold).collect()
    }

    /// The captions that the queries are made of; `None` if they are made of photos.
    pub fn captions(&self) -> Option<Vec<usize>> {
        self.queries.iter().map(|query| query.caption).collect()
    }

    /// The queries in a range.
    pub fn slice(self, range: Range<usize>) -> Self {
        if range.len() == self.len() {
            return self;
        }
        let rows: Vec<usize> = range.clone().collect();
        Self {
            queries: self.queries[range.clone()].to_vec(),
            initial_rows: self.initial_rows.select(&rows),
            shift: QueryShift {
                scale: self.shift.scale[range].to_vec(),
                offset: self.shift.offset.select(&rows),
            },
        }
    }
}

/// How the aligned row x of a query's caption or photo becomes the row of the query: normalise(a·x + b).
pub struct QueryShift {
    /// a of each query.
    pub scale: Vec<f32>,
    /// b of each query: (query, width).
    pub offset: Matrix,
}

impl QueryShift {
    /// The shift that changes nothing.
    pub fn none(queries: usize, width: usize) -> Self {
        Self { scale: vec![1.0; queries], offset: Matrix::zeros(queries, width) }
    }

    /// Aligned rows (query, width) → rows of queries, with gradients.
    pub fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        let scale = Tensor::from_slice(&self.scale, (self.scale.len(), 1), rows.device())?;
        let offset = tensors::from_matrix(&self.offset, rows.device())?;
        tensors::unit_rows(&(rows.broadcast_mul(&scale)? + offset)?)
    }
}

/// Makes the queries of every micro-batch.
pub struct QueryBuilder<'a> {
    section: &'a Train,
    seed: u64,
    corpus: &'a Corpus,
    align: &'a Alignment,
    sampler: Arc<BatchSampler>,
    /// The captions' unit rows by the initial encoder, not aligned: a micro-batch aligns those it needs,
    /// because the aligned rows of half a million captions fill a gigabyte.
    captions: &'a Matrix,
    /// Aligned unit rows of all images by the initial encoder.
    images: Arc<Matrix>,
    /// Aligned unit rows of second views, which are queries in place of the photos if there are any.
    views: Option<ViewEmbeddings>,
}

impl<'a> QueryBuilder<'a> {
    /// The queries of a corpus; `images` are the aligned unit rows of its images.
    ///
    /// # Errors
    /// When a photo of which second views are wanted can no longer be read.
    pub fn new(
        settings: &JointSettings<'a>,
        prepared: &'a EmbeddedCorpus,
        align: &'a Alignment,
        sampler: Arc<BatchSampler>,
        images: Arc<Matrix>,
        ctx: &Context,
    ) -> Result<Self> {
        let aligned = |rows: &Matrix| align.query(Modality::Image, rows);
        let count = settings.index_views;
        let views = (count > 0).then(|| ViewEmbeddings::embed(prepared, count, ctx)?.mapped(aligned));
        Ok(Self {
            section: settings.train,
            seed: settings.seed,
            corpus: &prepared.corpus,
            align,
            sampler,
            captions: &prepared.embeddings.captions,
            views: views.transpose()?,
            images,
        })
    }

    /// Caption queries of a micro-batch, on all ranks together.
    pub fn caption_queries(&self) -> usize {
        self.sampler.caption_queries()
    }

    /// The caption queries of a micro-batch, a share of them interpolated with their images.
    pub fn captions(&self, batch: MicroBatch) -> QueryBatch {
        let pairs = self.sampler.captions(batch);
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        let query = |pair: &TrainPair| TrainQuery {
            modality: Modality::Caption,
            gold: pair.image().row(),
            caption: Some(pair.caption().index()),
        };
        let mut queries = QueryBatch {
            queries: pairs.iter().map(query).collect(),
            initial_rows: self.caption_rows(&captions),
            shift: QueryShift::none(captions.len(), self.images.width()),
        };
        self.interpolate(&mut queries, batch);
        queries
    }

    /// The image queries of a micro-batch, a share of them with caption noise.
    pub fn images(&self, batch: MicroBatch) -> QueryBatch {
        let gold = self.sampler.images(batch);
        let query = |&gold: &usize| TrainQuery { modality: Modality::Image, gold, caption: None };
        let mut queries = QueryBatch {
            queries: gold.iter().map(query).collect(),
            initial_rows: self.image_rows(&gold, batch),
            shift: QueryShift::none(gold.len(), self.images.width()),
        };
        self.add_caption_noise(&mut queries, batch);
        queries
    }

    /// Aligned unit rows of these images' photos, or of a random second view of each.
    fn image_rows(&self, images: &[usize], batch: MicroBatch) -> Matrix {
        match &self.views {
            None => self.images.select(images),
            Some(views) => views.draw(images, &mut self.stream("views", batch)),
        }
    }

    /// For each caption query of a micro-batch another caption of the same image, or itself if there is no
    /// other.
    pub fn siblings(&self, batch: MicroBatch) -> Vec<usize> {
        let pairs = self.sampler.captions(batch);
        let mut rng = self.stream("siblings", batch);
        pairs.iter().map(|pair| self.sibling(pair, &mut rng)).collect()
    }

    fn sibling(&self, pair: &TrainPair, rng: &mut Rng) -> usize {
        let (caption, of_image) = (pair.caption().index(), self.corpus.captions_of(pair.image()));
        let others: Vec<usize> = of_image.clone().filter(|&other| other != caption).collect();
        if others.is_empty() { of_image.start } else { others[rng.random_range(0..others.len())] }
    }

    /// Aligned unit rows of captions by the initial encoder.
    pub fn caption_rows(&self, captions: &[usize]) -> Matrix {
        self.align.apply(Modality::Caption, &self.captions.select(captions))
    }

    /// Interpolated queries (GENIUS, Kim et al. 2025): z̃ = normalise(s·image + (1 − s)·caption), s ~ Beta(2,
    /// 2).
    fn interpolate(&self, batch: &mut QueryBatch, at: MicroBatch) {
        let mut rng = self.stream("interpolation", at);
        for (row, query) in batch.queries.iter().enumerate() {
            if rng.random_bool(self.section.interpolation) {
                let s = beta22(&mut rng);
                let image = self.images.row(query.gold);
                let rows = batch.initial_rows.row_mut(row);
                rows.iter_mut().zip(image).for_each(|(z, x)| *z = s * x + (1.0 - s) * *z);
                batch.shift.scale[row] = 1.0 - s;
                batch.shift.offset.row_mut(row).iter_mut().zip(image).for_each(|(b, x)| *b = s * x);
            }
        }
        if batch.shift.scale.iter().any(|&scale| scale != 1.0) {
            batch.initial_rows = std::mem::take(&mut batch.initial_rows).normalized();
        }
    }

    /// Shifts a share of the image queries to where a caption of theirs might lie: x + (c − x') for the
    /// caption c and the image x' of a random train pair. So no caption of a val or test image is needed to
    /// learn how the distance between captions and images misleads a search. These queries count as captions.
    fn add_caption_noise(&self, batch: &mut QueryBatch, at: MicroBatch) {
        let mut rng = self.stream("caption noise", at);
        let pairs = self.sampler.train_pairs();
        let (mut shifted, mut chosen) = (Vec::new(), Vec::new());
        for (row, query) in batch.queries.iter_mut().enumerate() {
            if rng.random_bool(self.section.caption_noise) {
                query.modality = Modality::Caption;
                shifted.push(row);
                chosen.push(pairs[rng.random_range(0..pairs.len())]);
            }
        }
        let captions: Vec<usize> = chosen.iter().map(|pair| pair.caption().index()).collect();
        let captions = self.caption_rows(&captions);
        for ((&row, pair), caption) in shifted.iter().zip(&chosen).zip(captions.iter()) {
            let gap = caption.iter().zip(self.images.row(pair.image().row())).map(|(c, x)| c - x);
            batch.shift.offset.row_mut(row).iter_mut().zip(gap).for_each(|(b, gap)| *b = gap);
            let gap = batch.shift.offset.row(row);
            batch.initial_rows.row_mut(row).iter_mut().zip(gap).for_each(|(x, gap)| *x += gap);
        }
        batch.initial_rows = std::mem::take(&mut batch.initial_rows).normalized();
    }

    /// A random stream that is the same on all ranks.
    fn stream(&self, name: &str, batch: MicroBatch) -> Rng {
        rng::stream(self.seed, name, batch.number() as u64)
    }
}

/// Beta(2, 2): the median of three uniform numbers.
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

//! The queries of a micro-batch with their embeddings: by the encoder in training, or else by the initial
//! encoder.
//!
//! Errors: tensor operations fail only when the device does.

use std::sync::Arc;
use std::time::Duration;

use candle_core::Tensor;

use super::batch_sampler::BatchSampler;
use super::joint_settings::JointSettings;
use super::photo_loader::BatchPhotos;
use super::query_batches::{QueryBatch, QueryBuilder};
use super::step_and_micro_batch::MicroBatch;
use super::trainable_encoder::TrainableEncoder;
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::generative_model::Queries;
use crate::model::index_folder::DocidIndex;
use crate::nn::tensors;

/// Queries of one kind with their embeddings.
pub struct EmbeddedQueries {
    /// The queries, with their rows by the initial encoder.
    pub batch: QueryBatch,
    /// Aligned unit rows (query, width) by the encoder as it is now, with gradients if it is trained.
    pub current_rows: Tensor,
}

/// This rank's queries of a micro-batch.
pub struct BatchQueries {
    /// Caption queries.
    pub captions: EmbeddedQueries,
    /// Image queries.
    pub images: EmbeddedQueries,
    /// Both: captions first, then images.
    pub all: Queries,
    /// This rank's share of the queries of all ranks.
    pub share: f64,
    /// The photos of the image queries and of the contrastive pairs, if an encoder is trained.
    pub photos: BatchPhotos,
}

/// Where queries and their embeddings come from.
pub struct QuerySource<'a> {
    builder: QueryBuilder<'a>,
    /// The encoder in training; `None` if the initial encoder's embeddings are used throughout.
    encoder: Option<TrainableEncoder<'a>>,
    /// Unit rows of captions by the initial encoder, not aligned.
    initial_captions: &'a Matrix,
    ctx: &'a Context,
    /// Queries of a micro-batch on all ranks together.
    queries: usize,
}

impl<'a> QuerySource<'a> {
    /// The queries of a training; `images` are the aligned unit rows of all images by the initial encoder.
    ///
    /// # Errors
    /// When the corpus has no train split, there are fewer queries than ranks, or the encoder in training
    /// cannot be read.
    pub fn open(
        settings: &JointSettings<'a>,
        prepared: &'a EmbeddedCorpus,
        index: &'a DocidIndex,
        images: Arc<Matrix>,
        ctx: &'a Context,
    ) -> Result<Self> {
        let corpus = &prepared.corpus;
        let sampler = Arc::new(BatchSampler::new(settings.seed, settings.train, settings.tune, corpus)?);
        sampler.check(&ctx.comm)?;
        let open = || TrainableEncoder::open(settings, prepared, &index.align, sampler.clone(), ctx);
        let encoder = settings.tune.is_on().then(open).transpose()?;
        Ok(Self {
            encoder,
            builder: QueryBuilder::new(settings, prepared, &index.align, sampler, images, ctx)?,
            initial_captions: &prepared.embeddings.captions,
            ctx,
            queries: settings.train.batch,
        })
    }

    /// The encoder in training.
    pub fn encoder(&self) -> Option<&TrainableEncoder<'a>> {
        self.encoder.as_ref()
    }

    /// This rank's queries of a micro-batch.
    ///
    /// # Errors
    /// When a photo can no longer be read.
    pub fn queries(&mut self, batch: MicroBatch) -> Result<BatchQueries> {
        let photos = match &mut self.encoder {
            Some(encoder) => encoder.load_photos(batch)?,
            None => BatchPhotos::default(),
        };
        let captions = self.share_of(self.builder.captions(batch));
        let images = self.share_of(self.builder.images(batch));
        let share = (captions.len() + images.len()) as f64 / self.queries as f64;
        let captions = self.embed(captions, &photos, batch)?;
        let images = self.embed(images, &photos, batch)?;
        Ok(BatchQueries { all: all(&captions, &images)?, captions, images, share, photos })
    }

    fn share_of(&self, queries: QueryBatch) -> QueryBatch {
        let share = self.ctx.comm.share(queries.len());
        queries.slice(share)
    }

    fn embed(&self, queries: QueryBatch, photos: &BatchPhotos, batch: MicroBatch) -> Result<EmbeddedQueries> {
        let current_rows = match &self.encoder {
            Some(encoder) => encoder.queries(&queries, photos, batch)?,
            None => tensors::from_matrix(&queries.initial_rows, &self.ctx.device)?,
        };
        Ok(EmbeddedQueries { batch: queries, current_rows })
    }

    /// Caption queries of a micro-batch, on all ranks together.
    pub fn captions_of_all_ranks(&self) -> usize {
        self.builder.caption_queries()
    }

    /// For each caption query of this rank another caption of the same image, as a query.
    pub fn siblings(&self, captions: &QueryBatch, batch: MicroBatch) -> Result<Queries> {
        let share = self.ctx.comm.share(self.captions_of_all_ranks());
        let siblings = &self.builder.siblings(batch)[share];
        let rows = match &self.encoder {
            Some(encoder) => encoder.caption_queries(siblings)?,
            None => tensors::from_matrix(&self.builder.caption_rows(siblings), &self.ctx.device)?,
        };
        Queries::of(rows, &captions.modalities())
    }

    /// CLIP's contrastive loss of a micro-batch's pairs; `None` if no encoder is trained.
    pub fn contrastive_loss(&self, photos: &BatchPhotos, batch: MicroBatch) -> Result<Option<Tensor>> {
        self.encoder.as_ref().map(|encoder| encoder.contrastive(photos, batch)).transpose()
    }

    /// Unit rows of all images by the encoder as it is now, not aligned; `None` if no encoder is trained.
    ///
    /// # Errors
    /// When a photo can no longer be read and `data.on_bad_image` is `"error"`.
    pub fn embed_gallery(&mut self) -> Result<Option<Matrix>> {
        self.encoder.as_mut().map(TrainableEncoder::embed_gallery).transpose()
    }

    /// Unit rows of captions by the encoder as it is now, not aligned.
    pub fn embed_captions(&self, captions: &[usize]) -> Result<Matrix> {
        match &self.encoder {
            Some(encoder) => encoder.embed_captions(captions),
            None => Ok(self.initial_captions.select(captions)),
        }
    }

    /// Time that queries have waited for photos since the last call.
    pub fn waited(&mut self) -> Duration {
        self.encoder.as_mut().map_or(Duration::ZERO, |encoder| encoder.waited())
    }
}

/// Queries of both kinds in one batch: captions first.
fn all(captions: &EmbeddedQueries, images: &EmbeddedQueries) -> Result<Queries> {
    let modalities = [captions.batch.modalities(), images.batch.modalities()].concat();
    let rows = [&captions.current_rows, &images.current_rows];
    let filled: Vec<&Tensor> = rows.into_iter().filter(|rows| rows.elem_count() > 0).collect();
    Queries::of(Tensor::cat(&filled, 0)?, &modalities)
}

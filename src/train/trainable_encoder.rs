//! The encoder while `dsi train` trains it with the decoder: it embeds the queries of each step anew, with
//! gradients.
//!
//! What follows from the initial encoder stays as it was: the alignment, the docids and the teacher's
//! distribution (unless `tune.reassign_every` renews docids and teacher), and the rows that queries are mixed
//! with or shifted by. A tower that is not trained is not run; its cached embeddings are used.
//!
//! Errors: tensor operations fail only when the device does.

use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};

use super::batch_sampler::BatchSampler;
use super::joint_settings::JointSettings;
use super::photo_loader::{BatchPhotos, PhotoLoader, PhotoLoading};
use super::query_batches::QueryBatch;
use super::rank_streams::RankStreams;
use super::rows_of_all_ranks::rows_of_all_ranks;
use super::step_and_micro_batch::MicroBatch;
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photos::decode_batch;
use crate::distributed::Comm;
use crate::encoder::contrastive_loss::contrastive_loss_of;
use crate::encoder::embed_in_batches::embed_in_batches;
use crate::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use crate::encoder::regularization::Regularization;
use crate::encoder::trainable_dual_encoder::{TowerSide, TrainableTowers};
use crate::encoder::trainable_layers::TrainableLayers;
use crate::encoder::tune_settings::Tune;
use crate::encoder::unreadable_photos::{DecodedPhotos, rows_or_fallback};
use crate::encoder::{TrainableDualEncoder, TrainableSettings};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::nn::adamw::Group;
use crate::nn::checkpoint_block::Keep;
use crate::nn::params::Params;
use crate::nn::tensors;

/// Captions or photos that are embedded at once outside of steps.
const EMBEDDED_AT_ONCE: usize = 64;

/// An encoder in training, with what its queries are made of.
pub struct TrainableEncoder<'a> {
    encoder: Box<dyn TrainableDualEncoder>,
    section: &'a Tune,
    corpus: &'a Corpus,
    /// The rows of the initial encoder.
    initial: &'a Embeddings,
    photos: PhotoLoader,
    sampler: Arc<BatchSampler>,
    align: &'a Alignment,
    streams: RankStreams,
    device: &'a Device,
    comm: Comm,
}

/// A random stream by name, and the micro-batch it is drawn for.
type Stream<'a> = (&'a str, MicroBatch);

impl<'a> TrainableEncoder<'a> {
    /// A copy of the corpus' encoder with the layers of `[tune]` as variables.
    ///
    /// # Errors
    /// When it cannot be read, or has fewer blocks than are to be trained.
    pub fn open(
        settings: &JointSettings<'a>,
        prepared: &'a EmbeddedCorpus,
        align: &'a Alignment,
        sampler: Arc<BatchSampler>,
        ctx: &'a Context,
    ) -> Result<Self> {
        let section = settings.tune;
        let trainable = TrainableSettings {
            towers: TrainableTowers::of(section),
            device: &ctx.device,
            compute: ctx.compute,
            keep: kept_by_blocks(section, ctx),
        };
        let encoder = prepared.encoder.trainable(&trainable)?;
        let corpus = &prepared.corpus;
        let loading = PhotoLoading { settings, preprocess: encoder.preprocess(), comm: &ctx.comm };
        Ok(Self {
            photos: PhotoLoader::new(&loading, corpus, sampler.clone())?,
            encoder,
            section,
            corpus,
            initial: &prepared.embeddings,
            sampler,
            align,
            streams: RankStreams::new(settings.seed, &ctx.comm),
            device: &ctx.device,
            comm: ctx.comm.clone(),
        })
    }

    /// The time that steps have waited for photos since the last call.
    pub fn waited(&mut self) -> Duration {
        self.photos.waited()
    }

    /// Its trained parameters.
    pub fn params(&self) -> Params {
        self.encoder.trained_towers()
    }

    /// The trained parameters of each checkpointed block, in the order of the backward pass.
    pub fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.encoder.blocks()
    }

    /// The name of a parameter's part of the encoder, for the log.
    pub fn part(&self, parameter: &str) -> &'static str {
        self.encoder.placement(parameter).part()
    }

    /// The learning rate of a parameter falls from block to block towards the input (Clark et al. 2020).
    pub fn group(&self, parameter: &str) -> Group {
        let placement = self.encoder.placement(parameter);
        let lr = match placement.tower {
            Some(TowerSide::Image) => self.section.image_lr,
            Some(TowerSide::Text) | None => self.section.text_lr,
        };
        let blocks_above = i32::try_from(placement.blocks_above).unwrap_or(i32::MAX);
        let lr = lr * self.section.layer_decay.powi(blocks_above);
        Group { lr, decay: if placement.decays { self.section.weight_decay } else { 0.0 } }
    }

    /// This rank's photos of a micro-batch; none if the image tower is not trained.
    ///
    /// # Errors
    /// When a photo can no longer be read and `data.on_bad_image` is `"error"`.
    pub fn load_photos(&mut self, batch: MicroBatch) -> Result<BatchPhotos> {
        match self.section.image {
            TrainableLayers::None => Ok(BatchPhotos::default()),
            _ => self.photos.load(batch),
        }
    }

    /// Aligned unit rows (query, width) of captions, or of photos, shifted as the queries say.
    pub fn queries(&self, queries: &QueryBatch, photos: &BatchPhotos, batch: MicroBatch) -> Result<Tensor> {
        let captions = queries.captions();
        let (layers, modality) = match captions {
            Some(_) => (self.section.text, Modality::Caption),
            None => (self.section.image, Modality::Image),
        };
        if layers == TrainableLayers::None || queries.is_empty() {
            return tensors::from_matrix(&queries.initial_rows, self.device);
        }
        let rows = match captions {
            Some(captions) => self.captions(&captions, Some(("text dropout", batch)))?,
            None => self.photos(&queries.gold(), &photos.queries, Some(("patches", batch)))?,
        };
        queries.shift.apply(&self.align.side(modality).forward(&rows)?)
    }

    /// Aligned unit rows (caption, width) of captions, without regularization.
    pub fn caption_queries(&self, captions: &[usize]) -> Result<Tensor> {
        self.align.side(Modality::Caption).forward(&self.captions(captions, None)?)
    }

    /// CLIP's contrastive loss on the pairs of a micro-batch, between aligned rows, since those are searched.
    pub fn contrastive(&self, photos: &BatchPhotos, batch: MicroBatch) -> Result<Tensor> {
        let pairs = self.sampler.paired(batch);
        let share = self.comm.share(pairs.len());
        let owners: Vec<usize> = pairs.iter().map(|pair| pair.image().row()).collect();
        let captions: Vec<usize> = pairs[share.clone()].iter().map(|pair| pair.caption().index()).collect();
        let images = self.paired_images(&owners[share], photos, batch)?;
        let images = self.align.side(Modality::Image).forward(&images)?;
        let texts = self.captions(&captions, Some(("paired text dropout", batch)))?;
        let texts = self.align.side(Modality::Caption).forward(&texts)?;
        let (images, texts) =
            (rows_of_all_ranks(&images, &self.comm)?, rows_of_all_ranks(&texts, &self.comm)?);
        let scale = Tensor::new(-(self.section.contrastive_temperature.ln() as f32), self.device)?;
        contrastive_loss_of(&images, &texts, &scale, &owners)
    }

    /// Unit rows (image, width) of the images of a micro-batch's pairs.
    fn paired_images(&self, images: &[usize], photos: &BatchPhotos, batch: MicroBatch) -> Result<Tensor> {
        if self.section.image == TrainableLayers::None {
            return tensors::from_matrix(&self.initial.images.select(images), self.device);
        }
        self.photos(images, &photos.pairs, Some(("paired patches", batch)))
    }

    /// Unit rows (caption, width) of captions by the encoder as it is now, not aligned.
    pub fn embed_captions(&self, captions: &[usize]) -> Result<Matrix> {
        let order: Vec<usize> = (0..captions.len()).collect();
        embed_in_batches(&order, EMBEDDED_AT_ONCE, self.encoder.width(), |items| {
            let captions: Vec<usize> = items.iter().map(|&item| captions[item]).collect();
            tensors::to_matrix(&self.captions(&captions, None)?.detach())
        })
    }

    /// Unit rows (image, width) of all images by the encoder as it is now, not aligned. Each rank embeds a
    /// share.
    ///
    /// # Errors
    /// When a photo can no longer be read and `data.on_bad_image` is `"error"`; otherwise it keeps its
    /// initial row.
    pub fn embed_gallery(&mut self) -> Result<Matrix> {
        if self.section.image == TrainableLayers::None {
            return Ok(self.initial.images.clone());
        }
        let (comm, width) = (self.comm.clone(), self.encoder.width());
        comm.gather_shares(self.corpus.len(), |share| {
            let order: Vec<usize> = (0..share.len()).collect();
            embed_in_batches(&order, EMBEDDED_AT_ONCE, width, |items| {
                let images: Vec<usize> = items.iter().map(|item| share.start + item).collect();
                tensors::to_matrix(&self.images(&images)?.detach())
            })
        })
    }

    /// Unit rows (image, width) of images whose photos are decoded now, without regularization.
    fn images(&mut self, images: &[usize]) -> Result<Tensor> {
        let photos = photos_of(self.corpus, images.iter().map(|&image| ImageIdx::from(image)))?;
        let decoded = decode_batch(&photos, self.encoder.preprocess());
        let decoded = self.photos.admit(decoded)?;
        self.photos(images, &decoded, None)
    }

    /// What a pass leaves out, drawn from a random stream of its own; nothing without a stream.
    fn regularization(&self, stream: Option<Stream>) -> Regularization {
        let Some((name, batch)) = stream else { return Regularization::off() };
        let rng = self.streams.stream(name, batch);
        Regularization::new(self.section.patch_dropout, self.section.dropout, rng)
    }

    /// Unit rows (caption, width), not aligned.
    fn captions(&self, captions: &[usize], stream: Option<Stream>) -> Result<Tensor> {
        if self.section.text == TrainableLayers::None {
            return tensors::from_matrix(&self.initial.captions.select(captions), self.device);
        }
        let tokenize = |&caption: &usize| self.encoder.tokenize(self.corpus.caption(caption));
        let ids: Vec<Vec<u32>> = captions.iter().map(tokenize).collect::<Result<_>>()?;
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        self.encoder.texts(&ids, &mut self.regularization(stream))
    }

    /// Unit rows (image, width) of decoded photos, not aligned; an unreadable photo has its initial row.
    fn photos(&self, images: &[usize], photos: &DecodedPhotos, stream: Option<Stream>) -> Result<Tensor> {
        rows_or_fallback(
            photos,
            |readable| self.encoder.photos(readable, &mut self.regularization(stream)),
            || tensors::from_matrix(&self.initial.images.select(images), self.device),
        )
    }
}

/// What the blocks keep for the backward pass: their input to save memory, or everything so that the ranks
/// can add their gradients up during the pass.
fn kept_by_blocks(section: &Tune, ctx: &Context) -> Option<Keep> {
    if section.recompute {
        return Some(Keep::Input);
    }
    (ctx.comm.overlaps_sums() && ctx.device.is_cpu()).then_some(Keep::Everything)
}

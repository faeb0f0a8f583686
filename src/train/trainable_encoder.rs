//! The encoder in training: queries embedded anew at each step, by a CLIP that learns with the decoder.
//!
//! The alignment stays as it was made for the encoder before its training, and so do the docids and the teacher's distribution
//! unless images are named anew on the way. What queries are mixed with or moved by stays that of the encoder before. A tower that
//! is not trained is not asked; the rows it gave once serve.

use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};

use super::photo_loader::PhotoLoader;
use super::query_batches::{BatchSampler, QueryBatch};
use crate::config::{Config, TrainableLayers, Tune};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::embeddings::Embeddings;
use crate::data::encoder_folder;
use crate::data::photos::decode_batch;
use crate::distributed::Comm;
use crate::encoder::clip::contrastive_loss::contrastive_loss_of;
use crate::encoder::clip::{
    ClipBundle, Regularization, TowerSide, TrainableTowers, blocks_above, decays, side,
};
use crate::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::nn::adamw::Group;
use crate::nn::checkpoint_block::Keep;
use crate::nn::params::Params;
use crate::nn::tensors;
use crate::rng::{self, Rng};

/// Captions that a validation embeds at once.
const AT_ONCE: usize = 64;

/// A CLIP in training, and what its queries are made of.
pub struct TrainableEncoder<'a> {
    whole: ClipBundle,
    section: &'a Tune,
    corpus: &'a Corpus,
    /// What the encoder made of the corpus before its training.
    before: &'a Embeddings,
    /// The photos of each step, ahead of it.
    shown: PhotoLoader,
    order: Arc<BatchSampler>,
    align: &'a Alignment,
    seed: u64,
    device: &'a Device,
    comm: Comm,
}

/// The part of the encoder that a configuration trains.
pub fn trained(section: &Tune) -> TrainableTowers {
    TrainableTowers { text: section.text, image: section.image }
}

impl<'a> TrainableEncoder<'a> {
    /// The encoder of a configuration, where it is trained.
    ///
    /// # Errors
    /// When it cannot be read, or has fewer blocks than are to be trained.
    pub fn open(
        config: &'a Config,
        prepared: &'a EmbeddedCorpus,
        align: &'a Alignment,
        order: Arc<BatchSampler>,
        ctx: &'a Context,
    ) -> Result<Option<Self>> {
        if !config.tunes() {
            return Ok(None);
        }
        let folder = encoder_folder::find(&config.encoder.path, &config.encoder.revision, ctx.progress)?;
        let mut whole = ClipBundle::read(&folder, trained(&config.tune), &ctx.device)?;
        whole.clip.compute_in(ctx.compute);
        if config.tune.recompute {
            whole.clip.hold(Keep::Input);
        } else if ctx.comm.overlaps_sums() && ctx.device.is_cpu() {
            whole.clip.hold(Keep::Everything);
        }
        let (corpus, before) = (&prepared.corpus, &prepared.embeddings);
        let shown = PhotoLoader::new(config, corpus, &whole.preprocess, order.clone(), &ctx.comm)?;
        let (section, seed) = (&config.tune, config.seed);
        let (device, comm) = (&ctx.device, ctx.comm.clone());
        Ok(Some(Self { whole, section, corpus, before, shown, order, align, seed, device, comm }))
    }

    /// Time that steps have waited for photos since this was last asked.
    pub fn waited(&self) -> Duration {
        self.shown.waited()
    }

    /// What is trained of it.
    pub fn params(&self) -> Params {
        self.whole.towers()
    }

    /// The parameters of each block, in the order in which a backward pass comes by.
    pub fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.whole.clip.blocks()
    }

    /// The learning rate of a parameter falls from block to block towards the input (Clark et al. 2020).
    pub fn group(&self, parameter: &str) -> Group {
        let lr = match side(parameter) {
            Some(TowerSide::Image) => self.section.image_lr,
            Some(TowerSide::Text) | None => self.section.text_lr,
        };
        let above = blocks_above(parameter, &self.whole.shape);
        let lr = lr * self.section.layer_decay.powi(i32::try_from(above).unwrap_or(i32::MAX));
        Group { lr, decay: if decays(parameter) { self.section.weight_decay } else { 0.0 } }
    }

    /// Aligned unit rows (queries, width) of a batch of captions or one of photos, moved as the batch says.
    ///
    /// # Errors
    /// When a photo can no longer be read.
    pub fn queries(&self, batch: &QueryBatch, step: usize) -> Result<Tensor> {
        let captions: Option<Vec<usize>> = batch.captions.iter().copied().collect();
        let (depth, modality) = match captions {
            Some(_) => (self.section.text, Modality::Caption),
            None => (self.section.image, Modality::Image),
        };
        if depth == TrainableLayers::None || batch.gold.is_empty() {
            return tensors::from_matrix(&batch.rows, self.device);
        }
        let own = match captions {
            Some(captions) => self.captions(&captions, Some(("text dropout", step)))?,
            None => self.photos(&batch.gold, &self.shown.of(step)?.0, Some(("patches", step)))?,
        };
        batch.moves.apply(&self.align.side(modality).forward(&own)?)
    }

    /// Aligned unit rows (queries, width) of captions as they are.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn caption_queries(&self, captions: &[usize]) -> Result<Tensor> {
        self.align.side(Modality::Caption).forward(&self.captions(captions, None)?)
    }

    /// CLIP's loss on the pairs of a step, between aligned rows: those are searched.
    ///
    /// # Errors
    /// When a photo can no longer be read.
    pub fn contrastive(&self, step: usize) -> Result<Tensor> {
        let pairs = self.order.paired(step);
        let own = self.comm.share(pairs.len());
        let owners: Vec<usize> = pairs.iter().map(|pair| pair.image().row()).collect();
        let captions: Vec<usize> = pairs[own.clone()].iter().map(|pair| pair.caption().index()).collect();
        let gold = &owners[own];
        let images = match self.section.image {
            TrainableLayers::None => tensors::from_matrix(&self.before.images.select(gold), self.device)?,
            _ => self.photos(gold, &self.shown.of(step)?.1, Some(("paired patches", step)))?,
        };
        let images = self.align.side(Modality::Image).forward(&images)?;
        let texts = self.captions(&captions, Some(("paired text dropout", step)))?;
        let texts = self.align.side(Modality::Caption).forward(&texts)?;
        let scale = Tensor::new(-(self.section.contrastive_temperature.ln() as f32), self.device)?;
        contrastive_loss_of(&self.among_all(&images)?, &self.among_all(&texts)?, &scale, &owners)
    }

    /// Rows of all ranks, in order: those of others as numbers, this one's as they are.
    fn among_all(&self, own: &Tensor) -> Result<Tensor> {
        if self.comm.size() == 1 {
            return Ok(own.clone());
        }
        let (count, width) = own.dims2()?;
        let mut counts = vec![0.0f32; self.comm.size()];
        counts[self.comm.rank()] = count as f32;
        self.comm.all_reduce(&mut counts);
        let before = counts[..self.comm.rank()].iter().sum::<f32>() as usize;
        let all = counts.iter().sum::<f32>() as usize;
        let zeros = |rows: usize| Tensor::zeros((rows, width), own.dtype(), self.device);
        let placed = Tensor::cat(&[zeros(before)?, own.detach(), zeros(all - before - count)?], 0)?;
        let numbers = self.comm.all_reduce_tensor(placed)?;
        let after = before + count;
        let parts = [numbers.narrow(0, 0, before)?, own.clone(), numbers.narrow(0, after, all - after)?];
        let filled: Vec<&Tensor> = parts.iter().filter(|part| part.elem_count() > 0).collect();
        Ok(Tensor::cat(&filled, 0)?)
    }

    /// The encoder's own unit rows of captions, as it is now.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn embed(&self, captions: &[usize]) -> Result<Matrix> {
        let mut rows = Vec::new();
        for some in captions.chunks(AT_ONCE) {
            rows.extend_from_slice(tensors::to_matrix(&self.captions(some, None)?.detach())?.data());
        }
        Ok(Matrix::new(self.before.captions.width(), rows))
    }

    /// The encoder's own unit rows of all images, as it is now; each rank embeds a share.
    ///
    /// # Errors
    /// When a photo can no longer be read, unless such are to be skipped: they keep the rows they had.
    pub fn gallery(&self) -> Result<Matrix> {
        if self.section.image == TrainableLayers::None {
            return Ok(self.before.images.clone());
        }
        let images: Vec<ImageIdx> = self.corpus.images().collect();
        self.comm.gather_shares(images.len(), |own| {
            let mut rows = Vec::new();
            for some in images[own].chunks(AT_ONCE) {
                let photos = photos_of(self.corpus, some.iter().copied())?;
                let squares = self.shown.sound(decode_batch(&photos, &self.whole.preprocess))?;
                let some: Vec<usize> = some.iter().map(|image| image.row()).collect();
                let embedded = self.photos(&some, &squares, None)?.detach();
                rows.extend_from_slice(tensors::to_matrix(&embedded)?.data());
            }
            Ok(Matrix::new(self.before.images.width(), rows))
        })
    }

    /// What a pass of a step leaves out, which has a random stream of its own; nothing, outside of steps.
    fn noise<'r>(&self, pass: Option<(&str, usize)>, rng: &'r mut Option<Rng>) -> Regularization<'r> {
        *rng = pass.map(|(stream, step)| rng::stream(self.seed, &self.comm.stream_name(stream), step as u64));
        match rng {
            Some(rng) => Regularization::new(self.section.patch_dropout, self.section.dropout, rng),
            None => Regularization::off(),
        }
    }

    /// The encoder's own unit rows (captions, width).
    fn captions(&self, captions: &[usize], pass: Option<(&str, usize)>) -> Result<Tensor> {
        if self.section.text == TrainableLayers::None {
            return tensors::from_matrix(&self.before.captions.select(captions), self.device);
        }
        let ids: Vec<Vec<u32>> = captions
            .iter()
            .map(|&caption| self.whole.encode(self.corpus.caption(caption)))
            .collect::<Result<_>>()?;
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        self.whole.captions(&ids, &mut self.noise(pass, &mut None))
    }

    /// The encoder's own unit rows (photos, width) of squares; a photo that could not be read keeps the row it had.
    fn photos(
        &self,
        images: &[usize],
        squares: &[Option<Vec<u8>>],
        pass: Option<(&str, usize)>,
    ) -> Result<Tensor> {
        let before = || tensors::from_matrix(&self.before.images.select(images), self.device);
        let read: Vec<&[u8]> = squares.iter().flatten().map(Vec::as_slice).collect();
        if read.is_empty() {
            return before();
        }
        let rows = self.whole.photos(&read, &mut self.noise(pass, &mut None))?;
        if read.len() == squares.len() {
            return Ok(rows);
        }
        let mut places: Vec<u32> = Vec::with_capacity(squares.len());
        for (at, square) in squares.iter().enumerate() {
            let before = places.iter().filter(|&&place| (place as usize) < read.len()).count();
            places.push(if square.is_some() { before } else { read.len() + at } as u32);
        }
        let all = Tensor::cat(&[&rows, &before()?], 0)?;
        Ok(all.index_select(&Tensor::from_vec(places, squares.len(), self.device)?, 0)?)
    }
}

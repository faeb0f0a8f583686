//! The task of `dsi pretrain`: the contrastive loss of a batch of photos, and the val recall of exact search.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Tensor};
use rand::Rng as _;

use super::split_examples::SplitExamples;
use crate::data::epochs::Epochs;
use crate::encoder::TrainableDualEncoder;
use crate::encoder::contrastive_loss::contrastive_loss;
use crate::encoder::embed_in_batches::embed_in_batches;
use crate::encoder::pretrain_settings::Pretrain;
use crate::encoder::regularization::Regularization;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::nn::adamw::Group;
use crate::nn::params::Params;
use crate::nn::tensors::to_matrix;
use crate::ranking::metrics::recall_at;
use crate::ranking::rank_of;
use crate::rng;
use crate::run_folder::RunFolder;
use crate::train::prefetch::Prefetcher;
use crate::train::step_and_micro_batch::MicroBatch;
use crate::train::step_failure::MemoryAdvice;
use crate::train::step_loss::StepLoss;
use crate::train::task::{Task, Validation};

/// Photos or captions that a validation embeds at once.
const VALIDATED_AT_ONCE: usize = 64;

/// Decoded photos of a batch.
type BatchPhotos = Vec<Arc<[u8]>>;

/// Contrastive training of an encoder.
pub struct ContrastiveTask<'a> {
    encoder: Box<dyn TrainableDualEncoder>,
    train: Arc<SplitExamples>,
    val: SplitExamples,
    epochs: Arc<Epochs>,
    photos: Prefetcher<Result<BatchPhotos>>,
    section: &'a Pretrain,
    seed: u64,
}

impl<'a> ContrastiveTask<'a> {
    /// Trains `encoder` on `train` and validates it on `val`.
    pub fn new(
        encoder: Box<dyn TrainableDualEncoder>,
        train: SplitExamples,
        val: SplitExamples,
        section: &'a Pretrain,
        seed: u64,
    ) -> Self {
        let epochs = Arc::new(Epochs::new(seed, "pretrain order", train.len()));
        let train = Arc::new(train);
        let photos = prefetch_photos(epochs.clone(), train.clone(), section, seed);
        Self { encoder, train, val, epochs, photos, section, seed }
    }

    fn embed_photos(&self, photos: &[Arc<[u8]>], regularization: &mut Regularization) -> Result<Tensor> {
        let photos: Vec<&[u8]> = photos.iter().map(AsRef::as_ref).collect();
        self.encoder.photos(&photos, regularization)
    }

    /// Never more than a training batch, which takes more memory.
    fn validated_at_once(&self) -> usize {
        self.section.batch.min(VALIDATED_AT_ONCE)
    }

    /// Unit rows (photo, width) of all val photos.
    fn embed_val_photos(&self) -> Result<Matrix> {
        let order: Vec<usize> = (0..self.val.len()).collect();
        embed_in_batches(&order, self.validated_at_once(), self.encoder.width(), |photos| {
            to_matrix(&self.embed_photos(&self.val.photos(photos)?, &mut Regularization::off())?)
        })
    }

    /// The rank of its photo for each val caption, by exact search over the val photos.
    fn val_ranks(&self) -> Result<Vec<Option<usize>>> {
        let images = self.embed_val_photos()?;
        let captions: Vec<(usize, &[u32])> = self.val.captions_with_photo().collect();
        let mut ranks = Vec::with_capacity(captions.len());
        for batch in captions.chunks(self.validated_at_once()) {
            let ids: Vec<&[u32]> = batch.iter().map(|(_, ids)| *ids).collect();
            let queries = to_matrix(&self.encoder.texts(&ids, &mut Regularization::off())?)?;
            let scores = queries.mul_transposed(&images);
            ranks.extend(scores.iter().zip(batch).map(|(scores, &(gold, _))| gold_rank(scores, gold)));
        }
        Ok(ranks)
    }

    /// Writes the best checkpoint of a finished run.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or the disk refuses.
    pub fn write_best(&self, run: &RunFolder, out: &Path) -> Result<()> {
        let best = Checkpoint::read(&run.checkpoints(), Which::Best)?;
        self.encoder.params().assign(best.weights, &run.checkpoints())?;
        match best.progress.step {
            0 => tracing::warn!("no step was better on val than the initial CLIP: it is written as it was"),
            step => tracing::info!("step {step} was the best on val"),
        }
        self.encoder.write(out, DType::F16)?;
        Ok(())
    }
}

/// Decodes the photos of each batch ahead of it, augmented if `pretrain.augment` says so.
fn prefetch_photos(
    epochs: Arc<Epochs>,
    train: Arc<SplitExamples>,
    section: &Pretrain,
    seed: u64,
) -> Prefetcher<Result<BatchPhotos>> {
    let (batch, augment) = (section.batch, section.augment);
    Prefetcher::new(move |step| {
        let photos = epochs.batch(step, batch);
        if !augment {
            return train.photos(&photos);
        }
        train.second_views(&photos, &|n| rng::stream(seed, &format!("pretrain view {n}"), step as u64))
    })
}

/// The one-based rank of the item `gold`. Equal scores share the best of their ranks.
fn gold_rank(scores: &[f32], gold: usize) -> Option<usize> {
    rank_of(&(scores[gold], ()), scores.iter().map(|&score| (score, ())))
}

impl Task for ContrastiveTask<'_> {
    fn params(&self) -> &Params {
        self.encoder.params()
    }

    fn is_trained(&self) -> bool {
        !self.section.init.is_empty()
    }

    /// The photos of the step, each with one of its captions drawn at random.
    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss> {
        let step = batch.number();
        let mut rng = rng::stream(self.seed, "pretrain captions", step as u64);
        let items = self.epochs.batch(step, self.section.batch);
        let mut draw = |photo: usize| {
            let captions = self.train.captions(photo);
            captions[rng.random_range(0..captions.len())].as_slice()
        };
        let captions: Vec<&[u32]> = items.iter().map(|&photo| draw(photo)).collect();
        let rng = rng::stream(self.seed, "pretrain noise", step as u64);
        let mut regularization = Regularization::new(self.section.patch_dropout, self.section.dropout, rng);
        let scale = self.encoder.logit_scale()?;
        let photos = self.photos.of(step)?;
        let images = self.embed_photos(&photos, &mut regularization)?;
        let texts = self.encoder.texts(&captions, &mut regularization)?;
        let mut loss = StepLoss::mean(contrastive_loss(&images, &texts, &scale)?, items.len());
        loss.log("logit_scale", scale.exp()?);
        Ok(loss)
    }

    /// Biases, norms, embeddings and the temperature do not decay.
    fn group(&self, parameter: &str) -> Group {
        let decays = self.encoder.placement(parameter).decays;
        Group { lr: self.section.lr, decay: if decays { self.section.weight_decay } else { 0.0 } }
    }

    /// A smaller batch is not the same training: a pair has fewer negatives in it.
    fn memory_advice(&self) -> Option<MemoryAdvice> {
        let batch = self.section.batch / 2;
        (batch > 1)
            .then(|| MemoryAdvice { settings: format!("--set pretrain.batch={batch}"), keeps_queries: false })
    }

    fn waited(&mut self) -> Duration {
        self.photos.waited()
    }

    fn part(&self, parameter: &str) -> &'static str {
        self.encoder.placement(parameter).part()
    }

    /// Recall of caption → image by exact search over the val photos.
    fn validate(&self) -> Result<Validation> {
        let ranks = self.val_ranks()?;
        let recall = |k: usize| recall_at(&ranks, k);
        let metrics = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: recall(1), metrics })
    }
}

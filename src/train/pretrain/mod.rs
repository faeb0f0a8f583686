//! `dsi pretrain`: a CLIP of one's own, from a train split alone, by the contrastive loss alone. It starts from nothing,
//! or from another CLIP, all of whose weights are tuned then.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use rand::Rng as _;

use self::split_examples::{Examples, Room};
use super::engine;
use super::prefetch::Prefetcher;
use super::step::MicroBatch;
use super::step_failure::MemoryAdvice;
use super::task::{StepLoss, Task, TrainingPlan, Validation, plan};
use crate::config::{Config, Pretrain};
use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::data::epochs::Epochs;
use crate::data::preprocess::Preprocess;
use crate::data::tokenizer::Tokens;
use crate::data::{encoder_folder, verify};
use crate::encoder::clip::config::{TextConfig, VisionConfig};
use crate::encoder::clip::contrastive_loss::contrastive_loss;
use crate::encoder::clip::{Clip, ClipBundle, ClipConfig, Regularization, TrainableTowers, decays, part};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::nn::adamw::Group;
use crate::nn::checkpoint_block::Keep;
use crate::nn::device::describe;
use crate::nn::params::{Builder, Params};
use crate::nn::tensors::to_matrix;
use crate::rng;
use crate::run_folder::RunFolder;

mod split_examples;

/// Photos or captions that a validation embeds at once.
const VALIDATED_AT_ONCE: usize = 64;

/// Trains a CLIP on the train split of the corpus and writes the best checkpoint, by val recall, to `pretrain.out` in
/// transformers' layout.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn pretrain(
    config: &Config,
    corpus: &Corpus,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    let section = &config.pretrain;
    let out = Path::new(&section.out);
    verify::photos_are_there(corpus, config.data.on_bad_image)?;
    let mut whole = match section.init.is_empty() {
        true => fresh(section, corpus, config.seed, run, &ctx.device)?,
        false => from_another(section, out, ctx)?,
    };
    whole.clip.compute_in(ctx.compute);
    if section.recompute {
        whole.clip.hold(Keep::Input);
    }
    let (parameters, tokens) = (whole.params.count(), whole.tokens.vocab_size());
    tracing::info!(
        "a CLIP of {parameters} parameters, {tokens} tokens, {}",
        describe(ctx.compute, &ctx.device)
    );
    let mut room = Room::ALL;
    let mut examples =
        |split| Examples::read(corpus, split, &whole, &mut room, config.data.on_bad_image, ctx);
    let (train, val) = (examples(Split::Train)?, examples(Split::Val)?);
    let mut task = Contrastive::new(whole, train, val, section, config.seed);
    engine::train(&mut task, plan(section), run, resume, ctx)?;
    task.write_best(run, out)
}

/// The CLIP that is tuned; the folder it lies in must not be the one that gets the result.
fn from_another(section: &Pretrain, out: &Path, ctx: &Context) -> Result<ClipBundle> {
    let folder = encoder_folder::find(&section.init, &section.revision, ctx.progress)?;
    let same = |a: &Path, b: &Path| Some(fs::canonicalize(a).ok()? == fs::canonicalize(b).ok()?);
    if same(&folder, out) == Some(true) {
        return Err(Error::input(format!(
            "pretrain.out = \"{}\" is the folder of pretrain.init: the tuned model would replace the one it was \
             made from; choose another",
            section.out
        )));
    }
    ClipBundle::read(&folder, TrainableTowers::EVERYTHING, &ctx.device)
}

/// A CLIP that knows nothing, with a vocabulary learnt from the train captions.
fn fresh(
    section: &Pretrain,
    corpus: &Corpus,
    seed: u64,
    run: &RunFolder,
    device: &Device,
) -> Result<ClipBundle> {
    let train_captions = corpus.train_pairs().into_iter().map(|pair| corpus.caption(pair.caption().index()));
    let tokens = Tokens::train(train_captions, section.vocabulary)?;
    let preprocess = Preprocess::clip(section.image_size as u32)?;
    let shape = shape(section, &tokens);
    let builder = Builder::fresh(seed, device);
    let clip = Clip::new(&builder.root(), &shape)?;
    let params = builder.finish(run.path())?;
    Ok(ClipBundle { clip, params, shape, tokens, preprocess })
}

fn plan(section: &Pretrain) -> TrainingPlan {
    plan!(section, checkpoint_every: section.validate_every)
}

fn shape(section: &Pretrain, tokens: &Tokens) -> ClipConfig {
    let width = section.width;
    ClipConfig {
        projection_dim: section.projection,
        text_config: TextConfig {
            vocab_size: tokens.vocab_size(),
            hidden_size: width,
            intermediate_size: 4 * width,
            num_hidden_layers: section.text_layers,
            num_attention_heads: section.heads,
            max_position_embeddings: section.context,
            eos_token_id: Some(tokens.end_id()),
            ..Default::default()
        },
        vision_config: VisionConfig {
            hidden_size: width,
            intermediate_size: 4 * width,
            num_hidden_layers: section.vision_layers,
            num_attention_heads: section.heads,
            image_size: section.image_size,
            patch_size: section.patch,
            ..Default::default()
        },
        ..Default::default()
    }
}

struct Contrastive<'a> {
    whole: ClipBundle,
    train: Arc<Examples>,
    val: Examples,
    epochs: Arc<Epochs>,
    /// The photos of each batch, ahead of it.
    coming: Prefetcher<Result<Vec<Arc<[u8]>>>>,
    section: &'a Pretrain,
    seed: u64,
}

impl<'a> Contrastive<'a> {
    fn new(whole: ClipBundle, train: Examples, val: Examples, section: &'a Pretrain, seed: u64) -> Self {
        let epochs = Arc::new(Epochs::new(seed, "pretrain order", train.len()));
        let train = Arc::new(train);
        let (order, photos, batch, augment) = (epochs.clone(), train.clone(), section.batch, section.augment);
        let coming = Prefetcher::new(move |step| {
            let items = order.batch(step, batch);
            let draw = |n: usize| rng::stream(seed, &format!("pretrain view {n}"), step as u64);
            if augment { photos.views(&items, &draw) } else { photos.photos(&items) }
        });
        Self { whole, train, val, epochs, coming, section, seed }
    }

    fn images(&self, photos: &[Arc<[u8]>], noise: &mut Regularization) -> Result<Tensor> {
        let photos: Vec<&[u8]> = photos.iter().map(AsRef::as_ref).collect();
        self.whole.photos(&photos, noise)
    }

    /// Never more at once than training, which takes more memory an item, can take.
    fn validated_at_once(&self) -> usize {
        self.section.batch.min(VALIDATED_AT_ONCE)
    }

    /// The embeddings of all val photos.
    fn gallery(&self) -> Result<Matrix> {
        let items: Vec<usize> = (0..self.val.len()).collect();
        let mut rows = Vec::new();
        for batch in items.chunks(self.validated_at_once()) {
            rows.extend_from_slice(
                to_matrix(&self.images(&self.val.photos(batch)?, &mut Regularization::off())?)?.data(),
            );
        }
        Ok(Matrix::new(self.whole.shape.projection_dim, rows))
    }

    /// Writes the best checkpoint of a finished run.
    fn write_best(&self, run: &RunFolder, out: &Path) -> Result<()> {
        let best = Checkpoint::read(&run.checkpoints(), Which::Best)?;
        self.whole.params.assign(best.weights, &run.checkpoints())?;
        match best.progress.step {
            0 => tracing::warn!(
                "no step was better on val than the CLIP that was begun with: it is written as it was"
            ),
            step => tracing::info!("step {step} was the best on val"),
        }
        self.whole.write(out, DType::F16)
    }
}

impl Task for Contrastive<'_> {
    fn params(&self) -> &Params {
        &self.whole.params
    }

    fn is_trained(&self) -> bool {
        !self.section.init.is_empty()
    }

    /// Photos of the step, each with one of its captions drawn at random.
    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss> {
        let step = batch.number();
        let mut rng = rng::stream(self.seed, "pretrain captions", step as u64);
        let items = self.epochs.batch(step, self.section.batch);
        let mut draw = |i: usize| {
            let captions = &self.train.captions()[i];
            captions[rng.random_range(0..captions.len())].as_slice()
        };
        let captions: Vec<&[u32]> = items.iter().map(|&i| draw(i)).collect();
        let mut left_out = rng::stream(self.seed, "pretrain noise", step as u64);
        let mut noise = Regularization::new(self.section.patch_dropout, self.section.dropout, &mut left_out);
        let scale = self.whole.clip.logit_scale.minimum(Clip::LARGEST_SCALE.ln())?;
        let total = contrastive_loss(
            &self.images(&self.coming.of(step)?, &mut noise)?,
            &self.whole.captions(&captions, &mut noise)?,
            &scale,
        )?;
        Ok(StepLoss {
            total,
            parts: vec![("logit_scale", scale.exp()?)],
            pairs: items.len(),
            share: 1.0,
            beside: None,
        })
    }

    /// No decay for biases, norms, embeddings and the temperature.
    fn group(&self, parameter: &str) -> Group {
        Group { lr: self.section.lr, decay: if decays(parameter) { self.section.weight_decay } else { 0.0 } }
    }

    /// A pair has fewer negatives in a smaller batch.
    fn memory_advice(&self) -> Option<MemoryAdvice> {
        let batch = self.section.batch / 2;
        (batch > 1).then(|| MemoryAdvice { settings: format!("--set pretrain.batch={batch}"), same: false })
    }

    fn waited(&mut self) -> Duration {
        self.coming.waited()
    }

    fn part(&self, parameter: &str) -> &'static str {
        part(parameter)
    }

    /// Recall of caption→image by exact search over the val photos.
    fn validate(&self) -> Result<Validation> {
        let images = self.gallery()?;
        let captions = self.val.captions().iter().enumerate();
        let asked: Vec<(usize, &[u32])> = captions
            .flat_map(|(gold, captions)| captions.iter().map(move |ids| (gold, ids.as_slice())))
            .collect();
        let mut ranks = Vec::with_capacity(asked.len());
        for batch in asked.chunks(self.validated_at_once()) {
            let ids: Vec<&[u32]> = batch.iter().map(|(_, ids)| *ids).collect();
            let scores =
                to_matrix(&self.whole.captions(&ids, &mut Regularization::off())?)?.mul_transposed(&images);
            let rank = |(row, &(gold, _)): (&[f32], &(usize, &[u32]))| {
                1 + row.iter().filter(|&&score| score > row[gold]).count()
            };
            ranks.extend(scores.iter().zip(batch).map(rank));
        }
        let recall = |k: usize| ranks.iter().filter(|&&rank| rank <= k).count() as f64 / ranks.len() as f64;
        let figures = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: recall(1), figures })
    }
}

//! `dsi pretrain`: a small CLIP of one's own, from a train split alone, by the contrastive loss alone.

use std::path::Path;

use candle_core::{Device, Tensor};
use rand::Rng as _;

use super::engine::{self, Plan, StepLoss, Task, Validation};
use super::stop::Stop;
use crate::config::{Config, OnBadImage, Pretrain};
use crate::data::corpus::{Corpus, Split};
use crate::data::epochs::Epochs;
use crate::data::layout::PREPROCESSOR;
use crate::data::photos;
use crate::data::preprocess::Preprocess;
use crate::data::tokens::Tokens;
use crate::data::verify;
use crate::error::{Error, Result};
use crate::file;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::clip::config::{TextConfig, VisionConfig};
use crate::model::clip::contrastive::contrastive_loss;
use crate::model::clip::{Clip, ClipConfig, TokenBatch, folder};
use crate::model::encoder::pixels;
use crate::model::features::sound;
use crate::nn::adamw::Group;
use crate::nn::params::{Builder, Params};
use crate::nn::tensors::{to_matrix, unit_rows};
use crate::rng;
use crate::run::RunFolder;

/// CLIP never lets its inverse temperature exceed this (Radford et al. 2021, §2.5).
const LARGEST_SCALE: f64 = 100.0;

/// Trains a CLIP on the train split of the corpus and writes it to `pretrain.out` in Hugging Face's layout.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn pretrain(
    config: &Config,
    corpus: &Corpus,
    run: &RunFolder,
    resume: bool,
    device: &Device,
    stop: &Stop,
) -> Result<()> {
    let section = &config.pretrain;
    verify::photos_are_there(corpus, config.data.on_bad_image)?;
    let train_captions = corpus.train_pairs().into_iter().map(|pair| corpus.caption(pair.caption().index()));
    let tokens = Tokens::train(train_captions, section.vocabulary)?;
    let preprocess = Preprocess::clip(section.image_size as u32)?;
    let shape = shape(section, &tokens);
    let builder = Builder::fresh(config.seed, device);
    let clip = Clip::new(&builder.root(), &shape)?;
    let params = builder.finish(run.path())?;
    tracing::info!("a CLIP of {} parameters, {} tokens", params.count(), tokens.vocab_size());
    let on_bad = config.data.on_bad_image;
    let examples = |split| Examples::read(corpus, split, &tokens, &preprocess, section.context, on_bad);
    let (train, val) = (examples(Split::Train)?, examples(Split::Val)?);
    let epochs = Epochs::new(config.seed, "pretrain order", train.photos.len());
    let task =
        Contrastive { clip, params, train, val, epochs, preprocess, section, seed: config.seed, device };
    engine::train(&task, plan(section), run, resume, stop)?;

    let out = Path::new(&section.out);
    folder::write(out, &task.params, &shape)?;
    tokens.save(out)?;
    let json = task.preprocess.to_json();
    file::write_atomic(&out.join(PREPROCESSOR), |file| writeln!(file, "{json}"))
}

fn plan(section: &Pretrain) -> Plan {
    Plan {
        steps: section.steps,
        warmup: section.warmup,
        clip_norm: section.clip_norm,
        log_every: section.log_every,
        validate_every: section.validate_every,
        checkpoint_every: section.validate_every,
    }
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

/// Photos and tokenised captions of one split, in memory: a byte a pixel.
struct Examples {
    photos: Vec<Vec<u8>>,
    /// The captions of each photo.
    captions: Vec<Vec<Vec<u32>>>,
}

impl Examples {
    fn read(
        corpus: &Corpus,
        split: Split,
        tokens: &Tokens,
        preprocess: &Preprocess,
        context: usize,
        on_bad: OnBadImage,
    ) -> Result<Self> {
        let images = corpus.images_in(split);
        if images.is_empty() {
            return Err(Error::input(format!(
                "the corpus has no images in its {split} split; pretraining needs some"
            )));
        }
        let file = |&image: &ImageIdx| {
            corpus
                .photo(image)
                .ok_or_else(|| Error::input("pretraining needs photos; this corpus has features only"))
        };
        let files = images.iter().map(file).collect::<Result<Vec<_>>>()?;
        let (kept, photos) = sound(photos::decode_batch(&files, preprocess), on_bad)?;
        if photos.is_empty() {
            return Err(Error::input(format!("no photo of the {split} split can be read")));
        }
        let encode = |&place: &usize| {
            let captions = corpus.captions_of(images[place]);
            captions.map(|caption| tokens.encode(corpus.caption(caption), context)).collect()
        };
        Ok(Self { photos, captions: kept.iter().map(encode).collect::<Result<_>>()? })
    }
}

struct Contrastive<'a> {
    clip: Clip,
    params: Params,
    train: Examples,
    val: Examples,
    epochs: Epochs,
    preprocess: Preprocess,
    section: &'a Pretrain,
    seed: u64,
    device: &'a Device,
}

impl Contrastive<'_> {
    fn images(&self, photos: &[&[u8]]) -> Result<Tensor> {
        unit_rows(&self.clip.embed_images(&pixels(photos, &self.preprocess, self.device)?)?)
    }

    fn texts(&self, captions: &[&[u32]]) -> Result<Tensor> {
        unit_rows(&self.clip.embed_text(&TokenBatch::new(captions.iter().copied()))?)
    }
}

impl Task for Contrastive<'_> {
    fn params(&self) -> &Params {
        &self.params
    }

    /// Photos of the step, each with one of its captions drawn at random.
    fn loss(&self, step: usize) -> Result<StepLoss> {
        let mut rng = rng::stream(self.seed, "pretrain captions", step as u64);
        let items = self.epochs.batch(step, self.section.batch);
        let photos: Vec<&[u8]> = items.iter().map(|&i| self.train.photos[i].as_slice()).collect();
        let mut draw = |i: usize| {
            let captions = &self.train.captions[i];
            captions[rng.random_range(0..captions.len())].as_slice()
        };
        let captions: Vec<&[u32]> = items.iter().map(|&i| draw(i)).collect();
        let scale = self.clip.logit_scale.minimum(LARGEST_SCALE.ln())?;
        let total = contrastive_loss(&self.images(&photos)?, &self.texts(&captions)?, &scale)?;
        Ok(StepLoss { total, parts: vec![("logit_scale", scale.exp()?)], pairs: items.len() })
    }

    /// No decay for biases, norms, embeddings and the temperature.
    fn group(&self, parameter: &str) -> Group {
        let decays =
            parameter.ends_with(".weight") && !parameter.contains("norm") && !parameter.contains("embedding");
        Group { lr: self.section.lr, decay: if decays { self.section.weight_decay } else { 0.0 } }
    }

    /// Recall of caption→image by exact search over the val photos.
    fn validate(&self) -> Result<Validation> {
        let rows = |parts: Vec<Result<Tensor>>| -> Result<Matrix> {
            to_matrix(&Tensor::cat(&parts.into_iter().collect::<Result<Vec<_>>>()?, 0)?)
        };
        let photos: Vec<&[u8]> = self.val.photos.iter().map(Vec::as_slice).collect();
        let images = rows(photos.chunks(64).map(|batch| Ok(self.images(batch)?.detach())).collect())?;
        let captions: Vec<&[u32]> = self.val.captions.iter().flatten().map(Vec::as_slice).collect();
        let texts = rows(captions.chunks(64).map(|batch| Ok(self.texts(batch)?.detach())).collect())?;
        let owners = self.val.captions.iter().enumerate().flat_map(|(i, c)| std::iter::repeat_n(i, c.len()));
        let scores = texts.mul_transposed(&images);
        let rank = |(row, gold): (&[f32], usize)| 1 + row.iter().filter(|&&score| score > row[gold]).count();
        let ranks: Vec<usize> = scores.iter().zip(owners).map(rank).collect();
        let recall = |k: usize| ranks.iter().filter(|&&rank| rank <= k).count() as f64 / ranks.len() as f64;
        let figures = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: recall(1), figures })
    }
}

//! `dsi train`: the decoder learns (caption→docid) and (image→docid) together.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::engine::{self, Plan, StepLoss, Task, Validation};
use super::stop::Stop;
use super::teacher::{Lesson, Teacher};
use crate::config::{Config, Loss, Regime, Train};
use crate::data::corpus::{Corpus, Split, TrainPair};
use crate::data::epochs::Epochs;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::dsi::{Candidates, Catalogue, Queries};
use crate::model::features::Prepared;
use crate::model::index::Index;
use crate::model::losses::{PrefixTargets, cross_entropy, listwise};
use crate::model::modality::Modality;
use crate::nn::adamw::Group;
use crate::nn::dropout::Dropout;
use crate::nn::params::Params;
use crate::retriever::build::{Kind, Model, Parts};
use crate::retriever::{Query, Retriever};
use crate::rng;
use crate::run::RunFolder;

/// Val captions that a validation asks at most: enough to choose a checkpoint by.
const ASKED: usize = 500;

/// Trains the model of a configuration over an index; the run folder gets checkpoints and the log.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn train(
    config: &Config,
    prepared: &Prepared,
    index: &Index,
    run: &RunFolder,
    resume: bool,
    device: &Device,
    stop: &Stop,
) -> Result<()> {
    let model = Model::fresh(config, index, device)?;
    tracing::info!("a decoder of {} parameters", model.params.count());
    let section = &config.train;
    let task = Joint::new(config, prepared, index, model, device)?;
    let plan = Plan {
        steps: section.steps,
        warmup: section.warmup,
        clip_norm: section.clip_norm,
        log_every: section.log_every,
        validate_every: section.validate_every,
        checkpoint_every: section.checkpoint_every,
    };
    engine::train(&task, plan, run, resume, stop)
}

struct Joint<'a> {
    section: &'a Train,
    seed: u64,
    dropout: f64,
    model: Model,
    catalogue: Catalogue,
    teacher: Teacher,
    /// Aligned unit rows of all captions, and of all images.
    captions: Matrix,
    images: Matrix,
    /// (caption→docid): only train captions can make these.
    pairs: Vec<TrainPair>,
    /// (image→docid): the images that may be learnt by heart.
    memorised: Vec<ImageIdx>,
    caption_order: Epochs,
    image_order: Epochs,
    validation: Box<dyn Retriever>,
    questions: Vec<(Query, ImageIdx)>,
    device: &'a Device,
}

impl<'a> Joint<'a> {
    fn new(
        config: &'a Config,
        prepared: &Prepared,
        index: &Index,
        model: Model,
        device: &'a Device,
    ) -> Result<Self> {
        let (corpus, section) = (&prepared.corpus, &config.train);
        let pairs = corpus.train_pairs();
        if pairs.is_empty() {
            return Err(Error::input("the corpus has no train split, so there is nothing to train on"));
        }
        let memorised = match section.regime {
            Regime::Transductive => corpus.images().collect(),
            Regime::Inductive => corpus.images_in(Split::Train),
        };
        let images = index.align.apply(Modality::Image, &prepared.embeddings.images);
        let rows: Vec<usize> = memorised.iter().map(|image| image.row()).collect();
        let teacher = Teacher {
            embeddings: images.select(&rows),
            gallery: rows,
            candidates: section.candidates,
            target_gold: section.target_gold,
            temperature: section.teacher_temperature,
        };
        let parts = Parts::new(config, prepared, index.clone(), Arc::clone(&model.dsi))?;
        let everything: Vec<ImageIdx> = corpus.images().collect();
        Ok(Self {
            section,
            seed: config.seed,
            dropout: config.decoder.dropout,
            catalogue: Catalogue::new(index.docids.clone(), index.codebooks.as_ref()),
            teacher,
            captions: index.align.apply(Modality::Caption, &prepared.embeddings.captions),
            images,
            caption_order: Epochs::new(config.seed, "caption order", pairs.len()),
            image_order: Epochs::new(config.seed, "image order", memorised.len()),
            pairs,
            memorised,
            validation: parts.build(Kind::Decoder, &everything),
            questions: questions(corpus, prepared),
            model,
            device,
        })
    }

    /// The queries of a step: aligned rows, what they are made of, and the images they ask for.
    fn batch(&self, step: usize) -> (Matrix, Vec<Modality>, Vec<usize>) {
        let spoken = (self.section.batch as f64 * self.section.caption_share).round() as usize;
        let pairs = self.caption_order.batch(step, spoken).into_iter().map(|i| self.pairs[i]);
        let seen =
            self.image_order.batch(step, self.section.batch - spoken).into_iter().map(|i| self.memorised[i]);
        let (captions, mut gold): (Vec<usize>, Vec<usize>) =
            pairs.map(|pair| (pair.caption().index(), pair.image().row())).unzip();
        let photos: Vec<usize> = seen.map(ImageIdx::row).collect();
        let rows = self.captions.select(&captions).stacked(&self.images.select(&photos));
        let mut modalities = vec![Modality::Caption; captions.len()];
        modalities.resize(rows.rows(), Modality::Image);
        gold.extend(photos);
        (rows, modalities, gold)
    }

    /// Hard candidates, and the mass that each of their prefixes should get.
    fn listwise(&self, queries: &Queries, lessons: &[Lesson], dropout: &mut Dropout) -> Result<Tensor> {
        let docids = self.catalogue.docids();
        let targets: Vec<PrefixTargets> = lessons
            .iter()
            .map(|lesson| {
                let codes: Vec<&[u32]> =
                    lesson.images.iter().map(|&row| docids.get(row.into()).codes()).collect();
                PrefixTargets::new(&codes, &lesson.mass)
            })
            .collect();
        let images: Vec<Vec<usize>> = lessons.iter().map(|lesson| lesson.images.clone()).collect();
        let scores = self.model.dsi.step_scores(queries, &self.candidates(&images)?, dropout)?;
        let tensor = |part: fn(&PrefixTargets) -> &Vec<f32>| {
            let values: Vec<f32> = targets.iter().flat_map(part).copied().collect();
            Tensor::from_vec(values, scores.shape(), self.device)
        };
        listwise(&scores, &tensor(|t| &t.hidden)?, &tensor(|t| &t.mass)?)
    }

    fn candidates(&self, images: &[Vec<usize>]) -> Result<Candidates> {
        self.catalogue.candidates(images, self.device)
    }
}

fn questions(corpus: &Corpus, prepared: &Prepared) -> Vec<(Query, ImageIdx)> {
    let captions = corpus.captions_in(Split::Val);
    let stride = captions.len().div_ceil(ASKED).max(1);
    let asked = captions.into_iter().step_by(stride);
    asked
        .map(|caption| {
            let row = prepared.embeddings.captions.row(caption).to_vec();
            (Query::Embedding(Modality::Caption, row), corpus.owner(caption))
        })
        .collect()
}

impl Task for Joint<'_> {
    fn params(&self) -> &Params {
        &self.model.params
    }

    fn loss(&self, step: usize) -> Result<StepLoss> {
        let (rows, modalities, gold) = self.batch(step);
        let mut rng = rng::stream(self.seed, "dropout", step as u64);
        let mut dropout = Dropout::new(self.dropout, &mut rng);
        let queries = Queries::new(&rows, &modalities, self.device)?;
        let total = match self.section.loss {
            Loss::Listwise => self.listwise(&queries, &self.teacher.lessons(&rows, &gold), &mut dropout)?,
            Loss::CrossEntropy => {
                let gold: Vec<Vec<usize>> = gold.iter().map(|&row| vec![row]).collect();
                cross_entropy(&self.model.dsi.step_scores(
                    &queries,
                    &self.candidates(&gold)?,
                    &mut dropout,
                )?)?
            }
        };
        Ok(StepLoss { total, parts: Vec::new(), pairs: modalities.len() })
    }

    /// The grounding (W, α) has a learning rate of its own and is not pulled to zero; biases, norms, embeddings
    /// do not decay either.
    fn group(&self, parameter: &str) -> Group {
        if parameter.starts_with("grounding.") {
            return Group { lr: self.section.grounding_lr, decay: 0.0 };
        }
        let undecayed = ["norm", "tokens", "positions", "modality"];
        let decays = parameter.ends_with(".weight") && !undecayed.iter().any(|part| parameter.contains(part));
        Group { lr: self.section.lr, decay: if decays { self.section.weight_decay } else { 0.0 } }
    }

    /// Recall of caption→image over all images of the corpus, by the decoder alone.
    fn validate(&self) -> Result<Validation> {
        let (queries, gold): (Vec<Query>, Vec<ImageIdx>) = self.questions.iter().cloned().unzip();
        let lists = self.validation.retrieve(&queries, 10)?;
        let found: Vec<Option<usize>> =
            lists.iter().zip(&gold).map(|(list, &image)| list.rank_of(image)).collect();
        let recall = |k: usize| {
            let hits = found.iter().flatten().filter(|&&rank| rank <= k).count();
            hits as f64 / found.len().max(1) as f64
        };
        let figures = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: (recall(1) + recall(5) + recall(10)) / 3.0, figures })
    }
}

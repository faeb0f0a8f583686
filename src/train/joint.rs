//! `dsi train`: the decoder learns (caption→docid) and (image→docid) together.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::Rng as _;

use super::engine::{self, Plan, StepLoss, Task, Validation};
use super::stop::Stop;
use super::teacher::{Lesson, Teacher, rivals};
use crate::config::{Config, Loss, Regime, Train};
use crate::data::corpus::{Corpus, Split, TrainPair};
use crate::data::epochs::Epochs;
use crate::docid::trie::Trie;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::align::Align;
use crate::model::dsi::{Candidates, Catalogue, Queries};
use crate::model::features::Prepared;
use crate::model::index::Index;
use crate::model::lookahead::LookAhead;
use crate::model::losses::{PrefixTargets, cross_entropy, listwise};
use crate::model::modality::Modality;
use crate::model::search::{Settings, beams};
use crate::nn::adamw::Group;
use crate::nn::dropout::Dropout;
use crate::nn::params::Params;
use crate::retriever::build::{Kind, Model, Parts};
use crate::retriever::{Query, Retriever};
use crate::rng::{self, Rng};
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
    /// What captions learn among: train images alone. Were val and test images candidates here, never once the
    /// right ones, the decoder would learn to avoid them.
    spoken: Teacher,
    /// What images learn among: all that may be learnt by heart, each of them as often the right one.
    seen: Teacher,
    beam: usize,
    lookahead: bool,
    /// The captions' own unit rows; a step aligns those it needs.
    spoken_rows: &'a Matrix,
    align: &'a Align,
    /// Aligned unit rows of all images.
    image_rows: Matrix,
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

/// Queries of one kind in a step.
struct Batch {
    /// Aligned unit rows.
    rows: Matrix,
    /// What each is made of.
    modalities: Vec<Modality>,
    /// The image that each asks for, as a row of the corpus.
    gold: Vec<usize>,
}

impl<'a> Joint<'a> {
    fn new(
        config: &'a Config,
        prepared: &'a Prepared,
        index: &'a Index,
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
        let teacher = |gallery: &[ImageIdx]| {
            let trie = Trie::over(&index.docids, gallery.iter().copied());
            Teacher::new(trie, &images, section.candidates, section.teacher_temperature)
        };
        let (spoken, seen) = (teacher(&corpus.images_in(Split::Train)), teacher(&memorised));
        let parts = Parts::new(config, prepared, index.clone(), Arc::clone(&model.dsi))?;
        let everything: Vec<ImageIdx> = corpus.images().collect();
        Ok(Self {
            section,
            seed: config.seed,
            dropout: config.decoder.dropout,
            catalogue: Catalogue::new(index.docids.clone(), index.codebooks.as_ref()),
            spoken,
            seen,
            beam: config.search.beam,
            lookahead: config.search.lookahead && config.decoder.grounded,
            spoken_rows: &prepared.embeddings.captions,
            align: &index.align,
            image_rows: images,
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

    /// The caption queries of a step.
    fn captions(&self, step: usize) -> Batch {
        let pairs: Vec<TrainPair> =
            self.caption_order.batch(step, self.spoken_share()).into_iter().map(|i| self.pairs[i]).collect();
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        Batch {
            rows: self.caption_rows(&captions),
            modalities: vec![Modality::Caption; pairs.len()],
            gold: pairs.iter().map(|pair| pair.image().row()).collect(),
        }
    }

    /// Aligned unit rows of captions: made for each step, as those of half a million captions fill a gigabyte.
    fn caption_rows(&self, captions: &[usize]) -> Matrix {
        self.align.apply(Modality::Caption, &self.spoken_rows.select(captions))
    }

    /// The image queries of a step.
    fn images(&self, step: usize) -> Batch {
        let count = self.section.batch - self.spoken_share();
        let gold: Vec<usize> =
            self.image_order.batch(step, count).into_iter().map(|i| self.memorised[i].row()).collect();
        let mut rows = self.image_rows.select(&gold);
        let modalities = self.disguise(&mut rows, step);
        Batch { rows, modalities, gold }
    }

    /// Caption queries of a step.
    fn spoken_share(&self) -> usize {
        (self.section.batch as f64 * self.section.caption_share).round() as usize
    }

    /// Moves a share of the image queries to where a caption of theirs might lie, x + (c − x') for the caption c
    /// and the image x' of a random train pair: no caption of a val or test image is needed to learn what a
    /// caption's distance from its image does to a search. Returns what each row is now made of.
    fn disguise(&self, images: &mut Matrix, step: usize) -> Vec<Modality> {
        let mut rng = rng::stream(self.seed, "caption noise", step as u64);
        let mut modalities = vec![Modality::Image; images.rows()];
        let (mut moved, mut pairs) = (Vec::new(), Vec::new());
        for (row, modality) in modalities.iter_mut().enumerate() {
            if rng.random_bool(self.section.caption_noise) {
                *modality = Modality::Caption;
                moved.push(row);
                pairs.push(self.pairs[rng.random_range(0..self.pairs.len())]);
            }
        }
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        for ((&row, pair), caption) in moved.iter().zip(&pairs).zip(self.caption_rows(&captions).iter()) {
            let gap = caption.iter().zip(self.image_rows.row(pair.image().row())).map(|(c, x)| c - x);
            images.row_mut(row).iter_mut().zip(gap).for_each(|(x, gap)| *x += gap);
        }
        *images = std::mem::take(images).normalized();
        modalities
    }

    /// Candidates and targets: queries as aligned rows, and the images they ask for.
    fn lessons(&self, teacher: &Teacher, batch: Batch, rng: &mut Rng) -> Result<Vec<Lesson>> {
        let Batch { rows, modalities, gold } = batch;
        let count = self.section.beam_negatives;
        if count == 0 || gold.is_empty() {
            return Ok(teacher.lessons(&rows, &gold, &vec![Vec::new(); gold.len()]));
        }
        let queries = Queries::new(&rows, &modalities, self.device)?;
        let lookahead = self.lookahead.then(|| LookAhead::new(teacher.trie(), &self.catalogue));
        let settings = Settings { beam: self.beam, geometry: None, lookahead: lookahead.as_ref() };
        let kept = beams(&self.model.dsi, teacher.trie(), &queries, settings)?;
        let rivals: Vec<Vec<usize>> =
            kept.iter().map(|beams| rivals(beams, teacher.trie(), count, rng)).collect();
        Ok(teacher.lessons(&rows, &gold, &rivals))
    }

    /// Hard candidates, and the mass that each of their prefixes should get.
    fn listwise(&self, queries: &Queries, lessons: &[Lesson], dropout: &mut Dropout) -> Result<Tensor> {
        let docids = self.catalogue.docids();
        let targets: Vec<PrefixTargets> = lessons
            .iter()
            .map(|lesson| {
                let codes: Vec<&[u32]> =
                    lesson.images.iter().map(|&row| docids.get(row.into()).codes()).collect();
                PrefixTargets::new(&codes, &lesson.mass, self.section.target_gold as f32)
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
        let (captions, images) = (self.captions(step), self.images(step));
        let rows = captions.rows.stacked(&images.rows);
        let modalities = [captions.modalities.as_slice(), &images.modalities].concat();
        let queries = Queries::new(&rows, &modalities, self.device)?;
        let mut dropout_rng = rng::stream(self.seed, "dropout", step as u64);
        let mut dropout = Dropout::new(self.dropout, &mut dropout_rng);
        let total = match self.section.loss {
            Loss::Listwise => {
                let mut rng = rng::stream(self.seed, "rivals", step as u64);
                let mut lessons = self.lessons(&self.spoken, captions, &mut rng)?;
                lessons.extend(self.lessons(&self.seen, images, &mut rng)?);
                self.listwise(&queries, &lessons, &mut dropout)?
            }
            Loss::CrossEntropy => {
                let gold: Vec<Vec<usize>> =
                    captions.gold.iter().chain(&images.gold).map(|&row| vec![row]).collect();
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

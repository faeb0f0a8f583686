//! `dsi train`: the decoder learns (caption→docid) and (image→docid) together, and the encoder with it where that is wanted.

mod memory_advice;
mod objective;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};

use self::objective::Asked;
use super::docid_state::{self, DocidState};
use super::dry_run::{self, DryRun};
use super::engine;
use super::query_batches::{BatchSampler, QueryBatch, QueryBuilder};
use super::step::{MicroBatch, Step};
use super::step_failure::MemoryAdvice;
use super::task::{StepLoss, Task, TrainingPlan, Validation, plan};
use super::teacher::Scores;
use super::trainable_encoder::{EncoderTraining, TrainableEncoder};
use crate::config::{Config, Loss, Train, WeightSchedule};
use crate::context::Context;
use crate::data::corpus::{Corpus, Split};
use crate::distributed::Comm;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::checkpoint::ENCODER;
use crate::model::generative_model::Queries;
use crate::model::index_folder::DocidIndex;
use crate::nn::adamw::Group;
use crate::nn::device::describe;
use crate::nn::params::Params;
use crate::nn::tensors;
use crate::retriever::factory::Model;
use crate::retriever::{Query, RankedList};
use crate::run_folder::RunFolder;

/// Val captions that a validation asks at most: enough to choose a checkpoint by.
const ASKED: usize = 500;

/// Trains the model of a configuration over an index; the run folder gets checkpoints and the log.
///
/// # Errors
/// [`crate::error::Error::Stopped`] after a requested stop; otherwise what the data, the disk or the training reports.
pub fn train(
    config: &Config,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    run: &RunFolder,
    resume: bool,
    ctx: &Context,
) -> Result<()> {
    let mut task = Joint::fresh(config, prepared, index, ctx)?;
    tracing::info!(
        "a decoder of {} parameters, {}",
        task.model.params.count(),
        describe(ctx.compute, &ctx.device)
    );
    if let Some(live) = &task.live {
        tracing::info!("with {} parameters of the encoder", live.params().count());
        if ctx.comm.overlaps_sums() && ctx.device.is_cpu() {
            tracing::info!("their gradients are added up over the ranks while the backward pass runs");
        }
    }
    engine::train(&mut task, plan(&config.train), run, resume, ctx)
}

/// What that will take, by a few steps of which nothing is kept.
///
/// # Errors
/// What the data or the steps report.
pub fn dry_run(
    config: &Config,
    prepared: &EmbeddedCorpus,
    index: &DocidIndex,
    ctx: &Context,
) -> Result<DryRun> {
    let mut task = Joint::fresh(config, prepared, index, ctx)?;
    dry_run::dry_run(&mut task, plan(&config.train))
}

fn plan(section: &Train) -> TrainingPlan {
    plan!(section, checkpoint_every: section.checkpoint_every)
}

struct Joint<'a> {
    section: &'a Train,
    /// Weight of CLIP's contrastive loss.
    contrastive: &'a WeightSchedule,
    seed: u64,
    dropout: f64,
    model: Model,
    /// The encoder, where it is trained too.
    live: Option<TrainableEncoder<'a>>,
    /// All that is trained.
    params: Params,
    /// The images by the docids they have now.
    docids: DocidState,
    source: QueryBuilder<'a>,
    /// Another teacher for captions, if there is one.
    told: Option<Scores>,
    beam: usize,
    lookahead: bool,
    /// Val captions.
    asked: Vec<usize>,
    config: &'a Config,
    prepared: &'a EmbeddedCorpus,
    device: &'a Device,
    comm: Comm,
}

impl<'a> Joint<'a> {
    /// The training of a fresh model.
    fn fresh(
        config: &'a Config,
        prepared: &'a EmbeddedCorpus,
        index: &'a DocidIndex,
        ctx: &'a Context,
    ) -> Result<Self> {
        let mut model = Model::fresh(config, index, &ctx.device)?;
        model.compute_in(ctx.compute);
        let comm = &ctx.comm;
        let (corpus, section) = (&prepared.corpus, &config.train);
        if config.tune.reassign_every > 0 && index.meta.gates.suffix {
            return Err(Error::input(
                "tune.reassign_every needs docids that are unique by their codes alone, and this index has a suffix level: \
                 raise index.levels or index.codes",
            ));
        }
        let images = Arc::new(index.align.apply(Modality::Image, &prepared.embeddings.images));
        let order = Arc::new(BatchSampler::new(config, corpus)?);
        order.check(comm)?;
        let training = EncoderTraining {
            tune: &config.tune,
            seed: config.seed,
            accumulate: section.accumulate,
            on_bad: config.data.on_bad_image,
        };
        let live = config
            .tunes()
            .then(|| TrainableEncoder::open(&training, prepared, &index.align, order.clone(), ctx))
            .transpose()?;
        let params = match &live {
            Some(live) => model.params.with(ENCODER, &live.params()),
            None => model.params.clone(),
        };
        Ok(Self {
            live,
            params,
            section,
            contrastive: &config.tune.contrastive,
            seed: config.seed,
            dropout: config.decoder.dropout,
            docids: DocidState::new(config, prepared, index.clone(), images.clone(), &model.dsi)?,
            source: QueryBuilder::new(config, prepared, &index.align, order, images, ctx)?,
            told: Scores::open(section, corpus)?,
            beam: config.search.beam,
            lookahead: config.looks_ahead(),
            asked: asked(corpus),
            config,
            prepared,
            model,
            device: &ctx.device,
            comm: comm.clone(),
        })
    }

    /// Gives the images new docids, made of the rows of the encoder as it is now.
    fn reassign_docids(&mut self, Step(step): Step) -> Result<()> {
        let Some(live) = &self.live else { return Ok(()) };
        let images = self.docids.index().align.apply(Modality::Image, &live.embed_gallery()?);
        let renamed = self.docids.renamed(&images, self.config.index.encode_beam, &self.comm);
        let hash = renamed.as_ref().map_or(0, |(docids, _)| docid_state::hash(docids));
        self.comm.agree("the docids of the images: do all hosts see the same photos?", hash)?;
        let Some((docids, changed)) = renamed else {
            tracing::warn!("step {step}: docids would no longer be unique; they stay as they are");
            return self.name(self.docids.index().clone(), Arc::new(images));
        };
        tracing::info!("step {step}: {changed} of {} images have another docid", docids.images());
        self.name(DocidIndex { docids, ..self.docids.index().clone() }, Arc::new(images))
    }

    /// Goes on with this index, and with these aligned unit rows of the images to teach by.
    fn name(&mut self, index: DocidIndex, images: Arc<Matrix>) -> Result<()> {
        self.docids = DocidState::new(self.config, self.prepared, index, images, &self.model.dsi)?;
        Ok(())
    }

    /// At which place each of these captions finds its image, (captions, 1); infinite where not among the first ten.
    fn places(&self, captions: &[usize]) -> Result<Matrix> {
        let rows = match &self.live {
            Some(live) => live.embed_captions(captions)?,
            None => self.prepared.embeddings.captions.select(captions),
        };
        let queries: Vec<Query> =
            rows.iter().map(|row| Query::Embedding(Modality::Caption, row.to_vec())).collect();
        let lists = self.docids.validation.retrieve(&queries, 10)?;
        let place = |(list, &caption): (&RankedList, &usize)| {
            list.rank_of(self.prepared.corpus.owner(caption)).map_or(f32::INFINITY, |place| place as f32)
        };
        Ok(Matrix::new(1, lists.iter().zip(captions).map(place).collect()))
    }

    /// Aligned unit rows of a batch's queries, by the encoder as it is now.
    fn rows(&self, queries: &QueryBatch, batch: MicroBatch) -> Result<Tensor> {
        match &self.live {
            Some(live) => live.queries(queries, batch.number()),
            None => tensors::from_matrix(&queries.rows, self.device),
        }
    }
}

/// The val captions that validations ask: every n-th.
fn asked(corpus: &Corpus) -> Vec<usize> {
    let captions = corpus.captions_in(Split::Val);
    let stride = captions.len().div_ceil(ASKED).max(1);
    captions.into_iter().step_by(stride).collect()
}

impl Task for Joint<'_> {
    fn params(&self) -> &Params {
        &self.params
    }

    fn before_step(&mut self, step: Step) -> Result<()> {
        let every = self.config.tune.reassign_every;
        if every > 0 && step.0 > 0 && step.0.is_multiple_of(every) {
            self.reassign_docids(step)
        } else {
            Ok(())
        }
    }

    fn loss(&mut self, batch: MicroBatch) -> Result<StepLoss> {
        let part = |batch: QueryBatch| {
            let own = self.comm.share(batch.gold.len());
            batch.part(own)
        };
        let (captions, images) =
            (part(self.source.captions(batch.number())), part(self.source.images(batch.number())));
        let share = (captions.gold.len() + images.gold.len()) as f64 / self.section.batch as f64;
        let rows = [self.rows(&captions, batch)?, self.rows(&images, batch)?];
        let modalities = [captions.modalities.as_slice(), &images.modalities].concat();
        let filled: Vec<&Tensor> = rows.iter().filter(|rows| rows.elem_count() > 0).collect();
        let queries = Queries::of(Tensor::cat(&filled, 0)?, &modalities)?;
        let asked = Asked { captions, images, rows, queries };
        let loss = match self.section.loss {
            Loss::Listwise => self.ranking(batch, &asked)?,
            Loss::CrossEntropy => self.classical(batch, &asked)?,
        };
        let mut loss = self.with_contrastive(StepLoss { share, ..loss }, batch)?;
        if self.config.tune.reassign_every > 0 {
            loss.parts.push(("perplexity", Tensor::new(self.docids.perplexity as f32, self.device)?));
        }
        Ok(loss)
    }

    fn blocks(&self) -> Vec<Vec<Tensor>> {
        self.live.as_ref().map_or_else(Vec::new, TrainableEncoder::blocks)
    }

    /// The grounding (W, α) has a learning rate of its own and is not pulled to zero; biases, norms, embeddings
    /// do not decay either.
    fn group(&self, parameter: &str) -> Group {
        if let (Some(live), Some(own)) = (&self.live, parameter.strip_prefix(ENCODER)) {
            return live.group(own);
        }
        if parameter.starts_with("grounding.") {
            return Group { lr: self.section.grounding_lr, decay: 0.0 };
        }
        let undecayed = ["norm", "tokens", "positions", "modality"];
        let decays = parameter.ends_with(".weight") && !undecayed.iter().any(|part| parameter.contains(part));
        Group { lr: self.section.lr, decay: if decays { self.section.weight_decay } else { 0.0 } }
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match self.config.tune.reassign_every {
            0 => Ok(BTreeMap::new()),
            _ => self.docids.state(),
        }
    }

    fn restore(&mut self, state: &mut BTreeMap<String, Tensor>, origin: &Path) -> Result<()> {
        if self.config.tune.reassign_every == 0 {
            return Ok(());
        }
        let index = docid_state::with_docids(self.docids.index().clone(), state, origin)?;
        let images = self.docids.rows_of(state, origin)?;
        self.name(index, Arc::new(images))
    }

    fn waited(&mut self) -> Duration {
        self.live.as_ref().map_or(Duration::ZERO, TrainableEncoder::waited)
    }

    fn memory_advice(&self) -> Option<MemoryAdvice> {
        memory_advice::memory_advice(self.config, self.comm.size())
    }

    fn part(&self, parameter: &str) -> &'static str {
        match (&self.live, parameter.strip_prefix(ENCODER)) {
            (Some(live), Some(own)) => live.part(own),
            _ if parameter.starts_with("grounding.") => "grounding",
            _ => "decoder",
        }
    }

    /// Recall of caption→image over all images of the corpus, by the decoder alone.
    fn validate(&self) -> Result<Validation> {
        let found = self.comm.gather_shares(self.asked.len(), |own| self.places(&self.asked[own]))?;
        let recall = |k: usize| {
            let hits = found.data().iter().filter(|&&place| place <= k as f32).count();
            hits as f64 / found.rows().max(1) as f64
        };
        let figures = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: (recall(1) + recall(5) + recall(10)) / 3.0, figures })
    }
}

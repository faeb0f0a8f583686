//! The objective of `dsi train`: the meaning of a step score, the candidates of each query, and the terms of
//! the loss.
//!
//! ```text
//! loss = main term + Σ weight(step) · term
//! ```
//!
//! `train.loss` selects the main term, and with it the meaning of a step score and the candidates
//! ([`MainLoss`]). The other terms have a weight schedule and a file each; [`terms`] has their table and says
//! how to add one.

pub mod candidates;
pub mod context;
pub mod cross_entropy;
mod forward_pass;
pub mod listwise;
pub mod prefix_targets;
pub mod terms;

use candle_core::Tensor;

use self::candidates::{CandidateSource, TeacherCandidates};
use self::context::LossContext;
use self::forward_pass::ForwardPass;
use self::prefix_targets::{PrefixTargets, TargetWeights};
use self::terms::WeightedTerm;
use self::terms::contrastive::Contrastive;
use self::terms::term::{Term, TermInputs};
use super::embedded_queries::BatchQueries;
use super::joint_settings::JointSettings;
use super::step_and_micro_batch::MicroBatch;
use super::step_loss::StepLoss;
use super::teacher::TeacherTarget;
use crate::data::corpus::Corpus;
use crate::error::Result;
use crate::ids::DocidRow;
use crate::model::candidate_table::CandidateTable;
use crate::model::generative_model::Scoring;
use crate::model::settings::Loss;
use crate::nn::dropout::Dropout;
use crate::nn::weight_schedule::WeightSchedule;

/// What `train.loss` selects.
pub struct MainLoss {
    /// The meaning of a step score.
    pub scoring: Scoring,
    has_teacher: bool,
    value: fn(&TermInputs) -> Result<Tensor>,
}

impl MainLoss {
    /// The main loss by its configuration word.
    pub fn of(loss: Loss) -> Self {
        match loss {
            Loss::Listwise => Self { scoring: Scoring::Logit, has_teacher: true, value: listwise::value },
            Loss::CrossEntropy => {
                Self { scoring: Scoring::LogProbability, has_teacher: false, value: cross_entropy::value }
            }
        }
    }
}

/// The objective of a training.
pub struct Objective {
    main: MainLoss,
    terms: Vec<WeightedTerm>,
    candidates: CandidateSource,
    target: TargetWeights,
    /// Dropout probability of the decoder.
    dropout: f64,
}

impl Objective {
    /// The objective that the settings describe.
    ///
    /// # Errors
    /// When the file that `train.teacher` names cannot be read or does not fit the corpus.
    pub fn open(settings: &JointSettings, corpus: &Corpus) -> Result<Self> {
        let JointSettings { train, tune, decoder, .. } = *settings;
        let main = MainLoss::of(train.loss);
        let candidates = match main.has_teacher {
            true => CandidateSource::Teacher(Box::new(TeacherCandidates::open(settings, corpus)?)),
            false => CandidateSource::Gold,
        };
        let mut terms = train.terms.weighted();
        terms.push((tune.contrastive.clone(), Box::new(Contrastive)));
        Ok(Self {
            main,
            terms,
            candidates,
            target: TargetWeights { gold: train.target_gold as f32, smoothing: train.label_smoothing as f32 },
            dropout: decoder.dropout,
        })
    }

    /// The meaning of a step score.
    pub fn scoring(&self) -> Scoring {
        self.main.scoring
    }

    /// Adds a further term, after the others.
    pub fn add_term(&mut self, weight: WeightSchedule, term: impl Term + 'static) {
        self.terms.push((weight, Box::new(term)));
    }

    /// The loss of this rank's queries of a micro-batch.
    ///
    /// # Errors
    /// When photos or the teacher's scores cannot be read.
    pub fn loss(&self, batch: MicroBatch, queries: &BatchQueries, context: &LossContext) -> Result<StepLoss> {
        let streams = context.streams;
        let targets = self.candidates.targets(context, queries, &mut streams.stream("rivals", batch))?;
        let mut dropout_rng = streams.stream("dropout", batch);
        let dropout = Dropout::new(self.dropout, &mut dropout_rng);
        let mut inputs = self.forward(batch, queries, &targets, context, dropout)?;
        let main = (self.main.value)(&inputs)?;
        let mut loss = StepLoss::mean(main, queries.all.count());
        loss.set_rank(queries.share, streams.is_first_rank());
        for (weight, term) in &self.terms {
            let weight = weight.at(batch.step().0);
            if weight > 0.0
                && let Some(value) = term.value(&mut inputs)?
            {
                loss.add(term.name(), weight, value)?;
            }
        }
        Ok(loss)
    }

    /// Scores the candidates of each query and lays out the targets of their prefixes.
    fn forward<'a>(
        &self,
        batch: MicroBatch,
        queries: &'a BatchQueries,
        targets: &[TeacherTarget],
        context: &LossContext<'a>,
        mut dropout: Dropout<'a>,
    ) -> Result<TermInputs<'a>> {
        let table = &context.docids.candidate_table;
        let rows = |target: &TeacherTarget| target.images.iter().map(|&image| image.into()).collect();
        let rows: Vec<Vec<DocidRow>> = targets.iter().map(rows).collect();
        let candidates = table.candidates(&rows, context.model.device())?;
        let scores = context.model.step_scores(&queries.all, &candidates, &mut dropout)?;
        let prefixes: Vec<PrefixTargets> =
            targets.iter().map(|target| self.prefix_targets(table, target)).collect();
        let (hidden, mass) = PrefixTargets::tensors(&prefixes, &scores)?;
        let (model, source) = (context.model, context.source);
        Ok(TermInputs {
            scores,
            hidden,
            mass,
            captions: queries.captions.batch.len(),
            captions_of_all_ranks: source.captions_of_all_ranks(),
            extras: Box::new(ForwardPass { batch, queries, candidates, model, source, dropout }),
        })
    }

    fn prefix_targets(&self, table: &CandidateTable, target: &TeacherTarget) -> PrefixTargets {
        let codes = |&image: &usize| table.docids().get(image.into()).codes();
        let docids: Vec<&[u32]> = target.images.iter().map(codes).collect();
        PrefixTargets::new(&docids, &target.mass, self.target)
    }
}

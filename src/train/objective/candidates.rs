//! The candidates that a query is scored on, with the teacher's mass of each of their prefixes.

use super::context::LossContext;
use crate::data::corpus::Corpus;
use crate::error::Result;
use crate::model::beam_search::{Settings, beams};
use crate::model::generative_model::Queries;
use crate::nn::tensors;
use crate::rng::Rng;
use crate::train::embedded_queries::{BatchQueries, EmbeddedQueries};
use crate::train::joint_settings::JointSettings;
use crate::train::teacher::{Scores, Teacher, TeacherTarget, beam_negatives};

/// How the candidates of a query are chosen.
pub enum CandidateSource {
    /// The gold image alone.
    Gold,
    /// The gold image, hard negatives, and a teacher that says how likely each prefix should be.
    Teacher(Box<TeacherCandidates>),
}

/// The gold image, images under prefixes that the beam keeps, and the teacher's nearest images.
pub struct TeacherCandidates {
    beam_negatives: usize,
    beam: usize,
    /// Whether the teacher sees queries by the encoder as it is now, because docids are re-assigned by it.
    sees_current_rows: bool,
    /// Scores of captions that replace the cosine.
    caption_scores: Option<Scores>,
}

impl CandidateSource {
    /// One target a query, with equally many candidates each: captions first, then images.
    ///
    /// # Errors
    /// When the teacher's scores cannot be read.
    pub fn targets(
        &self,
        context: &LossContext,
        queries: &BatchQueries,
        rng: &mut Rng,
    ) -> Result<Vec<TeacherTarget>> {
        let BatchQueries { captions, images, .. } = queries;
        let docids = context.docids;
        match self {
            Self::Gold => {
                let levels = docids.candidate_table.docids().levels();
                let queries = captions.batch.queries.iter().chain(&images.batch.queries);
                Ok(queries.map(|query| TeacherTarget::gold_alone(query.gold, levels)).collect())
            }
            Self::Teacher(candidates) => {
                let mut targets = candidates.targets(context, &docids.caption_teacher, captions, rng)?;
                targets.extend(candidates.targets(context, &docids.image_teacher, images, rng)?);
                TeacherTarget::pad_to_longest(&mut targets);
                Ok(targets)
            }
        }
    }
}

impl TeacherCandidates {
    /// The candidates that the settings ask for.
    ///
    /// # Errors
    /// When the file that `train.teacher` names cannot be read or does not fit the corpus.
    pub fn open(settings: &JointSettings, corpus: &Corpus) -> Result<Self> {
        Ok(Self {
            beam_negatives: settings.train.beam_negatives,
            beam: settings.search.beam,
            sees_current_rows: settings.tune.reassign_every > 0,
            caption_scores: Scores::open(settings.train, corpus)?,
        })
    }

    fn targets(
        &self,
        context: &LossContext,
        teacher: &Teacher,
        queries: &EmbeddedQueries,
        rng: &mut Rng,
    ) -> Result<Vec<TeacherTarget>> {
        let negatives = self.negatives(context, teacher, queries, rng)?;
        let (batch, scores) = (&queries.batch, self.caption_scores.as_ref());
        if self.sees_current_rows {
            let rows = tensors::to_matrix(&queries.current_rows.detach())?;
            return teacher.targets(batch, &rows, &negatives, scores);
        }
        teacher.targets(batch, &batch.initial_rows, &negatives, scores)
    }

    /// Hard negatives of each query, from a beam search by the model as it is now.
    fn negatives(
        &self,
        context: &LossContext,
        teacher: &Teacher,
        queries: &EmbeddedQueries,
        rng: &mut Rng,
    ) -> Result<Vec<Vec<usize>>> {
        let (count, trie) = (queries.batch.len(), teacher.trie());
        if self.beam_negatives == 0 || count == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        let settings = Settings {
            beam: self.beam,
            geometry: None,
            lookahead: teacher.lookahead(),
            leaves: &[],
            wildcard: 1.0,
        };
        let queries = Queries::of(queries.current_rows.detach(), &queries.batch.modalities())?;
        let kept = beams(context.model, trie, &queries, settings)?;
        Ok(kept.iter().map(|beams| beam_negatives(beams, trie, self.beam_negatives, rng)).collect())
    }
}

//! The joint model: a decoder, optionally grounded in the codebooks, that scores docids for queries.
//!
//! The logit of a code is the sum of what the decoder gives it, what the codebooks' geometry gives it
//! ([`super::grounded_logits`]) and what the plan-ahead head gives it ([`super::plan_ahead_head`]). Training
//! scores whole candidates ([`GenerativeModel::step_scores`]); a search decodes level by level
//! ([`GenerativeModel::begin`], [`GenerativeModel::next`], [`GenerativeModel::advance`]).
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::log_softmax;
use serde::{Deserialize, Serialize};

use super::candidate_table::Candidates;
use super::decoder::{Cache, Decoder, Memory, Shape};
use super::grounded_logits::{Books, Grounding};
use super::lookahead::LookaheadTerms;
use super::plan_ahead_head::PlanAheadHead;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::nn::dropout::Dropout;
use crate::nn::params::Scope;
use crate::nn::tensors;

/// What one step of decoding contributes to the score of a docid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// The logit of the code. If anything is normalised, it is whole prefixes, by the listwise loss.
    Logit,
    /// The log-probability of the code among all codes of its level, as cross-entropy trains it (classical
    /// DSI). A wrong node with few likely children then looks certain, and no later step can undo it (label
    /// bias).
    LogProbability,
}

/// The joint model.
#[derive(Debug, Clone)]
pub struct GenerativeModel {
    decoder: Decoder,
    grounding: Option<Grounding>,
    plan: Option<PlanAheadHead>,
    scoring: Scoring,
}

/// Queries ready to be scored: their embeddings and modalities.
#[derive(Debug, Clone)]
pub struct Queries {
    /// Aligned unit rows (query, width).
    embeddings: Tensor,
    /// [`Modality::row`] of each: (query), u32.
    modalities: Tensor,
}

impl Queries {
    /// Queries from aligned unit rows, with one modality each.
    pub fn new(embeddings: &Matrix, modalities: &[Modality], device: &Device) -> Result<Self> {
        Self::of(tensors::from_matrix(embeddings, device)?, modalities)
    }

    /// Queries from a tensor (query, width), which may carry the gradients of an encoder in training.
    pub fn of(embeddings: Tensor, modalities: &[Modality]) -> Result<Self> {
        let rows: Vec<u32> = modalities.iter().map(|modality| modality.row() as u32).collect();
        let modalities = Tensor::from_vec(rows, modalities.len(), embeddings.device())?;
        Ok(Self { embeddings, modalities })
    }

    /// Number of queries.
    pub fn count(&self) -> usize {
        self.modalities.elem_count()
    }
}

/// A batch of queries in the middle of decoding. Rows are queries × beams.
pub struct DecodeState {
    memory: Memory,
    cache: Cache,
    /// Logits of the plan-ahead head, (query, code) a level; empty without one.
    planned: Vec<Tensor>,
    /// Residuals W·q − x̂ of every row, if the model is grounded.
    mapped: Option<Tensor>,
    /// Residuals q − x̂ under the unmapped query, for the geometric term of the search.
    plain: Tensor,
    level: usize,
}

/// What scores the candidates' codes at one level.
struct CandidateStep<'a> {
    level: usize,
    /// States before the level: (query · candidate, d).
    states: Tensor,
    /// Codes of the level: (query, candidate).
    codes: Tensor,
    /// W·q: (query, width), if the model is grounded.
    mapped: Option<&'a Tensor>,
    /// Logits of the plan-ahead head: (query, code).
    planned: Option<&'a Tensor>,
}

impl GenerativeModel {
    /// A model with a decoder of this shape. `grounding` are codebooks and the temperature of grounded
    /// logits; `plans` says whether it has a plan-ahead head.
    pub fn new(
        scope: &Scope,
        shape: Shape,
        grounding: Option<(Books, f64)>,
        plans: bool,
        scoring: Scoring,
    ) -> Result<Self> {
        let width = shape.query;
        let plan = plans.then(|| PlanAheadHead::new(&scope.sub("plan"), &shape)).transpose()?;
        let ground =
            |(books, temperature)| Grounding::new(&scope.sub("grounding"), books, width, temperature);
        let grounding = grounding.map(ground).transpose()?;
        Ok(Self { decoder: Decoder::new(&scope.sub("decoder"), shape)?, grounding, plan, scoring })
    }

    /// Makes the decoder's blocks compute in this type, even if the parameters have
    /// another.
    pub fn compute_in(&mut self, dtype: DType) {
        self.decoder.compute_in(dtype);
    }

    /// Width of a query's embedding.
    pub fn query_width(&self) -> usize {
        self.decoder.query_width()
    }

    /// What a step contributes to a score.
    pub fn scoring(&self) -> Scoring {
        self.scoring
    }

    /// Scores of each level of each candidate: (query, candidate, level).
    pub fn step_scores(
        &self,
        queries: &Queries,
        candidates: &Candidates,
        dropout: &mut Dropout,
    ) -> Result<Tensor> {
        let memory = self.decoder.memory(&queries.embeddings, &queries.modalities)?;
        let states = self.decoder.forward(&memory, &candidates.codes, dropout)?; // (query · candidate, level, d)
        let mapped = self.mapped(queries)?;
        let planned = self.planned(queries)?;
        let mut scores = Vec::with_capacity(self.decoder.levels());
        for level in 0..self.decoder.levels() {
            let step = CandidateStep {
                level,
                states: states.narrow(1, level, 1)?.squeeze(1)?.contiguous()?,
                codes: at_level(&candidates.codes, level)?,
                mapped: mapped.as_ref(),
                planned: planned.get(level),
            };
            scores.push(match self.scoring {
                Scoring::Logit => self.candidate_logits(&step, candidates)?,
                Scoring::LogProbability => self.candidate_log_probabilities(&step, candidates)?,
            });
        }
        Ok(Tensor::stack(&scores, 2)?)
    }

    /// What the decoder alone gives each candidate, summed over the levels, without grounded logits and plan:
    /// (query, candidate).
    pub fn decoder_scores(&self, queries: &Queries, candidates: &Candidates) -> Result<Tensor> {
        let memory = self.decoder.memory(&queries.embeddings, &queries.modalities)?;
        let states = self.decoder.forward(&memory, &candidates.codes, &mut Dropout::off())?;
        let mut total = candidates.offsets.narrow(2, 0, 1)?.squeeze(2)?.zeros_like()?;
        for level in 0..self.decoder.levels() {
            let codes = at_level(&candidates.codes, level)?;
            let states = states.narrow(1, level, 1)?.squeeze(1)?.contiguous()?;
            let logits = self.decoder.chosen(level, &states, &codes.flatten_all()?)?;
            total = (total + logits.reshape(codes.shape())?)?;
        }
        Ok(total)
    }

    /// The logit of each candidate's code at one level: (query, candidate). No other code is scored.
    fn candidate_logits(&self, step: &CandidateStep, candidates: &Candidates) -> Result<Tensor> {
        let &CandidateStep { level, ref states, ref codes, .. } = step;
        let logits = self.decoder.chosen(level, states, &codes.flatten_all()?)?.reshape(codes.shape())?;
        let logits = match step.planned {
            Some(planned) => (logits + planned.gather(codes, 1)?)?,
            None => logits,
        };
        match (self.grounding_at(level), step.mapped) {
            (Some(grounding), Some(mapped)) => {
                let offsets = at_level(&candidates.offsets, level)?;
                Ok((logits + grounding.chosen(level, mapped, codes, &offsets)?)?)
            }
            _ => Ok(logits),
        }
    }

    /// The log-probability of each candidate's code at one level: (query, candidate).
    fn candidate_log_probabilities(&self, step: &CandidateStep, candidates: &Candidates) -> Result<Tensor> {
        let residuals = self.residuals(step.mapped, candidates, step.level)?;
        let logits = self.logits(step.level, &step.states, residuals.as_ref(), step.planned)?;
        let codes = step.codes.reshape((step.codes.elem_count(), 1))?;
        Ok(log_softmax(&logits, D::Minus1)?.gather(&codes, 1)?.reshape(step.codes.shape())?)
    }

    /// W·q − x̂_{<l} of every candidate before level l: (query · candidate, width), if the model is grounded.
    fn residuals(
        &self,
        mapped: Option<&Tensor>,
        candidates: &Candidates,
        level: usize,
    ) -> Result<Option<Tensor>> {
        let (Some(grounding), Some(mapped)) = (&self.grounding, mapped) else { return Ok(None) };
        let (count, per_query, _) = candidates.codes.dims3()?;
        let width = mapped.dim(1)?;
        let repeated = mapped.unsqueeze(1)?.broadcast_as((count, per_query, width))?;
        let mut residuals = repeated.contiguous()?.reshape((count * per_query, width))?;
        for before in 0..level.min(grounding.books().levels()) {
            let codes = candidates.codes.narrow(2, before, 1)?.contiguous()?.flatten_all()?;
            residuals = grounding.books().subtract(before, &residuals, &codes)?;
        }
        Ok(Some(residuals))
    }

    /// W·q of each query: (query, width), if the model is grounded.
    fn mapped(&self, queries: &Queries) -> Result<Option<Tensor>> {
        self.grounding.as_ref().map(|grounding| grounding.map(&queries.embeddings)).transpose()
    }

    /// Logits of the plan-ahead head, (query, code) a level; empty without one.
    fn planned(&self, queries: &Queries) -> Result<Vec<Tensor>> {
        match &self.plan {
            Some(plan) => plan.logits(&queries.embeddings, &queries.modalities),
            None => Ok(Vec::new()),
        }
    }

    /// The grounding, if a level has a codebook.
    fn grounding_at(&self, level: usize) -> Option<&Grounding> {
        self.grounding.as_ref().filter(|grounding| level < grounding.books().levels())
    }

    /// Logits of all codes of a level: (row, code). Rows are queries × candidates; `planned` has one row a
    /// query.
    fn logits(
        &self,
        level: usize,
        states: &Tensor,
        residuals: Option<&Tensor>,
        planned: Option<&Tensor>,
    ) -> Result<Tensor> {
        let logits = self.decoder.logits(level, states)?;
        let logits = match planned {
            Some(planned) => {
                let (queries, codes) = planned.dims2()?;
                let by_query = logits.reshape((queries, (), codes))?;
                by_query.broadcast_add(&planned.unsqueeze(1)?)?.reshape(((), codes))?
            }
            None => logits,
        };
        match (self.grounding_at(level), residuals) {
            (Some(grounding), Some(residuals)) => Ok((logits + grounding.logits(level, residuals)?)?),
            _ => Ok(logits),
        }
    }

    /// Starts to decode for a batch of queries, one row each.
    pub fn begin(&self, queries: &Queries) -> Result<DecodeState> {
        Ok(DecodeState {
            memory: self.decoder.memory(&queries.embeddings, &queries.modalities)?,
            cache: Cache::default(),
            planned: self.planned(queries)?,
            mapped: self.mapped(queries)?,
            plain: queries.embeddings.clone(),
            level: 0,
        })
    }

    /// Scores of every code of the next level for every row: (row, code). `codes` (row) are those of the
    /// level before. `geometry` are codebooks and the weight of their geometry under the unmapped query, at
    /// levels that have a codebook.
    pub fn next(
        &self,
        state: &mut DecodeState,
        codes: Option<&Tensor>,
        geometry: Option<(&Books, f64)>,
    ) -> Result<Tensor> {
        let level = state.level;
        let states = self.decoder.step(level, codes, &state.memory, &mut state.cache)?;
        let logits = self.logits(level, &states, state.mapped.as_ref(), state.planned.get(level))?;
        let scores = match self.scoring {
            Scoring::Logit => logits,
            Scoring::LogProbability => log_softmax(&logits, D::Minus1)?,
        };
        state.level += 1;
        match geometry {
            Some((books, weight)) if level < books.levels() => {
                Ok((scores + (books.geometry(level, &state.plain)? * weight)?)?)
            }
            _ => Ok(scores),
        }
    }

    /// The part of every code's score that is known before decoding starts: grounded logits, `geometry` and
    /// the plan-ahead head together. `None` if there is no such part, or if steps are normalised.
    pub fn lookahead_terms(
        &self,
        queries: &Queries,
        geometry: Option<(&Books, f64)>,
    ) -> Result<Option<LookaheadTerms>> {
        if self.scoring != Scoring::Logit || (self.grounding.is_none() && self.plan.is_none()) {
            return Ok(None);
        }
        let planned = self.planned(queries)?;
        let mapped = self.mapped(queries)?;
        let alphas = self.grounding.as_ref().map_or(Ok(Vec::new()), Grounding::alphas)?;
        let mut terms =
            LookaheadTerms { queries: queries.count(), products: Vec::new(), weights: Vec::new() };
        for level in 0..self.decoder.levels() {
            let mut known = planned.get(level).cloned();
            let mut weight = 0.0;
            if let (Some(grounding), Some(mapped), Some(&alpha)) =
                (self.grounding_at(level), &mapped, alphas.get(level))
            {
                weight += alpha;
                known = sum(known, (grounding.books().products(level, mapped)? * f64::from(alpha))?)?;
                if let Some((books, geometry)) = geometry {
                    weight += geometry as f32;
                    known = sum(known, (books.products(level, &queries.embeddings)? * geometry)?)?;
                }
            }
            let Some(known) = known else { break };
            terms.products.push(known.flatten_all()?.to_vec1()?);
            terms.weights.push(weight);
        }
        Ok(Some(terms))
    }

    /// Continues with the rows `parents`, in their new order, to which `codes` of the level just scored were
    /// added.
    pub fn advance(
        &self,
        state: &mut DecodeState,
        parents: &Tensor,
        codes: &Tensor,
        books: Option<&Books>,
    ) -> Result<()> {
        let level = state.level - 1;
        state.cache = state.cache.reordered(parents)?;
        if let (Some(grounding), Some(mapped)) = (&self.grounding, &state.mapped) {
            state.mapped = Some(subtract_codeword(grounding.books(), level, mapped, parents, codes)?);
        }
        if let Some(books) = books {
            state.plain = subtract_codeword(books, level, &state.plain, parents, codes)?;
        }
        Ok(())
    }

    /// The device of this model's tensors.
    pub fn device(&self) -> &Device {
        self.decoder.device()
    }
}

/// One level of (query, candidate, level): (query, candidate).
fn at_level(x: &Tensor, level: usize) -> Result<Tensor> {
    Ok(x.narrow(2, level, 1)?.squeeze(2)?.contiguous()?)
}

fn sum(a: Option<Tensor>, b: Tensor) -> Result<Option<Tensor>> {
    Ok(Some(match a {
        Some(a) => (a + b)?,
        None => b,
    }))
}

/// The residuals of the rows `parents`, less the codewords that were chosen for them.
fn subtract_codeword(
    books: &Books,
    level: usize,
    residuals: &Tensor,
    parents: &Tensor,
    codes: &Tensor,
) -> Result<Tensor> {
    let kept = residuals.index_select(parents, 0)?;
    if level < books.levels() { books.subtract(level, &kept, codes) } else { Ok(kept) }
}

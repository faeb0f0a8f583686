//! The joint model: a decoder, grounded in the codebooks or not, that scores docids for queries.

use candle_core::{D, DType, Device, Tensor};

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

/// What a step contributes to the score of a docid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// The plain logit. Normalised, if at all, over whole prefixes by the loss: what the listwise loss trains.
    Logit,
    /// Its log-probability among all codes of the level: what cross-entropy trains (classical DSI). A wrong node
    /// with few likely children looks certain then, and no later step can undo it (label bias).
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

/// Queries ready to be scored: embeddings and what they are made of.
#[derive(Debug, Clone)]
pub struct Queries {
    /// (queries, width), unit rows, aligned.
    embeddings: Tensor,
    /// [`Modality::row`] of each: (queries), u32.
    modalities: Tensor,
}

impl Queries {
    /// Unit rows and one modality each.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(embeddings: &Matrix, modalities: &[Modality], device: &Device) -> Result<Self> {
        Self::of(tensors::from_matrix(embeddings, device)?, modalities)
    }

    /// The same of a tensor (queries, width), which may have come from an encoder in training.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn of(embeddings: Tensor, modalities: &[Modality]) -> Result<Self> {
        let rows: Vec<u32> = modalities.iter().map(|m| m.row() as u32).collect();
        let modalities = Tensor::from_vec(rows, modalities.len(), embeddings.device())?;
        Ok(Self { embeddings, modalities })
    }

    /// Number of queries.
    pub fn count(&self) -> usize {
        self.modalities.elem_count()
    }
}

/// A batch of queries in the middle of decoding.
pub struct DecodeState {
    memory: Memory,
    cache: Cache,
    /// What the plan gives each code, a tensor (queries, codes) a level; empty without one.
    planned: Vec<Tensor>,
    /// Residuals Wq − x̂ of every row, where the model is grounded.
    mapped: Option<Tensor>,
    /// Residuals q − x̂ under the unmapped query, for the geometric term of the search.
    plain: Tensor,
    level: usize,
}

impl GenerativeModel {
    /// A model whose decoder is grounded in `books`, where given, at this temperature, and plans ahead where `plans`.
    ///
    /// # Errors
    /// When the device refuses.
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

    /// From now on the decoder's blocks compute with this type, whatever that of the parameters.
    pub fn compute_in(&mut self, dtype: DType) {
        self.decoder.compute_in(dtype);
    }

    /// Numbers in the embedding of a query.
    pub fn query_width(&self) -> usize {
        self.decoder.query_width()
    }

    /// What a step contributes to a score.
    pub fn scoring(&self) -> Scoring {
        self.scoring
    }

    /// Scores of each level of each candidate: (queries, candidates, levels).
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn step_scores(
        &self,
        queries: &Queries,
        candidates: &Candidates,
        dropout: &mut Dropout,
    ) -> Result<Tensor> {
        let (count, per_query, levels) = candidates.codes.dims3()?;
        let memory = self.decoder.memory(&queries.embeddings, &queries.modalities)?;
        let states = self.decoder.forward(&memory, &candidates.codes, dropout)?; // (rows, levels, d)
        let mapped = self.grounding.as_ref().map(|g| g.map(&queries.embeddings)).transpose()?;
        let planned = self.planned(queries)?;
        let mut scores = Vec::with_capacity(levels);
        for level in 0..levels {
            let states = states.narrow(1, level, 1)?.squeeze(1)?.contiguous()?; // (rows, d)
            let codes = candidates.codes.narrow(2, level, 1)?.squeeze(2)?.contiguous()?; // (queries, candidates)
            let score = match self.scoring {
                Scoring::Logit => {
                    let own = self
                        .decoder
                        .chosen(level, &states, &codes.flatten_all()?)?
                        .reshape((count, per_query))?;
                    let own = match planned.get(level) {
                        Some(planned) => (own + planned.gather(&codes, 1)?)?,
                        None => own,
                    };
                    match (&self.grounding, &mapped) {
                        (Some(grounding), Some(mapped)) if level < grounding.books().levels() => {
                            let offsets = candidates.offsets.narrow(2, level, 1)?.squeeze(2)?.contiguous()?;
                            (own + grounding.chosen(level, mapped, &codes, &offsets)?)?
                        }
                        _ => own,
                    }
                }
                Scoring::LogProbability => {
                    let residuals = self.residuals(mapped.as_ref(), candidates, level)?;
                    let logits = self.logits(level, &states, residuals.as_ref(), planned.get(level))?;
                    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
                    log_p.gather(&codes.reshape((count * per_query, 1))?, 1)?.reshape((count, per_query))?
                }
            };
            scores.push(score);
        }
        Ok(Tensor::stack(&scores, 2)?)
    }

    /// Wq − x̂_{<l} of every candidate: (queries · candidates, width), where level `level` is grounded.
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

    /// What the plan gives each code, (queries, codes) a level; empty without one.
    fn planned(&self, queries: &Queries) -> Result<Vec<Tensor>> {
        self.plan
            .as_ref()
            .map_or(Ok(Vec::new()), |plan| plan.logits(&queries.embeddings, &queries.modalities))
    }

    /// Logits of all codes of a level, (rows, codes): the decoder's, on top of the grounded ones and the planned ones
    /// where there are any. Rows are queries × candidates, `planned` has one a query.
    fn logits(
        &self,
        level: usize,
        states: &Tensor,
        residuals: Option<&Tensor>,
        planned: Option<&Tensor>,
    ) -> Result<Tensor> {
        let own = self.decoder.logits(level, states)?;
        let own = match planned {
            Some(planned) => {
                let (queries, codes) = planned.dims2()?;
                let beside = own.reshape((queries, (), codes))?.broadcast_add(&planned.unsqueeze(1)?)?;
                beside.reshape(((), codes))?
            }
            None => own,
        };
        match (&self.grounding, residuals) {
            (Some(grounding), Some(residuals)) if level < grounding.books().levels() => {
                Ok((own + grounding.logits(level, residuals)?)?)
            }
            _ => Ok(own),
        }
    }

    /// Begins to decode for a batch of queries, one row each.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn begin(&self, queries: &Queries) -> Result<DecodeState> {
        Ok(DecodeState {
            memory: self.decoder.memory(&queries.embeddings, &queries.modalities)?,
            cache: Cache::default(),
            planned: self.planned(queries)?,
            mapped: self.grounding.as_ref().map(|g| g.map(&queries.embeddings)).transpose()?,
            plain: queries.embeddings.clone(),
            level: 0,
        })
    }

    /// Scores of every code of the next level for every row, (rows, codes): the model's own, plus `weight` times
    /// the geometry of the codebook where `books` are given and reach this level.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn next(
        &self,
        decoding: &mut DecodeState,
        codes: Option<&Tensor>,
        geometry: Option<(&Books, f64)>,
    ) -> Result<Tensor> {
        let level = decoding.level;
        let states = self.decoder.step(level, codes, &decoding.memory, &mut decoding.cache)?;
        let planned = decoding.planned.get(level);
        let logits = self.logits(level, &states, decoding.mapped.as_ref(), planned)?;
        let scores = match self.scoring {
            Scoring::Logit => logits,
            Scoring::LogProbability => candle_nn::ops::log_softmax(&logits, D::Minus1)?,
        };
        decoding.level += 1;
        match geometry {
            Some((books, weight)) if level < books.levels() => {
                Ok((scores + (books.geometry(level, &decoding.plain)? * weight)?)?)
            }
            _ => Ok(scores),
        }
    }

    /// What is known of every code's score for each query before anything is spelt: grounded logits, `geometry` and the
    /// plan together; none where there is nothing of the kind, or where a step is normalised.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn lookahead_terms(
        &self,
        queries: &Queries,
        geometry: Option<(&Books, f64)>,
    ) -> Result<Option<LookaheadTerms>> {
        if self.scoring != Scoring::Logit || (self.grounding.is_none() && self.plan.is_none()) {
            return Ok(None);
        }
        let planned = self.planned(queries)?;
        let mut lookahead_terms =
            LookaheadTerms { queries: queries.count(), products: Vec::new(), weights: Vec::new() };
        let mapped = self.grounding.as_ref().map(|g| g.map(&queries.embeddings)).transpose()?;
        let alphas = self.grounding.as_ref().map_or(Ok(Vec::new()), Grounding::alphas)?;
        for level in 0..self.decoder.levels() {
            let mut terms: Vec<Tensor> = planned.get(level).cloned().into_iter().collect();
            let mut weight = 0.0;
            if let (Some(grounding), Some(mapped), Some(&alpha)) =
                (&self.grounding, &mapped, alphas.get(level))
                && level < grounding.books().levels()
            {
                weight += alpha;
                terms.push((grounding.books().products(level, mapped)? * f64::from(alpha))?);
                if let Some((books, geometry)) = geometry {
                    weight += geometry as f32;
                    terms.push((books.products(level, &queries.embeddings)? * geometry)?);
                }
            }
            let Some(known) = terms.into_iter().map(Ok).reduce(|a: Result<Tensor>, b| Ok((a? + b?)?)) else {
                break;
            };
            let known: Tensor = known?;
            lookahead_terms.products.push(known.flatten_all()?.to_vec1()?);
            lookahead_terms.weights.push(weight);
        }
        Ok(Some(lookahead_terms))
    }

    /// Goes on with the rows `parents` (in their new order), to which `codes` of the level just scored were added.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn advance(
        &self,
        decoding: &mut DecodeState,
        parents: &Tensor,
        codes: &Tensor,
        books: Option<&Books>,
    ) -> Result<()> {
        let level = decoding.level - 1;
        decoding.cache = decoding.cache.reordered(parents)?;
        if let (Some(grounding), Some(mapped)) = (&self.grounding, &decoding.mapped) {
            decoding.mapped = Some(subtract_codeword(grounding.books(), level, mapped, parents, codes)?);
        }
        if let Some(books) = books {
            decoding.plain = subtract_codeword(books, level, &decoding.plain, parents, codes)?;
        }
        Ok(())
    }

    /// Where this model's tensors live.
    pub fn device(&self) -> &Device {
        self.decoder.device()
    }
}

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
